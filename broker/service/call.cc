#include "broker/service/call.h"

#include <utility>

#include "broker/service/byte_buffer.h"
#include "broker/service/status.h"

namespace spillway::service {

void Call::Accept(grpc::AsyncGenericService* service, Shard* shard, Methods* methods) {
  if (shard->stopping()) return;
  Call* call = new Call(service, shard, methods);  // NOLINT: deletes itself
  call->context_.AsyncNotifyWhenDone(&call->gone_);
  service->RequestCall(&call->context_, &call->stream_, shard->queue(), shard->queue(),
                       &call->accepted_);
}

Call::Call(grpc::AsyncGenericService* service, Shard* shard, Methods* methods)
    : service_(service), home_(shard), methods_(methods) {
  home_->Tend(this);
}

Call::~Call() {
  handler_.reset();
  home_->Forget(this);
}

void Call::OnAccepted(bool ok) {
  if (!ok) {
    delete this;
    return;
  }
  attended_ = true;
  Accept(service_, home_, methods_);
  if (MakeHandler()) Read();
}

bool Call::MakeHandler() {
  handler_ = methods_->MakeHandler(this);
  if (handler_ != nullptr) return true;
  if (!finishing_) {
    Finish(
        Error{.kind = ErrorKind::kUnsupported, .message = "no such method: " + context_.method()});
  }
  return false;
}

// REQUIRES: no read or write is outstanding. That the peer is gone may be told before
// or after.
void Call::MoveTo(Shard* home, const wire::Buffer& first) {
  handler_.reset();
  home_->Forget(this);
  first_ = first;
  Shard* from = home_;
  home_ = home;
  // What this thread finds later follows behind.
  from->Hand(home, &moved_, true);
}

void Call::OnMoved(bool /*ok*/) {
  home_->Tend(this);
  const wire::Buffer first = std::exchange(first_, {});
  if (MakeHandler()) OnMessage(first);
}

void Call::OnMessage(const wire::Buffer& message) {
  if (!std::exchange(at_home_, true)) {
    Shard* home = methods_->HomeOf(this, message);
    if (home != home_) return MoveTo(home, message);
  }
  handler_->OnMessage(message);
  ReadSoon();
  DeleteIfDone();
}

void Call::Read() {
  if (home_->stopping() || finishing_ || reading_) return;
  reading_ = true;
  stream_.Read(&incoming_, &read_);
}

// gRPC tells the peer at once how much it may send when a read is posted, in a write
// of its own that wakes the peer for nothing; what is written before takes that along.
// With a backlog it is the next message that counts.
void Call::ReadSoon() {
  if (!home_->calm()) return Read();
  read_due_ = true;
  MarkDirty();
}

void Call::OnRead(bool ok) {
  reading_ = false;
  if (!finishing_) {
    if (ok) {
      const wire::Buffer message = CopyIn(incoming_);
      incoming_.Clear();
      // The call may be another shard's afterwards.
      return OnMessage(message);
    }
    handler_->OnHalfClosed();
    if (!attended_) Finish(std::nullopt);
  }
  DeleteIfDone();
}

void Call::Write(session::OutFrame frame) {
  if (home_->stopping()) return;
  grpc::WriteOptions options;
  // The first write carries the headers and would wait for a flush that no other
  // write can bring: the next one is only issued once this one is done.
  if (frame.more && wrote_) options.set_buffer_hint();
  wrote_ = true;
  writing_ = true;
  stream_.Write(MakeMessage(std::move(frame)), options, &written_);
}

void Call::OnWritten(bool ok) {
  writing_ = false;
  if (!finishing_ && ok) {
    handler_->OnWritten();
    MarkDirty();
  }
  // Not ok: the peer is gone, and the read says so.
  DeleteIfDone();
}

void Call::Finish(const std::optional<Error>& error) {
  if (finishing_) return;
  finishing_ = true;
  if (error) ended_with_ = error->kind;
  const grpc::Status status = MakeStatus(error, &context_);
  if (home_->stopping()) {
    done_ = true;
    return;
  }
  if (writing_) {
    // What gRPC holds of the write stays until the peer reads it or the stream is
    // reset; this peer has shown that it does not read.
    context_.TryCancel();
  }
  stream_.Finish(status, &finished_);
}

void Call::WriteAndFinish(session::OutFrame frame) {
  if (finishing_) return;
  finishing_ = true;
  if (home_->stopping()) {
    done_ = true;
    return;
  }
  stream_.WriteAndFinish(MakeMessage(std::move(frame)), {}, grpc::Status::OK, &finished_);
}

void Call::OnFinished(bool ok) {
  done_ = true;
  // A peer that just went away looks like one that half-closed without Close.
  if (ended_with_ && (ok || *ended_with_ != ErrorKind::kProtocol)) {
    home_->CountError(*ended_with_);
  }
  DeleteIfDone();
}

void Call::OnGone(bool /*ok*/) {
  attended_ = false;
  // A peer that had half-closed, as a watcher does, can leave without a word: there
  // is no read that would fail, and perhaps never another write.
  if (!finishing_ && !reading_ && !read_due_) Finish(std::nullopt);
  DeleteIfDone();
}

void Call::DeleteIfDone() {
  // A stream whose read failed and whose peer is gone still waits for Finish.
  if (done_ && !reading_ && !writing_ && !attended_) delete this;
}

void Call::Pump() {
  if (!finishing_ && handler_) handler_->Pump();
  if (!read_due_) return;
  read_due_ = false;
  Read();
}

MonoNanos Call::OnTimer(const Now& now) {
  if (finishing_ || !handler_) return INT64_MAX;
  return handler_->OnTimer(now);
}

}  // namespace spillway::service
