// The streams Publish and Consume: a session carried by a call.
#pragma once

#include <atomic>
#include <optional>
#include <utility>

#include "broker/service/call.h"
#include "broker/session/options.h"
#include "broker/session/stream_session.h"

namespace spillway::service {

template <typename Session>
class SessionHandler final : public Handler, private session::Host {
 public:
  // `streams` counts the handlers that live.
  SessionHandler(Call* call, const session::SessionOptions& options, std::atomic<uint32_t>* streams)
      : call_(call),
        streams_(streams),
        session_(options, call->shard()->broker(), this, call->peer(), call->shard()->now()) {
    ++*streams_;
    call_->StartTimer(session_.Tick(call->shard()->now()));
  }
  ~SessionHandler() override { --*streams_; }

  void OnMessage(const wire::Buffer& message) override {
    session_.OnFrame(message, call_->shard()->now());
  }
  void OnHalfClosed() override { session_.OnHalfClosed(); }
  void OnWritten() override { session_.OnWritten(call_->shard()->now()); }
  MonoNanos OnTimer(const Now& now) override { return session_.Tick(now); }

  void Pump() override {
    if (session_.abandoned()) return call_->Finish(session_.error());
    if (call_->writing()) return;
    std::optional<session::OutFrame> frame = session_.NextFrame(call_->shard()->now());
    if (frame) {
      call_->Write(std::move(*frame));
    } else if (session_.ended()) {
      call_->Finish(session_.error());
    }
  }

 private:
  void Dirty() override { call_->MarkDirty(); }

  Call* const call_;
  std::atomic<uint32_t>* const streams_;
  Session session_;
};

}  // namespace spillway::service
