// Drives a Broker without a transport or a clock: streams that remember what they
// were told, and a loop that runs broker and store until nothing moves.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/runtime/broker.h"
#include "broker/runtime/shard_of.h"
#include "broker/runtime/shards_of_tests.h"
#include "broker/storage/memory_store.h"
#include "broker/wire/publish_scan.h"
#include "gtest/gtest.h"

namespace spillway::runtime::testing {

inline wire::Records MakeRecords(const std::vector<std::string>& payloads) {
  pb::PublishRequest request;
  request.mutable_publish()->set_first_sequence(1);
  for (const auto& payload : payloads)
    request.mutable_publish()->add_records()->set_payload(payload);
  auto scanned = wire::ScanPublish(wire::Buffer::Copy(request.SerializeAsString()), {});
  EXPECT_TRUE(scanned.ok());
  return std::move(scanned->records);
}

inline std::vector<std::string> Payloads(const wire::Delivery& delivery) {
  std::vector<std::string> out;
  for (const auto& slice : delivery.fields) {
    pb::PublishBatch batch;
    EXPECT_TRUE(batch.ParseFromArray(slice.view().data(), static_cast<int>(slice.length)));
    for (const auto& record : batch.records()) out.push_back(record.payload());
  }
  return out;
}

struct TestPublisher : PublisherSink {
  void OnOpened(const PublisherOpened& o) override {
    opened = o;
    next_sequence = o.next_sequence;
  }
  void OnConfirm(std::span<const ConfirmRun> runs, Durability durability,
                 const GrantOut* grant) override {
    for (const auto& run : runs) confirms.push_back(run);
    level = durability;
    if (grant != nullptr) OnGrant(*grant);
  }
  void OnGrant(const GrantOut& g) override {
    grant = g;
    ++grants;
  }
  void OnRefuse(uint64_t first, uint64_t count, const Error& error) override {
    refused.push_back({first, count});
    refusal = error;
  }
  void OnTuning(uint64_t revision, const queue::Tuning& tuning) override {
    opened->revision = revision;
    opened->tuning = tuning;
  }
  void OnDrain(const DrainOut&) override { drained = true; }
  void OnClosed(const Error& error) override { closed = error; }
  void OnFinished() override { finished = true; }

  // Publishes if the credit covers it.
  bool Publish(const std::vector<std::string>& payloads) {
    auto records = MakeRecords(payloads);
    const Credit cost = records.Cost();
    if (!(handle->received() + cost).Within(grant.limit)) return false;
    handle->Publish(next_sequence, 0, std::move(records));
    next_sequence += payloads.size();
    return true;
  }
  uint64_t confirmed() const {
    uint64_t n = 0;
    for (const auto& run : confirms) n += run.count;
    return n;
  }

  std::unique_ptr<Publisher> handle;
  std::optional<PublisherOpened> opened;
  uint64_t next_sequence = 1;
  GrantOut grant;
  int grants = 0;
  std::vector<ConfirmRun> confirms;
  Durability level = Durability::kMemory;
  std::vector<std::pair<uint64_t, uint64_t>> refused;
  std::optional<Error> refusal;
  std::optional<Error> closed;
  bool drained = false;
  bool finished = false;
};

struct TestConsumer : ConsumerSink {
  struct Received {
    Offset offset;
    std::string payload;
    uint32_t attempt;
  };
  bool CanDeliver() const override { return can_deliver; }
  void OnOpened(const ConsumerOpened& o) override { opened = o; }
  void OnDelivery(wire::Delivery delivery) override {
    auto payloads = Payloads(delivery);
    size_t i = 0;
    for (const auto& run : delivery.runs) {
      for (uint32_t k = 0; k < run.count; ++k) {
        received.push_back({run.first + k, payloads.at(i++), run.attempt});
      }
    }
    EXPECT_EQ(i, payloads.size());
    delivered += delivery.cost;
    EXPECT_TRUE(delivered.Within(handle->limit())) << "delivered beyond the credit";
  }
  void OnRevoke(std::span<const OffsetRange> ranges, pb::RevokeReason reason) override {
    for (const auto& range : ranges) revoked.push_back(range);
    revoke_reason = reason;
  }
  void OnGap(std::span<const OffsetRange> ranges, pb::GapReason reason) override {
    for (const auto& range : ranges) gaps.push_back(range);
    gap_reason = reason;
  }
  void OnEnd(pb::EndReason, Offset next) override { end = next; }
  void OnTuning(uint64_t, const queue::Tuning&) override {}
  void OnDrain(const DrainOut&) override { drained = true; }
  void OnClosed(const Error& error) override { closed = error; }
  void OnFinished() override { finished = true; }

  void Ack(OffsetRange range) const {
    const OffsetRange ranges[] = {range};
    handle->Settle({.ranges = ranges, .action = pb::SETTLE_ACTION_ACK, .reason = ""});
  }
  void Settle(OffsetRange range, pb::SettleAction action, uint64_t delay_ms = 0) const {
    const OffsetRange ranges[] = {range};
    handle->Settle({.ranges = ranges, .action = action, .delay_ms = delay_ms, .reason = "test"});
  }
  // Grants `more` beyond what was delivered.
  void Grant(uint64_t messages, uint64_t bytes = 1 << 30) const {
    const Credit had = handle->limit();
    handle->Grant(handle->epoch(), {std::max(had.messages, delivered.messages + messages),
                                    std::max(had.bytes, delivered.bytes + bytes)});
  }
  // Acknowledges what came since the last call.
  void AckAll() {
    for (; acked < received.size(); ++acked) Ack({received[acked].offset, 1});
  }

  std::unique_ptr<Consumer> handle;
  std::optional<ConsumerOpened> opened;
  std::vector<Received> received;
  size_t acked = 0;
  Credit delivered;
  bool can_deliver = true;
  std::vector<OffsetRange> revoked;
  pb::RevokeReason revoke_reason = pb::REVOKE_REASON_UNSPECIFIED;
  std::vector<OffsetRange> gaps;
  pb::GapReason gap_reason = pb::GAP_REASON_UNSPECIFIED;
  std::optional<Offset> end;
  std::optional<Error> closed;
  bool drained = false;
  bool finished = false;
};

// A broker on a store in memory, with a clock that the test moves. All of its shards
// run on the test's thread, one after the other.
class TestBroker {
 public:
  explicit TestBroker(std::unique_ptr<storage::MemoryStore> store = nullptr,
                      uint64_t budget_bytes = uint64_t{1} << 30, bool auto_create = false,
                      size_t shards = ShardsOfTests(), uint32_t max_queues = 10'000,
                      uint32_t max_sessions = 20'000)
      : store_(store ? std::move(store) : std::make_unique<storage::MemoryStore>()) {
    BrokerOptions options;
    options.store = store_.get();
    options.memory_budget_bytes = budget_bytes;
    options.auto_create = auto_create;
    options.max_queues = max_queues;
    options.max_sessions = max_sessions;
    options.seed = 1;
    options.disk_space = [this] { return std::pair(disk_free_bytes, uint64_t{1} << 40); };
    brokers_ = Broker::CreateShards(std::move(options), shards, [](size_t) {});
    for (const auto& broker : brokers_) broker->Start(now);
    Settle();
    for (const auto& broker : brokers_) EXPECT_TRUE(broker->ready());
  }

  // Any shard: for what concerns all queues.
  Broker* operator->() { return brokers_.front().get(); }
  // The shard of a queue.
  Broker& Of(const std::string& queue) { return *brokers_[ShardOf(queue, brokers_.size())]; }
  Broker& Shard(size_t i) { return *brokers_[i]; }
  storage::MemoryStore& store() { return *store_; }

  // The broker alone: the store does not answer.
  void SettleWithoutStore() {
    for (int i = 0; i < 3; ++i) RunBatch();
  }
  // Runs broker and store until nothing moves.
  void Settle() {
    for (int i = 0; i < 3; ++i) {
      do {
        RunBatch();
      } while (store_->RunAll() > 0);
      RunBatch();
    }
  }
  void Advance(uint64_t ms) {
    now.mono += static_cast<MonoNanos>(ms) * kNanosPerMilli;
    now.unix_ms += ms;
    Settle();
  }

  template <typename Response, typename Request, typename Method>
  Result<Response> Call(Method method, const Request& request) {
    Broker* broker = brokers_.front().get();
    if constexpr (requires { request.queue(); }) {
      broker = &Of(request.queue());
    } else if constexpr (requires { request.name(); }) {
      broker = &Of(request.name());
    }
    return CallOn<Response>(*broker, method, request);
  }
  template <typename Response, typename Request, typename Method>
  Result<Response> CallOn(Broker& broker, Method method, const Request& request) {
    std::optional<Result<Response>> result;
    (broker.*method)(request, [&](Result<Response> r) { result = std::move(r); });
    for (int i = 0; i < 100 && !result; ++i) Settle();
    EXPECT_TRUE(result.has_value());
    return result ? std::move(*result) : Result<Response>(Error{});
  }
  Result<pb::CreateQueueResponse> CreateQueue(const std::string& name,
                                              const pb::QueueTuning& tuning) {
    pb::CreateQueueRequest request;
    request.set_name(name);
    *request.mutable_tuning() = tuning;
    return Call<pb::CreateQueueResponse>(&Broker::CreateQueue, request);
  }
  pb::QueueStats Stats(const std::string& name) {
    pb::GetQueueRequest request;
    request.set_name(name);
    return Call<pb::GetQueueResponse>(&Broker::GetQueue, request)->queue().stats();
  }

  std::unique_ptr<TestPublisher> Publisher(const std::string& queue, const std::string& id = "",
                                           uint64_t resume = 0) {
    auto publisher = std::make_unique<TestPublisher>();
    publisher->handle = Of(queue).OpenPublisher(
        {.queue = queue, .producer_id = id, .resume_sequence = resume, .client = "", .peer = ""},
        publisher.get());
    Settle();
    return publisher;
  }
  std::unique_ptr<TestConsumer> Consumer(pb::ConsumeOpen open) {
    auto consumer = std::make_unique<TestConsumer>();
    Broker& broker = Of(open.queue());
    consumer->handle = broker.OpenConsumer({std::move(open), ""}, consumer.get());
    Settle();
    return consumer;
  }
  std::unique_ptr<TestConsumer> Member(const std::string& queue, const std::string& group,
                                       uint64_t messages = 1'000'000) {
    pb::ConsumeOpen open;
    open.set_queue(queue);
    open.mutable_group()->set_group(group);
    open.mutable_limit()->set_messages(messages);
    open.mutable_limit()->set_bytes(uint64_t{1} << 40);
    return Consumer(std::move(open));
  }

  uint64_t disk_free_bytes = uint64_t{1} << 39;
  Now now{.mono = 1'000'000'000, .unix_ms = 1'700'000'000'000};

 private:
  void RunBatch() {
    for (const auto& broker : brokers_) {
      broker->RunBatch(now);
      broker->EndBatch();
    }
  }

  std::unique_ptr<storage::MemoryStore> store_;
  std::vector<std::unique_ptr<Broker>> brokers_;  // one for each shard
};

}  // namespace spillway::runtime::testing
