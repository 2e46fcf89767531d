// What every command shares: global options, the client, output, errors.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "broker/cli/exit_codes.h"
#include "broker/cli/json.h"
#include "clients/cpp/spillway/client.h"

namespace spillway::cli {

struct Context {
  std::string address;
  std::string ca_file;
  std::string output = "table";
  std::string timeout = "30s";
  // What to do, set by the command that was named.
  std::function<int()> run;

  bool json() const { return output == "json"; }
  client::milliseconds timeout_ms() const;
  // REQUIRES: the options are parsed. Exits with a message if they are unusable.
  client::Client Connect() const;
  client::Admin Admin() const;
  // Says on stderr what went wrong and what to do next; returns the exit code.
  int Fail(const client::Error& error) const;
};

// One line of JSON on stdout.
void PrintJson(const Json& json);
// "queue orders is gone": to people on stdout, to scripts {"ok": true}.
void Say(const Context& context, const std::string& text);

// A subcommand whose options live as long as the program; `run` gets them.
template <typename Options>
CLI::App* AddCommand(CLI::App* parent, Context* context, const char* name, const char* what,
                     int (*run)(const Context&, const Options&), Options** options) {
  CLI::App* command = parent->add_subcommand(name, what);
  auto owned = std::make_shared<Options>();
  *options = owned.get();
  command->callback([context, run, owned] {
    context->run = [context, run, owned] { return run(*context, *owned); };
  });
  return command;
}

// Whether Ctrl-C was pressed; the first call arms it.
bool Interrupted();

void AddQueueCommands(CLI::App* app, Context* context);
void AddPub(CLI::App* app, Context* context);
void AddSub(CLI::App* app, Context* context);
void AddReplay(CLI::App* app, Context* context);
void AddGroupCommands(CLI::App* app, Context* context);
void AddPeek(CLI::App* app, Context* context);
void AddExplain(CLI::App* app, Context* context);
void AddTop(CLI::App* app, Context* context);
void AddSessionCommands(CLI::App* app, Context* context);
void AddCheck(CLI::App* app, Context* context);
void AddBench(CLI::App* app, Context* context);
void AddCompletion(CLI::App* app, Context* context);

}  // namespace spillway::cli
