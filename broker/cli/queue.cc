// spillway queue ls | info | create | edit | rm | purge
#include <iostream>

#include "broker/base/registry.gen.h"
#include "broker/cli/context.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"
#include "broker/cli/tuning_flags.h"

namespace spillway::cli {
namespace {

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
  std::string before;
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

void Show(const v1::Queue& queue) {
  const v1::QueueStats& s = queue.stats();
  std::cout << Styled(Style::kBold, queue.name()) << "  revision " << queue.revision() << "\n\n";
  Table now({{"NOW"}, {"", Table::Align::kRight}, {""}});
  now.Add({"offsets", HumanCount(s.head_offset()) + " to " + HumanCount(s.tail_offset()),
           "kept; the next record gets " + HumanCount(s.tail_offset())});
  now.Add({"unsettled", HumanCount(s.depth_messages()), HumanBytes(s.depth_bytes())});
  now.Add({"in memory", HumanCount(s.resident_messages()), HumanBytes(s.resident_bytes())});
  now.Add({"on disk", HumanCount(s.disk_messages()), HumanBytes(s.disk_bytes())});
  now.Add({"producers", HumanCount(s.producers()),
           HumanCount(s.producer_unspent().messages()) + " messages, " +
               HumanBytes(s.producer_unspent().bytes()) + " of credit unspent"});
  now.Add({"consumers", HumanCount(s.consumers()), HumanCount(s.groups()) + " groups"});
  now.Add({"readers", HumanCount(s.readers()), ""});
  if (s.depth_messages() > 0) now.Add({"oldest", HumanDuration(s.oldest_age_ms()), ""});
  if (const std::string reason = EnumName(s.reason()); !reason.empty()) {
    now.Add({"producers wait", Styled(Style::kYellow, reason),
             "for " + HumanDuration(s.reason_age_ms()) + "; spillway explain " + queue.name()});
  }
  std::cout << now.Render() << "\n";
  Table totals({{"SINCE THE BROKER STARTED"}, {"", Table::Align::kRight}, {""}});
  totals.Add({"published", HumanCount(s.published_messages_total()),
              HumanBytes(s.published_bytes_total())});
  totals.Add({"delivered", HumanCount(s.delivered_messages_total()),
              HumanBytes(s.delivered_bytes_total())});
  totals.Add({"settled", HumanCount(s.settled_messages_total()), ""});
  totals.Add({"redelivered", HumanCount(s.redelivered_messages_total()), ""});
  totals.Add(
      {"spilled", HumanCount(s.spilled_messages_total()), HumanBytes(s.spilled_bytes_total())});
  totals.Add({"read back", HumanCount(s.unspilled_messages_total()), ""});
  totals.Add({"dropped", HumanCount(s.dropped_messages_total()), ""});
  totals.Add({"duplicates", HumanCount(s.duplicates_total()), ""});
  std::cout << totals.Render() << "\n";
  Table tuning({{"TUNING"}, {"", Table::Align::kRight}, {"FLAG OF queue edit"}});
  for (const registry::Tunable& tunable : registry::kTunables) {
    tuning.Add({std::string(tunable.name), ShowTunable(queue.tuning(), tunable.name),
                FlagOf(tunable.name)});
  }
  std::cout << tuning.Render();
}

int Info(const Context& context, const NameOptions& options) {
  const auto queue = context.Admin().GetQueue(options.name);
  if (!queue.ok()) return context.Fail(queue.error());
  if (context.json()) {
    PrintJson(ToJson(*queue));
  } else {
    Show(*queue);
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
    return context.Fail({.kind = client::ErrorKind::kInvalidArgument,
                         .message =
                             "nothing to change; give a tuning flag, as --window-bytes 64MiB "
                             "(spillway queue edit --help lists them)"});
  }
  const auto tuning = options.tuning.Get();
  if (!tuning.ok()) return context.Fail(tuning.error());
  const auto queue = context.Admin().UpdateQueue(options.name, *tuning, options.revision);
  if (!queue.ok()) return context.Fail(queue.error());
  if (context.json()) {
    PrintJson(ToJson(*queue));
  } else {
    std::cout << "queue " << queue->name() << " is at revision " << queue->revision() << "\n";
  }
  return kOk;
}

// Asks on a terminal; scripts must say --yes.
bool Confirmed(const Context& context, bool yes, const std::string& question) {
  if (yes) return true;
  if (!StdoutIsTerminal() || context.json()) return false;
  std::cout << question << " [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

client::Error NotConfirmed() {
  return {.kind = client::ErrorKind::kInvalidArgument,
          .message = "not done: this cannot be taken back; say --yes"};
}

int Remove(const Context& context, const EditOptions& options) {
  const auto queue = context.Admin().GetQueue(options.name);
  if (!queue.ok()) return context.Fail(queue.error());
  if (!Confirmed(context, options.yes,
                 "Delete queue " + options.name + " with " +
                     HumanCount(queue->stats().depth_messages()) + " unsettled records?")) {
    return context.Fail(NotConfirmed());
  }
  const client::Status status = context.Admin().DeleteQueue(options.name, options.revision);
  if (!status.ok()) return context.Fail(status.error());
  Say(context, "queue " + options.name + " deleted");
  return kOk;
}

int Purge(const Context& context, const EditOptions& options) {
  std::optional<uint64_t> before;
  if (!options.before.empty()) {
    const Result<uint64_t> offset = ParseCount(options.before);
    if (!offset.ok()) return context.Fail(offset.error());
    before = *offset;
  }
  if (!Confirmed(context, options.yes,
                 "Remove records of " + options.name +
                     (before ? " below offset " + options.before : ", all of them") + "?")) {
    return context.Fail(NotConfirmed());
  }
  const auto purged = context.Admin().PurgeQueue(options.name, before);
  if (!purged.ok()) return context.Fail(purged.error());
  if (context.json()) {
    PrintJson(ToJson(*purged));
  } else {
    std::cout << HumanCount(purged->purged_messages()) << " records removed; the queue begins at "
              << "offset " << purged->head_offset() << "\n";
  }
  return kOk;
}

}  // namespace

void AddQueueCommands(CLI::App* app, Context* context) {
  CLI::App* queue = app->add_subcommand("queue", "Queues: list, look, create, tune, remove");
  queue->require_subcommand(1);

  ListOptions* list = nullptr;
  CLI::App* ls = AddCommand(queue, context, "ls", "Lists queues", &List, &list);
  ls->add_option("PREFIX", list->prefix, "Only names that begin so");
  ls->add_flag("-q,--quiet", list->quiet, "Names only");

  NameOptions* name = nullptr;
  CLI::App* info =
      AddCommand(queue, context, "info", "Shows a queue: state, totals, tuning", &Info, &name);
  info->add_option("QUEUE", name->name)->required();

  EditOptions* create = nullptr;
  CLI::App* command = AddCommand(queue, context, "create", "Creates a queue", &Create, &create);
  command->add_option("QUEUE", create->name)->required();
  command->add_flag("--exists-ok", create->exists_ok, "Succeed if it is there already");
  create->tuning.Add(command);

  EditOptions* edit = nullptr;
  command =
      AddCommand(queue, context, "edit", "Changes a queue's tuning while it runs", &Edit, &edit);
  command->add_option("QUEUE", edit->name)->required();
  command->add_option("--revision", edit->revision, "Only if the queue is still at this revision");
  edit->tuning.Add(command);

  EditOptions* rm = nullptr;
  command =
      AddCommand(queue, context, "rm", "Deletes a queue with its records and groups", &Remove, &rm);
  command->add_option("QUEUE", rm->name)->required();
  command->add_option("--revision", rm->revision, "Only if the queue is still at this revision");
  command->add_flag("-y,--yes", rm->yes, "Do not ask");

  EditOptions* purge = nullptr;
  command = AddCommand(queue, context, "purge", "Removes records, settled or not", &Purge, &purge);
  command->add_option("QUEUE", purge->name)->required();
  command->add_option("--before", purge->before, "Only below this offset")->type_name("OFFSET");
  command->add_flag("-y,--yes", purge->yes, "Do not ask");
}

}  // namespace spillway::cli
