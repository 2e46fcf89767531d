// spillway help | version
#include <iostream>
#include <string>
#include <vector>

#include "broker/base/registry.gen.h"
#include "broker/base/version.h"
#include "broker/cli/context.h"
#include "broker/cli/suggest.h"
#include "broker/cli/usage.h"

namespace spillway::cli {
namespace {

struct None {};
struct HelpOptions {
  const CLI::App* root = nullptr;
  std::vector<std::string> topic;
};

int Version(const Context& context, const None& /*options*/) {
  if (context.json()) {
    PrintJson({{"version", kVersion}, {"protocol", registry::limit::kProtocolVersion}});
  } else {
    std::cout << "spillway " << kVersion << " (protocol " << registry::limit::kProtocolVersion
              << ")\n";
  }
  return kOk;
}

int Help(const Context& context, const HelpOptions& options) {
  if (options.topic == std::vector<std::string>{"exit-codes"}) {
    std::cout << kExitCodesText;
    return kOk;
  }
  const CLI::App* at = options.root;
  std::string path;
  for (const std::string& word : options.topic) {
    const CLI::App* next = FindCommand(at, word);
    if (next == nullptr) {
      std::vector<std::string> names = {"exit-codes"};
      for (const CLI::App* command : CommandsOf(at)) names.push_back(command->get_name());
      return context.Usage("there is no help on '" + word + "'" + DidYouMean(word, names));
    }
    path += (path.empty() ? "" : " ") + at->get_name();
    at = next;
  }
  std::cout << at->help(path);
  return kOk;
}

}  // namespace

void AddHelp(CLI::App* app, Context* context) {
  None* none = nullptr;
  AddCommand(app, context, "version", "Prints the version of this program",
             "  spillway version\n  spillway version --json\n", &Version, &none);
  HelpOptions* help = nullptr;
  CLI::App* command =
      AddCommand(app, context, "help", "Prints this help, a command's, or that on exit codes",
                 "  spillway help queue create\n  spillway help exit-codes\n", &Help, &help);
  help->root = app;
  command->add_option("TOPIC", help->topic, "A command, or exit-codes");
}

}  // namespace spillway::cli
