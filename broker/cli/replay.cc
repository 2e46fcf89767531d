// spillway replay
#include <iostream>

#include "broker/cli/format.h"
#include "broker/cli/parse.h"
#include "broker/cli/show_record.h"

namespace spillway::cli {
namespace {

struct Options {
  std::string queue;
  std::string from = "earliest";
  std::string until = "tail";
  bool follow = false;
  uint64_t rate = 0;
  uint64_t count = 0;
  ShowOptions show;
};

int Run(const Context& context, const Options& options) {
  client::ReaderOptions read;
  read.queue = options.queue;
  read.rate_messages_per_second = options.rate;
  const uint64_t now = NowUnixMs();
  const auto start = ParseStart(options.from, now);
  if (!start.ok()) return context.Fail(start.error());
  const auto stop = ParseStop(options.follow ? "never" : options.until, now);
  if (!stop.ok()) return context.Fail(stop.error());
  read.start = *start;
  read.stop = *stop;
  read.on_gap = ShowGap;
  (void)Interrupted();
  read.max_messages = options.count;
  client::Client client = context.Connect();
  auto reader = client.OpenReader(std::move(read));
  if (!reader.ok()) return context.Fail(reader.error());

  const RecordFormat format = options.show.Parsed();
  uint64_t received = 0;
  while (!Interrupted() && (options.count == 0 || received < options.count) && std::cout) {
    auto next = reader->Next(client::milliseconds(100));
    if (!next.ok()) return context.Fail(next.error());
    if (!*next) {
      std::cout.flush();
      if (reader->ended()) break;
      continue;
    }
    for (const client::RecordView& record : **next) {
      if (options.count > 0 && received == options.count) break;
      ShowRecord(context, record, format);
      ++received;
    }
  }
  std::cout.flush();
  const bool endless = stop->kind == client::Stop::Kind::kNever && options.count == 0;
  if (OutputLost() || endless) return kOk;
  const bool done =
      reader->ended() || (options.count > 0 && received == options.count) || !Interrupted();
  return done ? kOk : kInterrupted;
}

}  // namespace

void AddReplay(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* replay = AddCommand(
      app, context, "replay", "Reads kept records again; disturbs no group",
      "  spillway replay orders --from -10m\n"
      "  spillway replay orders --from 42 --until 50 --json\n"
      "  spillway replay orders --from 2026-01-31T12:00:00Z --until 2026-01-31T13:00:00Z\n"
      "  spillway replay orders --from last:100 --follow\n"
      "  spillway replay orders --from 42 -n 1 --format raw > payload.bin\n",
      &Run, &options);
  replay->add_option("QUEUE", options->queue, "Where from")->required();
  replay
      ->add_option("--from", options->from,
                   "OFFSET, TIME (2026-01-31T12:00:00Z, -10m), earliest, latest, last:N")
      ->type_name("PLACE")
      ->capture_default_str();
  CLI::Option* until = replay
                           ->add_option("--until", options->until,
                                        "OFFSET, TIME, tail (where it is now), never; exclusive")
                           ->type_name("PLACE")
                           ->capture_default_str();
  replay->add_flag("--follow", options->follow, "Go on with what comes; the same as --until never")
      ->excludes(until);
  AddCount(replay, "--rate", &options->rate, "At most this many records per second", 1);
  AddCount(replay, "-n,--count", &options->count, "End after that many records", 1);
  AddShowOptions(replay, &options->show);
}

}  // namespace spillway::cli
