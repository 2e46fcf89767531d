// spillway bench pub | sub | e2e | latency
#include <algorithm>
#include <atomic>
#include <iostream>
#include <thread>

#include "broker/cli/context.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"
#include "clients/cpp/bench/load.h"

namespace spillway::cli {
namespace {

struct Options {
  std::string queue;
  std::string group = "bench";
  std::string size;
  uint32_t batch = 100;
  uint64_t duration_ms = 5000;
  uint64_t count = 0;
  double rate = 0;
};

// What the flags come to, in numbers.
struct Numbers {
  bench::Shape shape;
  double seconds = 0;
};
Result<Numbers> Parse(const Options& options, const char* default_size) {
  const auto size = ParseSize(options.size.empty() ? default_size : options.size);
  if (!size.ok()) return size.error();
  return Numbers{{static_cast<uint32_t>(*size), options.batch},
                 static_cast<double>(options.duration_ms) / 1000};
}

Json LatencyJson(const bench::Histogram& h) {
  const auto us = [&](double q) { return static_cast<double>(h.Quantile(q)) / 1000; };
  return {{"count", h.count()},
          {"p50_us", us(0.5)},
          {"p99_us", us(0.99)},
          {"p999_us", us(0.999)},
          {"max_us", static_cast<double>(h.max()) / 1000}};
}

std::string Micros(uint64_t nanos) {
  const double us = static_cast<double>(nanos) / 1000;
  char text[32];
  std::snprintf(text, sizeof text, us < 1000 ? "%.0f us" : "%.2f ms", us < 1000 ? us : us / 1000);
  return text;
}

void PrintLatency(const char* what, const bench::Histogram& h) {
  std::cout << what << "  p50 " << Micros(h.Quantile(0.5)) << "  p99 " << Micros(h.Quantile(0.99))
            << "  p99.9 " << Micros(h.Quantile(0.999)) << "  max " << Micros(h.max()) << "\n";
}

Json RateJson(uint64_t records, double seconds, double bytes_per_record) {
  const double rate = seconds > 0 ? static_cast<double>(records) / seconds : 0;
  return {{"records", records},
          {"seconds", seconds},
          {"records_per_second", rate},
          {"bytes_per_second", rate * bytes_per_record}};
}

void PrintRate(const char* what, uint64_t records, double seconds, double bytes_per_record) {
  const double rate = seconds > 0 ? static_cast<double>(records) / seconds : 0;
  std::cout << what << "  " << HumanCount(records) << " records, " << ShortCount(rate) << "/s, "
            << HumanBytes(static_cast<uint64_t>(rate * bytes_per_record)) << "/s\n";
}

void PrintRefused(uint64_t records) {
  if (records > 0) std::cout << "refused    " << HumanCount(records) << " records\n";
}

bench::PublishOptions PublishOf(const Context& context, const Options& options,
                                const Numbers& numbers) {
  return {.client = context.Options("spillway bench"),
          .queue = options.queue,
          .shape = numbers.shape,
          .count = options.count,
          .seconds = numbers.seconds,
          .rate = options.rate,
          .stop = Interrupted};
}

int Pub(const Context& context, const Options& options) {
  const auto numbers = Parse(options, "100");
  if (!numbers.ok()) return context.Fail(numbers.error());
  const auto report = bench::RunPublish(PublishOf(context, options, *numbers));
  if (!report.ok()) return context.Fail(report.error());
  const double bytes = numbers->shape.record_bytes;
  if (context.json()) {
    Json out = RateJson(report->records, report->seconds, bytes);
    out["refused"] = report->refused;
    out["confirm"] = LatencyJson(report->confirm);
    PrintJson(out);
    return kOk;
  }
  PrintRate("published", report->records, report->seconds, bytes);
  PrintRefused(report->refused);
  PrintLatency("confirmed in", report->confirm);
  return kOk;
}

int Sub(const Context& context, const Options& options) {
  const auto numbers = Parse(options, "100");
  if (!numbers.ok()) return context.Fail(numbers.error());
  const double seconds_to_first = static_cast<double>(context.timeout.count()) / 1000;
  const auto report = bench::RunConsume({.client = context.Options("spillway bench"),
                                         .queue = options.queue,
                                         .group = options.group,
                                         .seconds = numbers->seconds,
                                         .first_seconds = seconds_to_first,
                                         .count = options.count,
                                         .stop = Interrupted});
  if (!report.ok()) return context.Fail(report.error());
  if (report->total == 0 && !Interrupted()) {
    return context.Fail(
        {.kind = client::ErrorKind::kTimedOut,
         .message = "no record came; bench sub needs some: spillway bench pub " + options.queue},
        "");
  }
  const double bytes = report->records == 0 ? 0
                                            : static_cast<double>(report->bytes) /
                                                  static_cast<double>(report->records);
  if (context.json()) {
    PrintJson(RateJson(report->records, report->seconds, bytes));
  } else {
    PrintRate("received", report->records, report->seconds, bytes);
  }
  return kOk;
}

int EndToEnd(const Context& context, const Options& options) {
  const auto numbers = Parse(options, "100");
  if (!numbers.ok()) return context.Fail(numbers.error());
  std::atomic<bool> published = false;
  client::Result<bench::ConsumeReport> received = bench::ConsumeReport{};
  std::thread consumer([&] {
    received = bench::RunConsume({.client = context.Options("spillway bench"),
                                  .queue = options.queue,
                                  .group = options.group,
                                  .warmup_seconds = std::min(0.5, numbers->seconds / 4),
                                  .seconds = numbers->seconds * 3 / 4,
                                  .stop = [&] { return Interrupted() || published.load(); }});
  });
  const auto report = bench::RunPublish(PublishOf(context, options, *numbers));
  published = true;
  consumer.join();
  if (!report.ok()) return context.Fail(report.error());
  if (!received.ok()) return context.Fail(received.error());
  const double bytes = numbers->shape.record_bytes;
  if (context.json()) {
    Json out;
    out["published"] = RateJson(report->records, report->seconds, bytes);
    out["received"] = RateJson(received->records, received->seconds, bytes);
    out["confirm"] = LatencyJson(report->confirm);
    PrintJson(out);
    return kOk;
  }
  PrintRate("published", report->records, report->seconds, bytes);
  PrintRate("received ", received->records, received->seconds, bytes);
  PrintRefused(report->refused);
  PrintLatency("confirmed in", report->confirm);
  return kOk;
}

int Latency(const Context& context, const Options& options) {
  const auto numbers = Parse(options, "1KiB");
  if (!numbers.ok()) return context.Fail(numbers.error());
  const auto report = bench::RunLatency({.client = context.Options("spillway bench"),
                                         .queue = options.queue,
                                         .group = options.group,
                                         .record_bytes = numbers->shape.record_bytes,
                                         .rate = options.rate > 0 ? options.rate : 2000,
                                         .seconds = numbers->seconds,
                                         .stop = Interrupted});
  if (!report.ok()) return context.Fail(report.error());
  if (context.json()) {
    PrintJson({{"sent", report->sent},
               {"received", report->received},
               {"confirm", LatencyJson(report->confirm)},
               {"delivery", LatencyJson(report->delivery)}});
    return kOk;
  }
  std::cout << HumanCount(report->sent) << " sent, " << HumanCount(report->received)
            << " received; from the intended send time:\n";
  PrintLatency("confirmed in", report->confirm);
  PrintLatency("delivered in", report->delivery);
  return kOk;
}

}  // namespace

void AddBench(CLI::App* app, Context* context) {
  CLI::App* bench = app->add_subcommand("bench", "Measures a broker; use a queue of its own");
  bench->require_subcommand(1);
  const auto add = [&](const char* name, const char* what, const char* examples,
                       int (*run)(const Context&, const Options&)) {
    Options* options = nullptr;
    CLI::App* command = AddCommand(bench, context, name, what, examples, run, &options);
    command->add_option("QUEUE", options->queue, "A queue that nothing else uses")->required();
    command->add_option("--group", options->group, "The consumers' group")->capture_default_str();
    command->add_option("--size", options->size, "Of a payload (100; latency: 1KiB)")
        ->type_name("SIZE");
    command->add_option("--batch", options->batch, "Records of a frame")
        ->type_name("N")
        ->capture_default_str()
        ->check(CLI::Range(1, 10000));
    AddDuration(
        command, "--duration", [options](uint64_t ms) { options->duration_ms = ms; },
        "How long, from the first record on (5s)");
    AddCount(command, "-n,--count", &options->count, "End after that many records", 1);
    command->add_option("--rate", options->rate, "Records per second (latency: 2000)")
        ->type_name("N")
        ->check(Positive());
  };
  add("pub", "Publishes as fast as credit allows",
      "  spillway bench pub bench\n  spillway bench pub bench --size 4KiB --batch 10\n", &Pub);
  add("sub", "Receives and settles what is there", "  spillway bench sub bench --count 1,000,000\n",
      &Sub);
  add("e2e", "Both at once, on two connections", "  spillway bench e2e bench --duration 30s\n",
      &EndToEnd);
  add("latency", "One record at a time at a fixed rate, from the intended send time",
      "  spillway bench latency bench --rate 5000\n", &Latency);
}

}  // namespace spillway::cli
