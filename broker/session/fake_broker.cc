#include "broker/session/fake_broker.h"

#include <algorithm>
#include <utility>

namespace spillway::session {

namespace pb = runtime::pb;

class FakePublisher final : public runtime::Publisher {
 public:
  FakePublisher(FakeBroker* broker, std::string queue, runtime::PublisherSink* sink)
      : broker_(broker), queue_(std::move(queue)), sink_(sink), epoch_(broker->next_epoch_++) {
    broker_->publishers_.push_back(this);
  }
  ~FakePublisher() override { std::erase(broker_->publishers_, this); }

  void Publish(uint64_t first_sequence, uint32_t, wire::Records records) override {
    received_ += records.Cost();
    FakeBroker::Queue& queue = broker_->queues_[queue_];
    const uint32_t count = records.count();
    broker_->published += count;
    runs_.push_back({.first_sequence = first_sequence, .count = count, .first_offset = queue.tail});
    queue.waiting.push_back({.first = queue.tail, .records = std::move(records)});
    queue.tail += count;
  }
  void Demand(const runtime::DemandIn& demand) override {
    broker_->log.push_back("demand " + std::to_string(demand.waiting.messages));
  }
  void Close() override {
    broker_->log.emplace_back("close");
    closing_ = true;
  }
  uint64_t epoch() const override { return epoch_; }
  Credit granted() const override { return broker_->publisher_limit; }
  Credit received() const override { return received_ + broker_->publisher_received_skew; }

  void Run() {
    if (!opened_) {
      if (broker_->hold_opens) return;
      opened_ = true;
      if (broker_->fail_open) return End(*broker_->fail_open);
      queue::Tuning tuning{.window_bytes = 1 << 20, .max_message_bytes = 4 << 20};
      sink_->OnOpened({.epoch = epoch_,
                       .next_sequence = 1,
                       .producer_id = "p-1",
                       .session = "s-1",
                       .revision = 1,
                       .tuning = tuning});
      sink_->OnGrant({.epoch = epoch_, .limit = granted()});
    }
    if (ended_) return;
    if (!broker_->hold_confirms && !runs_.empty()) {
      const runtime::GrantOut grant{.epoch = epoch_, .limit = granted()};
      sink_->OnConfirm(runs_, Durability::kMemory, &grant);
      runs_.clear();
    }
    if (broker_->draining_) sink_->OnDrain(*broker_->draining_);
    if (closing_ && runs_.empty()) {
      ended_ = true;
      sink_->OnFinished();
    }
  }
  void End(const Error& error) {
    ended_ = true;
    sink_->OnClosed(error);
  }

 private:
  FakeBroker* const broker_;
  const std::string queue_;
  runtime::PublisherSink* const sink_;
  const uint64_t epoch_;
  std::vector<runtime::ConfirmRun> runs_;
  Credit received_;
  bool opened_ = false;
  bool closing_ = false;
  bool ended_ = false;
};

class FakeConsumer final : public runtime::Consumer {
 public:
  FakeConsumer(FakeBroker* broker, const pb::ConsumeOpen& open, runtime::ConsumerSink* sink)
      : broker_(broker),
        queue_(open.queue()),
        sink_(sink),
        epoch_(broker->next_epoch_++),
        limit_{.messages = open.limit().messages(), .bytes = open.limit().bytes()} {
    broker_->consumers_.push_back(this);
  }
  ~FakeConsumer() override { std::erase(broker_->consumers_, this); }

  void Settle(const runtime::SettleIn& settle) override {
    for (const OffsetRange& range : settle.ranges) {
      broker_->log.push_back("settle " + std::to_string(range.first) + "+" +
                             std::to_string(range.count));
    }
  }
  void Grant(uint64_t, const Credit& limit) override {
    if (!limit_.Within(limit)) {
      regressed_ = true;
      return;
    }
    limit_ = limit;
  }
  void Extend(std::span<const OffsetRange>) override { broker_->log.emplace_back("extend"); }
  void Writable() override { broker_->log.emplace_back("writable"); }
  void Close() override {
    broker_->log.emplace_back("close");
    closing_ = true;
  }
  uint64_t epoch() const override { return epoch_; }
  Credit limit() const override { return limit_; }
  Credit delivered() const override { return delivered_; }

  void Run(const Now& now) {
    if (ended_) return;
    if (!opened_) {
      if (broker_->hold_opens) return;
      opened_ = true;
      if (broker_->fail_open) return End(*broker_->fail_open);
      sink_->OnOpened({.epoch = epoch_, .session = "s-2", .revision = 1, .max_in_flight = limit_});
    }
    if (regressed_) {
      return End({.kind = ErrorKind::kCreditRegressed, .message = "the limit fell"});
    }
    std::deque<FakeBroker::Stored>& waiting = broker_->queues_[queue_].waiting;
    while (!waiting.empty() && sink_->CanDeliver()) {
      const FakeBroker::Stored& stored = waiting.front();
      const Credit cost = stored.records.Cost();
      if (!(delivered_ + cost).Within(limit_)) break;
      wire::Delivery delivery;
      delivery.runs.push_back({.first = stored.first,
                               .count = stored.records.count(),
                               .appended_at = now.unix_ms,
                               .attempt = 1});
      delivery.fields.push_back(stored.records.FieldsSlice(0, stored.records.count()));
      delivery.cost = cost;
      delivered_ += cost;
      sink_->OnDelivery(std::move(delivery));
      waiting.pop_front();
    }
    if (broker_->draining_) sink_->OnDrain(*broker_->draining_);
    if (closing_) {
      ended_ = true;
      sink_->OnFinished();
    }
  }
  void End(const Error& error) {
    ended_ = true;
    sink_->OnClosed(error);
  }

 private:
  FakeBroker* const broker_;
  const std::string queue_;
  runtime::ConsumerSink* const sink_;
  const uint64_t epoch_;
  Credit limit_;
  Credit delivered_;
  bool opened_ = false;
  bool closing_ = false;
  bool regressed_ = false;
  bool ended_ = false;
};

std::unique_ptr<runtime::Publisher> FakeBroker::OpenPublisher(const runtime::PublisherOpen& open,
                                                              runtime::PublisherSink* sink) {
  return std::make_unique<FakePublisher>(this, open.queue, sink);
}

std::unique_ptr<runtime::Consumer> FakeBroker::OpenConsumer(const runtime::ConsumerOpen& open,
                                                            runtime::ConsumerSink* sink) {
  return std::make_unique<FakeConsumer>(this, open.request, sink);
}

void FakeBroker::CreateQueue(const pb::CreateQueueRequest& request,
                             Reply<pb::CreateQueueResponse> reply) {
  pb::CreateQueueResponse response;
  response.mutable_queue()->set_name(request.name());
  response.mutable_queue()->set_revision(1);
  replies_.push_back([reply, response] { reply(response); });
}

void FakeBroker::GetQueue(const pb::GetQueueRequest& request, Reply<pb::GetQueueResponse> reply) {
  Error error{.kind = ErrorKind::kNotFound, .message = "no such queue", .queue = request.name()};
  replies_.push_back([reply, error] { reply(error); });
}

void FakeBroker::Snapshot(const pb::WatchRequest&, Reply<pb::WatchResponse> reply) {
  pb::WatchResponse response;
  response.mutable_broker()->set_sessions(
      static_cast<uint32_t>(publishers_.size() + consumers_.size()));
  replies_.push_back([reply, response] { reply(response); });
}

void FakeBroker::Drain(std::function<void()> done) {
  draining_ = runtime::DrainOut{.deadline_ms = 1000, .reconnect_after_ms = 100};
  replies_.push_back(std::move(done));
}

void FakeBroker::RunBatch(const Now& now) {
  std::vector<std::function<void()>> run;
  {
    const std::lock_guard lock(mutex_);
    run.swap(posted_);
  }
  for (auto& f : run) f();
  // Sinks may not destroy handles, so these lists stand still.
  for (FakePublisher* publisher : publishers_) publisher->Run();
  for (FakeConsumer* consumer : consumers_) consumer->Run(now);
  draining_.reset();
  run.clear();
  run.swap(replies_);
  for (auto& f : run) f();
}

void FakeBroker::Post(std::function<void()> f) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(f));
  }
  if (wake) wake();
}

void FakeBroker::CloseAll(const Error& error) {
  for (FakePublisher* publisher : publishers_) publisher->End(error);
  for (FakeConsumer* consumer : consumers_) consumer->End(error);
}

}  // namespace spillway::session
