#include "broker/queue/lane.h"

#include <algorithm>
#include <cassert>
#include <limits>

namespace spillway::queue {

Lane::Lane(const Tuning& tuning) : tuning_(tuning) {}

// ---- Producers -------------------------------------------------------------

Offset Lane::Publish(wire::Records records, Origin origin, const Now& now) {
  assert(records.count() > 0);
  Batch batch;
  batch.first = tail();
  // Times never go back within a lane, so that they can be searched.
  batch.appended_at = last_appended_at_ = std::max(last_appended_at_, now.unix_ms);
  batch.bytes_before = bytes_total_;
  bytes_total_ += records.Cost().bytes;
  batch.records = std::move(records);
  batch.origin = std::move(origin);
  const Offset first = batch.first;
  window_.Append(std::move(batch));
  if (tuning_.durability == Durability::kMemory) {
    visible_end_ = tail();
  } else {
    promised_end_ = tail();
  }
  return first;
}

const Batch* Lane::NextToStore(const Credit& keep) const {
  const Batch* next = window_.NextToStore();
  if (next == nullptr) return nullptr;
  if (tuning_.durability != Durability::kMemory) return next;
  // Published when the queue still waited for the disk, and not acknowledged yet.
  if (next->first < promised_end_) return next;
  // Behind the storing end all is in memory only: store while it is too much.
  const Credit memory_only{window_.end() - window_.storing_end(),
                           window_.unstored_footprint_bytes() - window_.storing_footprint_bytes()};
  return memory_only.Within(keep) ? nullptr : next;
}

Offset Lane::Stored(LogPosition position) {
  const Batch& batch = window_.MarkStored(position);
  stored_position_ = position;
  Index({batch.first, position, batch.appended_at, batch.bytes_before});
  if (tuning_.durability == Durability::kMemory) {
    spilled_ += {batch.records.count(), batch.records.Cost().bytes};
  }
  visible_end_ = std::max(visible_end_, batch.end());
  ForgetIndex();
  return batch.end();
}

void Lane::Index(const DiskIndex::Mark& mark) {
  // The marks before it lead to nothing that is needed, and may be trimmed.
  if (head_ >= mark.first) index_.Clear();
  index_.Add(mark);
}

void Lane::ForgetIndex() {
  const bool on_the_way = window_.storing_end() > window_.stored_end();
  if (!on_the_way && head_ >= window_.stored_end()) index_.Clear();
}

void Lane::EvictTo(uint64_t target_bytes, uint64_t target_messages) {
  const Offset needed = settled_through();
  while ((window_.footprint_bytes() > target_bytes || window_.messages() > target_messages) &&
         window_.CanEvict(head_)) {
    // What someone still has to read leaves memory: it spills.
    const Offset begin = window_.begin();
    const Batch* front = window_.Find(begin);
    if (tuning_.durability != Durability::kMemory && front->end() > needed) {
      spilled_ += {front->records.count(), front->records.Cost().bytes};
    }
    window_.EvictFront();
  }
}

// ---- Groups and readers ----------------------------------------------------

Group* Lane::AddGroup(const std::string& name, GroupMode mode, Offset start) {
  auto group = std::make_unique<Group>(name, mode, start);
  group->AdvanceHead(head_);
  return groups_.emplace(name, std::move(group)).first->second.get();
}

Group* Lane::FindGroup(const std::string& name) {
  auto it = groups_.find(name);
  return it == groups_.end() ? nullptr : it->second.get();
}

void Lane::RemoveGroup(const std::string& name) { groups_.erase(name); }

const Batch* Lane::Locate(Offset offset, Fetch& fetch, DiskRead* read, Outcome* outcome) {
  if (const Batch* batch = window_.Find(offset)) return batch;
  if (const Batch* batch = fetch.Find(offset)) return batch;
  *outcome = Outcome::kReadDisk;
  *read = {};
  if (fetch.reading()) return nullptr;
  const auto from = ReadFrom(offset, fetch);
  if (!from || fetch.missed(offset)) {
    *outcome = Outcome::kMissing;
    return nullptr;
  }
  fetch.Want(offset);
  *read = {&fetch, *from};
  return nullptr;
}

std::optional<LogPosition> Lane::ReadFrom(Offset offset, const Fetch& fetch) const {
  const auto mark = index_.Floor(offset);
  if (!mark) return std::nullopt;
  return fetch.ContinueAt(offset, mark->first).value_or(mark->position);
}

void Lane::ReadAhead(Fetch& fetch, Offset stop, DiskRead* read) const {
  if (read->fetch != nullptr || !fetch.MayReadAhead()) return;
  if (fetch.end() >= std::min(stop, window_.begin())) return;
  const auto from = ReadFrom(fetch.end(), fetch);
  if (!from) return;
  fetch.WantAhead();
  *read = {&fetch, *from};
}

uint32_t Lane::Take(const Batch& batch, Offset first, uint64_t count, const Credit& room,
                    uint32_t attempt, wire::Delivery* out) {
  const auto index = static_cast<uint32_t>(first - batch.first);
  const auto most = static_cast<uint32_t>(std::min<uint64_t>(count, batch.end() - first));
  const uint32_t n = batch.records.FitWithin(index, most, room);
  if (n == 0) return 0;
  if (!out->runs.empty()) {
    wire::DeliveryRun& last = out->runs.back();
    if (last.first + last.count == first && last.appended_at == batch.appended_at &&
        last.attempt == attempt) {
      last.count += n;
      out->fields.push_back(batch.records.FieldsSlice(index, n));
      out->cost += batch.records.Cost(index, n);
      return n;
    }
  }
  out->runs.push_back({first, n, batch.appended_at, attempt});
  out->fields.push_back(batch.records.FieldsSlice(index, n));
  out->cost += batch.records.Cost(index, n);
  return n;
}

namespace {

Credit Left(const Credit& room, const Credit& max, const Credit& used) {
  const Credit limit{std::min(room.messages, max.messages), std::min(room.bytes, max.bytes)};
  return {limit.messages - std::min(limit.messages, used.messages),
          limit.bytes - std::min(limit.bytes, used.bytes)};
}

}  // namespace

Outcome Lane::Deliver(Group& group, MemberId member, const Credit& room, const Credit& max,
                      const Now& now, MonoNanos ack_deadline, wire::Delivery* out, DiskRead* read,
                      std::vector<OffsetRange>* gap) {
  Outcome outcome = Outcome::kEmpty;
  auto finish = [&](Outcome other) { return out->runs.empty() ? other : Outcome::kDelivered; };
  auto take = [&](const Batch& batch, Offset first, uint64_t count, uint32_t attempt) {
    uint32_t n = Take(batch, first, count, Left(room, max, out->cost), attempt, out);
    // The first record of a frame may pass `max` alone, or a large one would
    // never be delivered; it never passes `room`.
    if (n == 0 && out->runs.empty()) n = Take(batch, first, 1, room, attempt, out);
    return n;
  };
  const MonoNanos deadline = now.mono + ack_deadline;

  // What is to be delivered again goes first: it holds the cursor.
  while (group.has_ready()) {
    Group::Ready ready = group.FirstReady();
    const Offset found_from = lost_.NextOutside(ready.range.first);
    if (found_from > ready.range.first) {
      if (!out->runs.empty()) return Outcome::kDelivered;
      const Offset end = std::min(found_from, ready.range.end());
      gap->push_back({ready.range.first, end - ready.range.first});
      group.DropReady(gap->back());
      return Outcome::kGap;
    }
    const Batch* batch = Locate(ready.range.first, group.retry_fetch, read, &outcome);
    if (batch == nullptr) {
      if (outcome == Outcome::kMissing) return finish(outcome);
      break;  // fresh ones need not wait for the disk
    }
    const Credit before = out->cost;
    const uint32_t n = take(*batch, ready.range.first, ready.range.count, ready.attempt);
    if (n == 0) return finish(Outcome::kNoRoom);
    group.DeliverReady({ready.range.first, n}, out->cost.bytes - before.bytes, member, deadline);
  }
  const bool waits_for_retry = group.has_ready();

  while (true) {
    const auto [first, limit] = group.FreshRange();
    if (first >= visible_end_) {
      return finish(waits_for_retry ? Outcome::kReadDisk : Outcome::kEmpty);
    }
    if (lost_.Contains(first)) {
      if (!out->runs.empty()) return Outcome::kDelivered;
      const Offset end = std::min(lost_.NextOutside(first), limit);
      gap->push_back({first, end - first});
      group.SkipFresh({first, end - first});
      return Outcome::kGap;
    }
    DiskRead fresh_read;
    Outcome found = Outcome::kEmpty;
    const bool resident = window_.Find(first) != nullptr;
    const Batch* batch = Locate(first, group.fresh_fetch, &fresh_read, &found);
    if (batch == nullptr) {
      if (found == Outcome::kMissing || !waits_for_retry || read->fetch == nullptr) {
        *read = fresh_read;
      }
      return finish(found);
    }
    ReadAhead(group.fresh_fetch, visible_end_, read);
    const uint64_t count = std::min(visible_end_, limit) - first;
    const Credit before = out->cost;
    const uint32_t n = take(*batch, first, count, 1);
    if (n == 0) return finish(Outcome::kNoRoom);
    if (!resident) unspilled_messages_ += n;
    group.DeliverFresh({first, n}, out->cost.bytes - before.bytes, member, deadline);
  }
}

Outcome Lane::Read(Reader& reader, const Credit& room, const Credit& max, wire::Delivery* out,
                   DiskRead* read, std::vector<OffsetRange>* gap) {
  auto finish = [&](Outcome other) { return out->runs.empty() ? other : Outcome::kDelivered; };
  while (true) {
    if (reader.stopped || reader.next >= reader.stop) {
      reader.stopped = true;
      return finish(Outcome::kStopped);
    }
    if (reader.next < head_ || lost_.Contains(reader.next)) {
      if (!out->runs.empty()) return Outcome::kDelivered;
      Offset end = std::max(reader.next, head_);
      end = std::min(lost_.NextOutside(end), reader.stop);
      gap->push_back({reader.next, end - reader.next});
      reader.next = end;
      return Outcome::kGap;
    }
    if (reader.next >= visible_end_) return finish(Outcome::kEmpty);
    Outcome found = Outcome::kEmpty;
    const Batch* batch = Locate(reader.next, reader.fetch, read, &found);
    if (batch == nullptr) return finish(found);
    if (batch->appended_at >= reader.stop_time) {
      reader.stopped = true;
      continue;
    }
    ReadAhead(reader.fetch, std::min(visible_end_, reader.stop), read);
    const uint64_t count = std::min(visible_end_, reader.stop) - reader.next;
    uint32_t n = Take(*batch, reader.next, count, Left(room, max, out->cost), 0, out);
    if (n == 0 && out->runs.empty()) n = Take(*batch, reader.next, 1, room, 0, out);
    if (n == 0) return finish(Outcome::kNoRoom);
    reader.next += n;
  }
}

// ---- Removing --------------------------------------------------------------

Offset Lane::SettledHead() const {
  if (tuning_.retention != Retention::kUntilSettled || groups_.empty()) return head_;
  Offset lowest = visible_end_;
  for (const auto& [name, group] : groups_) lowest = std::min(lowest, group->needed_from());
  return std::max(head_, lowest);
}

Offset Lane::RetentionHead(const Now& now) const {
  if (tuning_.retention != Retention::kLimits) return head_;
  Offset head = head_;
  const auto& marks = index_.marks();
  for (size_t i = 1; i < marks.size(); ++i) {
    // All before mark i is at least as old as it.
    const bool old = tuning_.retention_age_ms > 0 &&
                     marks[i].appended_at + tuning_.retention_age_ms <= now.unix_ms;
    const bool beyond = tuning_.retention_bytes > 0 &&
                        bytes_total_ - marks[i].bytes_before >= tuning_.retention_bytes;
    if (!old && !beyond) break;
    head = std::max(head, marks[i].first);
  }
  // The youngest mark's records, and what is in memory only, by age.
  if (tuning_.retention_age_ms > 0 && now.unix_ms >= tuning_.retention_age_ms &&
      last_appended_at_ <= now.unix_ms - tuning_.retention_age_ms) {
    head = std::max(head, visible_end_);
  }
  return std::min(head, visible_end_);
}

Offset Lane::DropHead(uint64_t bytes, uint64_t messages) const {
  Offset at = settled_through();
  if (tail() - at > messages) at = tail() - messages;
  // Bytes as closely as they are known: by batches in memory, by marks on disk.
  while (at < visible_end_ && bytes_total_ - bytes_before(at) > bytes) {
    const Batch* batch = window_.Find(at);
    at = batch != nullptr ? batch->end() : std::min(index_.NextAfter(at), window_.begin());
  }
  return std::min(at, visible_end_);
}

std::vector<GroupGap> Lane::AdvanceHead(Offset head, GoneReason reason) {
  std::vector<GroupGap> gaps;
  head = std::min(head, visible_end_);
  if (head <= head_) return gaps;
  const uint64_t removed = head - std::max(head_, std::min(settled_through(), head));
  if (reason == GoneReason::kDropped) dropped_total_ += removed;
  head_ = head;
  gone_reason_ = reason;
  for (const auto& [name, group] : groups_) {
    auto ranges = group->AdvanceHead(head);
    if (!ranges.empty()) gaps.push_back({group.get(), std::move(ranges)});
  }
  lost_.RemoveBelow(head);
  index_.TrimBelow(head);
  ForgetIndex();
  // What nobody needs leaves memory; what is kept for replay stays as a cache.
  while (window_.end() > window_.begin() && window_.Find(window_.begin())->end() <= head_ &&
         window_.CanEvict(head_)) {
    window_.EvictFront();
  }
  return gaps;
}

void Lane::MarkHead() {
  if (index_.marks().empty()) return;
  const Batch* batch = window_.Find(head_);
  LogPosition position = 0;
  if (batch != nullptr && batch->end() <= window_.stored_end()) {
    position = batch->position;
  } else if (head_ >= window_.stored_end() && stored_position_ > 0 &&
             window_.storing_end() > window_.stored_end()) {
    // The first one on its way will be somewhere behind all that is stored.
    batch = window_.Find(window_.stored_end());
    position = stored_position_ + 1;
  }
  if (position == 0) return;
  index_.StartAt({batch->first, position, batch->appended_at, batch->bytes_before});
}

std::optional<LogPosition> Lane::NeededPosition() const {
  const auto mark = index_.Floor(head_);
  return mark ? std::optional(mark->position) : std::nullopt;
}

// ---- Numbers ---------------------------------------------------------------

Offset Lane::settled_through() const {
  if (groups_.empty()) return head_;
  Offset lowest = std::numeric_limits<Offset>::max();
  for (const auto& [name, group] : groups_) lowest = std::min(lowest, group->cursor());
  return std::clamp(lowest, head_, tail());
}

uint64_t Lane::bytes_before(Offset offset) const {
  if (offset >= tail()) return bytes_total_;
  if (const Batch* batch = window_.Find(offset)) {
    const auto index = static_cast<uint32_t>(offset - batch->first);
    return batch->bytes_before + (index == 0 ? 0 : batch->records.Cost(0, index).bytes);
  }
  if (const auto mark = index_.Floor(offset)) return mark->bytes_before;
  // Nothing on disk: a hole before the window.
  const Batch* first = window_.Find(window_.begin());
  return first != nullptr ? first->bytes_before : bytes_total_;
}

Credit Lane::backlog() const {
  const Offset from = settled_through();
  uint64_t messages = tail() - from;
  if (!lost_.empty()) {
    for (const OffsetRange& hole : lost_.Intersect({from, messages})) messages -= hole.count;
  }
  return {messages, bytes_total_ - bytes_before(from)};
}

uint64_t Lane::disk_messages() const {
  const Offset end = window_.stored_end();
  return end > head_ ? end - head_ : 0;
}

uint64_t Lane::disk_bytes() const {
  return disk_messages() == 0 ? 0 : bytes_before(window_.stored_end()) - bytes_before(head_);
}

UnixMillis Lane::appended_at(Offset offset) const {
  if (const Batch* batch = window_.Find(offset)) return batch->appended_at;
  if (offset >= tail()) return last_appended_at_;
  const auto mark = index_.Floor(offset);
  return mark ? mark->appended_at : last_appended_at_;
}

// ---- Recovery --------------------------------------------------------------

bool Lane::CanSnapshot() const {
  return !index_.marks().empty() || window_.storing_end() == window_.stored_end();
}

Lane::State Lane::state() const {
  assert(CanSnapshot());
  State state;
  state.head = head_;
  // What is on its way comes before the snapshot in the log; it needs no marks of
  // its own, because readers scan on from the last one.
  state.tail = window_.storing_end();
  state.bytes_before_tail = bytes_before(window_.storing_end());
  state.last_appended_at = last_appended_at_;
  state.marks.assign(index_.marks().begin(), index_.marks().end());
  state.lost = lost_.ToVector();
  return state;
}

void Lane::Restore(const State& state) {
  head_ = state.head;
  window_ = ResidentWindow(state.tail);
  visible_end_ = state.tail;
  bytes_total_ = state.bytes_before_tail;
  last_appended_at_ = state.last_appended_at;
  index_ = DiskIndex();
  for (const auto& mark : state.marks) index_.Restore(mark);
  lost_.Clear();
  for (const auto& range : state.lost) lost_.Add(range);
}

bool Lane::Replayed(Offset first, uint32_t count, uint64_t bytes, UnixMillis appended_at,
                    LogPosition position) {
  if (first < tail()) return false;
  if (first > tail()) {
    // Settled in memory before it had to be stored, or lost and reserved.
    lost_.Add({tail(), first - tail()});
    index_.Break();
  }
  Index({first, position, appended_at, bytes_total_});
  bytes_total_ += bytes;
  last_appended_at_ = std::max(last_appended_at_, appended_at);
  window_ = ResidentWindow(first + count);
  visible_end_ = first + count;
  return true;
}

void Lane::FinishReplay(Offset reserved) {
  if (reserved > tail()) {
    lost_.Add({tail(), reserved - tail()});
    index_.Break();
    window_ = ResidentWindow(reserved);
    visible_end_ = reserved;
  }
  // A group that has not passed a hole is told of it when it comes there.
  Offset head = lost_.NextOutside(head_);
  for (const auto& [name, group] : groups_) head = std::min(head, group->needed_from());
  if (head > head_) AdvanceHead(head, GoneReason::kLost);
}

}  // namespace spillway::queue
