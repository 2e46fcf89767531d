// Where the offsets of a lane are in the store's log: sparse, in memory.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "broker/base/types.h"
#include "broker/queue/batch.h"

namespace spillway::queue {

// One mark about every MiB of records: 20 GB kept cost about 20,000 marks. A
// reader starts at the mark at or before its offset and skips the rest.
// Thread-safety: none.
class DiskIndex {
 public:
  static constexpr uint64_t kSpacingBytes = 1 << 20;

  struct Mark {
    Offset first = 0;
    LogPosition position = 0;
    UnixMillis appended_at = 0;
    uint64_t bytes_before = 0;
  };

  // A batch is at `position`; offsets and positions rise from call to call.
  // Keeps a mark where the last one is far enough back.
  void Add(const Mark& mark);
  // As kept in a snapshot; every mark is taken.
  void Restore(const Mark& mark) { marks_.push_back(mark); }
  // The last mark at or before `offset`; the first one if all are after it.
  std::optional<Mark> Floor(Offset offset) const;
  // Where the first mark after `offset` is; max if none is.
  Offset NextAfter(Offset offset) const;
  // The last mark appended at or before `time`; likewise.
  std::optional<Mark> FloorTime(UnixMillis time) const;
  // Forgets marks that no offset at or above `head` needs.
  void TrimBelow(Offset head);
  // Nothing before `mark` is needed any more; entries from its position on are its
  // batch or what comes after.
  void StartAt(const Mark& mark);
  // Nothing on disk is needed any more.
  void Clear() { marks_.clear(); }
  // The next mark must be kept whatever the distance (a hole lies before it).
  void Break() { force_ = true; }

  const std::deque<Mark>& marks() const { return marks_; }

 private:
  std::deque<Mark> marks_;
  bool force_ = false;
};

}  // namespace spillway::queue
