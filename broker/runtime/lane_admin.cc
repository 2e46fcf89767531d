// What operators do to a lane, and what they see of it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/runtime/explain.h"
#include "broker/runtime/lane_actor.h"
#include "broker/runtime/lane_codec.h"

namespace spillway::runtime {

using storage::Err;
using storage::Level;
using storage::Position;

void LaneActor::SetTuning(uint64_t revision, const queue::Tuning& tuning) {
  revision_ = revision;
  core_.set_tuning(tuning);
  consumers_.OnTuning();
  publishers_.OnTuning();
  MarkDirty();
}

void LaneActor::CreateGroup(const std::string& name, pb::GroupMode mode, Offset start,
                            std::function<void(Result<queue::Group*>)> done) {
  queue::Group* group = core_.FindGroup(name);
  if (group == nullptr) {
    if (core_.groups().size() >= kMaxGroups) {
      return done(Error{.kind = ErrorKind::kLimitReached,
                        .message = "the queue has its most groups; delete one first",
                        .queue = name_,
                        .limit = kMaxGroups});
    }
    group = core_.AddGroup(
        name,
        mode == pb::GROUP_MODE_EXCLUSIVE ? queue::GroupMode::kExclusive : queue::GroupMode::kShared,
        start);
  }
  // From its first moment the group is promised every record, so it must survive.
  spb::LaneControl control;
  *control.mutable_group() = ToProto(*group);
  saved_versions_[name] = group->version();
  log_.AppendControl(ControlRecord(control), Level::kFsync,
                     [this, name, done = std::move(done)](Err err, Position) {
                       if (err != Err::kOk) return done(StoreError(err));
                       queue::Group* created = core_.FindGroup(name);
                       if (created == nullptr) {
                         return done(Error{.kind = ErrorKind::kNotFound,
                                           .message = "the group was deleted meanwhile"});
                       }
                       done(created);
                     });
}

void LaneActor::Purge(Offset head, Done done) {
  AdvanceHead(head, queue::GoneReason::kPurged);
  spb::LaneControl control;
  control.mutable_head()->set_head_offset(core_.head());
  control.mutable_head()->set_reason(static_cast<uint32_t>(queue::GoneReason::kPurged));
  log_.AppendControl(ControlRecord(control), Level::kFsync,
                     [this, done = std::move(done)](Err err, Position) {
                       if (err != Err::kOk) return done(StoreError(err));
                       done(Unit{});
                     });
  bytes_since_snapshot_ = kSnapshotEveryBytes;  // so that the disk is freed soon
  MarkDirty();
}

void LaneActor::SeekGroup(queue::Group* group, Offset target, Done done) {
  std::vector<std::pair<queue::MemberId, OffsetRange>> revoked;
  ForgetFetch(&group->fresh_fetch);
  ForgetFetch(&group->retry_fetch);
  group->Seek(target, &revoked);
  consumers_.TellRevoked(revoked, pb::REVOKE_REASON_SEEK);
  spb::LaneControl control;
  *control.mutable_group() = ToProto(*group);
  saved_versions_[group->name()] = group->version();
  log_.AppendControl(ControlRecord(control), Level::kFsync,
                     [this, done = std::move(done)](Err err, Position) {
                       if (err != Err::kOk) return done(StoreError(err));
                       done(Unit{});
                     });
  MarkDirty();
}

void LaneActor::DeleteGroup(queue::Group* group, Done done) {
  // The group is gone below.
  const std::string name = group->name();  // NOLINT(performance-unnecessary-copy-initialization)
  consumers_.FailGroup(
      group, {.kind = ErrorKind::kClosed, .message = absl::StrCat("group ", name, " was deleted")});
  ForgetFetch(&group->fresh_fetch);
  ForgetFetch(&group->retry_fetch);
  core_.RemoveGroup(name);
  saved_versions_.erase(name);
  spb::LaneControl control;
  control.set_deleted_group(name);
  log_.AppendControl(ControlRecord(control), Level::kFsync,
                     [this, done = std::move(done)](Err err, Position) {
                       if (err != Err::kOk) return done(StoreError(err));
                       done(Unit{});
                     });
  MarkDirty();
}

void LaneActor::ReleaseParked(queue::Group* group, const std::vector<OffsetRange>& ranges,
                              std::function<void(Result<uint64_t>)> done) {
  uint64_t released = 0;
  for (const OffsetRange& range : ranges) released += group->Release(range);
  spb::LaneControl control;
  *control.mutable_group() = ToProto(*group);
  saved_versions_[group->name()] = group->version();
  log_.AppendControl(ControlRecord(control), Level::kFsync,
                     [this, released, done = std::move(done)](Err err, Position) {
                       if (err != Err::kOk) return done(StoreError(err));
                       done(released);
                     });
  MarkDirty();
}

void LaneActor::Describe(pb::QueueStats* stats) const {
  const queue::ResidentWindow& window = core_.window();
  const Credit backlog = core_.backlog();
  stats->set_head_offset(core_.head());
  stats->set_tail_offset(core_.tail());
  stats->set_settled_through_offset(core_.settled_through());
  stats->set_depth_messages(backlog.messages);
  stats->set_depth_bytes(backlog.bytes);
  stats->set_resident_messages(window.messages());
  stats->set_resident_bytes(window.footprint_bytes());
  stats->set_disk_messages(core_.disk_messages());
  stats->set_disk_bytes(core_.disk_bytes());
  SetCredit(publishers_.ledger().unspent(), stats->mutable_producer_unspent());
  stats->set_storing_bytes(window.storing_footprint_bytes());
  stats->set_producers(static_cast<uint32_t>(publishers_.size()));
  stats->set_consumers(static_cast<uint32_t>(consumers_.consumers()));
  stats->set_readers(static_cast<uint32_t>(consumers_.readers()));
  stats->set_groups(static_cast<uint32_t>(core_.groups().size()));
  stats->set_published_messages_total(publishers_.totals().published.messages);
  stats->set_published_bytes_total(publishers_.totals().published.bytes);
  stats->set_duplicates_total(publishers_.totals().duplicates);
  stats->set_delivered_messages_total(consumers_.totals().delivered.messages);
  stats->set_delivered_bytes_total(consumers_.totals().delivered.bytes);
  uint64_t settled = 0;
  uint64_t redelivered = 0;
  for (const auto& [name, group] : core_.groups()) {
    settled += group->settled_total();
    redelivered += group->redelivered_total();
  }
  stats->set_settled_messages_total(settled);
  stats->set_redelivered_messages_total(redelivered);
  stats->set_spilled_messages_total(core_.spilled_messages_total());
  stats->set_spilled_bytes_total(core_.spilled_bytes_total());
  stats->set_unspilled_messages_total(core_.unspilled_messages_total());
  stats->set_dropped_messages_total(core_.dropped_total());
  if (backlog.messages > 0) {
    const UnixMillis oldest = core_.appended_at(core_.settled_through());
    if (env_->now.unix_ms > oldest) stats->set_oldest_age_ms(env_->now.unix_ms - oldest);
  }
  const auto [reason, since] = publishers_.reason();
  if (reason != credit::Reason::kNone) {
    stats->set_reason(static_cast<pb::CreditReason>(reason));
    stats->set_reason_age_ms((env_->now.mono - since) / kNanosPerMilli);
  }
}

void LaneActor::Explain(pb::ExplainResponse* out) {
  pb::QueueStats stats;
  Describe(&stats);
  const queue::Tuning& tuning = core_.tuning();
  auto& numbers = *out->mutable_numbers();
  numbers["window_bytes"] = tuning.window_bytes;
  numbers["window_messages"] = tuning.window_messages;
  numbers["resident_bytes"] = stats.resident_bytes();
  numbers["resident_messages"] = stats.resident_messages();
  numbers["producer_unspent_bytes"] = stats.producer_unspent().bytes();
  numbers["producer_unspent_messages"] = stats.producer_unspent().messages();
  numbers["storing_bytes"] = stats.storing_bytes();
  numbers["depth_messages"] = stats.depth_messages();
  numbers["depth_bytes"] = stats.depth_bytes();
  numbers["disk_bytes"] = stats.disk_bytes();
  numbers["disk_quota_bytes"] = tuning.disk_quota_bytes;
  numbers["memory_budget_used_bytes"] = env_->budget->used_bytes();
  numbers["memory_budget_bytes"] = env_->budget->limit_bytes();
  if (waits_for_turn_) {
    numbers["spill_bytes_per_second"] = env_->pace->bytes_per_second(this, env_->now.mono);
  }
  if (failure_) {
    AddStall(absl::StrCat("queue ", name_), pb::STALL_REASON_STORE_FAILED, 0, {}, out);
  }
  pb::ExplainResponse stream;
  publishers_.ForEach([&](const PublisherStream& p) { p.Explain(env_->now.mono, &stream); });
  for (const auto& [name, group] : core_.groups()) ExplainGroup(*group, &stream);
  consumers_.ForEach([&](const ConsumerStream& c) {
    if (c.is_reader()) c.Explain(env_->now.mono, &stream);
  });
  for (pb::Stall& stall : *stream.mutable_stalls()) *out->add_stalls() = std::move(stall);
}

void LaneActor::ExplainGroup(const queue::Group& group, pb::ExplainResponse* out) {
  const uint64_t left = core_.tail() - std::min(group.cursor(), core_.tail());
  if (consumers_.members(&group) == 0) {
    if (left == 0) return;
    const UnixMillis oldest = core_.appended_at(std::max(group.cursor(), core_.head()));
    const MonoNanos age =
        static_cast<MonoNanos>(env_->now.unix_ms - std::min(oldest, env_->now.unix_ms)) *
        kNanosPerMilli;
    AddStall(absl::StrCat("group ", group.name()), pb::STALL_REASON_NO_CONSUMER, age,
             {{"lag_messages", left}, {"parked_messages", group.parked().size()}}, out);
    return;
  }
  consumers_.ForEach([&](const ConsumerStream& consumer) {
    if (consumer.group == &group) consumer.Explain(env_->now.mono, out);
  });
}

}  // namespace spillway::runtime
