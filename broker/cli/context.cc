#include "broker/cli/context.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "broker/base/registry.gen.h"
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
      const std::string create = "spillway queue create " + error.queue;
      if (const auto near = Nearest(error.queue, names)) {
        return "did you mean '" + *near + "'? Or create it: " + create;
      }
      return "create it: " + create;
    }
    case ErrorKind::kTimedOut:
      return "does the broker at " + context.Address() +
             " answer? Try spillway check, or a longer --timeout";
    case ErrorKind::kRevisionMismatch:
      return "look at it again (spillway queue info " + error.queue +
             ") and repeat, or leave --revision out";
    case ErrorKind::kOutOfRange:
      if (error.tail_offset == 0) return "";
      if (error.head_offset == error.tail_offset) {
        return "nothing is kept; the next record gets offset " + std::to_string(error.tail_offset);
      }
      return "kept are offsets " + std::to_string(error.head_offset) + " to " +
             std::to_string(error.tail_offset - 1) + "; 'earliest' is the first of them";
    case ErrorKind::kQueueFull:
      return "see who does not settle: spillway explain " + error.queue;
    case ErrorKind::kExclusive:
      return "see who it is: spillway sessions ls " + error.queue;
    case ErrorKind::kStoreFailed:
      return "look at the broker's log, then restart it";
    default:
      return "";
  }
}

}  // namespace

std::string Context::Address() const {
  if (!address.empty()) return address;
  // Nothing else of the process changes its environment.
  const char* from_environment = std::getenv(  // NOLINT(concurrency-mt-unsafe)
      std::string(registry::env::kAddress).c_str());
  if (from_environment != nullptr && *from_environment != '\0') return from_environment;
  return std::string(registry::option::kAddress);
}

client::ClientOptions Context::Options(std::string name) const {
  client::ClientOptions options;
  options.address = address;
  options.ca_file = ca_file;
  options.name = std::move(name);
  options.fail_fast = true;
  return options;
}

client::Client Context::Connect() const {
  auto made = client::Client::Make(Options());
  if (!made.ok()) {
    Fail(made.error());
    std::exit(ExitCodeOf(made.error().kind));  // NOLINT(concurrency-mt-unsafe)
  }
  return *std::move(made);
}

client::Admin Context::Admin() const {
  client::Admin admin = Connect().admin();
  admin.set_timeout(timeout);
  return admin;
}

int Context::Fail(const Error& given, std::optional<std::string> hint) const {
  const Error error = WithAddress(given, Address());
  if (!hint) hint = Hint(*this, error);
  std::cout.flush();  // what was shown comes before what went wrong
  if (json()) {
    std::cerr << ErrorJson(error, *hint).dump(-1, ' ', false, Json::error_handler_t::replace)
              << "\n";
  } else {
    std::cerr << "spillway: " << Describe(error) << "\n";
    if (!hint->empty()) std::cerr << "  " << *hint << "\n";
  }
  return ExitCodeOf(error.kind);
}

int Context::Usage(std::string message) const {
  return Fail({.kind = ErrorKind::kInvalidArgument, .message = std::move(message)});
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

client::Status Confirm(const Context& context, bool yes, const std::string& question) {
  if (yes) return client::Ok();
  if (isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1 && !context.json()) {
    std::cerr << question << " [y/N] " << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    if (answer == "y" || answer == "Y" || answer == "yes") return client::Ok();
  }
  return Error{.kind = ErrorKind::kInvalidArgument,
               .message = "not done: it cannot be taken back; say --yes"};
}

bool OutputLost() {
  if (std::cout) return false;
  pollfd out{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

int FinishOutput(int code) {
  std::cout.flush();
  if (std::cout || OutputLost()) return code;
  std::cerr << "spillway: cannot write to stdout; what it shows is not complete\n";
  return code == kOk ? kFailed : code;
}

CLI::Option* AddCount(CLI::App* command, const std::string& flags, uint64_t* value,
                      const std::string& help, uint64_t min) {
  return command
      ->add_option_function<std::string>(
          flags,
          [flags, value, min](const std::string& text) {
            const auto count = ParseCount(text);
            const std::string name = flags.substr(flags.rfind(',') + 1);
            if (!count.ok()) throw CLI::ValidationError(name, count.error().message);
            if (*count < min) {
              throw CLI::ValidationError(name, "must be " + std::to_string(min) + " or more");
            }
            *value = *count;
          },
          help)
      ->type_name("N");
}

CLI::Option* AddDuration(CLI::App* command, const std::string& flags,
                         std::function<void(uint64_t ms)> take, const std::string& help) {
  return command
      ->add_option_function<std::string>(
          flags,
          [flags, take = std::move(take)](const std::string& text) {
            const auto ms = ParseDuration(text);
            if (!ms.ok()) throw CLI::ValidationError(flags, ms.error().message);
            take(*ms);
          },
          help)
      ->type_name("DURATION");
}

CLI::Validator Positive() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        double value = 0;
        return CLI::detail::lexical_cast(text, value) && value > 0 ? "" : "must be above 0";
      },
      "");
}

bool Interrupted() {
  static const bool armed = [] {
    struct sigaction action = {};
    action.sa_handler = [](int) { g_interrupted = true; };
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    return true;
  }();
  return armed && g_interrupted;
}

void EndOnInterrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) { _exit(kOk); };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace spillway::cli
