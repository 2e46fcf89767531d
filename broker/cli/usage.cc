#include "broker/cli/usage.h"

#include <algorithm>

#include "broker/cli/suggest.h"

namespace spillway::cli {
namespace {

std::vector<std::string> OptionsOf(const CLI::App* command) {
  std::vector<std::string> names;
  for (const CLI::App* at = command; at != nullptr; at = at->get_parent()) {
    for (const CLI::Option* option : at->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

// Of the command or those above it: global options may come anywhere.
const CLI::Option* FindOption(const CLI::App* command, const std::string& name) {
  for (const CLI::App* at = command; at != nullptr; at = at->get_parent()) {
    if (const CLI::Option* option = at->get_option_no_throw(name)) return option;
  }
  return nullptr;
}

std::string PathOf(const CLI::App* command) {
  std::string path = command->get_name();
  for (const CLI::App* at = command->get_parent(); at != nullptr; at = at->get_parent()) {
    path.insert(0, at->get_name() + " ");
  }
  return path;
}

}  // namespace

std::vector<const CLI::App*> CommandsOf(const CLI::App* parent) {
  return parent->get_subcommands([](const CLI::App*) { return true; });
}

const CLI::App* FindCommand(const CLI::App* parent, const std::string& word) {
  for (const CLI::App* command : CommandsOf(parent)) {
    if (command->check_name(word)) return command;
  }
  return nullptr;
}

std::optional<std::string> FindTypo(const CLI::App& root, const std::vector<std::string>& args) {
  const CLI::App* at = &root;
  for (size_t i = 0; i < args.size() && args[i] != "--"; ++i) {
    const std::string& word = args[i];
    if (word.starts_with('-') && word.size() > 1) {
      const std::string name = word.substr(0, word.find('='));
      const CLI::Option* option = FindOption(at, name);
      if (option == nullptr && name.starts_with("--")) {
        return PathOf(at) + " takes no " + name + DidYouMean(name, OptionsOf(at));
      }
      const bool has_value = option != nullptr && option->get_items_expected_max() > 0;
      if (has_value && name == word) ++i;
      continue;
    }
    if (CommandsOf(at).empty()) continue;  // arguments, not commands
    const CLI::App* next = FindCommand(at, word);
    if (next == nullptr) {
      std::vector<std::string> names;
      for (const CLI::App* command : CommandsOf(at)) {
        names.push_back(command->get_name());
        for (const std::string& alias : command->get_aliases()) names.push_back(alias);
      }
      return PathOf(at) + " has no command '" + word + "'" + DidYouMean(word, names);
    }
    at = next;
  }
  const auto has = [&args](const char* flag) {
    return std::find(args.begin(), args.end(), flag) != args.end();
  };
  if (CommandsOf(at).empty() || has("--help") || has("-h") || has("--version")) return std::nullopt;
  std::string names;
  for (const CLI::App* command : CommandsOf(at)) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return PathOf(at) + " needs a command: " + names;
}

std::string FirstCommand(const CLI::App& root, const std::vector<std::string>& args) {
  for (size_t i = 0; i < args.size(); ++i) {
    if (!args[i].starts_with('-')) {
      const CLI::App* command = FindCommand(&root, args[i]);
      return command == nullptr ? "" : command->get_name();
    }
    const CLI::Option* option = root.get_option_no_throw(args[i]);
    if (option != nullptr && option->get_items_expected_max() > 0) ++i;
  }
  return "";
}

bool WantsJson(const std::vector<std::string>& args) {
  for (size_t i = 0; i < args.size() && args[i] != "--"; ++i) {
    const std::string& word = args[i];
    if (word == "--json" || word == "-ojson" || word == "--output=json") return true;
    if ((word == "-o" || word == "--output") && i + 1 < args.size() && args[i + 1] == "json") {
      return true;
    }
  }
  return false;
}

}  // namespace spillway::cli
