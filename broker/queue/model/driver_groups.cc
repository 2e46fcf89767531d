#include "broker/queue/model/driver_impl.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace spillway::queue::model {

void Driver::AddGroup() {
  if (lane().groups().size() >= 3) return;
  const std::string name = absl::StrCat("g", next_group_++ % 5);
  if (lane().FindGroup(name) != nullptr) return;
  const Offset start = Between(lane().head(), lane().visible_end());
  lane().AddGroup(name, GroupMode::kShared, start);
  auditor_.AddGroup(name, start);
  // It exists once that is kept.
  SaveGroup(name);
  while (!log_.idle() && Good()) log_.CompleteOne();
}

void Driver::RemoveGroup() {
  if (lane().groups().size() < 2) return;
  const std::string name = lane().groups().begin()->first;
  Group* group = lane().FindGroup(name);
  ForgetReads(*group);
  std::erase_if(members_, [&](const Member& member) { return member.group == name; });
  lane().RemoveGroup(name);
  auditor_.RemoveGroup(name);
  auto saved = std::make_shared<Saved>();
  saved->deleted_group = name;
  log_.Append({.saved = saved});
  while (!log_.idle() && Good()) log_.CompleteOne();
}

void Driver::ForgetReads(const Group& group) {
  std::erase_if(reads_, [&](const Read& read) {
    return read.fetch == &group.fresh_fetch || read.fetch == &group.retry_fetch;
  });
}

void Driver::AddMember() {
  if (lane().groups().empty() || members_.size() >= 6) return;
  auto it = lane().groups().begin();
  std::advance(it, random_.Below(lane().groups().size()));
  members_.push_back({next_member_++, it->first});
}

void Driver::Start(const DiskRead& read) {
  if (read.fetch == nullptr || Chance(10)) return;  // forgotten, and asked for again
  auditor_.Check(!read.fetch->reading(), "a second read of the same cursor");
  auditor_.Check(read.from >= log_.trimmed(), "reads what was trimmed");
  read.fetch->Begin();
  reads_.push_back({read.fetch, read.from});
  ++counts_.disk_reads;
}

void Driver::FinishRead(bool may_fail) {
  if (reads_.empty()) return;
  const size_t index = random_.Below(reads_.size());
  const Read read = reads_[index];
  reads_.erase(reads_.begin() + static_cast<ptrdiff_t>(index));
  if (read.from < log_.trimmed() || (may_fail && Chance(5))) return read.fetch->Fail();
  LogPosition next = 0;
  auto batches = log_.Read(read.from, random_.Below(1'000), &next);
  lane_->Finish(read.fetch, std::move(batches), next);
}

bool Driver::DeliverTo(const Member& member, Credit room, Credit max) {
  Group& group = GroupOf(member);
  wire::Delivery out;
  DiskRead read;
  std::vector<OffsetRange> gap;
  const Outcome outcome =
      lane_->Deliver(group, member.id, room, max, now_, rules_.ack_deadline, &out, &read, &gap);
  Note(static_cast<uint64_t>(outcome));
  Start(read);
  auditor_.Check((outcome == Outcome::kDelivered) == !out.runs.empty(), "outcome and delivery");
  switch (outcome) {
    case Outcome::kDelivered: {
      const std::vector<Seen> seen = Unpack(out);
      auditor_.Check(!seen.empty(), "a delivery that contradicts itself");
      auditor_.Check(out.cost.Within(room), "I12: delivered beyond the room");
      auditor_.Check(FitsFrame(out, seen, max), "more than fits in a frame");
      auditor_.Delivered(member.group, member.id, seen, Deadline());
      for (const Seen& one : seen) {
        Note(one.offset);
        ++(one.attempt > 1 ? counts_.redelivered : counts_.delivered);
      }
      return true;
    }
    case Outcome::kEmpty:
      auditor_.Check(auditor_.NothingDue(member.group, lane().visible_end()),
                     "I15: nothing delivered, though something is due");
      return false;
    case Outcome::kNoRoom:
      return false;
    case Outcome::kReadDisk:
      auditor_.Check(
          read.fetch != nullptr || group.fresh_fetch.reading() || group.retry_fetch.reading(),
          "I15: waits for a read that nobody makes");
      return false;
    case Outcome::kGap:
      auditor_.Gap(member.group, gap);
      Note(gap);
      ++counts_.lost_gaps;
      return true;
    case Outcome::kStopped:
    case Outcome::kMissing:
      auditor_.Fail("a kept record cannot be found");
      return false;
  }
  return false;
}

void Driver::DeliverSome() {
  if (members_.empty()) return;
  const Member member = members_[random_.Below(members_.size())];
  const Credit room{random_.Below(20), Chance(20) ? kUnlimited : random_.Below(900)};
  const Credit max{Between(1, 20), Between(1, 2'000)};
  DeliverTo(member, room, max);
}

void Driver::SettleSome() {
  if (members_.empty()) return;
  const Member member = members_[random_.Below(members_.size())];
  OffsetRange range{random_.Below(lane().tail() + 2), Between(1, 10)};
  const auto held = auditor_.HeldBy(member.group, member.id);
  if (!held.empty() && Chance(90)) {
    range = held[random_.Below(held.size())];
    range.first += Chance(70) ? 0 : random_.Below(range.count);
    range.count = Chance(50) ? range.count : Between(1, range.count + 2);
  }
  static constexpr SettleAction kActions[] = {
      SettleAction::kAck,   SettleAction::kAck,   SettleAction::kAck,  SettleAction::kAck,
      SettleAction::kRetry, SettleAction::kRetry, SettleAction::kPark, SettleAction::kSkip};
  const SettleAction action = kActions[random_.Below(std::size(kActions))];
  const MonoNanos delay = Chance(50) ? 0 : static_cast<MonoNanos>(random_.Below(20)) * kMillis;
  Group& group = GroupOf(member);
  const size_t parked = group.parked().size();
  const auto stale = lane_->Settle(group, range, member.id, action, delay, now_, rules_);
  counts_.parked += group.parked().size() - parked;
  auditor_.Settled(member.group, range, member.id, action, delay, now_, stale);
  Note(stale);
}

void Driver::ExtendSome() {
  if (members_.empty()) return;
  const Member member = members_[random_.Below(members_.size())];
  const OffsetRange range{random_.Below(lane().tail() + 2), Between(1, 30)};
  const auto stale = lane_->Extend(GroupOf(member), range, member.id, Deadline());
  auditor_.Extended(member.group, range, member.id, Deadline(), stale);
  Note(stale);
}

void Driver::Leave() {
  if (members_.empty()) return;
  const size_t index = random_.Below(members_.size());
  const Member member = members_[index];
  members_.erase(members_.begin() + static_cast<ptrdiff_t>(index));
  const auto held = auditor_.HeldBy(member.group, member.id);
  lane_->Disconnect(GroupOf(member), member.id);
  auditor_.Disconnected(member.group, member.id);
  auditor_.Check(GroupOf(member).InFlightOf(member.id) == Credit{},
                 "I13: a member that left still holds something");
  if (Chance(50) && Chance(50)) DeliverSome();
  if (Chance(60)) Resume(member, held);
}

void Driver::Resume(const Member& member, std::vector<OffsetRange> held) {
  if (lane().FindGroup(member.group) == nullptr) return;
  const Member resumed{next_member_++, member.group};
  members_.push_back(resumed);
  // Peers may state anything.
  if (Chance(30)) held.push_back({random_.Below(lane().tail() + 3), Between(1, 9)});
  if (Chance(20) && !held.empty()) held.push_back(held.front());
  for (const OffsetRange& range : held) {
    if (Chance(10)) continue;
    const Offset end = lane().visible_end();
    const auto refused = GroupOf(resumed).Reclaim(range, resumed.id, end, Deadline());
    auditor_.Reclaimed(resumed.group, range, resumed.id, end, Deadline(), refused);
    counts_.reclaimed += range.count;
    Note(refused);
  }
}

void Driver::Tick() {
  const MonoNanos step = static_cast<MonoNanos>(random_.Below(Chance(20) ? 40 : 4)) * kMillis;
  now_.mono += step;
  now_.unix_ms += static_cast<UnixMillis>(step / kMillis);
  for (const auto& [name, group] : lane().groups()) {
    Auditor::Revoked revoked;
    const size_t parked = group->parked().size();
    group->Tick(now_, rules_, &revoked);
    auditor_.Check(group->next_deadline() > now_.mono, "I15: something due is left");
    auditor_.Ticked(name, now_, revoked);
    counts_.revoked += revoked.size();
    counts_.parked += group->parked().size() - parked;
    Note(revoked.size());
  }
}

void Driver::Seek() {
  if (lane().groups().empty()) return;
  auto it = lane().groups().begin();
  std::advance(it, random_.Below(lane().groups().size()));
  const Offset target = Between(0, lane().visible_end());
  Auditor::Revoked revoked;
  ForgetReads(*it->second);
  it->second->Seek(target, &revoked);
  auditor_.Sought(it->first, target, revoked);
  // It is answered once it is kept.
  SaveGroup(it->first);
}

void Driver::Release() {
  for (const auto& [name, group] : lane().groups()) {
    if (group->parked().empty() || Chance(50)) continue;
    const OffsetRange range{group->parked().begin()->first, Between(1, 20)};
    auditor_.Released(name, range, group->Release(range));
  }
}

}  // namespace spillway::queue::model
