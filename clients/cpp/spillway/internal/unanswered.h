// What a consumer has settled without knowing whether that reached the broker.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clients/cpp/spillway/delivery.h"
#include "clients/cpp/spillway/range.h"

namespace spillway::client::internal {

// Sorts ranges and joins those that touch.
void Normalize(std::vector<OffsetRange>* ranges);
// What of `ranges` is not in `cut`; both are normalized.
std::vector<OffsetRange> Without(const std::vector<OffsetRange>& ranges,
                                 const std::vector<OffsetRange>& cut);

// What a Settle frame says.
struct Settled {
  SettleAction action = SettleAction::kAck;
  uint64_t delay_ms = 0;
  std::string reason;
  std::vector<OffsetRange> ranges;

  bool SameAs(const Settled& o) const {
    return action == o.action && delay_ms == o.delay_ms && reason == o.reason;
  }
};

// The broker handles a stream's frames in order: the Pong to a Ping says that every
// settle before that Ping was taken. What a broken stream leaves here is stated as
// held by the next one, and settled again; without that, records whose settles were
// on the way would be delivered again. Pure; not thread-safe.
//
// Each settle is in one of three sets. The oldest are forgotten when there are more
// than kMaxUnansweredSettleRanges; those records may come again.
class Unanswered {
 public:
  // A Settle frame is sent.
  void Add(const Settled& settled);
  // A Ping follows all that was sent.
  void Ping();
  // The Pong to the last Ping came.
  void Pong();
  // The broker ended the stream as the Close on it asked: it does so once it has
  // taken everything before.
  void Finished();
  // The stream is gone.
  void Broke();
  // Forgets the oldest beyond so many ranges, and then a quarter more, so that it
  // does not sort them for every frame.
  void Trim(size_t most);
  void Clear();

  // Settles that the broker has ended: it delivers the records again, or says that
  // they are not in flight. Returns which of the ranges were news, because they were
  // not to be settled again. REQUIRES: `over` is normalized.
  std::vector<OffsetRange> Over(const std::vector<OffsetRange>& over);
  // What one frame settles again; nothing before the broker has spoken.
  std::optional<Settled> Next(size_t most);

  // A Pong would let it settle again, or forget much.
  bool wants_pong() const;
  // Something is to be settled again.
  bool settles_again() const { return !again_.empty(); }
  // Whether this offset may be among what is unanswered.
  bool may_have(uint64_t offset) const { return offset < high_; }
  // All of it, in no order.
  std::vector<OffsetRange> Ranges() const;
  size_t count() const;

 private:
  using Set = std::vector<Settled>;  // acknowledgements are one entry

  static void AddTo(const Settled& settled, Set* set);
  static void Move(Set* from, Set* to);

  Set sent_;    // since the last Ping
  Set pinged_;  // before a Ping whose Pong has not come
  // Of earlier streams. Not to be settled again before the broker has said which of
  // them it had settled, or given to others, meanwhile: one that comes again as a new
  // delivery must not be settled by what became of the old one.
  Set again_;
  bool claimed_ = false;  // the broker has said so
  uint64_t high_ = 0;     // the offset after the highest; deliveries are usually above
};

}  // namespace spillway::client::internal
