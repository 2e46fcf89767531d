// A gRPC server that does for each frame what a broker of many queues cannot leave out,
// and nothing else: reads it from the producer, confirms it to the producer, passes it on
// to a consumer of the same queue, and reads that the consumer has settled it. No
// decoding, no copy, no store, no credit.
//
//   /relay/PublishTo    frames come in, counts of frames go out
//   /relay/ConsumeFrom  frames go out, counts of frames come in
//
// The queue is the metadata `queue`. One thread on one completion queue, one write at a
// time for each stream, as the broker has; what waits for a stream meanwhile goes out
// joined, also as the broker does it. Opened is a stream once its headers come back.
// Nothing here bounds what waits: the load bounds what is under way.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/bench/limits/rounds.h"
#include "tests/bench/limits/start_relay.h"

namespace spillway::bench {
namespace {

// Frames that wait for a consumer are joined into messages of about this size, the
// broker's own.
constexpr size_t kJoinedBytes = size_t{256} << 10;

class Stream;

// Frames go round its consumers in turn.
struct Queue {
  std::vector<Stream*> consumers;
  size_t next = 0;
};

struct Relay {
  grpc::AsyncGenericService service;
  std::unique_ptr<grpc::ServerCompletionQueue> events;
  std::unordered_map<std::string, Queue> queues;
  std::vector<Stream*> dirty;  // something is to be written at the end of the round
};

// One call. Lives until the process ends, as the whole relay does after a load.
class Stream {
 public:
  struct Tag {
    Stream* stream;
    void (Stream::*done)(bool);
  };

  explicit Stream(Relay* relay) : relay_(*relay) {
    relay_.service.RequestCall(&context_, &stream_, relay_.events.get(), relay_.events.get(),
                               &accepted_);
  }

  void Complete(const Tag& tag, bool ok) { (this->*tag.done)(ok); }

  // At the end of a round.
  void Pump() {
    dirty_ = false;
    if (writing_) return;
    if (!waiting_.empty()) {
      Write(Joined());
    } else if (confirmed_ < received_) {
      confirmed_ = received_;
      Write(CountFrame(confirmed_));
    }
  }

 private:
  void Accepted(bool ok) {
    if (!ok) return;
    new Stream(&relay_);  // NOLINT: waits for the next call
    const auto name = context_.client_metadata().find("queue");
    if (name != context_.client_metadata().end()) {
      queue_ = &relay_.queues[std::string(name->second.data(), name->second.size())];
    }
    consumes_ = context_.method() == "/relay/ConsumeFrom";
    if (queue_ != nullptr && consumes_) queue_->consumers.push_back(this);
    writing_ = true;
    stream_.SendInitialMetadata(&written_);
    stream_.Read(&incoming_, &read_);
  }

  // Not ok: the load is over.
  void HaveRead(bool ok) {
    if (!ok) return;
    if (!consumes_ && queue_ != nullptr && !queue_->consumers.empty()) {
      Stream* to = queue_->consumers[queue_->next++ % queue_->consumers.size()];
      to->waiting_.emplace_back();
      to->waiting_.back().Swap(&incoming_);
      to->MarkDirty();
      ++received_;
      MarkDirty();
    }
    incoming_.Clear();
    stream_.Read(&incoming_, &read_);
  }

  void Written(bool ok) {
    writing_ = false;
    if (ok) MarkDirty();
  }

  void MarkDirty() {
    if (!std::exchange(dirty_, true)) relay_.dirty.push_back(this);
  }

  void Write(const grpc::ByteBuffer& message) {
    writing_ = true;
    stream_.Write(message, &written_);
  }

  // REQUIRES: something waits.
  grpc::ByteBuffer Joined() {
    grpc::ByteBuffer first;
    first.Swap(&waiting_.front());
    waiting_.pop_front();
    size_t bytes = first.Length();
    if (waiting_.empty() || bytes + waiting_.front().Length() > kJoinedBytes) return first;
    std::vector<grpc::Slice> all;
    std::vector<grpc::Slice> some;
    if (first.Dump(&all).ok()) {
      while (!waiting_.empty() && bytes + waiting_.front().Length() <= kJoinedBytes) {
        bytes += waiting_.front().Length();
        if (waiting_.front().Dump(&some).ok()) all.insert(all.end(), some.begin(), some.end());
        waiting_.pop_front();
      }
    }
    return {all.data(), all.size()};
  }

  Relay& relay_;
  Queue* queue_ = nullptr;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  grpc::ByteBuffer incoming_;
  std::deque<grpc::ByteBuffer> waiting_;  // of a consumer
  uint64_t received_ = 0;                 // frames of a producer
  uint64_t confirmed_ = 0;
  bool consumes_ = false;
  bool writing_ = false;
  bool dirty_ = false;
  Tag accepted_{this, &Stream::Accepted};
  Tag read_{this, &Stream::HaveRead};
  Tag written_{this, &Stream::Written};
};

int Serve() {
  Relay relay;
  const std::unique_ptr<grpc::Server> server = StartRelay(&relay.service, &relay.events);
  if (server == nullptr) return 1;
  new Stream(&relay);  // NOLINT: waits for the first call
  const auto handle = [](void* tag, bool ok) {
    const auto* t = static_cast<Stream::Tag*>(tag);
    t->stream->Complete(*t, ok);
  };
  const auto end = [&relay] {
    for (Stream* stream : relay.dirty) stream->Pump();
    relay.dirty.clear();
  };
  // Runs until it is killed.
  while (RunRound(relay.events.get(), gpr_inf_future(GPR_CLOCK_MONOTONIC), handle, end)) {
  }
  return 0;
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  CLI::App app{"Confirms gRPC frames and passes them on, queue by queue; prints its port"};
  CLI11_PARSE(app, argc, argv);
  return spillway::bench::Serve();
}
