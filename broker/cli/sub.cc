// spillway sub
#include <iostream>

#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"
#include "broker/cli/show_record.h"

namespace spillway::cli {
namespace {

using client::SettleAction;

struct Options {
  std::string queue;
  std::string group = "cli";
  std::string from;
  std::optional<uint64_t> wait_ms;
  bool exclusive = false;
  std::string settle = "ack";
  std::string reason;
  uint64_t count = 0;
  uint64_t max_in_flight = client::defaults::kMaxInFlightMessages;
  ShowOptions show;
};

// Nothing for "none": the records go back when the stream ends.
std::optional<SettleAction> ActionOf(const std::string& name) {
  if (name == "ack") return SettleAction::kAck;
  if (name == "retry") return SettleAction::kRetry;
  if (name == "park") return SettleAction::kPark;
  if (name == "skip") return SettleAction::kSkip;
  return std::nullopt;
}

Result<client::ConsumerOptions> ConsumeOptionsOf(const Options& options) {
  client::ConsumerOptions consume;
  consume.queue = options.queue;
  consume.group = options.group;
  consume.max_in_flight_messages = options.max_in_flight;
  consume.max_messages = options.count;  // what came beyond would only go back
  if (options.exclusive) consume.mode = client::GroupMode::kExclusive;
  if (!options.from.empty()) {
    const auto start = ParseStart(options.from, NowUnixMs());
    if (!start.ok()) return start.error();
    consume.start = *start;
  }
  consume.on_gap = ShowGap;
  return consume;
}

// Shows and settles records until there are enough, or a reason to stop.
client::Status Receive(const Context& context, const Options& options, client::Consumer* consumer,
                       uint64_t* received) {
  const RecordFormat format = options.show.Parsed();
  const std::optional<SettleAction> action = ActionOf(options.settle);
  uint64_t idle_ms = 0;
  while (!Interrupted() && (options.count == 0 || *received < options.count)) {
    constexpr uint64_t kSliceMs = 100;
    auto next = consumer->Next(client::milliseconds(kSliceMs));
    if (!next.ok()) return next.error();
    if (!*next) {
      idle_ms += kSliceMs;
      if (options.wait_ms && idle_ms >= *options.wait_ms) break;
      continue;
    }
    idle_ms = 0;
    client::DeliveryBatch batch = *std::move(*next);
    const uint32_t n =
        options.count == 0
            ? batch.size()
            : static_cast<uint32_t>(std::min<uint64_t>(batch.size(), options.count - *received));
    for (uint32_t i = 0; i < n; ++i) ShowRecord(context, batch[i], format);
    std::cout.flush();
    *received += n;
    // What could not be shown is not settled, nor is what lies beyond the count: it
    // goes back when the stream ends.
    if (std::cout && action) batch.Settle(*action, 0, n, {.reason = options.reason});
    batch.Release();
    if (!std::cout) break;
  }
  return client::Ok();
}

int Run(const Context& context, const Options& options) {
  auto consume = ConsumeOptionsOf(options);
  if (!consume.ok()) return context.Fail(consume.error());
  (void)Interrupted();  // from here on Ctrl-C settles what was shown
  client::Client client = context.Connect();
  auto consumer = client.OpenConsumer(*std::move(consume));
  if (!consumer.ok()) return context.Fail(consumer.error());

  uint64_t received = 0;
  const client::Status status = Receive(context, options, &*consumer, &received);
  const client::Status closed = consumer->Close(context.timeout);
  if (!status.ok()) return context.Fail(status.error());
  if (!closed.ok()) return context.Fail(closed.error(), "what was shown may come again");
  if (options.count == 0 || received >= options.count || !std::cout) return kOk;
  if (Interrupted()) return kInterrupted;
  return context.Fail({.kind = client::ErrorKind::kTimedOut,
                       .message = HumanCount(received) + " of " + HumanCount(options.count) +
                                  " records came before " + HumanDuration(*options.wait_ms) +
                                  " passed without any"},
                      "");
}

}  // namespace

void AddSub(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* sub =
      AddCommand(app, context, "sub", "Receives records as a member of a group",
                 "  spillway sub orders --group billing\n"
                 "  spillway sub orders -n 10 --json | jq -r .payload\n"
                 "  spillway sub orders --wait 5s > orders.txt\n"
                 "  spillway sub orders --group billing -n 1 --settle park --reason 'bad total'\n"
                 "To read without settling anything: spillway replay, spillway peek.\n",
                 &Run, &options);
  sub->add_option("QUEUE", options->queue, "Where from")->required();
  sub->add_option("-g,--group", options->group, "The group; members share its records")
      ->capture_default_str();
  sub->add_option("--from", options->from,
                  "Where a new group begins: OFFSET, TIME, earliest, latest, last:N")
      ->type_name("PLACE");
  AddCount(sub, "-n,--count", &options->count, "End after that many records", 1);
  AddDuration(
      sub, "--wait", [options](uint64_t ms) { options->wait_ms = ms; },
      "End when nothing has come for that long");
  sub->add_option("--settle", options->settle,
                  "What becomes of a record once it is shown: ack, retry, park, skip, or none: it "
                  "goes to another member afterwards")
      ->type_name("ACTION")
      ->check(CLI::IsMember({"ack", "retry", "park", "skip", "none"}).description(""))
      ->capture_default_str();
  sub->add_flag_callback(
      "--no-ack", [options] { options->settle = "none"; }, "The same as --settle none");
  sub->add_option("--reason", options->reason, "Why it is retried or parked, for people");
  sub->add_flag("--exclusive", options->exclusive, "Be the only member");
  AddCount(sub, "--max-in-flight", &options->max_in_flight,
           "Records held at once (" + HumanCount(options->max_in_flight) + ")", 1);
  AddShowOptions(sub, &options->show);
}

}  // namespace spillway::cli
