#include "broker/storage/lane_reader.h"

#include <algorithm>

#include "broker/storage/coding.h"

namespace spillway::storage {
namespace {

std::string Name(LaneId lane) {
  return "lane " + std::to_string(lane.queue) + "/" + std::to_string(lane.partition);
}

Err Corrupt(LaneId lane, Position position, std::string_view what, std::string* why) {
  *why = Name(lane) + ", position " + std::to_string(position) + ": " + std::string(what);
  return Err::kCorrupt;
}

Err FromStatus(LaneId lane, const rocksdb::Status& s, std::string* why) {
  *why = Name(lane) + ": " + s.ToString();
  return s.IsCorruption() ? Err::kCorrupt : Err::kUnavailable;
}

// An entry is valid if its epoch is the one of the highest fence before it.
bool IsValid(const std::vector<Fence>& fences, Position position, Epoch epoch) {
  auto it = std::lower_bound(fences.begin(), fences.end(), position,
                             [](const Fence& f, Position p) { return f.position < p; });
  return it != fences.begin() && std::prev(it)->epoch == epoch;
}

// Walks one family, checking every entry and that none is missing.
class CheckedCursor {
 public:
  CheckedCursor(const EntryTable& table, Family family, LaneId lane, Position from, Position upto)
      : lane_(lane), cursor_(table.Scan(family, lane, from, upto)), expected_after_(from) {}

  // The size of the next entry's value; 0 at the end.
  size_t next_bytes() const { return cursor_->Valid() ? cursor_->value().size() : 0; }

  // False at the end or on a failure; then `err` says which.
  bool Load() {
    if (!cursor_->Valid()) {
      if (!cursor_->status().ok()) err = FromStatus(lane_, cursor_->status(), &why);
      return false;
    }
    position = cursor_->position();
    auto decoded = DecodeEntry(cursor_->key(), cursor_->value());
    if (!decoded) {
      err = Corrupt(lane_, position, "the checksum does not match", &why);
      return false;
    }
    entry = *decoded;
    // The first entry's predecessor is before the start, each other's is the one
    // just seen: else something between is gone.
    const bool linked = seen_ ? entry.header.previous == expected_after_
                              : entry.header.previous < std::max<Position>(expected_after_, 1);
    if (!linked) {
      missing = true;
      err = Corrupt(lane_, position, "an entry before it is missing", &why);
      return false;
    }
    return true;
  }
  void Next() {
    seen_ = true;
    expected_after_ = position;
    cursor_->Next();
  }
  Entry Copy() const {
    return {.position = position,
            .epoch = entry.header.epoch,
            .kind = entry.header.kind,
            .base_offset = entry.header.base_offset,
            .count = entry.header.count,
            .body = wire::Buffer::Copy(entry.body)};
  }

  Position position = 0;
  DecodedEntry entry;
  Err err = Err::kOk;
  bool missing = false;
  std::string why;

 private:
  const LaneId lane_;
  std::unique_ptr<EntryCursor> cursor_;
  Position expected_after_;
  bool seen_ = false;
};

}  // namespace

Err LoadLane(const EntryTable& table, LaneState& lane, std::string* why) {
  std::lock_guard lock(lane.mu);
  if (lane.loaded) return Err::kOk;
  std::optional<std::string> record;
  std::vector<std::pair<std::string, std::string>> fences;
  Position last_data = 0, last_control = 0;
  std::string prefix = FenceKey(lane.id, 0);
  prefix.resize(9);
  rocksdb::Status s = table.GetMeta(LaneKey(lane.id), &record);
  if (s.ok()) s = table.ScanMeta(prefix, &fences);
  if (s.ok()) s = table.Last(Family::kData, lane.id, &last_data);
  if (s.ok()) s = table.Last(Family::kControl, lane.id, &last_control);
  if (!s.ok()) return FromStatus(lane.id, s, why);
  if (record) {
    auto decoded = DecodeLaneRecord(*record);
    if (!decoded) return Corrupt(lane.id, 0, "the lane's record is corrupt", why);
    lane.record = *decoded;
  }
  lane.fences.clear();
  for (const auto& [key, value] : fences) {
    auto epoch = DecodeEpoch(value);
    if (key.size() != prefix.size() + 8 || !epoch) {
      return Corrupt(lane.id, 0, "a fence is corrupt", why);
    }
    lane.fences.push_back({GetBig64(key.data() + prefix.size()), *epoch});
  }
  const LaneRecord& r = lane.record;
  const Fence last_fence = lane.fences.empty() ? Fence{} : lane.fences.back();
  if (last_fence.position != r.fence_position || last_fence.epoch != r.fence_epoch) {
    return Corrupt(lane.id, r.fence_position, "the last fence is missing", why);
  }
  if (!record && (last_data > 0 || last_control > 0)) {
    return Corrupt(lane.id, last_data, "entries without the lane's record", why);
  }
  const Position last = std::max({last_data, last_control, r.fence_position, r.snapshot});
  lane.next = std::max(last + 1, r.trimmed);
  lane.last_data = last_data;
  lane.last_control = last_control;
  lane.deleted_data = 0;
  lane.deleted_control = 0;
  lane.visible.store(lane.next - 1, std::memory_order_release);
  lane.loaded = true;
  return Err::kOk;
}

Err ReplayLane(const EntryTable& table, LaneState& lane, Position upto,
               const LogStore::Replay& replay, std::string* why) {
  Position snapshot, trimmed;
  std::vector<Fence> fences;
  {
    std::lock_guard lock(lane.mu);
    snapshot = lane.record.snapshot;
    trimmed = lane.record.trimmed;
    fences = lane.fences;
  }
  CheckedCursor data(table, Family::kData, lane.id, std::max(snapshot, trimmed), upto);
  CheckedCursor control(table, Family::kControl, lane.id, snapshot, upto);
  bool more_data = data.Load();
  bool more_control = control.Load();
  if (snapshot > 0 && (!more_control || control.position != snapshot) && control.err == Err::kOk) {
    return Corrupt(lane.id, snapshot, "the snapshot is missing", why);
  }
  for (;;) {
    for (const CheckedCursor* c : {&data, &control}) {
      if (c->err != Err::kOk) {
        *why = c->why;
        return c->err;
      }
    }
    if (!more_data && !more_control) return Err::kOk;
    const bool take_data = more_data && (!more_control || data.position < control.position);
    CheckedCursor& c = take_data ? data : control;
    if (IsValid(fences, c.position, c.entry.header.epoch) && !replay(c.Copy())) {
      return Corrupt(lane.id, c.position, "the replay was refused", why);
    }
    c.Next();
    (take_data ? more_data : more_control) = c.Load();
  }
}

ReadResult ReadLane(const EntryTable& table, LaneState& lane, Position from, size_t max_bytes) {
  ReadResult result{.next = from};
  // What completed before this call is visible; what is written and not yet
  // synced is not.
  const Position upto = lane.visible.load(std::memory_order_acquire) + 1;
  std::vector<Fence> fences;
  {
    std::lock_guard lock(lane.mu);
    if (from < lane.record.trimmed) {
      return {.err = Err::kTrimmed, .next = lane.record.trimmed};
    }
    fences = lane.fences;
  }
  CheckedCursor c(table, Family::kData, lane.id, from, upto);
  size_t bytes = 0;
  // What does not fit is left before its checksum is computed.
  while ((result.entries.empty() || bytes + c.next_bytes() <= max_bytes) && c.Load()) {
    if (IsValid(fences, c.position, c.entry.header.epoch)) {
      result.entries.push_back(c.Copy());
      bytes += c.entry.body.size();
    }
    result.next = c.position + 1;
    c.Next();
  }
  if (c.missing) {
    // A trim may have come in between: then it is not missing but trimmed.
    std::lock_guard lock(lane.mu);
    if (result.next < lane.record.trimmed) {
      return {.err = Err::kTrimmed, .next = lane.record.trimmed};
    }
  }
  // What came before a damage is given; the next read, from there, meets it.
  if (result.entries.empty()) result.err = c.err;
  result.why = c.why;
  return result;
}

}  // namespace spillway::storage
