// The broker without a transport: queues, streams and administration.
//
// It is made of one or more shards, each a Broker that one thread owns. A queue and
// all of its streams belong to one of them (ShardOf); what names a queue must be asked
// of that one. What concerns all queues may be asked of any: it asks the others.
//
// How it is driven: the thread that owns a Broker (the service's poller) calls
// handles and admin methods as frames arrive, then RunBatch once for all of them;
// RunBatch drains what the store completed, decides, and calls the sinks. Calls
// of a handle never call a sink back from within. When something happens on
// another thread (a completed append), `wake` is called, and the owner runs a
// batch soon. `next_deadline` says when to run one though nothing arrives.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/histogram.h"
#include "broker/base/types.h"
#include "broker/queue/tuning.h"
#include "broker/storage/log_store.h"
#include "broker/wire/batch.h"
#include "broker/wire/delivery.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::runtime {

namespace pb = ::spillway::v1;

// ---- Producers -----------------------------------------------------------

struct PublisherOpen {
  std::string queue;
  std::string producer_id;  // empty: the broker makes one
  uint64_t resume_sequence = 0;
  std::string client;
  std::string peer;
};

struct PublisherOpened {
  uint64_t epoch = 0;
  uint64_t next_sequence = 0;
  std::string producer_id;
  std::string session;
  uint64_t revision = 0;
  queue::Tuning tuning;
};

struct ConfirmRun {
  uint64_t first_sequence = 0;
  uint64_t count = 0;
  Offset first_offset = 0;
  bool duplicate = false;
  bool offset_unknown = false;
};

struct GrantOut {
  uint64_t epoch = 0;
  Credit limit;
  pb::CreditReason reason = pb::CREDIT_REASON_UNSPECIFIED;
  uint64_t reason_age_ms = 0;
  uint64_t window_used_bytes = 0;
  uint64_t window_bytes = 0;
};

struct DemandIn {
  Credit waiting;
  uint64_t next_record_bytes = 0;
  std::optional<Credit> returned;  // cumulative
};

struct DrainOut {
  uint64_t deadline_ms = 0;
  uint64_t reconnect_after_ms = 0;
};

// What a lane tells a producer's stream; called from Broker::RunBatch only.
// After OnClosed or OnFinished nothing follows; the session then destroys its
// handle.
class PublisherSink {
 public:
  virtual ~PublisherSink() = default;
  virtual void OnOpened(const PublisherOpened& opened) = 0;
  // `grant` rides along where one is due.
  virtual void OnConfirm(std::span<const ConfirmRun> runs, Durability durability,
                         const GrantOut* grant) = 0;
  virtual void OnGrant(const GrantOut& grant) = 0;
  virtual void OnRefuse(uint64_t first_sequence, uint64_t count, const Error& error) = 0;
  virtual void OnTuning(uint64_t revision, const queue::Tuning& tuning) = 0;
  virtual void OnDrain(const DrainOut& drain) = 0;
  // The stream must end with this error.
  virtual void OnClosed(const Error& error) = 0;
  // After Close: all that was sent is confirmed; the stream ends with OK.
  virtual void OnFinished() = 0;
};

// A producer's stream at its lane. Destroying it is a disconnect: unspent credit
// returns; what was sent still reaches the log.
class Publisher {
 public:
  virtual ~Publisher() = default;
  // REQUIRES (of each call): OnOpened has been called. A frame that breaks a rule
  // (credit, sequence, size) ends in OnRefuse or OnClosed at the next batch.
  virtual void Publish(uint64_t first_sequence, uint32_t partition, wire::Records records) = 0;
  virtual void Demand(const DemandIn& demand) = 0;
  virtual void Close() = 0;
  virtual uint64_t epoch() const = 0;
  // The epoch's account: granted so far, and received of it; for Ping and Pong.
  virtual Credit granted() const = 0;
  virtual Credit received() const = 0;
};

// ---- Consumers and readers -----------------------------------------------

struct ConsumerOpen {
  pb::ConsumeOpen request;  // checked by the runtime, field by field
  std::string peer;
};

struct ConsumerOpened {
  uint64_t epoch = 0;
  std::string session;
  uint64_t revision = 0;
  queue::Tuning tuning;
  Offset start = 0;
  Offset head = 0;
  Offset tail = 0;
  queue::GroupMode mode = queue::GroupMode::kShared;  // groups only
  Credit max_in_flight;
};

// What a lane tells a consumer's or reader's stream; called from
// Broker::RunBatch only. After OnClosed or OnFinished nothing follows.
class ConsumerSink {
 public:
  virtual ~ConsumerSink() = default;
  // Whether the stream can take a delivery now (no write outstanding, outbound
  // bytes within bounds). When it turns true the session calls
  // Consumer::Writable().
  virtual bool CanDeliver() const = 0;
  virtual void OnOpened(const ConsumerOpened& opened) = 0;
  virtual void OnDelivery(wire::Delivery delivery) = 0;
  virtual void OnRevoke(std::span<const OffsetRange> ranges, pb::RevokeReason reason) = 0;
  virtual void OnGap(std::span<const OffsetRange> ranges, pb::GapReason reason) = 0;
  // A reader reached its end; OnFinished follows.
  virtual void OnEnd(pb::EndReason reason, Offset next) = 0;
  virtual void OnTuning(uint64_t revision, const queue::Tuning& tuning) = 0;
  virtual void OnDrain(const DrainOut& drain) = 0;
  virtual void OnClosed(const Error& error) = 0;
  virtual void OnFinished() = 0;
};

struct SettleIn {
  std::span<const OffsetRange> ranges;
  pb::SettleAction action = pb::SETTLE_ACTION_UNSPECIFIED;
  uint64_t delay_ms = 0;
  std::string reason;
};

// A consumer's or reader's stream at its lane. Destroying it is a disconnect:
// what is in flight goes to the other members at once.
class Consumer {
 public:
  virtual ~Consumer() = default;
  virtual void Settle(const SettleIn& settle) = 0;
  // A new cumulative limit. A lower one, or another epoch, ends the stream.
  virtual void Grant(uint64_t epoch, const Credit& limit) = 0;
  virtual void Extend(std::span<const OffsetRange> ranges) = 0;
  // The sink can take a delivery again.
  virtual void Writable() = 0;
  // Settles before it count; then OnFinished.
  virtual void Close() = 0;
  virtual uint64_t epoch() const = 0;
  virtual Credit limit() const = 0;
  virtual Credit delivered() const = 0;
};

// ---- The broker ------------------------------------------------------------

struct BrokerOptions {
  storage::LogStore* store = nullptr;  // outlives the Broker
  std::function<void()> wake;          // thread-safe; of a broker of one shard
  uint64_t memory_budget_bytes = 0;
  bool auto_create = false;
  uint64_t drain_deadline_ms = 20'000;
  uint32_t max_sessions = 20'000;
  uint32_t max_queues = 10'000;
  // Free and total bytes of the store's disk; read at most every 100 ms.
  std::function<std::pair<uint64_t, uint64_t>()> disk_space;
  std::function<uint64_t()> connections;  // open ones, for snapshots; empty: unknown
  uint64_t seed = 0;                      // for ids and jitter
};

// Not thread-safe, except wake (which it calls) and Post.
class Broker {
 public:
  // A broker of one shard.
  static std::unique_ptr<Broker> Create(BrokerOptions options);
  // `wake` is thread-safe, and told which shard. REQUIRES: when one of them is
  // destroyed no thread drives any.
  static std::vector<std::unique_ptr<Broker>> CreateShards(BrokerOptions options, size_t shards,
                                                           const std::function<void(size_t)>& wake);
  virtual ~Broker() = default;

  // Begins recovery; ready() turns true within some later RunBatch, when the queues of
  // all shards are restored. Before, every open and admin call is refused with
  // UNAVAILABLE.
  virtual void Start(const Now& now) = 0;
  virtual bool ready() const = 0;
  // Set when recovery failed or the store is poisoned; the broker stays up to say
  // so, and refuses data.
  virtual std::optional<Error> failure() const = 0;

  // The result comes through the sink: OnOpened, or OnClosed with the reason.
  virtual std::unique_ptr<Publisher> OpenPublisher(const PublisherOpen& open,
                                                   PublisherSink* sink) = 0;
  virtual std::unique_ptr<Consumer> OpenConsumer(const ConsumerOpen& open, ConsumerSink* sink) = 0;

  // Admin: `done` is called once from RunBatch.
  template <typename Response>
  using Reply = std::function<void(Result<Response>)>;
  virtual void CreateQueue(const pb::CreateQueueRequest&, Reply<pb::CreateQueueResponse>) = 0;
  virtual void UpdateQueue(const pb::UpdateQueueRequest&, Reply<pb::UpdateQueueResponse>) = 0;
  virtual void GetQueue(const pb::GetQueueRequest&, Reply<pb::GetQueueResponse>) = 0;
  virtual void ListQueues(const pb::ListQueuesRequest&, Reply<pb::ListQueuesResponse>) = 0;
  virtual void DeleteQueue(const pb::DeleteQueueRequest&, Reply<pb::DeleteQueueResponse>) = 0;
  virtual void PurgeQueue(const pb::PurgeQueueRequest&, Reply<pb::PurgeQueueResponse>) = 0;
  virtual void Peek(const pb::PeekRequest&, Reply<pb::PeekResponse>) = 0;
  virtual void ListGroups(const pb::ListGroupsRequest&, Reply<pb::ListGroupsResponse>) = 0;
  virtual void SeekGroup(const pb::SeekGroupRequest&, Reply<pb::SeekGroupResponse>) = 0;
  virtual void DeleteGroup(const pb::DeleteGroupRequest&, Reply<pb::DeleteGroupResponse>) = 0;
  virtual void ListParked(const pb::ListParkedRequest&, Reply<pb::ListParkedResponse>) = 0;
  virtual void ReleaseParked(const pb::ReleaseParkedRequest&, Reply<pb::ReleaseParkedResponse>) = 0;
  virtual void ListSessions(const pb::ListSessionsRequest&, Reply<pb::ListSessionsResponse>) = 0;
  virtual void CloseSession(const pb::CloseSessionRequest&, Reply<pb::CloseSessionResponse>) = 0;
  virtual void Explain(const pb::ExplainRequest&, Reply<pb::ExplainResponse>) = 0;
  // One snapshot; the service repeats it for Watch, and the metrics read it.
  virtual void Snapshot(const pb::WatchRequest&, Reply<pb::WatchResponse>) = 0;

  // What only the metrics want.
  struct Observed {
    Histogram sync_seconds{kSecondsBounds};
    Histogram commit_records{kCountBounds};
    // By queue, in the order of names, of as many as a snapshot holds; and of all others.
    std::vector<std::pair<std::string, Histogram>> delivery_seconds;
    Histogram other_delivery_seconds{kSecondsBounds};
  };
  virtual void Observe(Reply<Observed>) = 0;

  // Of all shards: tells every session to drain, stops grants, finishes what is
  // credited, saves cursors; `done` when all of it is durable (or the deadline passed).
  // Once.
  virtual void Drain(std::function<void()> done) = 0;

  // The moment at which what is called next happens: records that arrive are stamped
  // with it. Call it before the first event of a batch.
  virtual void SetNow(const Now& now) = 0;
  // Processes everything that came since the last batch.
  virtual void RunBatch(const Now& now) = 0;
  // After the calls of sinks that RunBatch has made had their effect. May commit what
  // the batch has appended, on this thread.
  virtual void EndBatch() = 0;
  // When RunBatch is due at the latest; max() if nothing is.
  virtual MonoNanos next_deadline() const = 0;
  // Runs `f` at the beginning of the next batch. Thread-safe.
  virtual void Post(std::function<void()> f) = 0;
};

}  // namespace spillway::runtime
