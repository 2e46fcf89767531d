// A broker in memory for tests of sessions and of the service: queues that need
// no creating, one group each, no disk, generous credit.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "broker/runtime/broker.h"

namespace spillway::session {

class FakeBroker final : public runtime::Broker {
 public:
  // What tests set and look at.
  Credit publisher_limit{1'000'000'000, uint64_t{1} << 50};
  std::optional<Error> fail_open;  // answers every open
  bool hold_opens = false;         // answers none
  bool hold_confirms = false;
  bool is_ready = true;
  Credit publisher_received_skew;  // a defect of the ledger
  std::vector<std::string> log;    // calls of handles, as text
  std::function<void()> wake;
  uint64_t published = 0;

  void Start(const Now&) override {}
  bool ready() const override { return is_ready; }
  std::optional<Error> failure() const override { return std::nullopt; }
  std::unique_ptr<runtime::Publisher> OpenPublisher(const runtime::PublisherOpen& open,
                                                    runtime::PublisherSink* sink) override;
  std::unique_ptr<runtime::Consumer> OpenConsumer(const runtime::ConsumerOpen& open,
                                                  runtime::ConsumerSink* sink) override;
#define SPILLWAY_FAKE(name)                                                              \
  void name(const runtime::pb::name##Request&, Reply<runtime::pb::name##Response> reply) \
      override {                                                                         \
    replies_.push_back([reply] { reply(Unsupported()); });                               \
  }
  SPILLWAY_FAKE(UpdateQueue)
  SPILLWAY_FAKE(ListQueues)
  SPILLWAY_FAKE(DeleteQueue)
  SPILLWAY_FAKE(PurgeQueue)
  SPILLWAY_FAKE(Peek)
  SPILLWAY_FAKE(ListGroups)
  SPILLWAY_FAKE(SeekGroup)
  SPILLWAY_FAKE(DeleteGroup)
  SPILLWAY_FAKE(ListParked)
  SPILLWAY_FAKE(ReleaseParked)
  SPILLWAY_FAKE(ListSessions)
  SPILLWAY_FAKE(CloseSession)
  SPILLWAY_FAKE(Explain)
#undef SPILLWAY_FAKE
  // Echoes the name with revision 1.
  void CreateQueue(const runtime::pb::CreateQueueRequest& request,
                   Reply<runtime::pb::CreateQueueResponse> reply) override;
  void GetQueue(const runtime::pb::GetQueueRequest& request,
                Reply<runtime::pb::GetQueueResponse> reply) override;
  void Snapshot(const runtime::pb::WatchRequest&, Reply<runtime::pb::WatchResponse> reply) override;
  void Observe(Reply<Observed> reply) override {
    replies_.push_back([reply] { reply(Observed()); });
  }
  void SetNow(const Now&) override {}
  void Drain(std::function<void()> done) override;
  void RunBatch(const Now& now) override;
  void EndBatch() override {}
  MonoNanos next_deadline() const override { return INT64_MAX; }
  void Post(std::function<void()> f) override;

  // Ends every stream.
  void CloseAll(const Error& error);
  size_t publishers() const { return publishers_.size(); }
  size_t consumers() const { return consumers_.size(); }

 private:
  friend class FakePublisher;
  friend class FakeConsumer;
  struct Stored {
    Offset first;
    wire::Records records;
  };
  struct Queue {
    Offset tail = 0;
    std::deque<Stored> waiting;
  };
  static Error Unsupported() {
    return {.kind = ErrorKind::kUnsupported, .message = "the fake has no such thing"};
  }

  std::map<std::string, Queue> queues_;
  std::vector<class FakePublisher*> publishers_;
  std::vector<class FakeConsumer*> consumers_;
  std::vector<std::function<void()>> replies_;
  std::optional<runtime::DrainOut> draining_;
  uint64_t next_epoch_ = 1;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
};

}  // namespace spillway::session
