// One bidirectional stream of encoded frames.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <memory>
#include <string>

#include "clients/cpp/spillway/error.h"
#include "clients/cpp/spillway/internal/io_loop.h"

namespace spillway::client::internal {

// Always has a read posted, and at most one write outstanding, which the owner
// sees to. Keeps itself alive until all of its operations have completed. Events
// come on the loop's thread; Write and Cancel may come from any.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // Write may be called from here on.
    virtual void OnStarted(Stream* stream) = 0;
    virtual void OnFrame(Stream* stream, const grpc::ByteBuffer& frame) = 0;
    virtual void OnWritten(Stream* stream) = 0;
    // The last event. `error` is unspecified if the broker ended it with OK.
    virtual void OnEnded(Stream* stream, const Error& error) = 0;
  };

  // `method`: "/package.Service/Method".
  static std::shared_ptr<Stream> Open(const std::shared_ptr<grpc::Channel>& channel, IoLoop* loop,
                                      const std::string& method, std::shared_ptr<Handler> handler);
  // REQUIRES: started, not ended, no write outstanding.
  void Write(const grpc::ByteBuffer& frame);
  // Ends the stream soon; OnEnded follows.
  void Cancel() { context_.TryCancel(); }

 private:
  struct Op final : IoLoop::Tag {
    Op(Stream* s, void (Stream::*f)(bool)) : stream(s), done(f) {}
    void Complete(bool ok) override;
    Stream* stream;
    void (Stream::*done)(bool);
  };

  Stream(const std::shared_ptr<grpc::Channel>& channel, std::shared_ptr<Handler> handler)
      : stub_(channel), handler_(std::move(handler)) {}
  void* Begin(Op* op);
  void Started(bool ok);
  void HaveRead(bool ok);
  void Written(bool ok);
  void Finished(bool ok);

  grpc::GenericStub stub_;
  std::shared_ptr<Handler> handler_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::ByteBuffer read_;
  grpc::Status status_;
  std::atomic<int> outstanding_ = 0;
  bool finished_ = false;
  std::shared_ptr<Stream> self_;  // while operations are outstanding
  Op start_{this, &Stream::Started};
  Op reading_{this, &Stream::HaveRead};
  Op writing_{this, &Stream::Written};
  Op finishing_{this, &Stream::Finished};
};

}  // namespace spillway::client::internal
