// One load, spread over many queues and connections of a running broker by the C++
// client: frames go round the producers in turn, and no more are under way at a time
// than `--in-flight` records, however many queues there are. Prints one line of JSON.
//
//   many --address A --pid P --queues N --pairs M --connections C
//
// The queues q0 … q<N-1> must exist. The broker's CPU time is taken here, for the
// measured time alone: opening thousands of streams is none of what a message costs.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "clients/cpp/bench/load.h"
#include "tests/bench/limits/frames.h"
#include "tests/bench/limits/spread.h"

namespace spillway::bench {
namespace {

using client::milliseconds;

constexpr uint32_t kOpeners = 16;  // streams that are opened at a time
constexpr uint32_t kPumps = 16;    // producers that may wait for credit at a time
constexpr milliseconds kNoCredit{10'000};

// The pairs, and how many records have come.
class Load {
 public:
  explicit Load(const Spread& spread) : spread_(spread) {
    producers_.resize(spread.pairs);
    consumers_.resize(spread.pairs);
  }

  // Opens all, a few at a time; the first error, if any.
  std::optional<std::string> Open() {
    for (uint32_t i = 0; i < spread_.connections; ++i) {
      auto client = client::Client::Make({.address = spread_.address,
                                          .name = "spillway scale benchmark",
                                          .connect_timeout = kNoCredit});
      if (!client.ok()) return client.error().message;
      clients_.push_back(*std::move(client));
    }
    std::atomic<uint32_t> next = 0;
    std::vector<std::thread> openers;
    for (uint32_t t = 0; t < kOpeners; ++t) {
      openers.emplace_back([&] {
        for (uint32_t i = next++; i < spread_.pairs && !failed_; i = next++) OpenPair(i);
      });
    }
    for (std::thread& t : openers) t.join();
    const std::lock_guard lock(mu_);
    return failure_;
  }

  // Sends through the pairs first, first + kPumps, … until the process ends, or
  // something fails. A producer that waits for credit holds up its own pump alone.
  void Pump(uint32_t first) {
    const client::EncodedBatch batch = MakeBatch(spread_.shape);
    const auto confirmed = [this](uint32_t, uint32_t, const client::Result<client::Published>& r) {
      if (!r.ok()) FailOnce("refused: " + r.error().message);
    };
    for (uint32_t i = first; !failed_; i = i + kPumps < spread_.pairs ? i + kPumps : first) {
      for (uint64_t seen = delivered_; sent_ >= seen + spread_.in_flight; seen = delivered_) {
        delivered_.wait(seen);
      }
      sent_ += batch.size();
      const client::Status status = producers_[i]->PublishBatch(batch, confirmed, kNoCredit);
      if (!status.ok()) {
        FailOnce("producer " + std::to_string(i) + " of " + std::to_string(spread_.pairs) + ": " +
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
    const std::string queue = spread_.QueueOf(i);
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
    auto consumer = clients_[spread_.ConsumerConnection(i)].OpenConsumer(std::move(consume));
    if (!consumer.ok()) return FailOnce("consumer of " + queue + ": " + consumer.error().message);
    auto producer = clients_[spread_.ProducerConnection(i)].OpenProducer({.queue = queue});
    if (!producer.ok()) return FailOnce("producer of " + queue + ": " + producer.error().message);
    consumers_[i].emplace(*std::move(consumer));
    producers_[i].emplace(*std::move(producer));
  }
  void FailOnce(std::string why) {
    const std::lock_guard lock(mu_);
    if (!failure_) failure_ = std::move(why);
    failed_ = true;
  }

  const Spread spread_;
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
int Run(const Spread& spread, Load& load) {
  const uint64_t begin = MonotonicNanos();
  if (const auto failure = load.Open()) return Fail(*failure);
  const uint64_t opened = MonotonicNanos();
  for (uint32_t i = 0; i < std::min(kPumps, spread.pairs); ++i) {
    std::thread([&load, i] { load.Pump(i); }).detach();
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(spread.warmup_seconds));
  const uint64_t from = MonotonicNanos();
  const uint64_t records_before = load.delivered();
  const double cpu_before = CpuSeconds(spread.pid);
  std::this_thread::sleep_for(std::chrono::duration<double>(spread.seconds));
  const uint64_t records = load.delivered() - records_before;
  const double cpu = CpuSeconds(spread.pid) - cpu_before;
  const uint64_t to = MonotonicNanos();
  if (const auto failure = load.failure()) return Fail(*failure);
  if (records == 0) return Fail("nothing was delivered");
  return PrintSpreadResult({.records = records,
                            .seconds = static_cast<double>(to - from) / 1e9,
                            .cpu_seconds = cpu,
                            .open_seconds = static_cast<double>(opened - begin) / 1e9});
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  spillway::bench::Spread spread;
  CLI::App app{"One load over many queues and connections"};
  spillway::bench::AddOptions(&app, &spread);
  CLI11_PARSE(app, argc, argv);
  spillway::bench::Load load(spread);
  // Thousands of streams are not closed one by one: the broker is thrown away.
  std::_Exit(spillway::bench::Run(spread, load));
}
