// The producers of a lane: their accounts, their sequences, what they wait for.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/types.h"
#include "broker/credit/ledger.h"
#include "broker/credit/policy.h"
#include "broker/failure/producer_table.h"
#include "broker/queue/lane.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/stream.h"

namespace spillway::runtime {

class LaneActor;

// One producer's stream. All decisions are the PublisherSet's.
class PublisherStream final : public Stream {
 public:
  void CloseByOperator() override;
  pb::Session Describe() const override;
  void Explain(MonoNanos now, pb::ExplainResponse* out) const override;

  LaneActor* lane = nullptr;      // null once it left the lane
  PublisherSink* sink = nullptr;  // null once the session let go
  std::shared_ptr<const std::string> producer_id;
  std::optional<credit::Ledger::AccountId> account;
  Credit last_granted;  // kept for counters after the account closed
  Credit last_received;

  bool announced = false;  // OnOpened was called
  bool closing = false;    // Close arrived
  std::optional<Error> failed;
  size_t unconfirmed = 0;  // entries in the set's queue of confirmations

  Credit waiting;
  uint64_t next_record_bytes = 0;
  MonoNanos waiting_since = 0;
  MonoNanos active_at = 0;  // opened, or sent something
  credit::Reason reason = credit::Reason::kNone;
  credit::Reason told_reason = credit::Reason::kNone;
  MonoNanos reason_since = 0;
  bool concerned = false;  // the next plan is about it; see PublisherSet::Plan
  bool counted = false;    // among the active ones

  // To be sent at the end of the batch.
  std::vector<ConfirmRun> confirms;
  Durability confirm_level = Durability::kMemory;
};

// Numbers since the broker started.
struct PublisherTotals {
  Credit published;
  uint64_t duplicates = 0;
};

// Thread-safety: shard thread only.
class PublisherSet {
 public:
  explicit PublisherSet(LaneActor* lane) : lane_(lane) {}
  ~PublisherSet();

  void Open(const std::shared_ptr<PublisherStream>& stream, uint64_t resume_sequence);
  void Publish(const std::shared_ptr<PublisherStream>& stream, uint64_t first_sequence,
               uint32_t partition, wire::Records records);
  void Demand(PublisherStream& stream, const DemandIn& demand);
  void Close(PublisherStream& stream);
  // The session let go of its handle.
  void Detach(const std::shared_ptr<PublisherStream>& stream);
  // Ends all streams with this error.
  void FailAll(const Error& error);

  // At the end of a batch: confirmations for all below `stored_end`, the plan of
  // credit under `pressure`, and what follows from them.
  void Flush(Offset stored_end, const credit::Pressure& pressure);
  void Drain(const DrainOut& drain);
  void OnTuning();
  // Ends the stream in the next batch; the first error counts.
  void Fail(PublisherStream& stream, Error error);

  const credit::Ledger& ledger() const { return ledger_; }
  failure::ProducerTable& table() { return table_; }
  const PublisherTotals& totals() const { return totals_; }
  size_t size() const { return streams_.size(); }
  // No producer has credit, and nothing waits for its confirmation.
  bool spent() const { return pending_.empty() && ledger_.unspent() == Credit{}; }
  // The reason of whichever producer has waited longest.
  std::pair<credit::Reason, MonoNanos> reason() const;
  template <typename F>
  void ForEach(F f) const {
    for (const auto& stream : streams_) f(*stream);
  }

 private:
  // What is confirmed once everything below `end` is stored.
  struct Pending {
    Offset end = 0;
    std::shared_ptr<PublisherStream> stream;
    ConfirmRun run;
    Durability level = Durability::kMemory;
    std::unique_ptr<Error> refusal;  // instead of a confirmation, in its turn
  };
  std::optional<Error> CheckSizes(const wire::Records& records) const;
  void AddPending(const std::shared_ptr<PublisherStream>& stream, Offset end, ConfirmRun run,
                  std::unique_ptr<Error> refusal);
  void Confirm(Offset stored_end);
  void SendConfirms(PublisherStream& stream, const GrantOut* grant);
  // Asks the policy for those whom something has happened to; for all, if one of them
  // is refused, and every kPlanAllEvery, for what only the time changes.
  void Plan(const credit::Pressure& pressure);
  template <typename Streams>
  void Ask(const Streams& streams, credit::Pressure pressure);
  void Tell(PublisherStream& stream, const credit::Claim& claim, const credit::Pressure& pressure);
  // The next plan is about it.
  void Concern(PublisherStream& stream);
  // It counts when the window is shared.
  void CountActive(PublisherStream& stream);
  void CountAllActive();
  void Leave(PublisherStream& stream);
  void Sweep();

  static constexpr MonoNanos kPlanAllEvery = 100 * kNanosPerMilli;

  LaneActor* const lane_;
  credit::Ledger ledger_;
  failure::ProducerTable table_;
  std::vector<std::shared_ptr<PublisherStream>> streams_;
  std::deque<Pending> pending_;
  std::vector<PublisherStream*> concerned_;
  std::vector<PublisherStream*> confirming_;  // have confirms
  std::vector<PublisherStream*> planned_;     // reused, as are the claims, one each
  std::vector<credit::Claim> claims_;
  uint64_t active_ = 0;  // streams that are counted
  MonoNanos plan_all_at_ = 0;
  bool refused_ = false;  // in the last plan
  credit::Reason planned_stop_ = credit::Reason::kNone;
  // A stream failed, closes or left: there is something to end or to sweep.
  bool leaving_ = false;
  uint64_t opened_ = 0;
  PublisherTotals totals_;
  std::optional<DrainOut> drain_;
};

}  // namespace spillway::runtime
