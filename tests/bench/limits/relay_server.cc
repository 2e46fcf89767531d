// A gRPC server that passes frames on and does nothing else: no decoding, no copy,
// no order of its own, no credit. What a broker on this transport cannot exceed.
//
//   /relay/Publish  every frame goes to the consumer that is connected
//   /relay/Sink     every frame is dropped: the limit of publishing alone
//   /relay/Consume  where frames come out
//
// One thread on one completion queue, as the broker has.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <deque>
#include <memory>
#include <string>

#include "tests/bench/limits/start_relay.h"

namespace spillway::bench {
namespace {

// What may wait for the consumer before the producer is no longer read: enough to
// keep both directions busy, and a bound on memory.
constexpr size_t kMaxWaitingBytes = size_t{8} << 20;
// A flush at the latest after so much, so that writes neither go out one by one nor
// wait for ever.
constexpr size_t kFlushBytes = size_t{256} << 10;

class Stream;

struct Relay {
  grpc::AsyncGenericService service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  Stream* producer = nullptr;
  Stream* consumer = nullptr;
  std::deque<grpc::ByteBuffer> waiting;
  size_t waiting_bytes = 0;
};

// One call; deletes itself once no operation is outstanding.
class Stream {
 public:
  struct Tag {
    Stream* stream;
    void (Stream::*done)(bool);
  };

  explicit Stream(Relay* relay) : relay_(*relay) {
    relay_.service.RequestCall(&context_, &stream_, relay_.queue.get(), relay_.queue.get(),
                               Begin(&accepted_));
  }

  void Complete(const Tag& tag, bool ok) {
    (this->*tag.done)(ok);
    --outstanding_;
    // A producer that is not read at the moment has none outstanding, either.
    if (outstanding_ == 0 && ended_) delete this;
  }

  // REQUIRES: a consumer's stream.
  void WriteNext() {
    if (writing_ || ended_ || relay_.waiting.empty()) return;
    writing_ = true;
    writing_now_.Clear();
    writing_now_.Swap(&relay_.waiting.front());
    relay_.waiting.pop_front();
    const size_t bytes = writing_now_.Length();
    relay_.waiting_bytes -= bytes;
    unflushed_bytes_ += bytes;
    grpc::WriteOptions options;
    if (!relay_.waiting.empty() && unflushed_bytes_ < kFlushBytes) {
      options.set_buffer_hint();
    } else {
      unflushed_bytes_ = 0;
    }
    stream_.Write(writing_now_, options, Begin(&written_));
  }

  // REQUIRES: a producer's stream.
  void ReadNext() {
    if (reading_ || ended_ || relay_.waiting_bytes >= kMaxWaitingBytes) return;
    reading_ = true;
    stream_.Read(&incoming_, Begin(&read_));
  }

 private:
  void* Begin(Tag* tag) {
    ++outstanding_;
    return tag;
  }

  void Accepted(bool ok) {
    if (!ok) {
      ended_ = true;
      return;
    }
    new Stream(&relay_);  // NOLINT: deletes itself; waits for the next call
    if (context_.method() == "/relay/Consume") {
      relay_.consumer = this;
      // Tells the consumer that it is connected.
      stream_.SendInitialMetadata(Begin(&metadata_sent_));
      reading_ = true;
      stream_.Read(&incoming_, Begin(&read_));  // comes back when the consumer leaves
    } else {
      sink_ = context_.method() == "/relay/Sink";
      if (!sink_) relay_.producer = this;
      ReadNext();
    }
  }

  void HaveRead(bool ok) {
    reading_ = false;
    if (!ok) {
      End();
      return;
    }
    if (!sink_ && relay_.consumer != nullptr) {
      relay_.waiting_bytes += incoming_.Length();
      relay_.waiting.emplace_back();
      relay_.waiting.back().Swap(&incoming_);
      relay_.consumer->WriteNext();
    }
    incoming_.Clear();
    ReadNext();
  }

  void End() {
    ended_ = true;
    stream_.Finish(grpc::Status::OK, Begin(&finished_));
    if (relay_.producer == this) relay_.producer = nullptr;
    if (relay_.consumer != this) return;
    relay_.consumer = nullptr;
    relay_.waiting.clear();  // nothing of the next run
    relay_.waiting_bytes = 0;
    if (relay_.producer != nullptr) relay_.producer->ReadNext();
  }

  void Written(bool ok) {
    writing_ = false;
    if (!ok) return;
    WriteNext();
    if (relay_.producer != nullptr) relay_.producer->ReadNext();
  }

  void Ignore(bool /*ok*/) {}

  Relay& relay_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer writing_now_;
  size_t unflushed_bytes_ = 0;
  int outstanding_ = 0;
  bool sink_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool ended_ = false;
  Tag accepted_{this, &Stream::Accepted};
  Tag metadata_sent_{this, &Stream::Ignore};
  Tag read_{this, &Stream::HaveRead};
  Tag written_{this, &Stream::Written};
  Tag finished_{this, &Stream::Ignore};
};

int Serve() {
  Relay relay;
  const std::unique_ptr<grpc::Server> server = StartRelay(&relay.service, &relay.queue);
  if (server == nullptr) return 1;
  new Stream(&relay);  // NOLINT: deletes itself
  void* tag = nullptr;
  bool ok = false;
  // Runs until it is killed.
  while (relay.queue->Next(&tag, &ok)) {
    const auto* t = static_cast<Stream::Tag*>(tag);
    t->stream->Complete(*t, ok);
  }
  return 0;
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  CLI::App app{"Passes gRPC frames on; prints its port"};
  CLI11_PARSE(app, argc, argv);
  return spillway::bench::Serve();
}
