// What every command shares: global options, the client, output, errors.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "broker/cli/errors.h"
#include "broker/cli/exit_codes.h"
#include "broker/cli/json.h"
#include "clients/cpp/spillway/client.h"

namespace spillway::cli {

struct Context {
  std::string address;
  std::string ca_file;
  std::string output = "table";
  bool json_flag = false;
  client::milliseconds timeout{30'000};
  // What to do, set by the command that was named.
  std::function<int()> run;

  bool json() const { return json_flag || output == "json"; }
  // REQUIRES: the options are parsed. Exits with a message if they are unusable.
  client::ClientOptions Options(std::string name = "spillway") const;
  client::Client Connect() const;
  client::Admin Admin() const;
  // Where clients connect: --address, SPILLWAY_ADDRESS or the default.
  std::string Address() const;
  // Says on stderr what went wrong and what to do next: `hint`, or what is usual for
  // the error. Returns the exit code.
  int Fail(const client::Error& error, std::optional<std::string> hint = std::nullopt) const;
  int Usage(std::string message) const;
};

// One line of JSON on stdout.
void PrintJson(const Json& json);
// "queue orders is gone": to people on stdout, to scripts {"ok": true}.
void Say(const Context& context, const std::string& text);
// Asks on a terminal; scripts must say --yes. Without a yes the answer is the error.
client::Status Confirm(const Context& context, bool yes, const std::string& question);
// Whether the reader of stdout has gone: then a command ends without a word, as
// `spillway replay q | head` should. Anything else that keeps stdout from being
// written (a full disk) is an error; see FinishOutput.
bool OutputLost();
// Flushes stdout; `code`, or kFailed if not everything could be written.
int FinishOutput(int code);

// A subcommand whose options live as long as the program; `run` gets them.
// `examples` are lines of shell.
template <typename Options>
CLI::App* AddCommand(CLI::App* parent, Context* context, const char* name, const char* what,
                     const char* examples, int (*run)(const Context&, const Options&),
                     Options** options) {
  CLI::App* command = parent->add_subcommand(name, what);
  command->footer(std::string("Examples:\n") + examples +
                  "\nOptions of every command (--address, --json, --timeout): spillway --help\n");
  auto owned = std::make_shared<Options>();
  *options = owned.get();
  command->callback([context, run, owned] {
    context->run = [context, run, owned] { return run(*context, *owned); };
  });
  return command;
}
// Options that take a number ("1,000") or a duration ("10m"); their values are kept
// as text nowhere, so a wrong one is refused before anything is done.
CLI::Option* AddCount(CLI::App* command, const std::string& flags, uint64_t* value,
                      const std::string& help, uint64_t min = 0);
CLI::Option* AddDuration(CLI::App* command, const std::string& flags,
                         std::function<void(uint64_t ms)> take, const std::string& help);
// Refuses what is not above 0, for rates.
CLI::Validator Positive();

// Whether Ctrl-C was pressed or SIGTERM came; the first call arms it, and the second
// signal ends the process at once.
bool Interrupted();
// For what has nothing to finish: Ctrl-C ends the process with kOk at once.
void EndOnInterrupt();

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
void AddHelp(CLI::App* app, Context* context);

}  // namespace spillway::cli
