#include "clients/cpp/spillway/internal/stream.h"

#include <utility>

#include "clients/cpp/spillway/internal/error_proto.h"

namespace spillway::client::internal {

std::shared_ptr<Stream> Stream::Open(const std::shared_ptr<grpc::Channel>& channel, IoLoop* loop,
                                     const std::string& method, std::shared_ptr<Handler> handler) {
  std::shared_ptr<Stream> stream(new Stream(channel, std::move(handler)));
  stream->self_ = stream;
  stream->call_ = stream->stub_.PrepareCall(&stream->context_, method, loop->queue());
  stream->call_->StartCall(stream->Begin(&stream->start_));
  return stream;
}

void* Stream::Begin(Op* op) {
  outstanding_.fetch_add(1);
  return static_cast<IoLoop::Tag*>(op);
}

void Stream::Op::Complete(bool ok) {
  Stream* const s = stream;
  (s->*done)(ok);
  // After Finished the owner starts nothing more, so 0 stays 0.
  if (s->outstanding_.fetch_sub(1) == 1 && s->finished_) {
    s->handler_ = nullptr;
    const std::shared_ptr<Stream> last = std::move(s->self_);
  }
}

void Stream::Write(const grpc::ByteBuffer& frame) { call_->Write(frame, Begin(&writing_)); }

void Stream::Started(bool ok) {
  if (!ok) {
    call_->Finish(&status_, Begin(&finishing_));
    return;
  }
  call_->Read(&read_, Begin(&reading_));
  handler_->OnStarted(this);
}

void Stream::HaveRead(bool ok) {
  if (!ok) {
    call_->Finish(&status_, Begin(&finishing_));
    return;
  }
  handler_->OnFrame(this, read_);
  read_.Clear();
  call_->Read(&read_, Begin(&reading_));
}

void Stream::Written(bool ok) {
  // A failed write is followed by a failed read, which tells why.
  if (ok) handler_->OnWritten(this);
}

void Stream::Finished(bool /*ok*/) {
  handler_->OnEnded(this, FromCall(status_, context_));
  finished_ = true;
}

}  // namespace spillway::client::internal
