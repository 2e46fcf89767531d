// One load on relay_many_server, spread over queues and connections as `many` spreads it
// over those of a broker: raw streams, one thread, frames that were encoded once. Prints
// the same line of JSON.
//
//   relay_many_load --address A --pid P --queues N --pairs M --connections C
//
// Writes wait for the end of a round of events: a consumer settles in one all that came.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/limits/frames.h"
#include "tests/bench/limits/rounds.h"
#include "tests/bench/limits/spread.h"

namespace spillway::bench {
namespace {

constexpr uint32_t kOpening = 128;  // streams at a time: a listener's backlog is bounded
constexpr size_t kFlushBytes = size_t{256} << 10;  // frames of a producer that go out together
constexpr int64_t kSilenceSeconds = 10;            // after which the relay is given up

class Stream;

// What the streams share.
struct Shared {
  grpc::CompletionQueue events;
  grpc::ByteBuffer frame;  // what producers send
  size_t frame_bytes = 1;
  uint64_t opened = 0;         // streams
  uint64_t delivered = 0;      // frames
  std::vector<Stream*> dirty;  // something is to be written at the end of the round
  std::string failure;
};

// One call of a producer or a consumer. Lives until the process ends.
class Stream {
 public:
  struct Tag {
    Stream* stream;
    void (Stream::*done)(bool);
  };

  Stream(Shared* shared, grpc::GenericStub* stub, bool consumes, const std::string& queue)
      : shared_(*shared), consumes_(consumes) {
    context_.set_wait_for_ready(true);
    context_.AddMetadata("queue", queue);
    call_ = stub->PrepareCall(&context_, consumes ? "/relay/ConsumeFrom" : "/relay/PublishTo",
                              &shared_.events);
    call_->StartCall(&started_);
  }

  void Complete(const Tag& tag, bool ok) {
    if (ok) {
      (this->*tag.done)(true);
    } else if (shared_.failure.empty()) {
      shared_.failure = "a stream of the relay ended";
    }
  }

  // REQUIRES: a producer's.
  void Publish() {
    ++due_;
    MarkDirty();
  }

  // At the end of a round.
  void Pump() {
    dirty_ = false;
    if (writing_ || written_frames_ == due_) return;
    writing_ = true;
    if (consumes_) {
      written_frames_ = due_;
      call_->Write(CountFrame(due_), &written_);
      return;
    }
    ++written_frames_;
    unflushed_bytes_ += shared_.frame_bytes;
    grpc::WriteOptions options;
    const bool more = written_frames_ < due_ && unflushed_bytes_ < kFlushBytes;
    if (more) options.set_buffer_hint();
    if (!more) unflushed_bytes_ = 0;
    call_->Write(shared_.frame, options, &written_);
  }

 private:
  void Started(bool /*ok*/) { call_->ReadInitialMetadata(&opened_); }
  void Opened(bool /*ok*/) {
    ++shared_.opened;
    call_->Read(&incoming_, &read_);
  }
  void HaveRead(bool /*ok*/) {
    if (consumes_) {
      const size_t bytes = incoming_.Length();
      if (bytes % shared_.frame_bytes != 0) shared_.failure = "a frame was changed";
      due_ += bytes / shared_.frame_bytes;
      shared_.delivered += bytes / shared_.frame_bytes;
      MarkDirty();
    } else {
      const uint64_t confirmed = CountOf(incoming_);
      if (confirmed <= confirmed_ || confirmed > written_frames_) {
        shared_.failure = "a confirmation is of what was not sent";
      }
      confirmed_ = confirmed;
    }
    incoming_.Clear();
    call_->Read(&incoming_, &read_);
  }
  void Written(bool /*ok*/) {
    writing_ = false;
    if (written_frames_ < due_) MarkDirty();
  }
  void MarkDirty() {
    if (!std::exchange(dirty_, true)) shared_.dirty.push_back(this);
  }

  Shared& shared_;
  const bool consumes_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::ByteBuffer incoming_;
  uint64_t due_ = 0;             // frames to be sent, or to be settled, since the beginning
  uint64_t written_frames_ = 0;  // of these
  uint64_t confirmed_ = 0;
  size_t unflushed_bytes_ = 0;
  bool writing_ = false;
  bool dirty_ = false;
  Tag started_{this, &Stream::Started};
  Tag opened_{this, &Stream::Opened};
  Tag read_{this, &Stream::HaveRead};
  Tag written_{this, &Stream::Written};
};

class Load {
 public:
  explicit Load(const Spread& spread) : spread_(spread) {
    const grpc::Slice slice(PublishFrame(spread.shape));
    shared_.frame = grpc::ByteBuffer(&slice, 1);
    shared_.frame_bytes = slice.size();
    for (uint32_t i = 0; i < spread.connections; ++i) {
      grpc::ChannelArguments args;
      args.SetMaxReceiveMessageSize(-1);
      args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection each
      stubs_.push_back(std::make_unique<grpc::GenericStub>(
          grpc::CreateCustomChannel(spread.address, grpc::InsecureChannelCredentials(), args)));
    }
  }

  int Run() {
    const uint64_t begin = MonotonicNanos();
    const auto all_open = [this] { return shared_.opened == 2 * uint64_t{spread_.pairs}; };
    OpenMore();
    while (!all_open()) {
      if (!Round([this] { OpenMore(); })) return Fail(shared_.failure);
    }
    const uint64_t opened = MonotonicNanos();
    SendMore();
    PumpDirty();
    if (!RunFor(spread_.warmup_seconds)) return Fail(shared_.failure);
    const uint64_t from = MonotonicNanos();
    const uint64_t frames_before = shared_.delivered;
    const double cpu_before = CpuSeconds(spread_.pid);
    if (!RunFor(spread_.seconds)) return Fail(shared_.failure);
    const uint64_t frames = shared_.delivered - frames_before;
    const double cpu = CpuSeconds(spread_.pid) - cpu_before;
    const uint64_t to = MonotonicNanos();
    if (frames == 0) return Fail("nothing came through");
    return PrintSpreadResult({.records = frames * spread_.shape.batch,
                              .seconds = static_cast<double>(to - from) / 1e9,
                              .cpu_seconds = cpu,
                              .open_seconds = static_cast<double>(opened - begin) / 1e9});
  }

 private:
  // A round of events, and what follows from them. False: there is a failure.
  template <typename Then>
  bool Round(Then then) {
    const auto handle = [](void* tag, bool ok) {
      const auto* t = static_cast<Stream::Tag*>(tag);
      t->stream->Complete(*t, ok);
    };
    const auto end = [this, &then] {
      then();
      PumpDirty();
    };
    const gpr_timespec deadline = gpr_time_from_seconds(kSilenceSeconds, GPR_TIMESPAN);
    if (!RunRound(&shared_.events, deadline, handle, end)) {
      shared_.failure = "nothing comes from the relay any more";
    }
    return shared_.failure.empty();
  }

  bool RunFor(double seconds) {
    const uint64_t end = MonotonicNanos() + static_cast<uint64_t>(seconds * 1e9);
    while (MonotonicNanos() < end) {
      if (!Round([this] { SendMore(); })) return false;
    }
    return true;
  }

  void OpenMore() {
    const auto open = [this](uint32_t connection, bool consumes, uint32_t pair) {
      return std::make_unique<Stream>(&shared_, stubs_[connection].get(), consumes,
                                      spread_.QueueOf(pair));
    };
    while (producers_.size() < spread_.pairs &&
           producers_.size() + consumers_.size() < shared_.opened + kOpening) {
      const auto i = static_cast<uint32_t>(producers_.size());
      consumers_.push_back(open(spread_.ConsumerConnection(i), true, i));
      producers_.push_back(open(spread_.ProducerConnection(i), false, i));
    }
  }

  // Through the producers in turn, as long as few enough records are under way.
  void SendMore() {
    while ((sent_ - shared_.delivered) * spread_.shape.batch < spread_.in_flight) {
      producers_[sent_++ % producers_.size()]->Publish();
    }
  }

  void PumpDirty() {
    for (Stream* stream : shared_.dirty) stream->Pump();
    shared_.dirty.clear();
  }

  const Spread spread_;
  Shared shared_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::vector<std::unique_ptr<Stream>> producers_;
  std::vector<std::unique_ptr<Stream>> consumers_;
  uint64_t sent_ = 0;  // frames
};

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  spillway::bench::Spread spread;
  CLI::App app{"One load on relay_many_server"};
  spillway::bench::AddOptions(&app, &spread);
  CLI11_PARSE(app, argc, argv);
  spillway::bench::Load load(spread);
  // Thousands of streams are not closed one by one: the relay is thrown away.
  std::_Exit(load.Run());
}
