// Loads on relay_server: the same frames, threads and calls as the C++ client uses,
// without its protocol.
//
//   relay_load --address A --mode through   producer → relay → consumer
//   relay_load --address A --mode sink      producer → relay
//   relay_load --address A --mode latency   single records, open loop
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <thread>
#include <vector>

#include "clients/cpp/bench/load.h"
#include "tests/bench/limits/frames.h"

namespace spillway::bench {
namespace {

struct Options {
  std::string address;
  std::string mode = "through";
  Shape shape;
  double warmup_seconds = 0.3;
  double seconds = 1;
  double rate = 2000;
};

// A call on a connection and a completion queue of its own, for one thread.
class Call {
 public:
  Call(const std::string& address, const std::string& method) : stub_(Dial(address)) {
    context_.set_wait_for_ready(true);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    call_ = stub_.PrepareCall(&context_, method, &queue_);
    call_->StartCall(nullptr);
    Await();
  }
  ~Call() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  bool AwaitHeaders() {
    call_->ReadInitialMetadata(nullptr);
    return Await();
  }
  bool Write(const grpc::ByteBuffer& frame) {
    call_->Write(frame, nullptr);
    return Await();
  }
  bool Read(grpc::ByteBuffer* frame) {
    call_->Read(frame, nullptr);
    return Await();
  }
  // From any thread; what waits fails.
  void Cancel() { context_.TryCancel(); }

 private:
  static std::shared_ptr<grpc::Channel> Dial(const std::string& address) {
    grpc::ChannelArguments args;
    args.SetMaxReceiveMessageSize(-1);
    args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args);
  }
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

grpc::ByteBuffer Wrap(const std::string& frame) {
  const grpc::Slice slice(frame);
  return {&slice, 1};
}

// Counts frames after the warm-up.
class Meter {
 public:
  explicit Meter(const Options& options)
      : warmup_(static_cast<uint64_t>(options.warmup_seconds * 1e9)),
        length_(static_cast<uint64_t>(options.seconds * 1e9)) {}
  // Returns false when it is enough.
  bool Add() {
    const uint64_t now = MonotonicNanos();
    ++total_;
    if (first_ == 0) first_ = now;
    if (begin_ == 0) {
      if (now - first_ >= warmup_) begin_ = now;
      return true;
    }
    ++frames_;
    last_ = now;
    return now - begin_ < length_;
  }
  nlohmann::json Report(uint32_t batch) const {
    const double seconds = static_cast<double>(last_ - begin_) / 1e9;
    return {{"records", frames_ * batch}, {"seconds", seconds}, {"total", total_ * batch}};
  }
  bool empty() const { return frames_ == 0; }

 private:
  const uint64_t warmup_;
  const uint64_t length_;
  uint64_t first_ = 0;
  uint64_t begin_ = 0;
  uint64_t last_ = 0;
  uint64_t frames_ = 0;
  uint64_t total_ = 0;
};

int Through(const Options& options) {
  Call consumer(options.address, "/relay/Consume");
  if (!consumer.AwaitHeaders()) return Fail("the relay did not answer");
  std::atomic<bool> done = false;
  std::thread producer([&] {
    Call call(options.address, "/relay/Publish");
    const grpc::ByteBuffer frame = Wrap(PublishFrame(options.shape));
    while (!done && call.Write(frame)) {
    }
  });
  Meter meter(options);
  grpc::ByteBuffer frame;
  while (consumer.Read(&frame) && meter.Add()) frame.Clear();
  done = true;
  // The relay stops to wait for this consumer, and takes what the producer sends.
  consumer.Cancel();
  producer.join();
  return meter.empty() ? Fail("nothing came through")
                       : PrintResult(meter.Report(options.shape.batch));
}

int Sink(const Options& options) {
  Call call(options.address, "/relay/Sink");
  const grpc::ByteBuffer frame = Wrap(PublishFrame(options.shape));
  Meter meter(options);
  while (call.Write(frame) && meter.Add()) {
  }
  return meter.empty() ? Fail("nothing was taken") : PrintResult(meter.Report(options.shape.batch));
}

// The due time is in the last bytes of the frame, which are those of the payload.
uint64_t DueOf(const grpc::ByteBuffer& frame) {
  std::vector<grpc::Slice> slices;
  uint64_t due = 0;
  if (!frame.Dump(&slices).ok()) return 0;
  std::string bytes;
  for (const grpc::Slice& s : slices) {
    bytes.append(reinterpret_cast<const char*>(s.begin()), s.size());
  }
  if (bytes.size() >= sizeof due) {
    std::memcpy(&due, bytes.data() + bytes.size() - sizeof due, sizeof due);
  }
  return due;
}

int Latency(const Options& options) {
  Call consumer(options.address, "/relay/Consume");
  if (!consumer.AwaitHeaders()) return Fail("the relay did not answer");
  Call producer(options.address, "/relay/Publish");
  std::string bytes = PublishFrame({.record_bytes = options.shape.record_bytes, .batch = 1});
  const uint64_t begin = MonotonicNanos() + 1'000'000;
  const uint64_t measure_from = begin + static_cast<uint64_t>(options.warmup_seconds * 1e9);
  const auto count =
      static_cast<uint64_t>((options.warmup_seconds + options.seconds) * options.rate);
  Histogram latency;
  std::promise<void> received;
  std::thread receiver([&] {
    grpc::ByteBuffer frame;
    for (uint64_t n = 0; n < count && consumer.Read(&frame); ++n) {
      const uint64_t now = MonotonicNanos();
      const uint64_t due = DueOf(frame);
      if (due >= measure_from && due <= now) latency.Add(now - due);
    }
    received.set_value();
  });
  bool sending = true;
  for (uint64_t n = 0; n < count && sending; ++n) {
    const uint64_t due = begin + static_cast<uint64_t>(1e9 * static_cast<double>(n) / options.rate);
    const uint64_t now = MonotonicNanos();
    if (due > now) std::this_thread::sleep_for(std::chrono::nanoseconds(due - now));
    std::memcpy(bytes.data() + bytes.size() - sizeof due, &due, sizeof due);
    sending = producer.Write(Wrap(bytes));
  }
  if (received.get_future().wait_for(std::chrono::seconds(2)) != std::future_status::ready) {
    consumer.Cancel();
  }
  receiver.join();
  if (latency.count() == 0) return Fail("nothing came through");
  nlohmann::json result = QuantilesJson(latency);
  result["total"] = count;
  return PrintResult(result);
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  using spillway::bench::Options;
  Options options;
  CLI::App app{"Loads on relay_server"};
  app.add_option("--address", options.address)->required();
  app.add_option("--mode", options.mode)->check(CLI::IsMember({"through", "sink", "latency"}));
  app.add_option("--size", options.shape.record_bytes, "Bytes of a payload");
  app.add_option("--batch", options.shape.batch, "Records of a frame");
  app.add_option("--warmup", options.warmup_seconds, "Seconds");
  app.add_option("--seconds", options.seconds);
  app.add_option("--rate", options.rate, "Records per second, of mode latency");
  CLI11_PARSE(app, argc, argv);
  if (options.mode == "latency") return spillway::bench::Latency(options);
  if (options.mode == "sink") return spillway::bench::Sink(options);
  return spillway::bench::Through(options);
}
