// spillway group ls | seek | rm | parked | release
#include <iostream>

#include "broker/cli/context.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"

namespace spillway::cli {
namespace {

struct Options {
  std::string queue;
  std::string group;
  std::string to;
  uint64_t from = 0;
  uint64_t count = 100;
  bool yes = false;
  std::vector<std::string> ranges;
};

int List(const Context& context, const Options& options) {
  const auto groups = context.Admin().ListGroups(options.queue);
  if (!groups.ok()) return context.Fail(groups.error());
  if (context.json()) {
    Json out = Json::array();
    for (const v1::Group& group : *groups) out.push_back(ToJson(group));
    PrintJson(out);
    return kOk;
  }
  if (groups->empty()) {
    std::cerr << "no groups; one begins with its first member: spillway sub " << options.queue
              << " --group NAME\n";
    return kOk;
  }
  using enum Table::Align;
  Table table({{"GROUP"},
               {"MODE"},
               {"MEMBERS", kRight},
               {"CURSOR", kRight},
               {"LAG", kRight},
               {"IN FLIGHT", kRight},
               {"RETRYING", kRight},
               {"PARKED", kRight},
               {"GONE", kRight},
               {"READS"}});
  for (const v1::Group& g : *groups) {
    table.Add(
        {g.name(), EnumName(g.mode()), std::to_string(g.members()), HumanCount(g.cursor_offset()),
         HumanCount(g.lag_messages()), HumanCount(g.in_flight_messages()),
         HumanCount(g.retrying_messages()),
         g.parked_messages() == 0 ? "0" : Styled(Style::kYellow, HumanCount(g.parked_messages())),
         HumanCount(g.gone_messages_total()), g.reading_from_disk() ? "disk" : "memory"});
  }
  std::cout << table.Render();
  return kOk;
}

int Seek(const Context& context, const Options& options) {
  const auto target = ParseStart(options.to, NowUnixMs());
  if (!target.ok()) return context.Fail(target.error());
  const auto group = context.Admin().SeekGroup(options.queue, options.group, *target);
  if (!group.ok()) return context.Fail(group.error());
  if (context.json()) {
    PrintJson(ToJson(*group));
  } else {
    std::cout << "group " << group->name() << " continues at offset " << group->cursor_offset()
              << "; " << HumanCount(group->lag_messages()) << " to go\n";
  }
  return kOk;
}

int Remove(const Context& context, const Options& options) {
  const client::Status sure = Confirm(context, options.yes,
                                      "Delete group " + options.group + " of " + options.queue +
                                          "? It forgets what it has settled and parked.");
  if (!sure.ok()) return context.Fail(sure.error());
  const client::Status status = context.Admin().DeleteGroup(options.queue, options.group);
  if (!status.ok()) return context.Fail(status.error());
  Say(context, "group " + options.group + " of " + options.queue + " deleted");
  return kOk;
}

int Parked(const Context& context, const Options& options) {
  const auto records =
      context.Admin().ListParked(options.queue, options.group, options.from, options.count);
  if (!records.ok()) return context.Fail(records.error());
  if (context.json()) {
    Json out = Json::array();
    for (const v1::ParkedRecord& record : *records) out.push_back(ToJson(record));
    PrintJson(out);
    return kOk;
  }
  if (records->empty()) {
    std::cerr << "nothing is parked\n";
    return kOk;
  }
  using enum Table::Align;
  Table table({{"OFFSET", kRight}, {"ATTEMPTS", kRight}, {"PARKED AT"}, {"REASON"}});
  for (const v1::ParkedRecord& record : *records) {
    table.Add({std::to_string(record.offset()), std::to_string(record.attempts()),
               Rfc3339(record.parked_at_unix_ms()), Printable(record.reason())});
  }
  std::cout << table.Render();
  return kOk;
}

int Release(const Context& context, const Options& options) {
  std::vector<client::OffsetRange> ranges;
  for (const std::string& text : options.ranges) {
    const auto range = ParseRange(text);
    if (!range.ok()) return context.Fail(range.error());
    ranges.push_back(*range);
  }
  const auto released = context.Admin().ReleaseParked(options.queue, options.group, ranges);
  if (!released.ok()) return context.Fail(released.error());
  if (context.json()) {
    PrintJson({{"released_messages", *released}});
  } else {
    std::cout << CountOf(*released, "record") << (*released == 1 ? " is" : " are")
              << " delivered again\n";
  }
  return kOk;
}

}  // namespace

void AddGroupCommands(CLI::App* app, Context* context) {
  CLI::App* group = app->add_subcommand("group", "Groups of consumers: cursors, parked records");
  group->alias("groups");
  group->require_subcommand(1);
  const auto add = [&](const char* name, const char* what, const char* examples,
                       int (*run)(const Context&, const Options&), bool with_group,
                       Options** options) {
    CLI::App* command = AddCommand(group, context, name, what, examples, run, options);
    command->add_option("QUEUE", (*options)->queue, "Its queue")->required();
    if (with_group) command->add_option("GROUP", (*options)->group, "Its name")->required();
    return command;
  };
  Options* options = nullptr;
  add("ls", "Lists the groups of a queue", "  spillway group ls orders\n", &List, false, &options)
      ->alias("list");
  CLI::App* command = add("seek", "Moves a group's cursor: forward to leave out, back to repeat",
                          "  spillway group seek orders billing latest\n"
                          "  spillway group seek orders billing -1h\n"
                          "  spillway group seek orders billing 4200\n",
                          &Seek, true, &options);
  command->add_option("TO", options->to, "OFFSET, TIME, earliest, latest, last:N")->required();
  command = add("rm", "Deletes a group", "  spillway group rm orders billing --yes\n", &Remove,
                true, &options);
  command->alias("delete");
  command->add_flag("-y,--yes", options->yes, "Do not ask");
  command = add("parked", "Lists the records that a group has put aside",
                "  spillway group parked orders billing\n"
                "  spillway peek orders --from 17 -n 1   # what one of them holds\n",
                &Parked, true, &options);
  AddCount(command, "--from", &options->from, "Begin at this offset")->type_name("OFFSET");
  AddCount(command, "-n,--count", &options->count, "At most that many (100)", 1);
  command = add("release", "Delivers parked records again",
                "  spillway group release orders billing\n"
                "  spillway group release orders billing 17 20-29\n",
                &Release, true, &options);
  command->add_option("RANGE", options->ranges, "Offsets: 5, 5-9 or 5+3; none: all");
}

}  // namespace spillway::cli
