// spillway completion: scripts made from the commands themselves.
#include <iostream>
#include <string>

#include "broker/cli/context.h"

namespace spillway::cli {
namespace {

struct Options {
  std::string shell;
};

const CLI::App* g_root = nullptr;  // set once, before anything runs

std::string Words(const CLI::App* command) {
  std::string words;
  for (const CLI::App* sub : command->get_subcommands([](const CLI::App*) { return true; })) {
    words += " " + sub->get_name();
  }
  for (const CLI::Option* option : command->get_options()) {
    for (const std::string& name : option->get_lnames()) words += " --" + name;
  }
  return words.empty() ? words : words.substr(1);
}

// Calls visit("queue create", command) for each command below the root.
template <typename Visit>
void ForEach(const CLI::App* command, const std::string& path, const Visit& visit) {
  visit(path, command);
  for (const CLI::App* sub : command->get_subcommands([](const CLI::App*) { return true; })) {
    ForEach(sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), visit);
  }
}

bool TakesQueue(const CLI::App* command) {
  return command->get_option_no_throw("QUEUE") != nullptr ||
         command->get_option_no_throw("SUBJECT") != nullptr;
}

void Bash() {
  std::cout << "# bash completion of spillway; load with: source <(spillway completion bash)\n"
               "_spillway() {\n"
               "  local cur=${COMP_WORDS[COMP_CWORD]} path= word words= queues=\n"
               "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
               "    [[ $word == -* ]] || path=\"${path:+$path }$word\"\n"
               "  done\n"
               "  case $path in\n";
  // Longest paths first, so that arguments after a command do not hide it.
  std::vector<std::string> cases;
  ForEach(g_root, "", [&](const std::string& path, const CLI::App* command) {
    std::string arm = path.empty() ? "    *" : "    \"" + path + "\"|\"" + path + " \"*";
    arm += ") words=\"" + Words(command) + "\"";
    if (TakesQueue(command)) arm += "; queues=1";
    cases.insert(cases.begin(), arm + " ;;\n");
  });
  for (const std::string& arm : cases) std::cout << arm;
  std::cout << "  esac\n"
               "  [[ -n $queues && $cur != -* ]] && words=\"$words $(spillway queue ls -q "
               "2>/dev/null)\"\n"
               "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
               "}\n"
               "complete -o default -F _spillway spillway\n";
}

void Fish() {
  std::cout << "# fish completion of spillway; load with: spillway completion fish | source\n";
  ForEach(g_root, "", [](const std::string& path, const CLI::App* command) {
    std::string condition = "__fish_use_subcommand";
    if (!path.empty()) {
      condition.clear();
      std::string rest = path;
      while (!rest.empty()) {
        const size_t space = rest.find(' ');
        condition += (condition.empty() ? "" : "; and ") +
                     ("__fish_seen_subcommand_from " + rest.substr(0, space));
        rest = space == std::string::npos ? "" : rest.substr(space + 1);
      }
    }
    for (const CLI::App* sub : command->get_subcommands([](const CLI::App*) { return true; })) {
      std::cout << "complete -c spillway -f -n '" << condition << "' -a " << sub->get_name()
                << " -d '" << sub->get_description() << "'\n";
    }
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) {
        std::cout << "complete -c spillway -n '" << condition << "' -l " << name << "\n";
      }
    }
    if (TakesQueue(command)) {
      std::cout << "complete -c spillway -f -n '" << condition
                << "' -a '(spillway queue ls -q 2>/dev/null)'\n";
    }
  });
}

int Run(const Context& /*context*/, const Options& options) {
  if (options.shell == "fish") {
    Fish();
    return kOk;
  }
  if (options.shell == "zsh") {
    std::cout << "# zsh completion of spillway; load with: source <(spillway completion zsh)\n"
                 "autoload -U +X compinit && compinit\n"
                 "autoload -U +X bashcompinit && bashcompinit\n";
  }
  Bash();
  return kOk;
}

}  // namespace

void AddCompletion(CLI::App* app, Context* context) {
  g_root = app;
  Options* options = nullptr;
  CLI::App* completion = AddCommand(app, context, "completion",
                                    "Prints a completion script for a shell", &Run, &options);
  completion->add_option("SHELL", options->shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

}  // namespace spillway::cli
