// Recognises what a producer sends again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "broker/base/types.h"

namespace spillway::failure {

// Sequences and what became of them.
struct SequenceRun {
  uint64_t first_sequence = 0;
  uint64_t count = 0;
  Offset first_offset = 0;
  bool known = true;     // false: accepted so long ago that the offsets are forgotten
  bool refused = false;  // used up without an offset; must not be confirmed
};

// The producers of a lane: the epoch that is valid, the sequence that comes next,
// and the offsets of recent ones (I6). Rebuilt by a restart from a snapshot and
// the headers of the batches after it.
//
// An offset is known from Accepted on, before it is stored: who confirms a
// duplicate compares it with what is stored, as for a new one.
//
// Invariants, for each producer:
//  - runs are of accepted sequences, rise, do not overlap, and end at or below
//    next_sequence; neighbours that continue each other in both are one.
//  - known_from <= next_sequence. What is below is forgotten; what is from there
//    on and in no run was refused.
// At most kMaxProducers. The one that is away longest is forgotten for a new one;
// those that are connected are not.
//
// Where producers take turns each frame is a run of its own, and each snapshot has all
// of them. So there are about kMaxRunsOfAll runs at most, or kMaxRunsOfEach for each of
// many producers; beyond that each keeps its part of half of them, the latest ones. Who
// was refused something keeps all of kMaxRuns until that is long ago: what is forgotten
// counts as accepted, so a refusal must not be.
// Thread-safety: none.
class ProducerTable {
 public:
  static constexpr size_t kMaxProducers = 10'000;
  static constexpr size_t kMaxRuns = 1'024;            // of one producer
  static constexpr size_t kMaxRunsOfAll = 16 * 1'024;  // or kMaxRunsOfEach for each
  static constexpr size_t kMaxRunsOfEach = 32;
  static constexpr size_t kMaxIdBytes = 255;

  ProducerTable() = default;
  ProducerTable(ProducerTable&&) = default;
  ProducerTable& operator=(ProducerTable&&) = default;

  enum class Verdict : uint8_t {
    kNew,
    kDuplicate,  // all of it came before: `runs`
    kGap,        // beyond `expected`, the next sequence
    kStraddles,  // partly new: `expected` lies within
    kFenced,     // of an epoch that is not the id's newest
  };
  struct Judgement {
    Verdict verdict = Verdict::kNew;
    uint64_t expected = 0;
    absl::InlinedVector<SequenceRun, 2> runs;  // kDuplicate: all of it, in order
  };

  // Fences older streams of the id; an epoch older than the newest is fenced itself,
  // as Judge will say. Returns the next sequence, or nothing if the table is full
  // of producers that are connected.
  // `resume_sequence`: the producer will send nothing below; 0 says nothing.
  std::optional<uint64_t> Open(std::string_view id, uint64_t epoch, uint64_t resume_sequence = 0);
  // The stream is gone; what it sent is remembered while there is place.
  void Disconnect(std::string_view id, uint64_t epoch);

  // REQUIRES: count > 0. O(log runs).
  Judgement Judge(std::string_view id, uint64_t epoch, uint64_t first_sequence,
                  uint64_t count) const;
  // After kNew: taken, at these offsets.
  void Accepted(std::string_view id, uint64_t first_sequence, uint64_t count, Offset first_offset);
  // After kNew: used up without an offset.
  void Refused(std::string_view id, uint64_t first_sequence, uint64_t count);
  // A batch was replayed from the log.
  void Replayed(std::string_view id, uint64_t epoch, uint64_t first_sequence, uint64_t count,
                Offset first_offset);

  size_t size() const { return index_.size(); }
  size_t runs() const { return runs_; }  // of all
  // For snapshots: see producer_table.cc for the format. Decode replaces everything;
  // false, and nothing held, if the bytes are damaged. An empty string is an empty
  // table.
  std::string Encode() const;
  [[nodiscard]] bool Decode(std::string_view bytes);

 private:
  struct Producer {
    std::string id;
    uint64_t epoch = 0;
    uint64_t next_sequence = 1;
    uint64_t known_from = 1;
    std::deque<SequenceRun> runs;
    bool connected = false;
  };
  using List = std::list<Producer>;

  Producer* Find(std::string_view id);
  const Producer* Find(std::string_view id) const;
  List::iterator FindOrAdd(std::string_view id);  // away_.end() if there is no place
  void Add(Producer& producer, const SequenceRun& run);
  // Whether something that is not forgotten was refused.
  static bool WasRefused(const Producer& producer);
  // Of the oldest runs, whose offsets are unknown from then on.
  void Forget(Producer& producer, size_t count);
  void ForgetBeyondTheBound();
  static bool DecodeProducer(std::string_view* in, Producer* producer);

  List away_;  // longest away first
  List connected_;
  size_t runs_ = 0;
  size_t forget_at_ = 0;  // not before there are so many
  absl::flat_hash_map<std::string, List::iterator> index_;
};

}  // namespace spillway::failure
