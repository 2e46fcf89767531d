// spillway queue ls | info | create | edit | rm | purge; how a queue is shown is in
// show_queue.cc.
#include <iostream>

#include "broker/cli/context.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/show_queue.h"
#include "broker/cli/tuning_flags.h"

namespace spillway::cli {
namespace {

constexpr uint64_t kEverything = UINT64_MAX;

struct ListOptions {
  std::string prefix;
  bool quiet = false;
};
struct NameOptions {
  std::string name;
};
struct EditOptions {
  std::string name;
  uint64_t revision = 0;
  bool yes = false;
  bool exists_ok = false;
  bool dry_run = false;
  uint64_t before = kEverything;
  TuningFlags tuning;
};

int List(const Context& context, const ListOptions& options) {
  const auto queues = context.Admin().ListQueues(options.prefix);
  if (!queues.ok()) return context.Fail(queues.error());
  if (context.json()) {
    Json out = Json::array();
    for (const v1::Queue& queue : *queues) out.push_back(ToJson(queue));
    PrintJson(out);
    return kOk;
  }
  if (options.quiet) {
    for (const v1::Queue& queue : *queues) std::cout << queue.name() << "\n";
    return kOk;
  }
  if (queues->empty()) {
    std::cerr << "no queues; make one: spillway queue create NAME\n";
    return kOk;
  }
  using enum Table::Align;
  Table table({{"NAME"},
               {"DEPTH", kRight},
               {"BYTES", kRight},
               {"MEMORY", kRight},
               {"DISK", kRight},
               {"PRODUCERS", kRight},
               {"CONSUMERS", kRight},
               {"GROUPS", kRight},
               {"OLDEST", kRight},
               {"DURABILITY"},
               {"WAITS"}});
  for (const v1::Queue& queue : *queues) {
    const v1::QueueStats& s = queue.stats();
    const std::string reason = EnumName(s.reason());
    table.Add({queue.name(), HumanCount(s.depth_messages()), HumanBytes(s.depth_bytes()),
               HumanBytes(s.resident_bytes()), HumanBytes(s.disk_bytes()),
               std::to_string(s.producers()), std::to_string(s.consumers()),
               std::to_string(s.groups()),
               s.depth_messages() == 0 ? "-" : HumanDuration(s.oldest_age_ms()),
               ShowTunable(queue.tuning(), "durability"),
               reason.empty() ? "-" : Styled(Style::kYellow, reason)});
  }
  std::cout << table.Render();
  return kOk;
}

int Info(const Context& context, const NameOptions& options) {
  const auto queue = context.Admin().GetQueue(options.name);
  if (!queue.ok()) return context.Fail(queue.error());
  if (context.json()) {
    PrintJson(ToJson(*queue));
  } else {
    ShowQueue(*queue);
  }
  return kOk;
}

int Create(const Context& context, const EditOptions& options) {
  const auto tuning = options.tuning.Get();
  if (!tuning.ok()) return context.Fail(tuning.error());
  const auto queue = context.Admin().CreateQueue(options.name, *tuning);
  if (!queue.ok()) {
    if (options.exists_ok && queue.error().kind == client::ErrorKind::kAlreadyExists) {
      Say(context, "queue " + options.name + " exists");
      return kOk;
    }
    return context.Fail(queue.error());
  }
  if (context.json()) {
    PrintJson(ToJson(*queue));
  } else {
    std::cout << "queue " << queue->name()
              << " created: " << ShowTunable(queue->tuning(), "durability") << ", window "
              << ShowTunable(queue->tuning(), "window_bytes") << ", when full "
              << ShowTunable(queue->tuning(), "overflow") << "\n";
  }
  return kOk;
}

int Edit(const Context& context, const EditOptions& options) {
  if (options.tuning.empty()) {
    return context.Usage(
        "nothing to change; give a tuning flag, as --window-bytes 64MiB (spillway queue edit "
        "--help lists them)");
  }
  const auto tuning = options.tuning.Get();
  if (!tuning.ok()) return context.Fail(tuning.error());
  const auto before = context.Admin().GetQueue(options.name);
  if (!before.ok()) return context.Fail(before.error());
  v1::Queue after = *before;
  if (options.dry_run) {
    if (options.revision != 0 && options.revision != before->revision()) {
      return context.Fail({.kind = client::ErrorKind::kRevisionMismatch,
                           .message = "queue " + options.name + " is at revision " +
                                      std::to_string(before->revision()),
                           .queue = options.name,
                           .field = "expected_revision"});
    }
    after.mutable_tuning()->MergeFrom(*tuning);
  } else {
    auto updated = context.Admin().UpdateQueue(options.name, *tuning, options.revision);
    if (!updated.ok()) return context.Fail(updated.error());
    after = *std::move(updated);
  }
  if (context.json()) {
    PrintJson(ToJson(after));
    return kOk;
  }
  if (options.dry_run) {
    std::cout << "queue " << after.name() << " is at revision " << after.revision()
              << "; this would change:\n";
  } else {
    std::cout << "queue " << after.name() << " is at revision " << after.revision() << "\n";
  }
  ShowChanges(before->tuning(), after.tuning());
  return kOk;
}

int Remove(const Context& context, const EditOptions& options) {
  const auto queue = context.Admin().GetQueue(options.name);
  if (!queue.ok()) return context.Fail(queue.error());
  const client::Status sure =
      Confirm(context, options.yes,
              "Delete queue " + options.name + " with " +
                  CountOf(queue->stats().depth_messages(), "unsettled record") + "?");
  if (!sure.ok()) return context.Fail(sure.error());
  const client::Status status = context.Admin().DeleteQueue(options.name, options.revision);
  if (!status.ok()) return context.Fail(status.error());
  Say(context, "queue " + options.name + " deleted");
  return kOk;
}

int Purge(const Context& context, const EditOptions& options) {
  const std::optional<uint64_t> before =
      options.before == kEverything ? std::nullopt : std::optional(options.before);
  const client::Status sure =
      Confirm(context, options.yes,
              "Remove records of " + options.name +
                  (before ? " below offset " + std::to_string(*before) : ", all of them") + "?");
  if (!sure.ok()) return context.Fail(sure.error());
  const auto purged = context.Admin().PurgeQueue(options.name, before);
  if (!purged.ok()) return context.Fail(purged.error());
  if (context.json()) {
    PrintJson(ToJson(*purged));
  } else {
    std::cout << CountOf(purged->purged_messages(), "record") << " removed; the queue begins at "
              << "offset " << purged->head_offset() << "\n";
  }
  return kOk;
}

}  // namespace

void AddQueueCommands(CLI::App* app, Context* context) {
  CLI::App* queue = app->add_subcommand("queue", "Queues: list, look, create, tune, remove");
  queue->alias("queues");
  queue->require_subcommand(1);

  ListOptions* list = nullptr;
  CLI::App* command =
      AddCommand(queue, context, "ls", "Lists queues",
                 "  spillway queue ls\n  spillway queue ls orders. --quiet\n"
                 "  spillway queue ls --json | jq '.[] | {name, depth: .stats.depth_messages}'\n",
                 &List, &list);
  command->alias("list");
  command->add_option("PREFIX", list->prefix, "Only names that begin so");
  command->add_flag("-q,--quiet", list->quiet, "Names only");

  NameOptions* name = nullptr;
  command = AddCommand(queue, context, "info", "Shows a queue: state, totals, tuning",
                       "  spillway queue info orders\n"
                       "  spillway queue info orders --json | jq .tuning\n",
                       &Info, &name);
  command->alias("get")->alias("show");
  command->add_option("QUEUE", name->name, "Its name")->required();

  EditOptions* create = nullptr;
  command = AddCommand(queue, context, "create", "Creates a queue",
                       "  spillway queue create orders\n"
                       "  spillway queue create audit --retention limits --retention-age 7d\n"
                       "  spillway queue create ticks --durability memory --overflow drop_oldest "
                       "--window-bytes 16MiB\n",
                       &Create, &create);
  command->add_option("QUEUE", create->name, "Letters, digits and ._-, at most 255")->required();
  command->add_flag("--exists-ok", create->exists_ok, "Succeed if it is there already");
  create->tuning.Add(command);

  EditOptions* edit = nullptr;
  command = AddCommand(queue, context, "edit", "Changes a queue's tuning while it runs",
                       "  spillway queue edit orders --window-bytes 256MiB\n"
                       "  spillway queue edit orders --overflow block --dry-run\n"
                       "  spillway queue edit orders --max-attempts 10 --revision 3\n",
                       &Edit, &edit);
  command->alias("update")->alias("tune");
  command->add_option("QUEUE", edit->name, "Its name")->required();
  AddCount(command, "--revision", &edit->revision, "Only if the queue is still at this revision");
  command->add_flag("--dry-run", edit->dry_run, "Show what would change, and change nothing");
  edit->tuning.Add(command);

  EditOptions* rm = nullptr;
  command =
      AddCommand(queue, context, "rm", "Deletes a queue with its records and groups",
                 "  spillway queue rm orders\n  spillway queue rm orders --yes\n", &Remove, &rm);
  command->alias("delete");
  command->add_option("QUEUE", rm->name, "Its name")->required();
  AddCount(command, "--revision", &rm->revision, "Only if the queue is still at this revision");
  command->add_flag("-y,--yes", rm->yes, "Do not ask");

  EditOptions* purge = nullptr;
  command = AddCommand(queue, context, "purge", "Removes records, settled or not",
                       "  spillway queue purge orders --yes\n"
                       "  spillway queue purge orders --before 1000\n",
                       &Purge, &purge);
  command->add_option("QUEUE", purge->name, "Its name")->required();
  AddCount(command, "--before", &purge->before, "Only below this offset")->type_name("OFFSET");
  command->add_flag("-y,--yes", purge->yes, "Do not ask");
}

}  // namespace spillway::cli
