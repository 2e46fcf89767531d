// spillway check: one line and an exit code, as monitoring plugins have it.
#include <algorithm>
#include <iostream>

#include "broker/cli/context.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"

namespace spillway::cli {
namespace {

enum Level : int { kFine = 0, kWarning = 1, kCritical = 2, kUnknown = 3 };

struct Options {
  std::string queue;
  std::string warn_depth;
  std::string crit_depth;
  std::string warn_age;
  std::string crit_age;
  std::string warn_blocked = "1m";
};

struct Verdict {
  Level level = kFine;
  std::vector<std::string> findings;
  void Raise(Level to, std::string why) {
    level = std::max(level, to);
    findings.push_back(std::move(why));
  }
};

// Raises the level that `value` reaches; empty bounds are none.
template <typename Parse, typename Show>
client::Status Compare(const std::string& what, uint64_t value, const std::string& warn,
                       const std::string& crit, Parse parse, Show show, Verdict* verdict) {
  for (const auto& [text, level] : {std::pair(crit, kCritical), std::pair(warn, kWarning)}) {
    if (text.empty()) continue;
    const auto bound = parse(text);
    if (!bound.ok()) return bound.error();
    if (value >= *bound) {
      verdict->Raise(level, what + " " + show(value) + " (limit " + show(*bound) + ")");
      break;
    }
  }
  return client::Ok();
}

client::Status CheckQueue(const v1::Queue& queue, const Options& options, Verdict* verdict) {
  const v1::QueueStats& s = queue.stats();
  client::Status status = Compare(queue.name() + " depth", s.depth_messages(), options.warn_depth,
                                  options.crit_depth, ParseCount, HumanCount, verdict);
  if (!status.ok()) return status;
  const uint64_t age = s.depth_messages() == 0 ? 0 : s.oldest_age_ms();
  status = Compare(queue.name() + " oldest record", age, options.warn_age, options.crit_age,
                   ParseDuration, HumanDuration, verdict);
  if (!status.ok()) return status;
  if (s.reason() == v1::CREDIT_REASON_STORE_FAILED) {
    verdict->Raise(kCritical, queue.name() + ": the store failed");
  } else if (s.reason() == v1::CREDIT_REASON_DISK_LOW) {
    verdict->Raise(kCritical, queue.name() + ": the disk is nearly full");
  } else if (s.reason() != v1::CREDIT_REASON_UNSPECIFIED) {
    return Compare(queue.name() + " producers wait (" + EnumName(s.reason()) + ") for",
                   s.reason_age_ms(), options.warn_blocked, "", ParseDuration, HumanDuration,
                   verdict);
  }
  return client::Ok();
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
    verdict.Raise(kind == client::ErrorKind::kNotFound ? kUnknown : kCritical,
                  watched.ok() ? "no answer" : watched.error().ToString());
    return Print(context, verdict, "");
  }
  if (snapshot->broker().draining()) verdict.Raise(kWarning, "the broker is draining");
  for (const v1::Queue& queue : snapshot->queues()) {
    const client::Status status = CheckQueue(queue, options, &verdict);
    if (!status.ok()) {
      verdict.Raise(kUnknown, status.error().message);
      break;
    }
  }
  return Print(context, verdict,
               std::to_string(snapshot->queues().size()) + " queues, up " +
                   HumanDuration(snapshot->broker().uptime_ms()));
}

}  // namespace

void AddCheck(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* check =
      AddCommand(app, context, "check",
                 "One line and an exit code for monitoring: 0 ok, 1 warning, 2 critical, 3 unknown",
                 &Run, &options);
  check->add_option("QUEUE", options->queue, "Only this queue");
  check->add_option("--warn-depth", options->warn_depth, "Warn from that many unsettled records")
      ->type_name("N");
  check->add_option("--crit-depth", options->crit_depth, "Critical from that many")->type_name("N");
  check->add_option("--warn-age", options->warn_age, "Warn when the oldest is that old")
      ->type_name("DURATION");
  check->add_option("--crit-age", options->crit_age, "Critical when it is that old")
      ->type_name("DURATION");
  check
      ->add_option("--warn-blocked", options->warn_blocked,
                   "Warn when producers have waited that long")
      ->type_name("DURATION")
      ->capture_default_str();
}

}  // namespace spillway::cli
