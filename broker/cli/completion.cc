// spillway completion
#include "broker/cli/completion.h"

#include <iostream>
#include <string>

#include "broker/cli/context.h"

namespace spillway::cli {
namespace {

struct Options {
  const CLI::App* root = nullptr;
  std::string shell;
};

int Run(const Context& /*context*/, const Options& options) {
  if (options.shell == "fish") {
    std::cout << FishCompletion(*options.root);
  } else if (options.shell == "zsh") {
    std::cout << ZshCompletion(*options.root);
  } else {
    std::cout << BashCompletion(*options.root);
  }
  return kOk;
}

}  // namespace

void AddCompletion(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* completion =
      AddCommand(app, context, "completion", "Prints a completion script for a shell",
                 "  source <(spillway completion bash)\n"
                 "  spillway completion fish > ~/.config/fish/completions/spillway.fish\n",
                 &Run, &options);
  options->root = app;
  completion->add_option("SHELL", options->shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}).description(""));
}

}  // namespace spillway::cli
