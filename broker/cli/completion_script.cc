#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "broker/base/registry.gen.h"
#include "broker/cli/completion.h"
#include "broker/cli/tuning_flags.h"
#include "broker/cli/usage.h"

namespace spillway::cli {
namespace {

using Words = std::vector<std::string>;

std::string Join(const Words& words, const char* between) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : between) + word;
  return out;
}

Words NamesOf(const CLI::App* command) {
  Words names = {command->get_name()};
  for (const std::string& alias : command->get_aliases()) names.push_back(alias);
  return names;
}

bool TakesValue(const CLI::Option* option) {
  return option->nonpositional() && option->get_items_expected_max() > 0;
}

bool TakesQueue(const CLI::App* command) {
  return command->get_option_no_throw("QUEUE") != nullptr ||
         command->get_option_no_throw("SUBJECT") != nullptr;
}

Words FlagsOf(const CLI::App* command) {
  Words flags;
  for (const CLI::Option* option : command->get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

// What a shell offers after a command: its subcommands and options.
std::string CandidatesOf(const CLI::App* command) {
  Words words;
  for (const CLI::App* sub : CommandsOf(command)) words.push_back(sub->get_name());
  for (const std::string& flag : FlagsOf(command)) words.push_back(flag);
  return Join(words, " ");
}

// Options whose values are a few words.
std::vector<std::pair<std::string, std::string>> Choices() {
  std::vector<std::pair<std::string, std::string>> choices = {
      {"-o|--output", "table json"},
      {"--format", "auto payload raw full"},
      {"--settle", "ack retry park skip none"},
  };
  for (const registry::Tunable& tunable : registry::kTunables) {
    const Words values = ValuesOf(tunable.name);
    if (!values.empty()) choices.emplace_back(FlagOf(tunable.name), Join(values, " "));
  }
  return choices;
}

std::string ChoiceFlags() {
  std::string flags;
  for (const auto& [names, values] : Choices()) flags += (flags.empty() ? "" : "|") + names;
  return flags;
}

// Calls visit(paths, command) for each command below the root, deepest first; the
// paths are its names: "queue ls", "queue list", …
template <typename Visit>
void ForEach(const CLI::App* command, const Words& paths, const Visit& visit) {
  for (const CLI::App* sub : CommandsOf(command)) {
    Words below;
    for (const std::string& name : NamesOf(sub)) {
      for (const std::string& path : paths) {
        std::string& whole = below.emplace_back(path);
        if (!path.empty()) whole += ' ';
        whole += name;
      }
    }
    ForEach(sub, below, visit);
    visit(below, sub);
  }
}

// The part that bash and zsh share: from $command and $previous to $candidates and
// $queues. Arguments after a command match its arm, too.
std::string Cases(const CLI::App& root) {
  std::string out = "  case $previous in\n";
  for (const auto& [flags, values] : Choices()) {
    out.append("    ").append(flags).append(") candidates='").append(values).append("' ;;\n");
  }
  out += "    *)\n      case $command in\n";
  ForEach(&root, {""}, [&out](const Words& paths, const CLI::App* command) {
    Words patterns;
    for (const std::string& path : paths) {
      patterns.push_back("'" + path + "'");
      patterns.push_back("'" + path + " '*");
    }
    out += "        " + Join(patterns, " | ") + ")\n          candidates='" + CandidatesOf(command);
    if (command->get_name() == "completion") out += " bash zsh fish";
    out += "'\n";
    if (TakesQueue(command)) out += "          queues=1\n";
    out += "          ;;\n";
  });
  out += "        *) candidates='" + CandidatesOf(&root) + "' ;;\n      esac\n      ;;\n  esac\n";
  return out;
}

// All options that a value follows, in any command.
std::string ValueOptions(const CLI::App& root) {
  std::set<std::string> names;
  const auto add = [&names](const CLI::App* command) {
    for (const CLI::Option* option : command->get_options()) {
      if (!TakesValue(option)) continue;
      for (const std::string& name : option->get_lnames()) names.insert("--" + name);
      for (const std::string& name : option->get_snames()) names.insert("-" + name);
    }
  };
  add(&root);
  ForEach(&root, {""}, [&add](const Words& /*paths*/, const CLI::App* command) { add(command); });
  return Join(Words(names.begin(), names.end()), " ");
}

std::string FishQuoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out + "'";
}

std::string FishOptions(const CLI::App* command, const std::string& condition) {
  std::string out;
  for (const CLI::Option* option : command->get_options()) {
    if (option->get_lnames().empty()) continue;
    const std::string& name = option->get_lnames()[0];
    out += "complete -c spillway" + condition;
    for (const std::string& letter : option->get_snames()) out += " -s " + letter;
    out += " -l " + name;
    if (TakesValue(option)) {
      const bool file = option->get_type_name() == "FILE";
      out += file ? " -r -F" : " -x";
      for (const auto& [flags, values] : Choices()) {
        if (("|" + flags + "|").find("|--" + name + "|") != std::string::npos) {
          out += " -a " + FishQuoted(values);
        }
      }
    }
    out += " -d " + FishQuoted(option->get_description()) + "\n";
  }
  return out;
}

std::string FishCommands(const CLI::App* command, const std::string& seen) {
  std::string out;
  Words subs;
  for (const CLI::App* sub : CommandsOf(command)) {
    for (const std::string& name : NamesOf(sub)) subs.push_back(name);
  }
  const std::string here =
      " -n " + FishQuoted((seen.empty() ? "" : seen + "; and ") +
                          "not __fish_seen_subcommand_from " + Join(subs, " "));
  for (const CLI::App* sub : CommandsOf(command)) {
    out += "complete -c spillway" + here + " -a " + sub->get_name() + " -d " +
           FishQuoted(sub->get_description()) + "\n";
    const std::string below = (seen.empty() ? "" : seen + "; and ") +
                              "__fish_seen_subcommand_from " + Join(NamesOf(sub), " ");
    const std::string condition = " -n " + FishQuoted(below);
    out += FishOptions(sub, condition);
    if (TakesQueue(sub)) {
      out += "complete -c spillway" + condition +
             " -a '(spillway queue ls --quiet --timeout 1s 2>/dev/null)'\n";
    }
    if (sub->get_name() == "completion") {
      out += "complete -c spillway" + condition + " -a 'bash zsh fish'\n";
    }
    if (!CommandsOf(sub).empty()) out += FishCommands(sub, below);
  }
  return out;
}

constexpr char kQueues[] = "$(spillway queue ls --quiet --timeout 1s 2>/dev/null)";

}  // namespace

std::string BashCompletion(const CLI::App& root) {
  // Bash splits words at : and =, so an address is three of them.
  return "# bash completion of spillway; load with: source <(spillway completion bash)\n"
         "_spillway() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
         "  local command='' candidates='' queues='' word='' skip=''\n"
         "  local with_value=' " +
         ValueOptions(root) +
         " '\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    if [[ $word == [:=] ]]; then\n"
         "      skip=1\n"
         "    elif [[ -n $skip ]]; then\n"
         "      skip=''\n"
         "    elif [[ $with_value == *\" $word \"* ]]; then\n"
         "      skip=1\n"
         "    elif [[ $word != -* ]]; then\n"
         "      command=\"${command:+$command }$word\"\n"
         "    fi\n"
         "  done\n" +
         Cases(root) +
         "  if [[ -n $skip && $with_value == *\" $previous \"* ]]; then\n"
         "    case $previous in\n"
         "      " +
         ChoiceFlags() +
         ") ;;\n"
         "      *) return 0 ;;\n"
         "    esac\n"
         "  elif [[ -n $queues && $current != -* ]]; then\n"
         "    candidates=\"$candidates " +
         std::string(kQueues) +
         "\"\n"
         "  fi\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$candidates\" -- \"$current\")\n"
         "}\n"
         "complete -o default -F _spillway spillway\n";
}

std::string ZshCompletion(const CLI::App& root) {
  return "#compdef spillway\n"
         "# zsh completion of spillway; load with: source <(spillway completion zsh)\n"
         "_spillway() {\n"
         "  local current=${words[CURRENT]} previous=${words[CURRENT-1]}\n"
         "  local command='' candidates='' queues='' word='' skip=''\n"
         "  local with_value=' " +
         ValueOptions(root) +
         " '\n"
         "  for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
         "    if [[ -n $skip ]]; then\n"
         "      skip=''\n"
         "    elif [[ $with_value == *\" $word \"* ]]; then\n"
         "      skip=1\n"
         "    elif [[ $word != -* ]]; then\n"
         "      command=\"${command:+$command }$word\"\n"
         "    fi\n"
         "  done\n" +
         Cases(root) +
         "  if [[ -n $skip ]]; then\n"
         "    case $previous in\n"
         "      " +
         ChoiceFlags() +
         ") ;;\n"
         "      *) _files; return ;;\n"
         "    esac\n"
         "  elif [[ -n $queues && $current != -* ]]; then\n"
         "    candidates=\"$candidates " +
         std::string(kQueues) +
         "\"\n"
         "  fi\n"
         "  compadd -- ${=candidates}\n"
         "}\n"
         "compdef _spillway spillway\n";
}

std::string FishCompletion(const CLI::App& root) {
  return "# fish completion of spillway; load with: spillway completion fish | source\n"
         "complete -c spillway -f\n" +
         FishOptions(&root, "") + FishCommands(&root, "");
}

}  // namespace spillway::cli
