// Recognises what a producer sends again.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "broker/base/types.h"

namespace spillway::failure {

// Sequences and their offsets. `known` is false when they are too long ago.
struct SequenceRun {
  uint64_t first_sequence = 0;
  uint64_t count = 0;
  Offset first_offset = 0;
  bool known = true;
};

// The producers of a lane: the epoch that is valid, the sequence that comes next,
// and the offsets of recent ones (I6). Rebuilt by a restart from a snapshot and
// the headers of the batches after it.
// Thread-safety: none.
class ProducerTable {
 public:
  static constexpr size_t kMaxProducers = 10'000;
  static constexpr size_t kMaxRuns = 1'024;

  enum class Verdict : uint8_t { kNew, kDuplicate, kGap, kStraddles, kFenced };
  struct Judgement {
    Verdict verdict = Verdict::kNew;
    uint64_t expected = 0;                     // kGap, kStraddles: the next sequence
    absl::InlinedVector<SequenceRun, 2> runs;  // kDuplicate: in order
  };

  // Fences older streams of the id. Returns the next sequence, or nothing if the
  // table is full of producers that are connected.
  // `resume_sequence`: the producer will send nothing below; 0 says nothing.
  std::optional<uint64_t> Open(std::string_view id, uint64_t epoch, uint64_t resume_sequence = 0);
  // The stream is gone; what it sent is remembered while there is place.
  void Disconnect(std::string_view id, uint64_t epoch);

  Judgement Judge(std::string_view id, uint64_t epoch, uint64_t first_sequence,
                  uint64_t count) const;
  // After kNew: taken, at these offsets.
  void Accepted(std::string_view id, uint64_t first_sequence, uint64_t count, Offset first_offset);
  // After kNew: used up without an offset.
  void Refused(std::string_view id, uint64_t first_sequence, uint64_t count);
  // A batch was replayed from the log.
  void Replayed(std::string_view id, uint64_t epoch, uint64_t first_sequence, uint64_t count,
                Offset first_offset);

  size_t size() const { return producers_.size(); }
  // For snapshots. Decode replaces everything; false if the bytes are damaged.
  std::string Encode() const;
  [[nodiscard]] bool Decode(std::string_view bytes);

 private:
  struct Producer {
    uint64_t epoch = 0;
    uint64_t next_sequence = 1;
    std::deque<SequenceRun> runs;  // rising, not overlapping
    bool connected = false;
    uint64_t last_used = 0;
  };
  Producer* Find(std::string_view id);
  const Producer* Find(std::string_view id) const;
  Producer* FindOrAdd(std::string_view id);
  void Add(Producer& producer, const SequenceRun& run);

  absl::flat_hash_map<std::string, Producer> producers_;
  uint64_t use_ = 0;
};

}  // namespace spillway::failure
