// Completion scripts, made from the commands themselves.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace spillway::cli {

std::string BashCompletion(const CLI::App& root);
std::string ZshCompletion(const CLI::App& root);
std::string FishCompletion(const CLI::App& root);

}  // namespace spillway::cli
