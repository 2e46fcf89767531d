#include "broker/queue/model/driver_impl.h"

#include <algorithm>
#include <utility>

namespace spillway::queue::model {

void Driver::Publish() {
  now_.unix_ms += random_.Below(20);
  std::vector<std::string> bodies(Between(1, 8));
  if (memory() && durable_reserved_ < lane().tail() + bodies.size()) return Reserve();
  for (std::string& body : bodies) {
    // Now and then one that is worth a mark of its own in the index.
    const uint64_t size = Chance(1) ? Between(200'000, 600'000) : random_.Below(60);
    body.assign(size, static_cast<char>('a' + random_.Below(26)));
    for (size_t i = 0; i < std::min<size_t>(size, 8); ++i) {
      body[i] = static_cast<char>(random_.Below(256));
    }
  }
  Now at = now_;
  if (Chance(5)) at.unix_ms -= 500;  // the clock is set back
  const Offset first = lane().Publish(MakeRecords(bodies), {}, at);
  const Batch* batch = lane().window().Find(first);
  auditor_.Check(batch != nullptr && batch->first == first, "published, and not in the window");
  if (!Good() || batch == nullptr) return;
  auditor_.Check(batch->appended_at >= at.unix_ms, "appended before its time");
  auditor_.Published(first, bodies, batch->appended_at);
  if (memory()) auditor_.Acked(auditor_.tail(), false);
  Note(first);
}

void Driver::Store(const Credit& keep) {
  for (uint64_t n = Between(1, 6); n > 0; --n) {
    const Batch* batch = lane().NextToStore(keep);
    if (batch == nullptr) return;
    SimLog::Entry entry;
    entry.data = *batch;
    entry.done = [this, first = batch->first, end = batch->end()](LogPosition position) {
      auditor_.Durable(first, end);
      const Offset acked = lane_->Stored(position);
      if (!memory()) auditor_.Acked(acked, true);
      Note(acked);
    };
    log_.Append(std::move(entry));
    lane().MarkStoring();
  }
}

void Driver::CompleteSome(uint64_t most) {
  for (uint64_t n = Between(1, most); n > 0 && !log_.idle() && Good(); --n) log_.CompleteOne();
}

void Driver::Evict() {
  const uint64_t bytes = Chance(30) ? 0 : random_.Below(8'000);
  const uint64_t messages = Chance(50) ? kUnlimited : random_.Below(40);
  const Offset before = lane().window().begin();
  lane().EvictTo(bytes, messages);
  const ResidentWindow& window = lane().window();
  counts_.evicted += window.begin() - before;
  auditor_.Check(window.footprint_bytes() <= bytes + window.unstored_footprint_bytes(),
                 "I14: more in memory than the target and what is not stored");
  auditor_.Check(window.messages() <= messages + window.unstored_messages(),
                 "I14: more messages in memory than the target and what is not stored");
}

void Driver::Reserve() {
  reserved_ = std::max(reserved_, lane().tail() + Between(1, 60));
  auto saved = std::make_shared<Saved>();
  saved->reserved = reserved_;
  log_.Append({.saved = saved, .done = [this, reserved = reserved_](LogPosition) {
                 durable_reserved_ = std::max(durable_reserved_, reserved);
               }});
}

void Driver::Snapshot() {
  if (!lane().CanSnapshot()) return;
  auto saved = std::make_shared<Saved>();
  lane().MarkHead();
  saved->lane = lane().state();
  for (const auto& [name, group] : lane().groups()) {
    saved->groups[name] = {lane_->Save(*group), auditor_.group(name)};
  }
  saved->head = auditor_.head();
  saved->reserved = reserved_;
  const auto needed = lane().NeededPosition();
  log_.Append({.saved = saved, .done = [this, needed](LogPosition position) {
                 log_.Trim(needed.value_or(position));
                 ++counts_.trims;
               }});
}

void Driver::SaveGroup(const std::string& name) {
  const Group* group = lane().FindGroup(name);
  if (group == nullptr) {
    auto it = lane().groups().begin();
    std::advance(it, random_.Below(lane().groups().size()));
    group = it->second.get();
  }
  auto saved = std::make_shared<Saved>();
  saved->groups[group->name()] = {lane_->Save(*group), auditor_.group(group->name())};
  log_.Append({.saved = saved});
}

void Driver::ChangeTuning() {
  tuning_.retention = Chance(70) ? Retention::kUntilSettled : Retention::kLimits;
  tuning_.retention_age_ms = Chance(50) ? 0 : Between(1, 2'000);
  tuning_.retention_bytes = Chance(50) ? 0 : Between(1, 2'000'000);
  const bool to_memory = Chance(50);
  if (to_memory && durable_reserved_ < lane().tail()) {
    Reserve();
  } else {
    tuning_.durability = to_memory ? Durability::kMemory : Durability::kSynced;
  }
  lane().set_tuning(tuning_);
}

// ---- A crash ---------------------------------------------------------------

void Driver::Crash() {
  ++counts_.crashes;
  std::vector<std::pair<Member, std::vector<OffsetRange>>> held;
  held.reserve(members_.size());
  for (const Member& member : members_) {
    held.emplace_back(member, auditor_.HeldBy(member.group, member.id));
  }
  members_.clear();
  reads_.clear();
  readers_.clear();
  log_.Crash([this](const Batch& batch) { auditor_.Durable(batch.first, batch.end()); });
  auditor_.Crash();
  lane_ = std::make_unique<FaultyLane>(tuning_, fault_);
  reserved_ = 0;
  for (const SimLog::Entry* entry : log_.Replay()) {
    if (entry->data) {
      if (!lane_->Replayed(*entry->data, entry->position)) auditor_.Fail("replay refused");
      continue;
    }
    const Saved& saved = *entry->saved;
    if (saved.lane) {
      lane().Restore(*saved.lane);
      auditor_.RestoreHead(*saved.head);
    } else if (saved.head) {
      lane().AdvanceHead(*saved.head, GoneReason::kRetention);
      auditor_.RestoreHead(std::min(*saved.head, lane().tail()));
    }
    for (const auto& [name, group] : saved.groups) {
      lane().AddGroup(name, GroupMode::kShared, 0)->Restore(group.state);
      auditor_.RestoreGroup(name, group.audited);
    }
    if (saved.deleted_group) {
      lane().RemoveGroup(*saved.deleted_group);
      auditor_.RemoveGroup(*saved.deleted_group);
    }
    reserved_ = std::max(reserved_, saved.reserved);
  }
  lane_->FinishReplay(reserved_);
  durable_reserved_ = reserved_;
  if (!Good()) return;
  auditor_.FinishRestart(lane(), reserved_);
  Note(lane().tail());
  CheckAll();
  for (const auto& [member, ranges] : held) {
    if (Good() && Chance(70)) Resume(member, ranges);
  }
}

}  // namespace spillway::queue::model
