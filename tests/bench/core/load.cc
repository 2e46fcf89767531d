// Loads on a running broker by the C++ client; the queue must exist. Prints one line
// of JSON. `total` is what the broker carried, warm-up included: CPU time is divided
// by it.
//
//   load --address A --queue Q --mode e2e       producer and consumer, a connection each
//   load … --mode publish   no consumer; ends with the last confirmation
//   load … --mode latency   single records, open loop, from the intended send time
//   load … --mode replay    everything that is kept, by a reader
//   load … --mode stall     a consumer that takes what its credit allows and settles
//                           none, while `--count` records are published
//   load … --mode drain     `--count` records, by a consumer
#include <CLI/CLI.hpp>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "clients/cpp/bench/load.h"
#include "tests/bench/limits/frames.h"

namespace spillway::bench {
namespace {

using nlohmann::json;

struct Options {
  std::string address;
  std::string queue;
  std::string mode = "e2e";
  Shape shape;
  double warmup_seconds = 0.3;
  double seconds = 1;
  double rate = 2000;
  uint64_t count = 0;
};

client::ClientOptions ClientOf(const Options& options) {
  client::ClientOptions out;
  out.address = options.address;
  out.name = "spillway core benchmark";
  out.fail_fast = true;
  return out;
}

int FailWith(const client::Error& error) {
  return Fail(std::string(client::Name(error.kind)) + ": " + error.message);
}

json Rate(const ConsumeReport& report) {
  return {{"records", report.records}, {"seconds", report.seconds}, {"total", report.total}};
}

int EndToEnd(const Options& options) {
  std::atomic<bool> received_enough = false;
  std::atomic<bool> published = false;
  client::Result<ConsumeReport> received = ConsumeReport{};
  std::thread consumer([&] {
    received = RunConsume({.client = ClientOf(options),
                           .queue = options.queue,
                           .warmup_seconds = options.warmup_seconds,
                           .seconds = options.seconds,
                           .stop = [&] { return published.load(); }});
    received_enough = true;
  });
  const auto sent = RunPublish(
      {.client = ClientOf(options), .queue = options.queue, .shape = options.shape, .stop = [&] {
         return received_enough.load();
       }});
  published = true;
  consumer.join();
  if (!sent.ok()) return FailWith(sent.error());
  if (!received.ok()) return FailWith(received.error());
  json result = Rate(*received);
  result["total"] = sent->records;
  result["confirm"] = QuantilesJson(sent->confirm);
  return PrintResult(result);
}

int Publish(const Options& options) {
  const auto sent = RunPublish({.client = ClientOf(options),
                                .queue = options.queue,
                                .shape = options.shape,
                                .count = options.count,
                                .seconds = options.count > 0 ? 0 : options.seconds});
  if (!sent.ok()) return FailWith(sent.error());
  if (sent->refused > 0) return Fail(std::to_string(sent->refused) + " records were refused");
  return PrintResult(
      {{"records", sent->records}, {"seconds", sent->seconds}, {"total", sent->records}});
}

int Latency(const Options& options) {
  const auto report = RunLatency({.client = ClientOf(options),
                                  .queue = options.queue,
                                  .record_bytes = options.shape.record_bytes,
                                  .rate = options.rate,
                                  .seconds = options.seconds,
                                  .warmup_seconds = options.warmup_seconds});
  if (!report.ok()) return FailWith(report.error());
  if (report->received < report->sent) {
    return Fail(std::to_string(report->sent - report->received) + " of " +
                std::to_string(report->sent) + " records did not come");
  }
  json result = QuantilesJson(report->delivery);
  result["confirm"] = QuantilesJson(report->confirm);
  result["total"] =
      static_cast<uint64_t>((options.seconds + options.warmup_seconds) * options.rate);
  return PrintResult(result);
}

int Replay(const Options& options) {
  const auto report = RunReplay({.client = ClientOf(options), .queue = options.queue});
  if (!report.ok()) return FailWith(report.error());
  return PrintResult(Rate(*report));
}

int Stall(const Options& options) {
  auto client = client::Client::Make(ClientOf(options));
  if (!client.ok()) return FailWith(client.error());
  struct Held {
    std::mutex mu;
    std::vector<client::DeliveryBatch> batches;
  };
  const auto held = std::make_shared<Held>();
  client::ConsumerOptions consume;
  consume.queue = options.queue;
  consume.group = "bench";
  consume.on_batch = [held](client::DeliveryBatch batch) {
    const std::lock_guard lock(held->mu);
    held->batches.push_back(std::move(batch));
  };
  auto consumer = client->OpenConsumer(std::move(consume));
  if (!consumer.ok()) return FailWith(consumer.error());
  const int code = Publish(options);
  const std::lock_guard lock(held->mu);
  // They go to the next consumer at once, instead of after a retry's delay.
  for (auto& batch : held->batches) batch.Release();
  held->batches.clear();
  return code;
}

int Drain(const Options& options) {
  const auto report =
      RunConsume({.client = ClientOf(options), .queue = options.queue, .count = options.count});
  if (!report.ok()) return FailWith(report.error());
  return PrintResult(Rate(*report));
}

int Run(const Options& options) {
  if (options.mode == "e2e") return EndToEnd(options);
  if (options.mode == "publish") return Publish(options);
  if (options.mode == "latency") return Latency(options);
  if (options.mode == "replay") return Replay(options);
  if (options.mode == "stall") return Stall(options);
  return Drain(options);
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  spillway::bench::Options options;
  CLI::App app{"Loads on a running broker"};
  app.add_option("--address", options.address)->required();
  app.add_option("--queue", options.queue)->required();
  app.add_option("--mode", options.mode)
      ->check(CLI::IsMember({"e2e", "publish", "latency", "replay", "stall", "drain"}));
  app.add_option("--size", options.shape.record_bytes, "Bytes of a payload");
  app.add_option("--batch", options.shape.batch, "Records of a frame");
  app.add_option("--warmup", options.warmup_seconds, "Seconds");
  app.add_option("--seconds", options.seconds);
  app.add_option("--rate", options.rate, "Records per second, of mode latency");
  app.add_option("--count", options.count, "Records, of modes publish, stall and drain");
  CLI11_PARSE(app, argc, argv);
  return spillway::bench::Run(options);
}
