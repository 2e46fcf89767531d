// spillway: the command line of the broker.
#include <iostream>
#include <string>
#include <vector>

#include "broker/base/registry.gen.h"
#include "broker/cli/context.h"
#include "broker/cli/suggest.h"

namespace spillway::cli {
namespace {

constexpr char kVersion[] = "1.0.0-dev";

// The first word that names no command, and the commands it could have named.
std::optional<std::string> UnknownCommand(const CLI::App& root, int argc, char** argv) {
  const CLI::App* at = &root;
  const auto any = [](const CLI::App*) { return true; };
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--address" || word == "--ca-file" || word == "-o" || word == "--output" ||
        word == "--timeout") {
      ++i;  // its value
      continue;
    }
    if (word.starts_with("-")) continue;
    const std::vector<const CLI::App*> commands = at->get_subcommands(any);
    if (commands.empty()) return std::nullopt;  // arguments, not commands
    std::vector<std::string> names;
    const CLI::App* next = nullptr;
    for (const CLI::App* command : commands) {
      names.push_back(command->get_name());
      if (command->get_name() == word) next = command;
    }
    if (next == nullptr) {
      std::string text = "there is no command '" + word + "'";
      if (const auto near = Nearest(word, names)) text += "; did you mean '" + *near + "'?";
      return text;
    }
    at = next;
  }
  return std::nullopt;
}

const CLI::App* FindCommand(const CLI::App& root, const std::string& name) {
  for (const CLI::App* command : root.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == name) return command;
  }
  return nullptr;
}

struct None {};

int Version(const Context& context, const None& /*options*/) {
  if (context.json()) {
    PrintJson({{"version", kVersion}, {"protocol", registry::limit::kProtocolVersion}});
  } else {
    std::cout << "spillway " << kVersion << " (protocol " << registry::limit::kProtocolVersion
              << ")\n";
  }
  return kOk;
}

int Main(int argc, char** argv) {
  CLI::App app("spillway: publish, receive, replay, and look after the broker");
  Context context;
  app.require_subcommand(1);
  app.fallthrough();
  app.failure_message(CLI::FailureMessage::simple);
  app.add_option("--address", context.address,
                 "Broker, host:port (" + std::string(registry::env::kAddress) + "; default " +
                     std::string(registry::option::kAddress) + ")");
  app.add_option("--ca-file", context.ca_file,
                 "PEM file of certificate authorities; turns TLS on (" +
                     std::string(registry::env::kCaFile) + ")");
  app.add_option("-o,--output", context.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.add_option("--timeout", context.timeout, "How long to wait for the broker, or for credit")
      ->type_name("DURATION")
      ->capture_default_str();
  app.set_version_flag("--version", kVersion);
  app.footer(kExitCodesText);

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
  None* none = nullptr;
  AddCommand(&app, &context, "version", "Prints the version", &Version, &none);
  std::string topic;
  CLI::App* help = app.add_subcommand("help", "This help; 'help exit-codes'; 'help COMMAND'");
  help->add_option("TOPIC", topic, "A command, or exit-codes");
  help->callback([&] {
    context.run = [&]() -> int {
      if (topic == "exit-codes") {
        std::cout << kExitCodesText;
      } else if (topic.empty()) {
        std::cout << app.help();
      } else if (const CLI::App* command = FindCommand(app, topic)) {
        std::cout << command->help();
      } else {
        return context.Fail({.kind = client::ErrorKind::kInvalidArgument,
                             .message = "there is no help on '" + topic + "'"});
      }
      return kOk;
    };
  });

  if (argc == 1) {
    std::cout << app.help();
    return kUsage;
  }
  if (const auto unknown = UnknownCommand(app, argc, argv)) {
    std::cerr << "spillway: " << *unknown << "\n  spillway --help lists the commands\n";
    return kUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);  // --help, --version
  } catch (const CLI::ParseError& error) {
    std::cerr << "spillway: " << error.what() << "\n  add --help to see what it takes\n";
    return kUsage;
  }
  return context.run ? context.run() : kUsage;
}

}  // namespace
}  // namespace spillway::cli

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  return spillway::cli::Main(argc, argv);
}
