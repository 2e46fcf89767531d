#include "broker/runtime/lane_actor.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/runtime/explain.h"
#include "broker/runtime/lane_codec.h"
#include "broker/runtime/stored_batch.h"

namespace spillway::runtime {
namespace {

using storage::Err;
using storage::Level;
using storage::Position;

// Offsets are reserved so many at a time, so that MEMORY queues write next to
// nothing and still never give an offset to two records.
constexpr Offset kReserveStep = 1 << 24;
// What MEMORY stores goes to the store in parts of the window.
constexpr uint64_t kSpillPieces = 256;
constexpr MonoNanos kSaveGroupsEvery = 25 * kNanosPerMilli;
constexpr MonoNanos kRetryLogEvery = 100 * kNanosPerMilli;
constexpr MonoNanos kRetentionEvery = 1'000 * kNanosPerMilli;

Level LevelFor(Durability durability) {
  return durability == Durability::kSynced ? Level::kFsync : Level::kProcess;
}

uint64_t Less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

LaneActor::LaneActor(LaneId id, std::string name, uint64_t revision, const queue::Tuning& tuning,
                     LaneEnv* env)
    : id_(id),
      name_(std::move(name)),
      revision_(revision),
      env_(env),
      core_(tuning),
      log_(
          env->inbox,
          [this](Err err, Position position, MonoNanos at) { OnDataStored(err, position, at); },
          [this] { MarkDirty(); }),
      budget_(env->budget),
      publishers_(this),
      consumers_(this) {}

LaneActor::~LaneActor() { *alive_ = false; }

Error LaneActor::StoreError(Err err) const {
  const bool corrupt = err == Err::kCorrupt;
  return {.kind = corrupt ? ErrorKind::kCorrupt : ErrorKind::kStoreFailed,
          .message = absl::StrCat("the store failed: ", std::string(storage::ErrName(err))),
          .queue = name_};
}

// ---- Recovery ------------------------------------------------------------------

// Built on the store's thread while it replays, handed over when it is done.
struct LaneActor::Recovery {
  explicit Recovery(const queue::Tuning& tuning) : core(tuning) {}
  bool Apply(const storage::Entry& entry);

  queue::Lane core;
  failure::ProducerTable producers;
  Offset reserved = 0;
  std::string why;  // set when Apply refused
};

bool LaneActor::Recovery::Apply(const storage::Entry& entry) {
  switch (entry.kind) {
    case storage::Kind::kFence:
      return true;
    case storage::Kind::kData: {
      auto header = DecodeBatchHeader(entry.body.view());
      if (!header) {
        why = header.error().message;
        return false;
      }
      if (!core.Replayed(entry.base_offset, entry.count, header->body_bytes, header->appended_at,
                         entry.position)) {
        why = absl::StrCat("offset ", entry.base_offset, " came twice");
        return false;
      }
      if (!header->producer_id.empty()) {
        producers.Replayed(header->producer_id, header->epoch, header->first_sequence, entry.count,
                           entry.base_offset);
      }
      return true;
    }
    case storage::Kind::kSnapshot: {
      spb::LaneSnapshot snapshot;
      if (!snapshot.ParseFromArray(entry.body.data(), static_cast<int>(entry.body.size())) ||
          !producers.Decode(snapshot.producers())) {
        why = "a snapshot is damaged";
        return false;
      }
      RestoreLane(snapshot, &core);
      reserved = snapshot.reserved_offset();
      return true;
    }
    case storage::Kind::kControl: {
      spb::LaneControl control;
      if (!control.ParseFromArray(entry.body.data(), static_cast<int>(entry.body.size()))) {
        why = "a control entry is damaged";
        return false;
      }
      switch (control.change_case()) {
        case spb::LaneControl::kGroup:
          RestoreGroup(control.group(), &core);
          break;
        case spb::LaneControl::kDeletedGroup:
          core.RemoveGroup(control.deleted_group());
          break;
        case spb::LaneControl::kHead:
          core.AdvanceHead(control.head().head_offset(),
                           static_cast<queue::GoneReason>(control.head().reason()));
          break;
        case spb::LaneControl::kReservedOffset:
          reserved = std::max<Offset>(reserved, control.reserved_offset());
          break;
        case spb::LaneControl::CHANGE_NOT_SET:
          why = "a control entry of a newer version";
          return false;
      }
      return true;
    }
  }
  why = "an entry of an unknown kind";
  return false;
}

void LaneActor::Recover(std::function<void(std::optional<Error>)> done) {
  auto recovery = std::make_shared<Recovery>(core_.tuning());
  env_->store->Acquire(
      id_, [recovery](const storage::Entry& entry) { return recovery->Apply(entry); },
      [this, recovery, done = std::move(done), inbox = env_->inbox, alive = alive_](
          Err err, std::unique_ptr<storage::Owner> owner) {
        auto shared = std::make_shared<std::unique_ptr<storage::Owner>>(std::move(owner));
        inbox->Push([this, recovery, done, err, shared, alive] {
          if (*alive) FinishRecovery(err, std::move(*shared), recovery, done);
        });
      });
}

void LaneActor::FinishRecovery(Err err, std::unique_ptr<storage::Owner> owner,
                               const std::shared_ptr<Recovery>& recovery,
                               const std::function<void(std::optional<Error>)>& done) {
  if (err != Err::kOk) {
    failure_ = StoreError(err);
    if (!recovery->why.empty()) absl::StrAppend(&failure_->message, " (", recovery->why, ")");
    done(failure_);
    return;
  }
  recovery->core.FinishReplay(recovery->reserved);
  recovery->core.set_tuning(core_.tuning());
  core_ = std::move(recovery->core);
  publishers_.table() = std::move(recovery->producers);
  reserved_ = std::max(recovery->reserved, core_.tail());
  NoteGroupsSaved();
  log_.Attach(std::move(owner));
  if (log_.epoch() != 0) ready_ = true;
  Reserve();
  MarkDirty();
  done(std::nullopt);
}

// ---- The log -------------------------------------------------------------------

Offset LaneActor::Append(wire::Records records, queue::Origin origin) {
  return core_.Publish(std::move(records), std::move(origin), env_->now);
}

bool LaneActor::spilling() const {
  const queue::Tuning& tuning = core_.tuning();
  return tuning.overflow == queue::Overflow::kSpill && core_.backlog().bytes > tuning.window_bytes;
}

bool LaneActor::MayStore(const queue::Batch& batch) {
  if (draining_ || !spilling()) return true;
  const MonoNanos now = env_->now.mono;
  if (turn_at_ == 0) turn_at_ = env_->pace->Reserve(this, batch.records.Cost().bytes, now);
  return turn_at_ <= now;
}

void LaneActor::PumpLog() {
  waits_for_turn_ = false;
  if (!ready_ || failure_ || !env_->store_takes_records) return;
  const queue::Tuning& tuning = core_.tuning();
  constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();
  Credit keep{kAll, kAll};
  if (draining_) {
    keep = {};
  } else if (tuning.overflow == queue::Overflow::kSpill ||
             tuning.retention == queue::Retention::kLimits) {
    keep = {tuning.window_messages / 2, tuning.window_bytes / 2};
    // In pieces: as it comes it would be a commit for each record.
    const Credit more{keep.messages + tuning.window_messages / kSpillPieces,
                      keep.bytes + tuning.window_bytes / kSpillPieces};
    if (core_.NextToStore(more) == nullptr) return;
  }
  const Level level = LevelFor(tuning.durability);
  while (const queue::Batch* batch = core_.NextToStore(keep)) {
    if (!MayStore(*batch)) {
      waits_for_turn_ = true;
      return;
    }
    if (!log_.AppendData(EncodeBatch(*batch), level, env_->now.mono)) {
      if (log_.error()) FailStore(*log_.error());
      return;
    }
    turn_at_ = 0;
    env_->Storing(this);
    const uint64_t bytes = batch->records.Cost().bytes + 64;
    if (untrimmed_bytes_ == 0) appended_bytes_at_oldest_ = env_->appended_bytes;
    untrimmed_bytes_ += bytes;
    bytes_since_snapshot_ += bytes;
    env_->appended_bytes += bytes;
    core_.MarkStoring();
  }
}

void LaneActor::OnDataStored(Err err, Position position, MonoNanos at) {
  env_->Committed(env_->now.mono - at);
  if (!spilling()) env_->pace->Committed(this, env_->now.mono - at, env_->now.mono);
  MarkDirty();
  if (err != Err::kOk) return FailStore(err);
  core_.Stored(position);
}

void LaneActor::FailStore(Err err) { Fail(StoreError(err)); }

void LaneActor::Fail(const Error& error) {
  if (!failure_) failure_ = error;
  publishers_.FailAll(error);
  consumers_.FailAll(error);
  if (drained_) std::exchange(drained_, nullptr)();
  MarkDirty();
}

void LaneActor::Reserve() {
  if (core_.tuning().durability != Durability::kMemory || reserving_ || failure_) return;
  if (core_.tail() + kReserveStep / 2 < reserved_) return;
  reserving_ = true;
  const Offset upto = std::max(reserved_, core_.tail()) + kReserveStep;
  spb::LaneControl control;
  control.set_reserved_offset(upto);
  log_.AppendControl(ControlRecord(control), Level::kFsync, [this, upto](Err err, Position) {
    reserving_ = false;
    if (err != Err::kOk) return FailStore(err);
    reserved_ = upto;
    MarkDirty();
  });
}

void LaneActor::SaveGroup(queue::Group* group) {
  spb::LaneControl control;
  *control.mutable_group() = ToProto(*group);
  saved_versions_[group->name()] = group->version();
  log_.AppendControl(ControlRecord(control), Level::kProcess, nullptr);
}

void LaneActor::NoteGroupsSaved() {
  for (const auto& [name, group] : core_.groups()) saved_versions_[name] = group->version();
}

void LaneActor::SaveDirtyGroups(bool now_due) {
  bool dirty = false;
  for (const auto& [name, group] : core_.groups()) {
    dirty = dirty || saved_versions_[name] != group->version();
  }
  const MonoNanos now = env_->now.mono;
  // All lanes at the same times: what they save is one commit then.
  if (dirty && !groups_dirty_) save_groups_at_ = (now / kSaveGroupsEvery + 1) * kSaveGroupsEvery;
  groups_dirty_ = dirty;
  if (!dirty || (!now_due && now < save_groups_at_)) return;
  groups_dirty_ = false;
  for (const auto& [name, group] : core_.groups()) {
    if (saved_versions_[name] != group->version()) SaveGroup(group.get());
  }
}

void LaneActor::AppendSnapshot(LaneLog::Then then) {
  spb::LaneSnapshot snapshot = ToProto(core_);
  snapshot.set_producers(publishers_.table().Encode());
  // Behind what the snapshot knows, only memory held records.
  const bool all_stored = core_.window().storing_end() == core_.tail();
  snapshot.set_reserved_offset(draining_ && all_stored ? core_.tail() : reserved_);
  NoteGroupsSaved();
  // It stands for records, so it is kept as they are. A sync would stop all lanes.
  const Level level = draining_ ? Level::kFsync : LevelFor(core_.tuning().durability);
  auto record = ControlRecord(snapshot, storage::Kind::kSnapshot);
  snapshot_bytes_ = record.body_bytes();
  log_.AppendControl(std::move(record), level, std::move(then));
}

bool LaneActor::SnapshotDue() const {
  if (bytes_since_snapshot_ >= kSnapshotEveryBytes) return true;
  if (untrimmed_bytes_ < kTrimWorthBytes) return false;
  if (env_->appended_bytes - appended_bytes_at_snapshot_ < kTrimEveryBytes) return false;
  const bool late = env_->appended_bytes - appended_bytes_at_oldest_ >= kTrimSoonBytes;
  const uint64_t gone = Less(core_.bytes_before(core_.head()), gone_bytes_at_snapshot_);
  return gone >= std::max(late ? kTrimLateWorthBytes : kTrimWorthBytes,
                          kTrimWorthSnapshots * snapshot_bytes_);
}

void LaneActor::MaybeSnapshot() {
  if (snapshotting_ || failure_ || !SnapshotDue()) return;
  if (!core_.CanSnapshot()) return;  // the next batch can
  snapshotting_ = true;
  bytes_since_snapshot_ = 0;
  appended_bytes_at_snapshot_ = env_->appended_bytes;
  appended_bytes_at_oldest_ = env_->appended_bytes;
  gone_bytes_at_snapshot_ = core_.bytes_before(core_.head());
  untrimmed_bytes_ =
      Less(core_.bytes_before(core_.window().storing_end()), gone_bytes_at_snapshot_);
  core_.MarkHead();
  const auto needed = core_.NeededPosition();
  AppendSnapshot([this, needed](Err err, Position position) {
    snapshotting_ = false;
    if (err != Err::kOk) return FailStore(err);
    log_.Trim(needed ? std::min(*needed, position) : position);
  });
}

// ---- A batch -------------------------------------------------------------------

credit::Pressure LaneActor::MakePressure() {
  const queue::Tuning& tuning = core_.tuning();
  const queue::ResidentWindow& window = core_.window();
  const Credit backlog = core_.backlog();
  credit::Pressure p;
  p.window = {tuning.window_messages, tuning.window_bytes};
  // Of a batch in part below the head, the messages are gone and the memory is not.
  p.held = {Less(window.end(), std::max(window.stored_end(), core_.head())),
            window.unstored_footprint_bytes()};
  p.unspent = publishers_.ledger().unspent();
  p.max_message_bytes = tuning.max_message_bytes;
  p.now = env_->now.mono;
  p.budget_bytes = env_->budget->headroom_bytes();
  p.quota_bytes = std::numeric_limits<uint64_t>::max();
  p.stop = draining_ ? credit::Reason::kDraining : env_->stop;
  p.slow = env_->slow;
  if (failure_) p.stop = credit::Reason::kStoreFailed;
  switch (tuning.overflow) {
    case queue::Overflow::kSpill:
      p.quota_bytes = Less(tuning.disk_quota_bytes, backlog.bytes);
      p.when_full = credit::Reason::kDiskSlow;
      break;
    case queue::Overflow::kReject:
      p.when_full = credit::Reason::kFullReject;
      [[fallthrough]];
    case queue::Overflow::kBlock:
    case queue::Overflow::kDropOldest:
      p.held = {std::max(p.held.messages, backlog.messages), std::max(p.held.bytes, backlog.bytes)};
      break;
  }
  // Offsets that are not reserved yet must not be given out.
  if (tuning.durability == Durability::kMemory) {
    const uint64_t left = Less(reserved_, core_.tail() + p.unspent.messages);
    p.window.messages = std::min(p.window.messages, p.held.messages + p.unspent.messages + left);
  }
  return p;
}

void LaneActor::AdvanceHead(Offset head, queue::GoneReason reason) {
  if (head <= core_.head()) return;
  const auto gaps = core_.AdvanceHead(head, reason);
  consumers_.TellGaps(gaps, static_cast<pb::GapReason>(reason));
}

void LaneActor::Flush() {
  if (!ready_) return;
  const Now& now = env_->now;
  const queue::Tuning& tuning = core_.tuning();
  if (log_.unavailable() && now.mono >= retry_log_at_) {
    retry_log_at_ = now.mono + kRetryLogEvery;
    log_.Retry();
  }
  Reserve();
  PumpLog();

  AdvanceHead(core_.SettledHead(), queue::GoneReason::kRetention);
  if (now.mono >= retention_at_) {
    retention_at_ = now.mono + kRetentionEvery;
    AdvanceHead(core_.RetentionHead(now), queue::GoneReason::kRetention);
  }
  if (tuning.overflow == queue::Overflow::kDropOldest) {
    AdvanceHead(core_.DropHead(tuning.window_bytes / 4 * 3,
                               std::max<uint64_t>(1, tuning.window_messages / 4 * 3)),
                queue::GoneReason::kDropped);
  }

  consumers_.Flush();

  const credit::Pressure pressure = MakePressure();
  publishers_.Flush(failure_ ? 0 : core_.window().stored_end(), pressure);
  // Memory follows what was promised: what is on disk makes room.
  const Credit unspent = publishers_.ledger().unspent();
  const bool short_of_memory = env_->budget->used_bytes() >= env_->budget->limit_bytes() / 100 * 85;
  core_.EvictTo(short_of_memory ? 0 : Less(tuning.window_bytes, unspent.bytes),
                short_of_memory ? 0 : Less(tuning.window_messages, unspent.messages));
  budget_.Set(core_.window().footprint_bytes() + unspent.bytes);

  MaybeSnapshot();  // saves the groups, too
  SaveDirtyGroups(draining_);

  if (draining_ && drained_ && core_.window().stored_end() == core_.tail() &&
      (spent() || out_of_time_)) {
    AppendSnapshot([done = std::exchange(drained_, nullptr)](Err, Position) { done(); });
  }
}

MonoNanos LaneActor::next_deadline() const {
  if (!ready_) return std::numeric_limits<MonoNanos>::max();
  MonoNanos at = consumers_.next_deadline();
  if (core_.tuning().retention == queue::Retention::kLimits && core_.head() < core_.tail()) {
    at = std::min(at, retention_at_);
  }
  if (waits_for_turn_) at = std::min(at, turn_at_);
  if (log_.unavailable()) at = std::min(at, retry_log_at_);
  if (groups_dirty_) at = std::min(at, save_groups_at_);
  return at;
}

void LaneActor::Drain(std::function<void()> done) {
  draining_ = true;
  if (!ready_ || failure_) {
    env_->inbox->Push(std::move(done));
    return;
  }
  drained_ = std::move(done);
  MarkDirty();
}

bool LaneActor::spent() const { return publishers_.spent() && consumers_.settled(); }

void LaneActor::StopTaking() {
  out_of_time_ = true;
  publishers_.FailAll({.kind = ErrorKind::kUnavailable,
                       .message = "the broker is draining",
                       .queue = name_,
                       .retry_after_ms = 1'000});
  MarkDirty();
}

}  // namespace spillway::runtime
