// One load, spread over many queues and connections of a running broker by the C++
// client: frames go round the producers in turn, and no more are under way at a time
// than `--in-flight` records, however many queues there are. Prints one line of JSON.
//
//   many --address A --pid P --queues N --pairs M --connections C
//
// The queues q0 … q<N-1> must exist. Pair i is a producer and a consumer of queue
// i mod N; producers share one half of the connections, consumers the other. The
// broker's CPU time is taken here, for the measured time alone: opening thousands of
// streams is none of what a message costs.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "clients/cpp/bench/load.h"
#include "tests/bench/limits/frames.h"

namespace spillway::bench {
namespace {

using client::milliseconds;

struct Options {
  std::string address;
  int pid = 0;
  uint32_t queues = 1;
  uint32_t pairs = 1;
  uint32_t connections = 2;
  Shape shape;
  uint64_t in_flight = 16'384;
  double warmup_seconds = 1;
  double seconds = 3;
};

constexpr uint32_t kOpeners = 16;  // streams that are opened at a time
constexpr uint32_t kPumps = 16;    // producers that may wait for credit at a time
constexpr milliseconds kNoCredit{10'000};

// Of all threads of a process so far: utime and stime of /proc/PID/stat.
double CpuSeconds(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// The pairs, and how many records have come.
class Load {
 public:
  explicit Load(const Options& options) : options_(options) {
    producers_.resize(options.pairs);
    consumers_.resize(options.pairs);
  }

  // Opens all, a few at a time; the first error, if any.
  std::optional<std::string> Open() {
    for (uint32_t i = 0; i < options_.connections; ++i) {
      auto client = client::Client::Make({.address = options_.address,
                                          .name = "spillway scale benchmark",
                                          .connect_timeout = kNoCredit});
      if (!client.ok()) return client.error().message;
      clients_.push_back(*std::move(client));
    }
    std::atomic<uint32_t> next = 0;
    std::vector<std::thread> openers;
    for (uint32_t t = 0; t < kOpeners; ++t) {
      openers.emplace_back([&] {
        for (uint32_t i = next++; i < options_.pairs && !failed_; i = next++) OpenPair(i);
      });
    }
    for (std::thread& t : openers) t.join();
    const std::lock_guard lock(mu_);
    return failure_;
  }

  // Sends through the pairs first, first + kPumps, … until the process ends, or
  // something fails. A producer that waits for credit holds up its own pump alone.
  void Pump(uint32_t first) {
    const client::EncodedBatch batch = MakeBatch(options_.shape);
    const auto confirmed = [this](uint32_t, uint32_t, const client::Result<client::Published>& r) {
      if (!r.ok()) FailOnce("refused: " + r.error().message);
    };
    for (uint32_t i = first; !failed_; i = i + kPumps < options_.pairs ? i + kPumps : first) {
      for (uint64_t seen = delivered_; sent_ >= seen + options_.in_flight; seen = delivered_) {
        delivered_.wait(seen);
      }
      sent_ += batch.size();
      const client::Status status = producers_[i]->PublishBatch(batch, confirmed, kNoCredit);
      if (!status.ok()) {
        FailOnce("producer " + std::to_string(i) + " of " + std::to_string(options_.pairs) + ": " +
                 status.error().message);
      }
    }
  }

  uint64_t delivered() const { return delivered_; }
  std::optional<std::string> failure() {
    const std::lock_guard lock(mu_);
    return failure_;
  }

 private:
  void OpenPair(uint32_t i) {
    const uint32_t half = std::max(1U, options_.connections / 2);
    const std::string queue = "q" + std::to_string(i % options_.queues);
    client::ConsumerOptions consume;
    consume.queue = queue;
    consume.group = "bench";
    consume.max_in_flight_messages = 100'000;
    consume.max_in_flight_bytes = 64 << 20;
    consume.on_batch = [this](client::DeliveryBatch batch) {
      batch.Ack();
      delivered_ += batch.size();
      delivered_.notify_all();
    };
    const size_t receiving = (half + i % half) % clients_.size();
    auto consumer = clients_[receiving].OpenConsumer(std::move(consume));
    if (!consumer.ok()) return FailOnce("consumer of " + queue + ": " + consumer.error().message);
    auto producer = clients_[i % half].OpenProducer({.queue = queue});
    if (!producer.ok()) return FailOnce("producer of " + queue + ": " + producer.error().message);
    consumers_[i].emplace(*std::move(consumer));
    producers_[i].emplace(*std::move(producer));
  }
  void FailOnce(std::string why) {
    const std::lock_guard lock(mu_);
    if (!failure_) failure_ = std::move(why);
    failed_ = true;
  }

  const Options options_;
  std::vector<client::Client> clients_;
  std::vector<std::optional<client::Producer>> producers_;
  std::vector<std::optional<client::Consumer>> consumers_;
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<uint64_t> delivered_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mu_;
  std::optional<std::string> failure_;  // guarded by mu_
};

// The load is not to be destroyed after it: it goes on.
int Run(const Options& options, Load& load) {
  const uint64_t begin = MonotonicNanos();
  if (const auto failure = load.Open()) return Fail(*failure);
  const uint64_t opened = MonotonicNanos();
  for (uint32_t i = 0; i < std::min(kPumps, options.pairs); ++i) {
    std::thread([&load, i] { load.Pump(i); }).detach();
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(options.warmup_seconds));
  const uint64_t from = MonotonicNanos();
  const uint64_t records_before = load.delivered();
  const double cpu_before = CpuSeconds(options.pid);
  std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
  const uint64_t records = load.delivered() - records_before;
  const double cpu = CpuSeconds(options.pid) - cpu_before;
  const uint64_t to = MonotonicNanos();
  if (const auto failure = load.failure()) return Fail(*failure);
  if (records == 0) return Fail("nothing was delivered");
  return PrintResult({{"records", records},
                      {"seconds", static_cast<double>(to - from) / 1e9},
                      {"total", records},
                      {"cpu_seconds", cpu},
                      {"open_seconds", static_cast<double>(opened - begin) / 1e9}});
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  spillway::bench::Options options;
  CLI::App app{"One load over many queues and connections"};
  app.add_option("--address", options.address)->required();
  app.add_option("--pid", options.pid, "The broker's process")->required();
  app.add_option("--queues", options.queues)->check(CLI::PositiveNumber);
  app.add_option("--pairs", options.pairs, "Of a producer and a consumer")
      ->check(CLI::PositiveNumber);
  app.add_option("--connections", options.connections)->check(CLI::PositiveNumber);
  app.add_option("--size", options.shape.record_bytes, "Bytes of a payload");
  app.add_option("--batch", options.shape.batch, "Records of a frame");
  app.add_option("--in-flight", options.in_flight, "Records under way at a time");
  app.add_option("--warmup", options.warmup_seconds, "Seconds");
  app.add_option("--seconds", options.seconds);
  CLI11_PARSE(app, argc, argv);
  spillway::bench::Load load(options);
  // Thousands of streams are not closed one by one: the broker is thrown away.
  std::_Exit(spillway::bench::Run(options, load));
}
