// Unary methods by template: one message in, an answer from the broker's next
// batch out.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "broker/runtime/broker.h"
#include "broker/service/call.h"
#include "broker/session/frame.h"

namespace spillway::service {

// A whole message as a frame.
template <typename Message>
session::OutFrame MessageFrame(const Message& message) {
  session::OutFrame frame;
  frame.head = message.SerializeAsString();
  return frame;
}

// Reads one request, then calls `Run` with it.
template <typename Request>
class OneRequestHandler : public Handler {
 public:
  explicit OneRequestHandler(Call* call) : call_(call) {}

  void OnMessage(const wire::Buffer& message) final {
    if (std::exchange(got_, true)) {
      return call_->Finish(
          Error{.kind = ErrorKind::kProtocol, .message = "the call takes a single request"});
    }
    Request request;
    if (std::optional<Error> error = session::ParseRequest(message.view(), &request)) {
      return call_->Finish(error);
    }
    Run(request);
  }
  // The peer may half-close after its request, and does.
  void OnHalfClosed() final {
    if (got_) return;
    call_->Finish(Error{.kind = ErrorKind::kProtocol, .message = "the call has no request"});
  }

 protected:
  virtual void Run(const Request& request) = 0;
  Call* const call_;

 private:
  bool got_ = false;
};

// A method of Admin.
template <typename Request, typename Response>
class UnaryHandler final : public OneRequestHandler<Request> {
 public:
  using Method = void (runtime::Broker::*)(const Request&, runtime::Broker::Reply<Response>);
  UnaryHandler(Call* call, Method method) : OneRequestHandler<Request>(call), method_(method) {}

  void Pump() override {
    if (!*reply_ || this->call_->writing()) return;
    Result<Response>& result = **reply_;
    if (result.ok()) {
      this->call_->WriteAndFinish(MessageFrame(*result));
    } else {
      this->call_->Finish(result.error());
    }
  }

 private:
  void Run(const Request& request) override {
    // The call may be gone before the broker answers; then the answer is dropped.
    std::weak_ptr<Slot> slot = reply_;
    (this->call_->shard()->broker()->*method_)(
        request, [slot, call = this->call_](Result<Response> result) {
          if (const std::shared_ptr<Slot> kept = slot.lock()) {
            *kept = std::move(result);
            call->MarkDirty();
          }
        });
  }

  using Slot = std::optional<Result<Response>>;
  const Method method_;
  const std::shared_ptr<Slot> reply_ = std::make_shared<Slot>();
};

}  // namespace spillway::service
