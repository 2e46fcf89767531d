// Loads a system by the client that is linked in, as tests/bench/peers does with Go
// clients: the same windows, counts and times. Prints lines of JSON: `begin` and `end`
// of what is measured, so that the caller can read between them what all processes
// cost; `done` once every message was accounted for, or `error`.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "tests/bench/peers/cpp/client.h"

namespace spillway::bench {
namespace {

using nlohmann::json;

constexpr Seconds kMostOpen(30);
constexpr Seconds kMostDrain(60);
constexpr Seconds kMostBacklog(600);
constexpr int kMostReadings = 20;

void Say(const char* at, json line = json::object()) {
  line["at"] = at;
  std::puts(line.dump().c_str());
  std::fflush(stdout);
}

void SayEnd(int64_t records, double seconds) {
  Say("end", {{"records", records}, {"seconds", seconds}});
}

double SecondsSince(Clock::time_point begin) { return Seconds(Clock::now() - begin).count(); }

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options), payloads_(options.size, options.window), reader_(options.size) {}

  // A closed loop: the sender keeps its window full, and the reader acknowledges.
  void Flow(bool read) {
    publisher_ = OpenPublisher(options_, progress_);
    if (read) Prime();
    std::thread sender([&] {
      try {
        Send(read);
      } catch (const std::exception& e) {
        progress_.Failed(e.what());
      }
    });
    try {
      const auto count = [&] { return read ? progress_.received() : progress_.acked(); };
      progress_.Sleep(Seconds(options_.warmup));
      Say("begin");
      const auto begin = Clock::now();
      const int64_t before = count();
      progress_.Sleep(Seconds(options_.seconds));
      SayEnd(count() - before, SecondsSince(begin));
    } catch (const std::exception& e) {
      progress_.Failed(e.what());
    }
    progress_.Stop();
    sender.join();
    Finish();
  }

  // The next is sent when the one before is acknowledged.
  void Single() {
    publisher_ = OpenPublisher(options_, progress_);
    OneByOne(options_.warmup);
    Say("begin");
    const auto begin = Clock::now();
    const int64_t records = OneByOne(options_.seconds);
    SayEnd(records, SecondsSince(begin));
  }

  // An open loop: messages are sent at a fixed rate, and timed from when they were to
  // be sent, so that a system that falls behind cannot hide it.
  void Latency() {
    const auto total =
        static_cast<int64_t>(std::ceil((options_.warmup + options_.seconds) * options_.rate));
    const auto untimed = static_cast<int64_t>(std::ceil(options_.warmup * options_.rate));
    reader_.Expect(total + 1);
    publisher_ = OpenPublisher(options_, progress_);
    Prime();
    const int64_t begin = NanosSince(reader_.epoch());
    const auto due = [&](int64_t n) {
      return begin + static_cast<int64_t>(static_cast<double>(n) / options_.rate * 1e9);
    };
    reader_.TimeFrom(due(untimed));
    Clock::time_point timed;
    for (int64_t n = 0; n < total; ++n) {
      if (n == untimed) {
        Say("begin");
        timed = Clock::now();
      }
      const auto at = reader_.epoch() + std::chrono::nanoseconds(due(n));
      if (at > Clock::now()) {
        progress_.Check();
        std::this_thread::sleep_until(at);
      }
      progress_.WaitFor(sent_ + 1 - options_.window, 0, kMostDrain);
      publisher_->Publish(payloads_.At(sent_, due(n)));
      ++sent_;
    }
    Settle(kMostDrain);
    SayEnd(total - untimed, SecondsSince(timed));
    Finish();
    auto& latencies = reader_.latencies();
    if (latencies.empty()) throw std::runtime_error("nothing was timed");
    result_ = {{"p50_us", Quantile(latencies, 0.5)},
               {"p99_us", Quantile(latencies, 0.99)},
               {"p999_us", Quantile(latencies, 0.999)}};
  }

  // All that is there, as a group that acknowledges.
  void Drain() {
    sent_ = options_.count;
    reader_.Expect(options_.count);
    Say("begin");
    subscription_ = Consume(options_, reader_, progress_);
    Read();
  }

  // Reads all that is there again and again for the measured time; the first reading
  // does not count, unless there is no warm-up.
  static void ReplayAll(const Options& options) {
    double sum = 0;
    for (int i = options.warmup > 0 ? -1 : 0; i < kMostReadings; ++i) {
      Load load(options);
      load.sent_ = options.count;
      load.reader_.Expect(options.count);
      if (i >= 0) Say("begin");
      load.subscription_ = Replay(options, load.reader_, load.progress_);
      load.Read(i >= 0);
      if (i >= 0) sum += load.reader_.seconds();
      if (i >= 0 && sum >= options.seconds) return;
    }
  }

  const json& result() const { return result_; }

 private:
  // The first message: when it has come, the reader is at work.
  void Prime() {
    subscription_ = Consume(options_, reader_, progress_);
    publisher_->Publish(payloads_.At(sent_++, 0));
    Settle(kMostOpen);
  }

  // Until it is told to stop, within the window and the lead. One that was full is a
  // quarter empty before it goes on, so that batches stay large.
  void Send(bool read) {
    const int64_t window = options_.window;
    const int64_t lead = read ? options_.lead : std::numeric_limits<int64_t>::max() / 2;
    while (!progress_.stopped()) {
      if (sent_ - progress_.acked() < window && sent_ - progress_.received() < lead) {
        publisher_->Publish(payloads_.At(sent_++, 0));
        continue;
      }
      progress_.WaitFor(sent_ + 1 - (window - window / 4), sent_ + 1 - (lead - lead / 4),
                        kMostBacklog, /*stoppable=*/true);
    }
  }

  int64_t OneByOne(double seconds) {
    int64_t records = 0;
    for (const auto end = Clock::now() + Seconds(seconds); Clock::now() < end; ++records) {
      publisher_->One(payloads_.At(sent_++, 0));
    }
    progress_.Check();
    return records;
  }

  void Settle(Seconds within) {
    if (progress_.WaitFor(sent_, subscription_ ? sent_ : 0, within)) return;
    throw std::runtime_error("of " + std::to_string(sent_) + " messages " +
                             std::to_string(progress_.acked()) + " were acknowledged and " +
                             std::to_string(progress_.received()) + " delivered in time");
  }

  // What is there, to the last.
  void Read(bool measured = true) {
    if (!progress_.WaitFor(0, options_.count, kMostBacklog)) {
      throw std::runtime_error(std::to_string(progress_.received()) + " messages came of " +
                               std::to_string(options_.count));
    }
    const auto seconds = [&] { return reader_.seconds(); };
    subscription_.reset();
    if (measured) SayEnd(options_.count, seconds());
    progress_.Check();
    reader_.ledger().Check(options_.count);
  }

  // All was acknowledged and delivered once.
  void Finish() {
    Settle(kMostDrain);
    if (subscription_ == nullptr) return;
    // What would come twice has a moment to do so.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    subscription_.reset();
    progress_.Check();
    reader_.ledger().Check(sent_);
    if (progress_.acked() != sent_) throw std::runtime_error("more were acknowledged than sent");
  }

  const Options options_;
  Progress progress_;
  Payloads payloads_;
  Reader reader_;
  int64_t sent_ = 0;
  json result_ = json::object();
  // They use what is above.
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<Subscription> subscription_;
};

json Run(const Options& options) {
  if (options.workload == "replay") {
    Load::ReplayAll(options);
    return json::object();
  }
  Load load(options);
  if (options.workload == "publish") load.Flow(/*read=*/false);
  if (options.workload == "e2e") load.Flow(/*read=*/true);
  if (options.workload == "single") load.Single();
  if (options.workload == "latency") load.Latency();
  if (options.workload == "drain") load.Drain();
  return load.result();
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  spillway::bench::Options options;
  CLI::App app{"Loads a system by its client"};
  app.add_option("--address", options.address)->required();
  app.add_option("--topic", options.topic)->required();
  app.add_option("--workload", options.workload)
      ->required()
      ->check(CLI::IsMember({"publish", "e2e", "replay", "single", "latency", "drain"}));
  app.add_option("--size", options.size, "Bytes of a payload")
      ->check(CLI::Range(spillway::bench::kPayloadHeader, int64_t{4} << 20));
  app.add_option("--window", options.window, "Messages that may be unacknowledged");
  app.add_option("--lead", options.lead, "Messages that the sender may be ahead of the reader");
  app.add_option("--count", options.count, "Messages that are there, of replay and drain");
  app.add_option("--warmup", options.warmup, "Seconds");
  app.add_option("--seconds", options.seconds);
  app.add_option("--rate", options.rate, "Messages per second, of latency");
  CLI11_PARSE(app, argc, argv);
  try {
    spillway::bench::Say("done", spillway::bench::Run(options));
  } catch (const std::exception& e) {
    spillway::bench::Say("error", {{"error", e.what()}});
    return 1;
  }
}
