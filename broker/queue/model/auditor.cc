#include "broker/queue/model/auditor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace spillway::queue::model {
namespace {

using Is = Cell::Is;

std::vector<Offset> Flat(const std::vector<OffsetRange>& ranges) {
  std::vector<Offset> out;
  for (const OffsetRange& range : ranges) {
    for (Offset offset = range.first; offset < range.end(); ++offset) out.push_back(offset);
  }
  return out;
}

}  // namespace

Cell& AuditedGroup::at(Offset offset) {
  if (offset >= cells.size()) cells.resize(offset + 1);
  return cells[offset];
}

void Auditor::Fail(std::string why) {
  if (failure_.empty()) failure_ = std::move(why);
}

// ---- The log ---------------------------------------------------------------

void Auditor::Published(Offset first, const std::vector<std::string>& bodies,
                        UnixMillis appended_at) {
  Check(first == tail(), "I2: offsets are not dense");
  Check(appended_at >= last_appended_at_, "time went back in the log");
  last_appended_at_ = appended_at;
  for (const std::string& body : bodies) {
    log_.push_back({.body = body, .appended_at = appended_at});
  }
}

void Auditor::Acked(Offset end, bool durable) {
  if (end > tail()) return Fail("acknowledged what was not published");
  for (Offset offset = acked_end_; offset < end; ++offset) {
    if (!log_[offset].acked && !log_[offset].lost) ++acked_;
    log_[offset].acked = true;
    log_[offset].promised |= durable;
  }
  acked_end_ = std::max(acked_end_, end);
}

void Auditor::Durable(Offset first, Offset end) {
  for (Offset offset = first; offset < end; ++offset) log_[offset].durable = true;
}

uint64_t Auditor::BytesFrom(Offset offset) const {
  uint64_t bytes = 0;
  for (; offset < tail(); ++offset) bytes += log_[offset].lost ? 0 : log_[offset].body.size();
  return bytes;
}

void Auditor::CheckRecord(const Seen& seen) {
  if (seen.offset >= tail()) return Fail("I8: delivered beyond the tail");
  Logged& logged = log_[seen.offset];
  Check(!logged.lost, "I8: delivered what was lost");
  Check(seen.body == logged.body, absl::StrCat("I2, I8: other bytes at ", seen.offset));
  Check(seen.appended_at == logged.appended_at, "another time of appending");
  logged.pinned = true;
}

// ---- Groups ----------------------------------------------------------------

void Auditor::AddGroup(const std::string& name, Offset start) {
  AuditedGroup group{start, start, std::vector<Cell>(start, Cell{Is::kSettled})};
  told_[name].assign(start, true);
  AdvanceCursor(group);
  groups_[name] = std::move(group);
}

void Auditor::RemoveGroup(const std::string& name) {
  groups_.erase(name);
  told_.erase(name);
}

void Auditor::Tell(const std::string& group, Offset offset) {
  std::vector<bool>& told = told_[group];
  if (offset >= told.size()) told.resize(offset + 1);
  told[offset] = true;
}

void Auditor::AdvanceCursor(AuditedGroup& group) {
  while (group.cursor < group.cells.size() && (group.cells[group.cursor].is == Is::kSettled ||
                                               group.cells[group.cursor].is == Is::kParked)) {
    ++group.cursor;
  }
}

void Auditor::Delivered(const std::string& name, MemberId member, const std::vector<Seen>& seen,
                        MonoNanos deadline) {
  AuditedGroup& group = groups_.at(name);
  group.at(tail());
  for (const Seen& one : seen) {
    CheckRecord(one);
    if (!failure_.empty()) return;
    Cell& cell = group.at(one.offset);
    // The lowest that is ready goes first, and the lowest that is fresh.
    if (cell.is != Is::kReady && cell.is != Is::kFresh) {
      return Fail(absl::StrCat("delivered ", one.offset, " in state ", int(cell.is)));
    }
    const uint32_t attempt = cell.is == Is::kFresh ? 1 : cell.attempt;
    for (Offset before = 0; before < one.offset; ++before) {
      if (group.cells[before].is == cell.is) {
        return Fail(absl::StrCat("I4: ", one.offset, " before ", before));
      }
    }
    Check(one.attempt == attempt, absl::StrCat("wrong attempt of ", one.offset));
    cell = {Is::kInFlight, attempt, member, deadline};
    Tell(name, one.offset);
  }
}

void Auditor::Gap(const std::string& name, const std::vector<OffsetRange>& ranges) {
  AuditedGroup& group = groups_.at(name);
  Check(!ranges.empty(), "a gap without ranges");
  for (const Offset offset : Flat(ranges)) {
    if (offset >= tail() || !log_[offset].lost) return Fail("I1: a gap where nothing was lost");
    Cell& cell = group.at(offset);
    Check(cell.is == Is::kFresh || cell.is == Is::kReady, "a gap where nothing was due");
    cell = {Is::kSettled};
    Tell(name, offset);
  }
  AdvanceCursor(group);
}

void Auditor::Again(Cell& cell, Offset offset, uint32_t attempt, MonoNanos due,
                    MonoNanos now) const {
  if (offset < head_) {
    cell = {Is::kSettled};
  } else if (due > now) {
    cell = {Is::kDelayed, attempt, 0, due};
  } else {
    cell = {Is::kReady, attempt};
  }
}

void Auditor::Park(Cell& cell, Offset offset) const {
  cell = {offset < head_ ? Is::kSettled : Is::kParked, cell.attempt};
}

void Auditor::Settled(const std::string& name, OffsetRange range, MemberId member,
                      SettleAction action, MonoNanos delay, const Now& now,
                      const std::vector<OffsetRange>& stale) {
  AuditedGroup& group = groups_.at(name);
  std::vector<Offset> expected;
  for (Offset offset = range.first; offset < range.end(); ++offset) {
    Cell& cell = group.at(offset);
    if (cell.is != Is::kInFlight || cell.member != member) {
      expected.push_back(offset);
    } else if (action == SettleAction::kAck || action == SettleAction::kSkip) {
      cell = {Is::kSettled};
    } else if (action == SettleAction::kPark || cell.attempt >= rules_->max_attempts) {
      Park(cell, offset);
    } else {
      const MonoNanos wait = delay > 0 ? delay : rules_->backoff(cell.attempt + 1);
      Again(cell, offset, cell.attempt + 1, now.mono + wait, now.mono);
    }
  }
  Check(Flat(stale) == expected, "other stale offsets");
  AdvanceCursor(group);
}

void Auditor::Extended(const std::string& name, OffsetRange range, MemberId member,
                       MonoNanos deadline, const std::vector<OffsetRange>& stale) {
  std::vector<Offset> expected;
  for (Offset offset = range.first; offset < range.end(); ++offset) {
    Cell& cell = groups_.at(name).at(offset);
    if (cell.is == Is::kInFlight && cell.member == member) {
      cell.due = deadline;
    } else {
      expected.push_back(offset);
    }
  }
  Check(Flat(stale) == expected, "other stale offsets to extend");
}

void Auditor::Disconnected(const std::string& name, MemberId member) {
  AuditedGroup& group = groups_.at(name);
  for (Offset offset = 0; offset < group.cells.size(); ++offset) {
    Cell& cell = group.cells[offset];
    if (cell.is != Is::kInFlight || cell.member != member) continue;
    Again(cell, offset, cell.attempt + 1, 0, 0);
  }
  AdvanceCursor(group);
}

void Auditor::Reclaimed(const std::string& name, OffsetRange range, MemberId member, Offset end,
                        MonoNanos deadline, const std::vector<OffsetRange>& refused) {
  AuditedGroup& group = groups_.at(name);
  std::vector<Offset> expected;
  for (Offset offset = range.first; offset < range.end(); ++offset) {
    Cell& cell = group.at(offset);
    if (cell.is == Is::kReady) {
      cell = {Is::kInFlight, std::max(1U, cell.attempt - 1), member, deadline};
    } else if (cell.is == Is::kFresh && offset < end) {
      cell = {Is::kInFlight, 1, member, deadline};
      // It says that it has it.
      Tell(name, offset);
    } else if (cell.is != Is::kInFlight || cell.member != member) {
      expected.push_back(offset);
    }
  }
  Check(Flat(refused) == expected, "other ranges refused to a resumed member");
}

void Auditor::Ticked(const std::string& name, const Now& now, const Revoked& revoked) {
  AuditedGroup& group = groups_.at(name);
  std::vector<std::pair<MemberId, Offset>> expected, got;
  for (Offset offset = 0; offset < group.cells.size(); ++offset) {
    Cell& cell = group.cells[offset];
    if (cell.due > now.mono) continue;
    if (cell.is == Is::kDelayed) {
      Again(cell, offset, cell.attempt, 0, now.mono);
    } else if (cell.is == Is::kInFlight) {
      expected.emplace_back(cell.member, offset);
      if (cell.attempt >= rules_->max_attempts) {
        Park(cell, offset);
      } else {
        Again(cell, offset, cell.attempt + 1, 0, now.mono);
      }
    }
  }
  for (const auto& [member, range] : revoked) {
    for (const Offset offset : Flat({range})) got.emplace_back(member, offset);
  }
  std::sort(expected.begin(), expected.end());
  std::sort(got.begin(), got.end());
  Check(expected == got, "other deadlines passed");
  AdvanceCursor(group);
}

void Auditor::Sought(const std::string& name, Offset target, const Revoked& revoked) {
  AuditedGroup& group = groups_.at(name);
  target = std::max(target, head_);
  group.at(std::max(tail(), target));
  size_t in_flight = 0, got = 0;
  for (Offset offset = 0; offset < group.cells.size(); ++offset) {
    Cell& cell = group.cells[offset];
    in_flight += cell.is == Is::kInFlight;
    if (cell.is != Is::kParked) cell = {offset < target ? Is::kSettled : Is::kFresh};
    if (offset < target) Tell(name, offset);
  }
  for (const auto& [member, range] : revoked) got += range.count;
  Check(in_flight == got, "a seek revokes what is in flight");
  group.cursor = target;
  AdvanceCursor(group);
}

void Auditor::Released(const std::string& name, OffsetRange range, uint64_t released) {
  uint64_t expected = 0;
  for (Offset offset = range.first; offset < range.end(); ++offset) {
    Cell& cell = groups_.at(name).at(offset);
    if (cell.is != Is::kParked) continue;
    cell = {Is::kReady, 1};
    ++expected;
  }
  Check(released == expected, "other parked records released");
}

std::vector<OffsetRange> Auditor::HeldBy(const std::string& name, MemberId member) const {
  RangeSet held;
  const AuditedGroup& group = groups_.at(name);
  for (Offset offset = 0; offset < group.cells.size(); ++offset) {
    const Cell& cell = group.cells[offset];
    if (cell.is == Is::kInFlight && cell.member == member) held.Add({offset, 1});
  }
  return held.ToVector();
}

bool Auditor::NothingDue(const std::string& name, Offset end) const {
  const AuditedGroup& group = groups_.at(name);
  for (Offset offset = 0; offset < end; ++offset) {
    if (offset >= group.cells.size()) return false;
    const Is is = group.cells[offset].is;
    if (is == Is::kFresh || is == Is::kReady) return false;
  }
  return true;
}

bool Auditor::Drained(const std::string& name) const {
  const AuditedGroup& group = groups_.at(name);
  for (Offset offset = 0; offset < tail(); ++offset) {
    if (offset >= group.cells.size()) return false;
    const Is is = group.cells[offset].is;
    if (is != Is::kSettled && is != Is::kParked) return false;
  }
  return true;
}

void Auditor::Compare(const Lane& lane) {
  Check(lane.groups().size() == groups_.size(), "other groups");
  for (const auto& [name, group] : lane.groups()) {
    auto it = groups_.find(name);
    if (it == groups_.end()) return Fail("an unknown group");
    Check(group->cursor() == it->second.cursor,
          absl::StrCat("I7: cursor ", group->cursor(), " instead of ", it->second.cursor));
    std::map<MemberId, uint64_t> held;
    uint64_t in_flight = 0, ready = 0, delayed = 0, parked = 0;
    for (const Cell& cell : it->second.cells) {
      in_flight += cell.is == Is::kInFlight;
      ready += cell.is == Is::kReady;
      delayed += cell.is == Is::kDelayed;
      parked += cell.is == Is::kParked;
      if (cell.is == Is::kInFlight) ++held[cell.member];
    }
    Check(group->in_flight_messages() == in_flight, "other count in flight");
    Check(group->ready_messages() == ready, "other count ready");
    Check(group->delayed_messages() == delayed, "other count delayed");
    Check(group->parked().size() == parked, "other count parked");
    Credit sum;
    for (const auto& [member, count] : held) {
      Check(group->InFlightOf(member).messages == count, "other count held by a member");
      sum += group->InFlightOf(member);
    }
    Check(sum.messages == in_flight, "in flight is the sum over members");
  }
}

void Auditor::CheckAllTold() {
  for (const auto& [name, group] : groups_) {
    const std::vector<bool>& told = told_[name];
    for (Offset offset = group.start; offset < tail(); ++offset) {
      if (offset < told.size() && told[offset]) continue;
      return Fail(absl::StrCat("I1: ", offset, " never reached ", name));
    }
  }
}

// ---- Readers ---------------------------------------------------------------

void Auditor::Read(AuditedReader& reader, const std::vector<Seen>& seen) {
  for (const Seen& one : seen) {
    CheckRecord(one);
    Check(one.offset == reader.next, absl::StrCat("I9: ", one.offset, " is not next"));
    Check(one.offset < reader.stop && one.appended_at < reader.stop_time, "I9: past the stop");
    Check(one.attempt == 0, "a reader knows no attempts");
    ++reader.next;
  }
}

void Auditor::ReaderGap(AuditedReader& reader, const std::vector<OffsetRange>& ranges) {
  Check(!ranges.empty(), "a gap without ranges");
  for (const Offset offset : Flat(ranges)) {
    if (offset >= tail()) return Fail("a gap beyond the tail");
    Check(offset == reader.next, "I9: a gap elsewhere");
    Check(offset < head_ || log_[offset].lost, "I9: a gap where nothing is gone");
    ++reader.next;
  }
}

void Auditor::ReaderStopped(const AuditedReader& reader) {
  if (reader.next >= reader.stop) return;
  if (reader.next >= tail()) return Fail("I9: stopped before its stop");
  Check(log_[reader.next].appended_at >= reader.stop_time, "I9: stopped before its time");
}

// ---- Removing --------------------------------------------------------------

void Auditor::HeadAdvanced(Offset head, const std::vector<GroupGap>& gaps) {
  if (head > tail()) return Fail("the head passed the tail");
  std::map<std::string, std::vector<Offset>> got, expected;
  for (const GroupGap& gap : gaps) got[gap.group->name()] = Flat(gap.ranges);
  for (auto& [name, group] : groups_) {
    for (Offset offset = head_; offset < head; ++offset) {
      Cell& cell = group.at(offset);
      if (cell.is == Is::kInFlight || cell.is == Is::kSettled) continue;
      expected[name].push_back(offset);
      cell = {Is::kSettled};
      Tell(name, offset);
    }
    AdvanceCursor(group);
  }
  Check(got == expected, "I1: other gaps named when the head moved");
  head_ = std::max(head_, head);
}

Offset Auditor::SettledHead(Offset visible_end) const {
  Offset lowest = visible_end;
  for (const auto& [name, group] : groups_) {
    Offset offset = head_;
    while (offset < group.cells.size() && group.cells[offset].is == Is::kSettled) ++offset;
    lowest = std::min(lowest, offset);
  }
  return std::max(head_, lowest);
}

// ---- A crash ---------------------------------------------------------------

void Auditor::Crash() {
  groups_.clear();
  head_ = 0;
}

void Auditor::RestoreGroup(const std::string& name, const AuditedGroup& saved) {
  AuditedGroup group = saved;
  for (Offset offset = 0; offset < group.cells.size(); ++offset) {
    Cell& cell = group.cells[offset];
    if (cell.is == Is::kSettled || cell.is == Is::kParked || cell.is == Is::kFresh) continue;
    const bool known = cell.attempt > 1 || offset < group.cursor;
    cell = known ? Cell{Is::kReady, cell.attempt} : Cell{};
  }
  groups_[name] = std::move(group);
}

void Auditor::FinishRestart(const Lane& lane, Offset reserved) {
  Offset end = reserved;
  for (Offset offset = 0; offset < tail(); ++offset) {
    Logged& logged = log_[offset];
    if (logged.durable) end = std::max(end, offset + 1);
    if (logged.promised && !logged.durable) return Fail("I1: an acknowledged record is lost");
    logged.lost |= !logged.durable;
  }
  // Below the head nothing is on disk that must be.
  if (lane.tail() != std::max(end, head_)) {
    return Fail(absl::StrCat("I2: tail ", lane.tail(), " instead of ", end));
  }
  for (Offset offset = lane.tail(); offset < tail(); ++offset) {
    Check(!log_[offset].pinned && !log_[offset].acked, "I2: an offset will be given out twice");
  }
  log_.resize(lane.tail(), Logged{.lost = true});
  acked_end_ = tail();
  last_appended_at_ = 0;
  for (const Logged& logged : log_) {
    if (logged.durable) last_appended_at_ = logged.appended_at;
  }
  for (auto& [name, told] : told_) told.resize(std::min<size_t>(told.size(), tail()));
  for (auto& [name, group] : groups_) {
    for (Offset offset = 0; offset < lane.head(); ++offset) {
      Cell& cell = group.at(offset);
      Check(offset < head_ || cell.is == Is::kSettled, "I1: a restart left records out silently");
      cell = {Is::kSettled};
    }
    AdvanceCursor(group);
  }
  for (Offset offset = head_; offset < lane.head(); ++offset) {
    Check(log_[offset].lost, "I1: a restart dropped records");
  }
  head_ = std::max(head_, lane.head());
  Check(lane.head() == head_, "the head went back");
}

}  // namespace spillway::queue::model
