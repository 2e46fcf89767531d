// What is wrong with a command line, better said than by its parser.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

namespace spillway::cli {

// The subcommand of that name or alias; nullptr if there is none.
const CLI::App* FindCommand(const CLI::App* parent, const std::string& word);
// All of them.
std::vector<const CLI::App*> CommandsOf(const CLI::App* parent);

// The first word that names no command, or no option of its command, with what it
// could have meant; or that a command is missing. `args` without the program's name.
std::optional<std::string> FindTypo(const CLI::App& root, const std::vector<std::string>& args);
// The first command that is named, as "check"; empty if there is none.
std::string FirstCommand(const CLI::App& root, const std::vector<std::string>& args);
// Whether errors should be JSON, said of a command line that may not parse.
bool WantsJson(const std::vector<std::string>& args);

}  // namespace spillway::cli
