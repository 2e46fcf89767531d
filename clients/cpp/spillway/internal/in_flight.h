// Which records a consumer holds, unsettled.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "clients/cpp/spillway/credit.h"
#include "clients/cpp/spillway/internal/wire.h"
#include "clients/cpp/spillway/range.h"

namespace spillway::client::internal {

// Runs of offsets in flight, each with the delivery and the epoch it came in.
// Pure; not thread-safe. Cost is per run, not per record.
class InFlight {
 public:
  // What was taken out, and what that frees.
  struct Taken {
    std::vector<OffsetRange> ranges;
    Credit current;  // received in `epoch`
    Credit held;     // received before
  };

  void Add(uint64_t delivery, uint64_t epoch, const FrameIndex::Run& run,
           const std::shared_ptr<const FrameIndex>& index);
  // Takes out what is in flight within `range`; only of this delivery, if one is
  // given. `epoch` is the present one.
  void Take(const OffsetRange& range, std::optional<uint64_t> delivery, uint64_t epoch,
            Taken* taken);
  // As Take, but leaves it there and counts nothing.
  void Find(const OffsetRange& range, std::optional<uint64_t> delivery,
            std::vector<OffsetRange>* ranges) const;
  void Clear() { runs_.clear(); }

  bool empty() const { return runs_.empty(); }
  // All of it, in order; and its cost.
  std::vector<OffsetRange> Ranges() const;
  Credit Cost() const;

 private:
  struct Run {
    uint32_t count = 0;
    uint32_t base = 0;  // index of the first record in the frame
    uint64_t delivery = 0;
    uint64_t epoch = 0;
    std::shared_ptr<const FrameIndex> index;
  };
  std::map<uint64_t, Run> runs_;  // by first offset; they do not overlap
};

}  // namespace spillway::client::internal
