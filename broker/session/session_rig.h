// Sessions with a carrier, a broker in memory and a clock of the test's own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "broker/session/consumer_session.h"
#include "broker/session/fake_broker.h"
#include "broker/session/publisher_session.h"

namespace spillway::session {

inline constexpr MonoNanos kSecond = 1'000 * kNanosPerMilli;

// A session with its carrier and broker, on a clock of the test's own.
template <typename Session, typename Request, typename Response>
class Rig : public Host {
 public:
  Rig() { Restart(); }
  void Restart() { session_ = std::make_unique<Session>(options_, &broker_, this, "test", now_); }
  void Dirty() override { ++dirty_; }

  void Send(const Request& request) { SendBytes(request.SerializeAsString()); }
  void SendBytes(const std::string& bytes) { session_->OnFrame(wire::Buffer::Copy(bytes), now_); }
  // A batch, and all that it leaves to write, written.
  std::vector<Response> Run() {
    broker_.RunBatch(now_);
    std::vector<Response> out;
    while (std::optional<Response> response = Next()) {
      out.push_back(*response);
      session_->OnWritten(now_);
    }
    return out;
  }
  // The next frame; its write stays outstanding.
  std::optional<Response> Next() {
    std::optional<OutFrame> frame = session_->NextFrame(now_);
    if (!frame) return std::nullopt;
    std::string bytes = frame->head;
    for (const wire::Slice& slice : frame->fields) bytes += slice.view();
    Response response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    more_ = frame->more;
    return response;
  }
  void Pass(MonoNanos time) {
    now_.mono += time;
    session_->Tick(now_);
  }
  ErrorKind kind() const {
    return session_->error() ? session_->error()->kind : ErrorKind::kUnspecified;
  }
  std::string field() const { return session_->error() ? session_->error()->field : ""; }

  SessionOptions options_;
  FakeBroker broker_;
  Now now_{.mono = kSecond, .unix_ms = 1};
  int dirty_ = 0;
  bool more_ = false;
  std::unique_ptr<Session> session_;
};

class PublisherRig : public Rig<PublisherSession, pb::PublishRequest, pb::PublishResponse> {
 public:
  static pb::PublishRequest OpenFrame() {
    pb::PublishRequest request;
    request.mutable_open()->set_protocol(1);
    request.mutable_open()->set_queue("q");
    return request;
  }
  static pb::PublishRequest PublishFrame(uint64_t sequence, int records = 1) {
    pb::PublishRequest request;
    request.mutable_publish()->set_first_sequence(sequence);
    for (int i = 0; i < records; ++i) request.mutable_publish()->add_records()->set_payload("abc");
    return request;
  }
  uint64_t Open() {
    Send(OpenFrame());
    const auto frames = Run();
    EXPECT_EQ(frames.size(), 2u);
    return frames.empty() ? 0 : frames[0].opened().epoch();
  }
};

class ConsumerRig : public Rig<ConsumerSession, pb::ConsumeRequest, pb::ConsumeResponse> {
 public:
  static pb::ConsumeRequest OpenFrame(uint64_t messages = 100) {
    pb::ConsumeRequest request;
    request.mutable_open()->set_protocol(1);
    request.mutable_open()->set_queue("q");
    request.mutable_open()->mutable_group()->set_group("g");
    request.mutable_open()->mutable_limit()->set_messages(messages);
    request.mutable_open()->mutable_limit()->set_bytes(1 << 20);
    return request;
  }
  uint64_t Open() {
    Send(OpenFrame());
    const auto frames = Run();
    EXPECT_GE(frames.size(), 1u);
    return frames.empty() ? 0 : frames[0].opened().epoch();
  }
  // Puts batches into the queue, as a producer would.
  void Fill(int batches, size_t payload = 3) {
    struct Ignore : runtime::PublisherSink {
      void OnOpened(const runtime::PublisherOpened&) override {}
      void OnConfirm(std::span<const runtime::ConfirmRun>, Durability,
                     const runtime::GrantOut*) override {}
      void OnGrant(const runtime::GrantOut&) override {}
      void OnRefuse(uint64_t, uint64_t, const Error&) override {}
      void OnTuning(uint64_t, const queue::Tuning&) override {}
      void OnDrain(const runtime::DrainOut&) override {}
      void OnClosed(const Error&) override {}
      void OnFinished() override {}
    } sink;
    const auto publisher = broker_.OpenPublisher({.queue = "q"}, &sink);
    for (int i = 0; i < batches; ++i) {
      pb::PublishRequest request;
      request.mutable_publish()->add_records()->set_payload(std::string(payload, 'x'));
      auto frame = wire::ScanPublish(wire::Buffer::Copy(request.SerializeAsString()), {});
      publisher->Publish(1, 0, std::move(frame->records));
    }
  }
};

}  // namespace spillway::session
