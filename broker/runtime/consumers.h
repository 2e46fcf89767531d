// The consumers and readers of a lane: their credit, and what goes to whom.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/histogram.h"
#include "broker/base/types.h"
#include "broker/credit/consumer_account.h"
#include "broker/queue/lane.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/stream.h"

namespace spillway::runtime {

class LaneActor;
class ConsumerStream;

// Why nothing is delivered, and since when.
struct Stall {
  void Set(pb::StallReason to, MonoNanos now) {
    if (reason == to) return;
    reason = to;
    since = now;
  }
  pb::StallReason reason = pb::STALL_REASON_UNSPECIFIED;
  MonoNanos since = 0;
};

// The members of a group, in the order in which they are asked, by turns.
//
// When little comes, everybody gets some of it; when much does, each gets at least
// what the group took lately in kChunk, so that frames are not cut into more and more
// pieces the more members there are. Lately is one to two periods: under load records
// come in waves, and a time in which none came must not look like a pause.
struct GroupMembers {
  static constexpr MonoNanos kChunk = 4 * kNanosPerMilli;
  static constexpr MonoNanos kPeriod = 25 * kChunk;
  // The least that is worth a frame of its own, in messages.
  uint64_t Chunk(MonoNanos now);

  queue::Group* group = nullptr;
  std::vector<ConsumerStream*> streams;
  size_t turn = 0;  // whose it is, modulo their number
  Stall stall;      // there is nothing for any of them
  // Messages delivered in this period, and in the one before.
  MonoNanos period = 0;
  uint64_t in_period = 0;
  uint64_t in_last_period = 0;
};

// One consumer's or reader's stream. All decisions are the ConsumerSet's.
class ConsumerStream final : public Stream {
 public:
  explicit ConsumerStream(const Credit& clamp) : account(clamp) {}

  void CloseByOperator() override;
  pb::Session Describe() const override;
  void Explain(MonoNanos now, pb::ExplainResponse* out) const override;

  bool is_reader() const { return reader != nullptr; }
  // The member's or reader's name for people.
  std::string subject() const;

  LaneActor* lane = nullptr;     // null once it left the lane
  ConsumerSink* sink = nullptr;  // null once the session let go
  credit::ConsumerAccount account;
  std::string group_name;
  queue::Group* group = nullptr;  // null for readers, and once the group is gone
  queue::MemberId member = 0;
  std::unique_ptr<queue::Reader> reader;

  // Readers: a bucket of messages that fills at the rate; 0: no limit.
  uint64_t rate_per_second = 0;
  double tokens = 0;
  MonoNanos tokens_at = 0;

  bool announced = false;
  bool closing = false;
  bool ended = false;  // a reader reached its stop
  std::optional<Error> failed;

  // Why it got nothing when it was asked last; of a member only what is its own, see
  // ConsumerSet::StallOf.
  Stall stall;
};

struct ConsumerTotals {
  Credit delivered;
};

// Thread-safety: shard thread only.
class ConsumerSet {
 public:
  explicit ConsumerSet(LaneActor* lane) : lane_(lane) {}
  ~ConsumerSet();

  // Opens the stream; the outcome is told to its sink in a batch. Groups that do
  // not exist are created, durably, first.
  void Open(const std::shared_ptr<ConsumerStream>& stream, const pb::ConsumeOpen& request);
  void Settle(ConsumerStream& stream, const SettleIn& settle);
  void Grant(ConsumerStream& stream, uint64_t epoch, const Credit& limit);
  void Extend(ConsumerStream& stream, std::span<const OffsetRange> ranges);
  void Close(ConsumerStream& stream);
  void Detach(const std::shared_ptr<ConsumerStream>& stream);
  // Ends the stream in the next batch; the first error counts.
  void Fail(ConsumerStream& stream, Error error);
  void FailAll(const Error& error);
  // Ends the members of a group that is being deleted.
  void FailGroup(const queue::Group* group, const Error& error);

  // At the end of a batch: deadlines and delays, then what can be delivered.
  void Flush();
  void Drain(const DrainOut& drain);
  void OnTuning();
  void TellRevoked(const std::vector<std::pair<queue::MemberId, OffsetRange>>& revoked,
                   pb::RevokeReason reason);
  void TellGaps(const std::vector<queue::GroupGap>& gaps, pb::GapReason reason);

  MonoNanos next_deadline() const;
  const ConsumerTotals& totals() const { return totals_; }
  // From the arrival of a record to its first delivery to a group.
  const Histogram& delivery_seconds() const { return delivery_seconds_; }
  size_t members(const queue::Group* group) const;
  // What keeps the stream from getting more.
  Stall StallOf(const ConsumerStream& stream) const;
  // No connected member has anything in flight.
  bool settled() const;
  size_t consumers() const;
  size_t readers() const;
  queue::RetryRules retry_rules() const;
  template <typename F>
  void ForEach(F f) const {
    for (const auto& stream : streams_) f(*stream);
  }

 private:
  void OpenGroup(const std::shared_ptr<ConsumerStream>& stream, const pb::ConsumeOpen& request);
  void JoinGroup(const std::shared_ptr<ConsumerStream>& stream, const pb::GroupTarget& target,
                 queue::Group* group);
  void OpenReader(const std::shared_ptr<ConsumerStream>& stream, const pb::ReaderTarget& target);
  void Announce(const std::shared_ptr<ConsumerStream>& stream, Offset start);
  void Observe(const wire::Delivery& delivery, const Now& now);
  void Tick();
  void DeliverToGroup(GroupMembers& members);
  // Asks each member once, while there is something; each takes up to `share` messages.
  // Returns how many could take more. `reading`: what is next is still on disk.
  size_t DeliverRound(GroupMembers& members, uint64_t share, bool* reading);
  enum class Step : uint8_t {
    kTook,
    kToldGap,
    kCannot,   // for a reason of its own
    kNothing,  // there is nothing, or not yet, for no member of its group either
  };
  // A frame for the stream, of at most `most` messages; those it took are subtracted.
  Step DeliverTo(ConsumerStream& stream, uint64_t* most);
  void Leave(ConsumerStream& stream);
  // Ends those that close, or have come to their end.
  void Finish();
  // Lets go of those that failed or left.
  void Sweep();

  LaneActor* const lane_;
  std::vector<std::shared_ptr<ConsumerStream>> streams_;
  std::unordered_map<queue::MemberId, ConsumerStream*> by_member_;
  queue::MemberId next_member_ = 1;
  uint64_t opened_ = 0;
  std::vector<GroupMembers> members_;
  std::vector<ConsumerStream*> readers_;
  // A stream failed, closes, came to its end or left: there is something to Finish or
  // to Sweep.
  bool leaving_ = false;
  ConsumerTotals totals_;
  Histogram delivery_seconds_{kSecondsBounds};
};

}  // namespace spillway::runtime
