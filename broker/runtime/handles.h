// What sessions hold of their streams.
#pragma once

#include <memory>
#include <utility>

#include "broker/runtime/broker.h"
#include "broker/runtime/consumers.h"
#include "broker/runtime/lane_actor.h"
#include "broker/runtime/publishers.h"

namespace spillway::runtime {

// Forwards to the lane while the stream is part of one; a call after that has no
// effect, because the stream's end is already on its way to the sink.
class PublisherHandle final : public Publisher {
 public:
  explicit PublisherHandle(std::shared_ptr<PublisherStream> stream) : stream_(std::move(stream)) {}
  ~PublisherHandle() override {
    stream_->sink = nullptr;
    if (stream_->lane != nullptr) stream_->lane->publishers().Detach(stream_);
  }
  void Publish(uint64_t first_sequence, uint32_t partition, wire::Records records) override {
    if (stream_->lane == nullptr) return;
    stream_->lane->publishers().Publish(stream_, first_sequence, partition, std::move(records));
  }
  void Demand(const DemandIn& demand) override {
    if (stream_->lane != nullptr) stream_->lane->publishers().Demand(*stream_, demand);
  }
  void Close() override {
    if (stream_->lane != nullptr) stream_->lane->publishers().Close(*stream_);
  }
  uint64_t epoch() const override { return stream_->epoch; }
  Credit granted() const override {
    if (stream_->lane == nullptr || !stream_->account) return stream_->last_granted;
    return stream_->lane->publishers().ledger().granted(*stream_->account);
  }
  Credit received() const override {
    if (stream_->lane == nullptr || !stream_->account) return stream_->last_received;
    return stream_->lane->publishers().ledger().received(*stream_->account);
  }

 private:
  const std::shared_ptr<PublisherStream> stream_;
};

class ConsumerHandle final : public Consumer {
 public:
  explicit ConsumerHandle(std::shared_ptr<ConsumerStream> stream) : stream_(std::move(stream)) {}
  ~ConsumerHandle() override {
    stream_->sink = nullptr;
    if (stream_->lane != nullptr) stream_->lane->consumers().Detach(stream_);
  }
  void Settle(const SettleIn& settle) override {
    if (stream_->lane != nullptr) stream_->lane->consumers().Settle(*stream_, settle);
  }
  void Grant(uint64_t epoch, const Credit& limit) override {
    if (stream_->lane != nullptr) stream_->lane->consumers().Grant(*stream_, epoch, limit);
  }
  void Extend(std::span<const OffsetRange> ranges) override {
    if (stream_->lane != nullptr) stream_->lane->consumers().Extend(*stream_, ranges);
  }
  void Writable() override {
    if (stream_->lane != nullptr) stream_->lane->MarkDirty();
  }
  void Close() override {
    if (stream_->lane != nullptr) stream_->lane->consumers().Close(*stream_);
  }
  uint64_t epoch() const override { return stream_->epoch; }
  Credit limit() const override { return stream_->account.limit(); }
  Credit delivered() const override { return stream_->account.delivered(); }

 private:
  const std::shared_ptr<ConsumerStream> stream_;
};

}  // namespace spillway::runtime
