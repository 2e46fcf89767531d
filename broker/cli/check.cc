// spillway check: one line and an exit code, as monitoring plugins have it.
#include <algorithm>
#include <iostream>

#include "broker/cli/context.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"

namespace spillway::cli {
namespace {

enum Level : int { kFine = 0, kWarning = 1, kCritical = 2, kUnknown = 3 };

struct Options {
  std::string queue;
  // 0: none.
  uint64_t warn_depth = 0;
  uint64_t crit_depth = 0;
  uint64_t warn_age_ms = 0;
  uint64_t crit_age_ms = 0;
  uint64_t warn_blocked_ms = 60'000;
  uint64_t crit_blocked_ms = 0;
};

struct Verdict {
  Level level = kFine;
  std::vector<std::string> findings;
  void Raise(Level to, std::string why) {
    level = std::max(level, to);
    findings.push_back(std::move(why));
  }
};

// Raises the level that `value` reaches; a bound of 0 is none.
void Compare(const std::string& what, uint64_t value, uint64_t warn, uint64_t crit,
             std::string (*show)(uint64_t), Verdict* verdict) {
  for (const auto& [bound, level] : {std::pair(crit, kCritical), std::pair(warn, kWarning)}) {
    if (bound == 0 || value < bound) continue;
    verdict->Raise(level, what + " " + show(value) + " (limit " + show(bound) + ")");
    return;
  }
}

void CheckQueue(const v1::Queue& queue, const Options& options, Verdict* verdict) {
  const v1::QueueStats& s = queue.stats();
  Compare(queue.name() + " depth", s.depth_messages(), options.warn_depth, options.crit_depth,
          HumanCount, verdict);
  Compare(queue.name() + " oldest record", s.depth_messages() == 0 ? 0 : s.oldest_age_ms(),
          options.warn_age_ms, options.crit_age_ms, HumanDuration, verdict);
  if (s.reason() == v1::CREDIT_REASON_STORE_FAILED) {
    verdict->Raise(kCritical, queue.name() + ": the store failed");
  } else if (s.reason() == v1::CREDIT_REASON_DISK_LOW) {
    verdict->Raise(kCritical, queue.name() + ": the disk is nearly full");
  } else if (s.reason() != v1::CREDIT_REASON_UNSPECIFIED) {
    Compare(queue.name() + " producers wait (" + EnumName(s.reason()) + ") for", s.reason_age_ms(),
            options.warn_blocked_ms, options.crit_blocked_ms, HumanDuration, verdict);
  }
}

int Print(const Context& context, const Verdict& verdict, const std::string& otherwise) {
  static constexpr const char* kNames[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
  if (context.json()) {
    PrintJson({{"level", kNames[verdict.level]}, {"findings", verdict.findings}});
    return verdict.level;
  }
  std::string text;
  for (const std::string& finding : verdict.findings) text += (text.empty() ? "" : "; ") + finding;
  std::cout << "SPILLWAY " << kNames[verdict.level] << " - " << (text.empty() ? otherwise : text)
            << "\n";
  return verdict.level;
}

int Run(const Context& context, const Options& options) {
  Verdict verdict;
  std::optional<v1::WatchResponse> snapshot;
  const client::Status watched =
      context.Admin().Watch(options.queue, client::milliseconds(0), [&](const auto& response) {
        snapshot = response;
        return false;
      });
  if (!watched.ok() || !snapshot) {
    const client::ErrorKind kind =
        watched.ok() ? client::ErrorKind::kUnavailable : watched.error().kind;
    verdict.Raise(
        kind == client::ErrorKind::kNotFound ? kUnknown : kCritical,
        watched.ok() ? "no answer" : Describe(WithAddress(watched.error(), context.Address())));
    return Print(context, verdict, "");
  }
  if (snapshot->broker().draining()) verdict.Raise(kWarning, "the broker is draining");
  for (const v1::Queue& queue : snapshot->queues()) CheckQueue(queue, options, &verdict);
  return Print(context, verdict,
               CountOf(static_cast<uint64_t>(snapshot->queues().size()), "queue") + ", up " +
                   HumanDuration(snapshot->broker().uptime_ms()));
}

}  // namespace

void AddCheck(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* check =
      AddCommand(app, context, "check",
                 "One line and an exit code for monitoring: 0 ok, 1 warning, 2 critical, 3 unknown",
                 "  spillway check\n"
                 "  spillway check orders --warn-depth 10,000 --crit-depth 100,000 --crit-age 10m\n"
                 "  spillway check --timeout 2s --json\n",
                 &Run, &options);
  check->add_option("QUEUE", options->queue, "Only this queue");
  AddCount(check, "--warn-depth", &options->warn_depth, "Warn from that many unsettled records");
  AddCount(check, "--crit-depth", &options->crit_depth, "Critical from that many");
  AddDuration(
      check, "--warn-age", [options](uint64_t ms) { options->warn_age_ms = ms; },
      "Warn when the oldest is that old");
  AddDuration(
      check, "--crit-age", [options](uint64_t ms) { options->crit_age_ms = ms; },
      "Critical when it is that old");
  AddDuration(
      check, "--warn-blocked", [options](uint64_t ms) { options->warn_blocked_ms = ms; },
      "Warn when producers have waited that long (1m)");
  AddDuration(
      check, "--crit-blocked", [options](uint64_t ms) { options->crit_blocked_ms = ms; },
      "Critical when they have waited that long");
}

}  // namespace spillway::cli
