// spillway: the command line of the broker.
#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "broker/base/registry.gen.h"
#include "broker/base/version.h"
#include "broker/cli/context.h"
#include "broker/cli/usage.h"

namespace spillway::cli {
namespace {

// A monitoring plugin that cannot run says UNKNOWN; 2 would be CRITICAL.
constexpr int kCheckUnknown = 3;

void AddGlobalOptions(CLI::App* app, Context* context) {
  app->add_option("--address", context->address,
                  "Broker, host:port (" + std::string(registry::env::kAddress) + "; default " +
                      std::string(registry::option::kAddress) + ")")
      ->type_name("HOST:PORT");
  app->add_option("--ca-file", context->ca_file,
                  "PEM file of certificate authorities; turns TLS on (" +
                      std::string(registry::env::kCaFile) + ")")
      ->type_name("FILE");
  app->add_option("-o,--output", context->output, "table, or json: a line for each result")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"table", "json"}).description(""))
      ->capture_default_str();
  app->add_flag("--json", context->json_flag, "The same as -o json");
  AddDuration(
      app, "--timeout", [context](uint64_t ms) { context->timeout = client::milliseconds(ms); },
      "How long to wait for the broker, or for credit (default 30s)");
  app->set_version_flag("--version", std::string("spillway ") + kVersion);
}

int Main(int argc, char** argv) {
  CLI::App app("Publishes, receives, replays, and looks after a Spillway broker.", "spillway");
  Context context;
  app.require_subcommand(1);
  app.fallthrough();
  AddGlobalOptions(&app, &context);
  AddQueueCommands(&app, &context);
  AddPub(&app, &context);
  AddSub(&app, &context);
  AddReplay(&app, &context);
  AddGroupCommands(&app, &context);
  AddPeek(&app, &context);
  AddExplain(&app, &context);
  AddTop(&app, &context);
  AddSessionCommands(&app, &context);
  AddCheck(&app, &context);
  AddBench(&app, &context);
  AddCompletion(&app, &context);
  AddHelp(&app, &context);
  app.footer(std::string("Examples:\n"
                         "  spillway queue create demo\n"
                         "  spillway pub demo hello\n"
                         "  spillway sub demo\n\n") +
             kExitCodesText);

  if (argc == 1) {
    std::cout << app.help();
    return kUsage;
  }
  const std::vector<std::string> args(argv + 1, argv + argc);
  const auto usage = [&](const std::string& what) {
    context.json_flag = WantsJson(args);
    const int code = context.Fail({.kind = client::ErrorKind::kInvalidArgument, .message = what},
                                  "add --help to see what it takes");
    return FirstCommand(app, args) == "check" ? kCheckUnknown : code;
  };
  if (const auto typo = FindTypo(app, args)) return usage(*typo);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);  // --help, --version
  } catch (const CLI::ParseError& error) {
    return usage(error.what());
  }
  return context.run ? context.run() : kUsage;
}

}  // namespace
}  // namespace spillway::cli

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  // A reader that goes away shows as a failed write, so that what was shown can
  // still be settled.
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe)
  return spillway::cli::FinishOutput(spillway::cli::Main(argc, argv));
}
