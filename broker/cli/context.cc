#include "broker/cli/context.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "broker/cli/format.h"
#include "broker/cli/parse.h"
#include "broker/cli/suggest.h"

namespace spillway::cli {
namespace {

using client::Error;
using client::ErrorKind;

std::atomic<bool> g_interrupted = false;

// What to do next, where there is something.
std::string Hint(const Context& context, const Error& error) {
  switch (error.kind) {
    case ErrorKind::kNotFound: {
      if (error.queue.empty()) return "";
      std::vector<std::string> names;
      if (const auto queues = context.Admin().ListQueues(); queues.ok()) {
        for (const v1::Queue& queue : *queues) names.push_back(queue.name());
      }
      for (const std::string& name : names) {
        if (name == error.queue) return "";  // it is something else that is missing
      }
      std::string hint = "create it: spillway queue create " + error.queue;
      if (const auto near = Nearest(error.queue, names)) {
        hint = "did you mean '" + *near + "'? Or " + hint;
      }
      return hint;
    }
    case ErrorKind::kUnavailable:
    case ErrorKind::kTimedOut:
      return "is the broker running there? Start spillwayd, or name another with --address or " +
             std::string(registry::env::kAddress);
    case ErrorKind::kRevisionMismatch:
      return "look at it again (spillway queue info " + error.queue +
             ") and repeat, or leave --revision out";
    case ErrorKind::kOutOfRange:
      return "kept are offsets " + std::to_string(error.head_offset) + " to " +
             std::to_string(error.tail_offset) + " (the next one); try --from earliest";
    case ErrorKind::kQueueFull:
      return "see who does not settle: spillway explain " + error.queue;
    case ErrorKind::kStoreFailed:
      return "look at the broker's log, then restart it";
    default:
      return "";
  }
}

}  // namespace

int ExitCodeOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument:
    case ErrorKind::kTooLarge:
      return kUsage;
    case ErrorKind::kNotFound:
      return kNotFound;
    case ErrorKind::kAlreadyExists:
    case ErrorKind::kRevisionMismatch:
    case ErrorKind::kFenced:
    case ErrorKind::kExclusive:
      return kConflict;
    case ErrorKind::kQueueFull:
    case ErrorKind::kLimitReached:
      return kFull;
    case ErrorKind::kUnavailable:
    case ErrorKind::kStoreFailed:
      return kUnavailable;
    case ErrorKind::kTimedOut:
      return kTimedOut;
    case ErrorKind::kOutOfRange:
      return kOutOfRange;
    default:
      return kFailed;
  }
}

client::milliseconds Context::timeout_ms() const {
  const Result<uint64_t> ms = ParseDuration(timeout);
  return client::milliseconds(ms.ok() ? *ms : 30000);
}

client::Client Context::Connect() const {
  client::ClientOptions options;
  options.address = address;
  options.ca_file = ca_file;
  options.name = "spillway";
  options.fail_fast = true;
  auto made = client::Client::Make(std::move(options));
  if (!made.ok()) {
    std::cerr << "spillway: " << made.error().message << "\n";
    std::exit(kUsage);  // NOLINT(concurrency-mt-unsafe)
  }
  return *std::move(made);
}

client::Admin Context::Admin() const {
  client::Admin admin = Connect().admin();
  admin.set_timeout(timeout_ms());
  return admin;
}

int Context::Fail(const Error& error) const {
  const std::string hint = Hint(*this, error);
  if (json()) {
    Json out;
    out["error"]["kind"] = client::Name(error.kind);
    out["error"]["message"] = error.message;
    if (!error.field.empty()) out["error"]["field"] = error.field;
    if (!error.queue.empty()) out["error"]["queue"] = error.queue;
    if (error.retry_after_ms != 0) out["error"]["retry_after_ms"] = error.retry_after_ms;
    if (!hint.empty()) out["error"]["hint"] = hint;
    std::cerr << out.dump() << "\n";
  } else {
    std::cerr << "spillway: " << error.ToString();
    if (!error.field.empty()) std::cerr << " (" << error.field << ")";
    std::cerr << "\n";
    if (!hint.empty()) std::cerr << "  " << hint << "\n";
  }
  return ExitCodeOf(error.kind);
}

void PrintJson(const Json& json) {
  std::cout << json.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
}

void Say(const Context& context, const std::string& text) {
  if (context.json()) {
    PrintJson({{"ok", true}});
  } else {
    std::cout << text << "\n";
  }
}

bool Interrupted() {
  static const bool armed = [] {
    struct sigaction action = {};
    action.sa_handler = [](int) { g_interrupted = true; };
    action.sa_flags = SA_RESETHAND;  // a second Ctrl-C ends the process at once
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    return true;
  }();
  return armed && g_interrupted;
}

}  // namespace spillway::cli
