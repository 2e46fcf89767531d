// A group's cursor: which offsets are settled, in flight, waiting and parked.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "broker/base/types.h"
#include "broker/queue/fetch.h"
#include "broker/queue/range_set.h"
#include "broker/queue/tuning.h"

namespace spillway::queue {

using MemberId = uint64_t;

enum class SettleAction : uint8_t { kAck, kRetry, kPark, kSkip };

// A record put aside.
struct Parked {
  uint32_t attempts = 0;
  UnixMillis parked_at = 0;
  std::string reason;
};

// What a settle or a deadline needs to know of the queue.
struct RetryRules {
  uint32_t max_attempts = 5;
  MonoNanos ack_deadline = 0;
  // The delay before attempt `n` (2, 3, …).
  std::function<MonoNanos(uint32_t attempt)> backoff;
};

// Every offset of the log is, for a group, in exactly one state:
//
//   settled | in flight (one member) | ready (to be delivered again) |
//   delayed (ready at a time) | parked | fresh (never delivered)
//
// Below the cursor all are settled or parked. `next` is where fresh offsets
// begin; the few at or above it that are not fresh (after a restart or a resume)
// are in `taken_`. Attempts count deliveries; they survive a restart for offsets
// that were delivered more than once.
// Thread-safety: none.
class Group {
 public:
  Group(std::string name, GroupMode mode, Offset start);

  const std::string& name() const { return name_; }
  GroupMode mode() const { return mode_; }
  void set_mode(GroupMode mode) { mode_ = mode; }

  // The lowest offset that is neither settled nor parked (a released one stays
  // behind the cursor, which moves back only by Seek).
  Offset cursor() const { return cursor_; }
  // The lowest offset whose record the group still needs: the cursor, or the
  // lowest parked or released one below it.
  Offset needed_from() const;
  Offset next() const { return next_; }

  // ---- Picking what to deliver (by Lane).
  // The next range to deliver again, and which attempt that is.
  struct Ready {
    OffsetRange range;
    uint32_t attempt = 1;
  };
  bool has_ready() const { return !ready_.empty(); }
  // REQUIRES: has_ready().
  Ready FirstReady() const;
  // Moves `next` over what is taken; the fresh range from there ends at the
  // second value (max if nothing is taken above).
  std::pair<Offset, Offset> FreshRange();
  // `range` is being delivered: the front of the ready, or of the fresh range.
  void DeliverReady(OffsetRange range, uint64_t bytes, MemberId member, MonoNanos deadline);
  void DeliverFresh(OffsetRange range, uint64_t bytes, MemberId member, MonoNanos deadline);
  // The front of the ready range cannot be read any more (it was lost).
  void DropReady(OffsetRange range);
  // The range at `next` is gone; skip it. Returns how many had not been settled.
  uint64_t SkipFresh(OffsetRange range);

  // ---- Settling.
  // Returns the parts that were not in flight for `member` (stale).
  std::vector<OffsetRange> Settle(OffsetRange range, MemberId member, SettleAction action,
                                  MonoNanos delay, const std::string& reason, const Now& now,
                                  const RetryRules& rules);
  // Starts deadlines anew; returns what is not in flight for `member`.
  std::vector<OffsetRange> Extend(OffsetRange range, MemberId member, MonoNanos deadline);
  // What a member holds goes to the others at once.
  void Disconnect(MemberId member);
  // A resumed member still holds `range`; returns the parts that it may not keep.
  // What it keeps counts no bytes: they are not known here.
  std::vector<OffsetRange> Reclaim(OffsetRange range, MemberId member, Offset tail,
                                   MonoNanos deadline);
  // Moves what is due: delays to ready, passed deadlines to ready or parked.
  // Ranges taken from members are added to `revoked`.
  void Tick(const Now& now, const RetryRules& rules,
            std::vector<std::pair<MemberId, OffsetRange>>* revoked);
  // When Tick has something to do; max() if never.
  MonoNanos next_deadline() const;

  // ---- Administration.
  // Where the target is below the head, the head is meant. Reads under way must be
  // forgotten: the fetches begin anew.
  void Seek(Offset target, std::vector<std::pair<MemberId, OffsetRange>>* revoked);
  // Records below `head` are gone. Returns what the group had not settled.
  std::vector<OffsetRange> AdvanceHead(Offset head);
  uint64_t Release(OffsetRange range);
  const absl::btree_map<Offset, Parked>& parked() const { return parked_; }
  static constexpr size_t kMaxParked = 100'000;

  // ---- Numbers.
  uint64_t in_flight_messages() const { return in_flight_messages_; }
  uint64_t ready_messages() const { return ready_messages_; }
  uint64_t delayed_messages() const { return delayed_messages_; }
  // Settled offsets at or above the cursor.
  uint64_t settled_above_cursor() const { return settled_.count(); }
  uint64_t settled_total() const { return settled_total_; }
  uint64_t redelivered_total() const { return redelivered_total_; }
  uint64_t gone_total() const { return gone_total_; }
  Credit InFlightOf(MemberId member) const;

  // ---- What a restart restores. Whatever was in flight is delivered again.
  struct State {
    Offset cursor = 0;
    std::vector<OffsetRange> settled;  // above the cursor
    std::vector<Ready> attempted;      // unsettled and delivered before
    std::vector<std::pair<Offset, Parked>> parked;
  };
  State state() const;
  void Restore(const State& state);
  // Changes with every settle, park, seek; so that a writer knows when it is late.
  uint64_t version() const { return version_; }

  Fetch fresh_fetch;
  Fetch retry_fetch;

 private:
  struct InFlight {
    uint64_t count = 0;
    MemberId member = 0;
    uint32_t attempt = 1;
    MonoNanos deadline = 0;
    uint64_t bytes = 0;
  };
  struct Waiting {
    uint64_t count = 0;
    uint32_t attempt = 1;
  };
  struct Deadline {
    MonoNanos at = 0;
    Offset first = 0;
    bool operator>(const Deadline& o) const { return at > o.at; }
  };
  using InFlightMap = absl::btree_map<Offset, InFlight>;

  // Delivered and not settled: again, now or later; or gone, below head_.
  void Again(OffsetRange range, uint32_t attempt, MonoNanos due, MonoNanos now);
  void Settled(OffsetRange range);
  // Ends what is below the head; returns the rest.
  OffsetRange WithoutGone(OffsetRange range);
  void Park(OffsetRange range, uint32_t attempts, const std::string& reason, UnixMillis at);
  void AdvanceCursor();
  // Splits the run at `offset`, if one covers it.
  void SplitInFlight(Offset offset);
  void Account(const InFlight& run, bool add);
  void Hold(OffsetRange range, const InFlight& run);
  void PushDeadline(MonoNanos at, Offset first);
  // Removes the front of the ready range; returns its attempt.
  uint32_t TakeReady(OffsetRange range);
  // Calls f(range, InFlight) for each part of `range` held by `member`, removing
  // it; returns the other parts.
  template <typename F>
  std::vector<OffsetRange> TakeInFlight(OffsetRange range, MemberId member, F f);

  const std::string name_;
  GroupMode mode_;
  Offset head_ = 0;  // below it records are gone
  Offset cursor_;
  Offset next_;
  RangeSet settled_;
  RangeSet taken_;
  InFlightMap in_flight_;
  absl::btree_map<Offset, Waiting> ready_;
  absl::btree_multimap<MonoNanos, Ready> delayed_;  // by when they are due
  absl::btree_map<Offset, Parked> parked_;
  RangeSet released_;  // were parked, and are not settled yet
  // Lazily checked: an entry is live if the run at `first` still has it. Made anew
  // when most are not, or settles would leave one each until its time has passed.
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_;
  absl::btree_map<MemberId, Credit> held_by_;
  uint64_t in_flight_messages_ = 0;
  uint64_t ready_messages_ = 0;
  uint64_t delayed_messages_ = 0;
  uint64_t settled_total_ = 0;
  uint64_t redelivered_total_ = 0;
  uint64_t gone_total_ = 0;
  uint64_t version_ = 0;
};

}  // namespace spillway::queue
