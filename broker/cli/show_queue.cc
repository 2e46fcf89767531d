#include "broker/cli/show_queue.h"

#include <iostream>

#include "broker/base/registry.gen.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/tuning_flags.h"

namespace spillway::cli {

void ShowQueue(const v1::Queue& queue) {
  const v1::QueueStats& s = queue.stats();
  std::cout << Styled(Style::kBold, queue.name()) << "  revision " << queue.revision() << "\n\n";
  Table now({{"NOW"}, {"", Table::Align::kRight}, {""}});
  const std::string next = "the next record gets " + HumanCount(s.tail_offset());
  if (s.head_offset() == s.tail_offset()) {
    now.Add({"offsets", "none kept", next});
  } else {
    now.Add({"offsets", HumanCount(s.head_offset()) + " to " + HumanCount(s.tail_offset() - 1),
             "kept; " + next});
  }
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

void ShowChanges(const v1::QueueTuning& before, const v1::QueueTuning& after) {
  Table table({{"TUNING"}, {"BEFORE", Table::Align::kRight}, {"AFTER", Table::Align::kRight}});
  for (const registry::Tunable& tunable : registry::kTunables) {
    const std::string was = ShowTunable(before, tunable.name);
    const std::string is = ShowTunable(after, tunable.name);
    if (was != is) table.Add({std::string(tunable.name), was, is});
  }
  if (!table.empty()) std::cout << table.Render();
}

}  // namespace spillway::cli
