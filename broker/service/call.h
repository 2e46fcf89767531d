// One gRPC call, whatever its method: its operations and its end.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "broker/base/error.h"
#include "broker/service/shard.h"
#include "broker/session/frame.h"
#include "broker/wire/buffer.h"

namespace spillway::service {

class Call;

// What a method does with its call. Lives as long as the call.
class Handler {
 public:
  virtual ~Handler() = default;
  // A message came; another read is posted by itself.
  virtual void OnMessage(const wire::Buffer& message) = 0;
  // No more messages will come: the peer half-closed, or it is gone.
  virtual void OnHalfClosed() = 0;
  // The write has gone out.
  virtual void OnWritten() {}
  // After a batch, if the call was marked dirty.
  virtual void Pump() = 0;
  virtual MonoNanos OnTimer(const Now&) { return INT64_MAX; }
};

// Makes the handler of a new call; nothing if there is no such method.
using HandlerFactory = std::function<std::unique_ptr<Handler>(Call*)>;

// Deletes itself once it has finished and no operation is outstanding.
// Thread-safety: none; all on the shard's thread.
class Call final : public Tended {
 public:
  // Waits for the next call on `service`, and then for another.
  static void Accept(grpc::AsyncGenericService* service, Shard* shard,
                     const HandlerFactory* factory);

  Shard* shard() { return shard_; }
  const std::string& method() const { return context_.method(); }
  std::string peer() const { return context_.peer(); }
  void MarkDirty() { shard_->MarkDirty(this); }
  void StartTimer(MonoNanos at) { shard_->StartTimer(this, at); }

  bool writing() const { return writing_; }
  bool finished() const { return finishing_; }
  // REQUIRES: !writing() and !finished().
  void Write(session::OutFrame frame);
  // Ends the call, once. A write that is outstanding is cut off.
  void Finish(const std::optional<Error>& error);
  // The same with a last message. REQUIRES: !writing().
  void WriteAndFinish(session::OutFrame frame);

 private:
  class Op : public Tag {
   public:
    using Method = void (Call::*)(bool);
    Op(Call* call, Method method) : call_(call), method_(method) {}
    void Proceed(bool ok) override { (call_->*method_)(ok); }

   private:
    Call* const call_;
    const Method method_;
  };

  Call(grpc::AsyncGenericService* service, Shard* shard, const HandlerFactory* factory);
  ~Call() override;
  void OnAccepted(bool ok);
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnFinished(bool ok);
  void OnGone(bool ok);
  void Read();
  void ReadSoon();
  void DeleteIfDone();
  void Pump() override;
  MonoNanos OnTimer(const Now& now) override;

  grpc::AsyncGenericService* const service_;
  Shard* const shard_;
  const HandlerFactory* const factory_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  Op accepted_{this, &Call::OnAccepted};
  Op read_{this, &Call::OnRead};
  Op written_{this, &Call::OnWritten};
  Op finished_{this, &Call::OnFinished};
  Op gone_{this, &Call::OnGone};
  grpc::ByteBuffer incoming_;
  std::unique_ptr<Handler> handler_;
  std::optional<ErrorKind> ended_with_;
  bool reading_ = false;
  bool read_due_ = false;  // to be posted after the pump
  bool writing_ = false;
  bool wrote_ = false;
  bool finishing_ = false;
  bool done_ = false;
  bool attended_ = false;  // gRPC will say when the peer has its status, or is gone
};

}  // namespace spillway::service
