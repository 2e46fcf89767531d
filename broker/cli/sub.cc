// spillway sub
#include <iostream>

#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"
#include "broker/cli/show_record.h"

namespace spillway::cli {
namespace {

struct Options {
  std::string queue;
  std::string group = "cli";
  std::string from;
  std::string wait;
  bool exclusive = false;
  bool no_ack = false;
  uint64_t count = 0;
  uint64_t max_in_flight = client::defaults::kMaxInFlightMessages;
  ShowOptions show;
};

int Run(const Context& context, const Options& options) {
  client::ConsumerOptions consume;
  consume.queue = options.queue;
  consume.group = options.group;
  consume.max_in_flight_messages = options.max_in_flight;
  // No more than is wanted: what comes beyond would only go back.
  if (options.count > 0) {
    consume.max_in_flight_messages = std::min(consume.max_in_flight_messages, options.count);
  }
  if (options.exclusive) consume.mode = client::GroupMode::kExclusive;
  if (!options.from.empty()) {
    const auto start = ParseStart(options.from, NowUnixMs());
    if (!start.ok()) return context.Fail(start.error());
    consume.start = *start;
  }
  std::optional<uint64_t> wait;
  if (!options.wait.empty()) {
    const auto ms = ParseDuration(options.wait);
    if (!ms.ok()) return context.Fail(ms.error());
    wait = *ms;
  }
  consume.on_gap = [](const std::vector<client::OffsetRange>& ranges, client::GapReason reason) {
    for (const client::OffsetRange& range : ranges) {
      std::cerr << "spillway: offsets " << range.first_offset << " to " << range.end() - 1
                << " are gone (" << EnumName(static_cast<v1::GapReason>(static_cast<int>(reason)))
                << ")\n";
    }
  };
  client::Client client = context.Connect();
  auto consumer = client.OpenConsumer(std::move(consume));
  if (!consumer.ok()) return context.Fail(consumer.error());

  const RecordFormat format = options.show.Parsed();
  uint64_t received = 0;
  uint64_t idle_ms = 0;
  while (!Interrupted() && (options.count == 0 || received < options.count)) {
    constexpr uint64_t kSliceMs = 100;
    auto next = consumer->Next(client::milliseconds(kSliceMs));
    if (!next.ok()) return context.Fail(next.error());
    if (!*next) {
      idle_ms += kSliceMs;
      if (wait && idle_ms >= *wait) break;
      continue;
    }
    idle_ms = 0;
    client::DeliveryBatch batch = *std::move(*next);
    const uint32_t n =
        options.count == 0
            ? batch.size()
            : static_cast<uint32_t>(std::min<uint64_t>(batch.size(), options.count - received));
    for (uint32_t i = 0; i < n; ++i) ShowRecord(context, batch[i], format);
    std::cout.flush();
    received += n;
    if (!std::cout) break;  // nobody reads: settle nothing of this
    if (!options.no_ack) batch.Ack(0, n);
    // Without --ack, and beyond the count: they go back when the stream ends.
    batch.Release();
  }
  const client::Status closed = consumer->Close(context.timeout_ms());
  if (!closed.ok()) return context.Fail(closed.error());
  if (options.count > 0 && received < options.count && !Interrupted()) {
    return context.Fail({.kind = client::ErrorKind::kTimedOut,
                         .message = std::to_string(received) + " of " +
                                    std::to_string(options.count) + " records came in time"});
  }
  return kOk;
}

}  // namespace

void AddSub(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* sub =
      AddCommand(app, context, "sub", "Receives records as a member of a group", &Run, &options);
  sub->add_option("QUEUE", options->queue)->required();
  sub->add_option("-g,--group", options->group, "The group; members share its records")
      ->capture_default_str();
  sub->add_option("--from", options->from,
                  "Where a new group begins: OFFSET, TIME, earliest, latest, last:N");
  sub->add_option("-n,--count", options->count, "End after that many records");
  sub->add_option("--wait", options->wait, "End when nothing has come for that long")
      ->type_name("DURATION");
  sub->add_flag("--no-ack,!--ack", options->no_ack,
                "Settle nothing; the records go to others afterwards");
  sub->add_flag("--exclusive", options->exclusive, "Be the only member");
  sub->add_option("--max-in-flight", options->max_in_flight, "Records held at once")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  AddShowOptions(sub, &options->show);
  sub->footer(
      "Examples:\n  spillway sub orders --group billing\n  spillway sub orders -n 10 -o json | jq "
      ".payload\n"
      "To read without settling anything, see spillway replay.");
}

}  // namespace spillway::cli
