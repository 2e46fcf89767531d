#include "broker/runtime/catalog.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/runtime/lane_codec.h"
#include "broker/runtime/tuning_codec.h"

namespace spillway::runtime {
namespace {

using storage::Err;
using storage::Level;
using storage::Position;

constexpr uint32_t kSnapshotEveryChanges = 1'000;

spb::QueueState EntryToProto(const QueueEntry& entry) {
  spb::QueueState state;
  state.set_id(entry.id);
  state.set_name(entry.name);
  state.set_revision(entry.revision);
  state.set_partitions(1);
  *state.mutable_tuning() = ToProto(entry.tuning);
  return state;
}

std::optional<QueueEntry> EntryFromProto(const spb::QueueState& state) {
  // Tunables that a newer default adds are filled in.
  auto tuning = ApplyTuning(DefaultTuning(), state.tuning(), true);
  if (!tuning) return std::nullopt;
  return QueueEntry{state.id(), state.name(), state.revision(), *tuning};
}

Error StoreError(Err err) {
  return {.kind = err == Err::kCorrupt ? ErrorKind::kCorrupt : ErrorKind::kStoreFailed,
          .message = absl::StrCat("the list of queues: ", std::string(storage::ErrName(err)))};
}

}  // namespace

Catalog::Catalog(storage::LogStore* store, Inbox* inbox)
    : store_(store),
      inbox_(inbox),
      log_(
          inbox, [](Err, Position, MonoNanos) {}, [] {}) {}

Catalog::~Catalog() { *alive_ = false; }

bool Catalog::State::Apply(const storage::Entry& entry) {
  const auto size = static_cast<int>(entry.body.size());
  switch (entry.kind) {
    case storage::Kind::kFence:
      return true;
    case storage::Kind::kSnapshot: {
      spb::CatalogSnapshot snapshot;
      if (!snapshot.ParseFromArray(entry.body.data(), size)) return false;
      queues.clear();
      for (const auto& state : snapshot.queues()) {
        auto queue = EntryFromProto(state);
        if (!queue) return false;
        queues[queue->id] = *queue;
      }
      next_id = snapshot.next_queue_id();
      return true;
    }
    case storage::Kind::kControl: {
      spb::CatalogControl control;
      if (!control.ParseFromArray(entry.body.data(), size)) return false;
      if (control.has_queue()) {
        auto queue = EntryFromProto(control.queue());
        if (!queue) return false;
        next_id = std::max(next_id, queue->id + 1);
        queues[queue->id] = *queue;
        return true;
      }
      queues.erase(control.deleted_queue_id());
      next_id = std::max(next_id, control.deleted_queue_id() + 1);
      return true;
    }
    case storage::Kind::kData:
      return false;
  }
  return false;
}

void Catalog::Recover(Done done) {
  auto state = std::make_shared<State>();
  store_->Acquire(
      kLane, [state](const storage::Entry& entry) { return state->Apply(entry); },
      [this, state, done = std::move(done), inbox = inbox_, alive = alive_](
          Err err, std::unique_ptr<storage::Owner> owner) {
        auto shared = std::make_shared<std::unique_ptr<storage::Owner>>(std::move(owner));
        inbox->Push([this, state, done, err, shared, alive] {
          if (!*alive) return;
          if (err != Err::kOk) return done(StoreError(err));
          queues_ = std::move(state->queues);
          next_id_ = state->next_id;
          log_.Attach(std::move(*shared));
          done(std::nullopt);
        });
      });
}

void Catalog::Put(const QueueEntry& entry, Done done) {
  queues_[entry.id] = entry;
  spb::CatalogControl control;
  *control.mutable_queue() = EntryToProto(entry);
  log_.AppendControl(ControlRecord(control), Level::kFsync,
                     [done = std::move(done)](Err err, Position) {
                       done(err == Err::kOk ? std::nullopt : std::optional(StoreError(err)));
                     });
  MaybeSnapshot();
}

void Catalog::Remove(uint32_t id, Done done) {
  queues_.erase(id);
  spb::CatalogControl control;
  control.set_deleted_queue_id(id);
  log_.AppendControl(ControlRecord(control), Level::kFsync,
                     [done = std::move(done)](Err err, Position) {
                       done(err == Err::kOk ? std::nullopt : std::optional(StoreError(err)));
                     });
  MaybeSnapshot();
}

void Catalog::MaybeSnapshot() {
  if (++changes_ < kSnapshotEveryChanges) return;
  changes_ = 0;
  spb::CatalogSnapshot snapshot;
  for (const auto& [id, entry] : queues_) *snapshot.add_queues() = EntryToProto(entry);
  snapshot.set_next_queue_id(next_id_);
  log_.AppendControl(ControlRecord(snapshot, storage::Kind::kSnapshot), Level::kFsync,
                     [this](Err err, Position position) {
                       if (err == Err::kOk) log_.Trim(position);
                     });
}

}  // namespace spillway::runtime
