// spillway sessions ls | close
#include <iostream>

#include "broker/cli/context.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"

namespace spillway::cli {
namespace {

struct ListOptions {
  std::string queue;
};
struct CloseOptions {
  std::string id;
};

int List(const Context& context, const ListOptions& options) {
  const auto sessions = context.Admin().ListSessions(options.queue);
  if (!sessions.ok()) return context.Fail(sessions.error());
  if (context.json()) {
    Json out = Json::array();
    for (const v1::Session& session : *sessions) out.push_back(ToJson(session));
    PrintJson(out);
    return kOk;
  }
  if (sessions->empty()) {
    std::cerr << "no sessions\n";
    return kOk;
  }
  using enum Table::Align;
  Table table({{"SESSION"},
               {"KIND"},
               {"QUEUE"},
               {"NAME"},
               {"CREDIT LEFT", kRight},
               {"IN FLIGHT", kRight},
               {"OPEN FOR", kRight},
               {"CLIENT"},
               {"PEER"}});
  const uint64_t now = NowUnixMs();
  for (const v1::Session& s : *sessions) {
    const client::Credit left = client::SaturatingMinus(
        {s.granted().messages(), s.granted().bytes()}, {s.used().messages(), s.used().bytes()});
    const uint64_t age = now > s.opened_at_unix_ms() ? now - s.opened_at_unix_ms() : 0;
    table.Add({s.id(), EnumName(s.kind()), s.queue(), s.name(),
               HumanCount(left.messages) + ", " + HumanBytes(left.bytes),
               s.kind() == v1::SESSION_KIND_PRODUCER ? "-" : HumanCount(s.in_flight_messages()),
               HumanDuration(age), Printable(s.client()), s.peer()});
  }
  std::cout << table.Render();
  return kOk;
}

int Close(const Context& context, const CloseOptions& options) {
  const client::Status status = context.Admin().CloseSession(options.id);
  if (!status.ok()) return context.Fail(status.error());
  Say(context, "session " + options.id + " closed");
  return kOk;
}

}  // namespace

void AddSessionCommands(CLI::App* app, Context* context) {
  CLI::App* sessions = app->add_subcommand("sessions", "Open streams: list, close");
  sessions->alias("session");
  sessions->require_subcommand(1);
  ListOptions* list = nullptr;
  CLI::App* command =
      AddCommand(sessions, context, "ls", "Lists open streams",
                 "  spillway sessions ls\n  spillway sessions ls orders\n", &List, &list);
  command->alias("list");
  command->add_option("QUEUE", list->queue, "Only of this queue");
  CloseOptions* close = nullptr;
  command = AddCommand(
      sessions, context, "close",
      "Ends a stream; what it held goes to other members. Its client learns that it was closed.",
      "  spillway sessions close s-j33e3z8p9f4nq3mr\n", &Close, &close);
  command->add_option("SESSION", close->id, "Its id, from sessions ls")->required();
}

}  // namespace spillway::cli
