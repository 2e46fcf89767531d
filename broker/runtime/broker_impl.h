// The implementation behind Broker: one shard, its queues and its streams.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "broker/base/random.h"
#include "broker/failure/drain.h"
#include "broker/failure/store_health.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/catalog.h"
#include "broker/runtime/inbox.h"
#include "broker/runtime/lane_actor.h"
#include "broker/runtime/lane_env.h"
#include "broker/runtime/queue_list.h"
#include "broker/runtime/shared.h"

namespace spillway::runtime {

class BrokerImpl final : public Broker, public LaneEnv {
 public:
  // One of `shared`; the first one keeps the list of queues.
  BrokerImpl(BrokerOptions options, std::shared_ptr<Shared> shared);
  ~BrokerImpl() override;

  void Start(const Now& now) override;
  bool ready() const override { return shared_->recovering == 0 && !poisoned_; }
  std::optional<Error> failure() const override { return poisoned_; }

  std::unique_ptr<Publisher> OpenPublisher(const PublisherOpen& open, PublisherSink* sink) override;
  std::unique_ptr<Consumer> OpenConsumer(const ConsumerOpen& open, ConsumerSink* sink) override;

  void CreateQueue(const pb::CreateQueueRequest&, Reply<pb::CreateQueueResponse>) override;
  void UpdateQueue(const pb::UpdateQueueRequest&, Reply<pb::UpdateQueueResponse>) override;
  void GetQueue(const pb::GetQueueRequest&, Reply<pb::GetQueueResponse>) override;
  void ListQueues(const pb::ListQueuesRequest&, Reply<pb::ListQueuesResponse>) override;
  void DeleteQueue(const pb::DeleteQueueRequest&, Reply<pb::DeleteQueueResponse>) override;
  void PurgeQueue(const pb::PurgeQueueRequest&, Reply<pb::PurgeQueueResponse>) override;
  void Peek(const pb::PeekRequest&, Reply<pb::PeekResponse>) override;
  void ListGroups(const pb::ListGroupsRequest&, Reply<pb::ListGroupsResponse>) override;
  void SeekGroup(const pb::SeekGroupRequest&, Reply<pb::SeekGroupResponse>) override;
  void DeleteGroup(const pb::DeleteGroupRequest&, Reply<pb::DeleteGroupResponse>) override;
  void ListParked(const pb::ListParkedRequest&, Reply<pb::ListParkedResponse>) override;
  void ReleaseParked(const pb::ReleaseParkedRequest&, Reply<pb::ReleaseParkedResponse>) override;
  void ListSessions(const pb::ListSessionsRequest&, Reply<pb::ListSessionsResponse>) override;
  void CloseSession(const pb::CloseSessionRequest&, Reply<pb::CloseSessionResponse>) override;
  void Explain(const pb::ExplainRequest&, Reply<pb::ExplainResponse>) override;
  void Snapshot(const pb::WatchRequest&, Reply<pb::WatchResponse>) override;
  void Observe(Reply<Observed>) override;

  void Drain(std::function<void()> done) override;
  void SetNow(const Now& at) override { now = at; }
  void RunBatch(const Now& now) override;
  void EndBatch() override;
  MonoNanos next_deadline() const override;
  void Post(std::function<void()> f) override { inbox_.Push(std::move(f)); }

 private:
  // LaneEnv
  void MarkDirty(LaneActor* lane) override;
  void AddDirty(LaneActor* lane);
  void Storing(LaneActor* lane) override;
  void Committed(MonoNanos latency) override { health_.Committed(latency, now.mono); }

  bool draining() const { return !drain_.grants(); }
  // Nothing of this shard is on its way to the store or to another shard.
  bool idle() const;
  void Restore(const std::vector<QueueEntry>& queues);
  void DrainShard(std::function<void()> done);

  // Asks every shard on its own thread, and answers with what `merge` makes of what
  // they said, in the order of shards.
  template <typename Response>
  using Ask = std::function<Result<Response>(BrokerImpl&)>;
  template <typename Response>
  using Merge = std::function<Result<Response>(std::vector<Result<Response>>)>;
  template <typename Response>
  void Gather(const Ask<Response>& ask, Merge<Response> merge, Reply<Response> reply);

  // The part of this shard alone.
  Result<pb::ListQueuesResponse> QueuesHere(const pb::ListQueuesRequest&);
  Result<pb::ListSessionsResponse> SessionsHere(const pb::ListSessionsRequest&);
  Result<pb::CloseSessionResponse> CloseHere(const pb::CloseSessionRequest&);
  Result<pb::ExplainResponse> ExplainHere(const pb::ExplainRequest&);
  Result<pb::WatchResponse> SnapshotHere(const pb::WatchRequest&);
  Observed ObserveHere() const;
  // What a snapshot says of the whole broker.
  void FillNumbers(pb::WatchResponse* response) const;

  // Why nothing can be opened or asked now.
  std::optional<Error> Refusal() const;
  // NOT_FOUND, or why the queue refuses to serve.
  Result<LaneActor*> FindLane(const std::string& name, const std::string& field);
  Result<std::pair<LaneActor*, queue::Group*>> FindGroup(const std::string& queue,
                                                         const std::string& group);
  using Created = std::function<void(Result<LaneActor*>)>;
  void Create(const std::string& name, const pb::QueueTuning& tuning, Created done);
  void FinishCreate(const std::string& name, const Result<LaneActor*>& lane);
  // The lane of an open, created first where that is allowed. A queue that is being
  // created is waited for: two services that start together both find it.
  void LaneForOpen(const std::string& name, Created done);
  void FillQueue(const LaneActor& lane, pb::Queue* out) const;
  pb::Group DescribeGroup(const LaneActor& lane, const queue::Group& group) const;
  // Looks at the disk and the store, and tells the lanes what changed.
  void CheckHealth();
  void OnHealth();
  void Poison(const std::string& why);
  void AdvanceDrain();
  void StartTimer(LaneActor* lane);
  void StopTimer(LaneActor* lane);
  void RunTimers();
  // Answers in a batch, never from within the call.
  template <typename Response>
  void Answer(Reply<Response> reply, Result<Response> result) {
    inbox_.Push([reply = std::move(reply), result = std::move(result)]() mutable {
      reply(std::move(result));
    });
  }

  const BrokerOptions options_;
  const std::shared_ptr<Shared> shared_;
  Inbox inbox_;
  Random random_;
  credit::WindowSharePolicy policy_;
  credit::SpillPace pace_;
  StreamRegistry streams_;
  Catalog* catalog_ = nullptr;  // the first shard's
  std::unique_ptr<QueueList> queues_;
  std::map<std::string, std::unique_ptr<LaneActor>> lanes_;  // by queue name
  // Who waits for a queue that is being created: its creator first.
  std::map<std::string, std::vector<Created>> creating_;
  // Deleted queues whose last appends have not completed.
  std::vector<std::unique_ptr<LaneActor>> leaving_;
  // All whose records are on their way to the store, and some for which none is any more.
  absl::flat_hash_set<LaneActor*> storing_;
  // The last one that had anything to do but for a timer, and since when it is the only one.
  const LaneActor* active_ = nullptr;
  MonoNanos alone_since_ = 0;
  // This batch has given the store records whose producers wait for it.
  bool awaited_ = false;
  std::vector<LaneActor*> dirty_;
  std::vector<LaneActor*> flushing_;
  std::set<std::pair<MonoNanos, LaneActor*>> timers_;  // one of each lane at most
  bool ready_ = false;
  std::optional<Error> poisoned_;
  MonoNanos started_at_ = 0;
  MonoNanos health_checked_at_ = 0;
  uint64_t disk_free_bytes_ = 0;
  failure::StoreHealth health_;
  failure::Drain drain_;
  size_t lanes_to_save_ = 0;
  std::function<void()> drained_;
  // Of the shard that is asked to drain all.
  size_t shards_to_drain_ = 0;
  std::function<void()> all_drained_;
};

}  // namespace spillway::runtime
