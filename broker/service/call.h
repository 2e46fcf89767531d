// One gRPC call, whatever its method: its operations and its end.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

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

// The methods that there are. Thread-safety: all shards' threads ask.
class Methods {
 public:
  virtual ~Methods() = default;
  // Of a new call, or of one that has moved; nothing if there is no such method.
  virtual std::unique_ptr<Handler> MakeHandler(Call* call) = 0;
  // The shard that `call` belongs to, now that its first message has come.
  virtual Shard* HomeOf(Call* call, const wire::Buffer& first) = 0;
};

// Deletes itself once it has finished and no operation is outstanding.
//
// A call is accepted by the shard that polls, and its operations complete in that
// one's queue for good. If its first message names a queue of another shard it moves
// there before its handler has seen anything: from then on the other shard tends it
// and starts its operations, which any thread may, and is handed what the first one's
// poller finds.
//
// Thread-safety: none; all on the thread of the shard that is its home. `home_` is
// written once, by the only thread that polls for the call, before the call is handed
// on; so both shards may read it without a lock.
class Call final : public Tended {
 public:
  // Waits for the next call on `service`, and then for another.
  static void Accept(grpc::AsyncGenericService* service, Shard* shard, Methods* methods);

  // Its home.
  Shard* shard() { return home_; }
  const std::string& method() const { return context_.method(); }
  std::string peer() const { return context_.peer(); }
  void MarkDirty() { home_->MarkDirty(this); }
  void StartTimer(MonoNanos at) { home_->StartTimer(this, at); }

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
    Shard* home() const override { return call_->home_; }

   private:
    Call* const call_;
    const Method method_;
  };

  Call(grpc::AsyncGenericService* service, Shard* shard, Methods* methods);
  ~Call() override;
  void OnAccepted(bool ok);
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnFinished(bool ok);
  void OnGone(bool ok);
  void OnMoved(bool ok);
  void MoveTo(Shard* home, const wire::Buffer& first);
  // False if there is none: then the call finishes.
  bool MakeHandler();
  void OnMessage(const wire::Buffer& message);
  void Read();
  void ReadSoon();
  void DeleteIfDone();
  void Pump() override;
  MonoNanos OnTimer(const Now& now) override;

  grpc::AsyncGenericService* const service_;
  Shard* home_;
  Methods* const methods_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  Op accepted_{this, &Call::OnAccepted};
  Op read_{this, &Call::OnRead};
  Op written_{this, &Call::OnWritten};
  Op finished_{this, &Call::OnFinished};
  Op gone_{this, &Call::OnGone};
  Op moved_{this, &Call::OnMoved};
  grpc::ByteBuffer incoming_;
  wire::Buffer first_;  // while the call moves
  std::unique_ptr<Handler> handler_;
  std::optional<ErrorKind> ended_with_;
  bool at_home_ = false;  // the first message has come, and it will not move any more
  bool reading_ = false;
  bool read_due_ = false;  // to be posted after the pump
  bool writing_ = false;
  bool wrote_ = false;
  bool finishing_ = false;
  bool done_ = false;
  bool attended_ = false;  // gRPC will say when the peer has its status, or is gone
};

}  // namespace spillway::service
