// What each operation of a cycle puts into its batch.
#include <algorithm>
#include <utility>

#include "broker/storage/commit_thread.h"

namespace spillway::storage {
namespace {

// A range deletion is written when this share of the write buffer can go: often
// enough that what drains is gone before its memtable is flushed, and few enough
// that readers do not wade through tombstones.
constexpr size_t kTrimShare = 16;
constexpr uint64_t kTrimEntries = 4096;

// A guess at an entry of a lane that this process has not written to.
constexpr uint64_t kGuessedEntryBytes = 16 << 10;

uint64_t MeanEntryBytes(const LaneState& lane) {
  return lane.appended_entries == 0 ? kGuessedEntryBytes
                                    : lane.appended_bytes / lane.appended_entries;
}

void DropFencesBelow(std::vector<Fence>& fences, Position floor, EntryTable& table, LaneId lane,
                     rocksdb::WriteBatch& batch) {
  // The highest fence below the floor still decides about what is above it.
  size_t keep = 0;
  while (keep + 1 < fences.size() && fences[keep + 1].position <= floor) ++keep;
  for (size_t i = 0; i < keep; ++i) table.DeleteMeta(batch, FenceKey(lane, fences[i].position));
  fences.erase(fences.begin(), fences.begin() + static_cast<ptrdiff_t>(keep));
}

}  // namespace

void CommitThread::Stage(Op& op, rocksdb::WriteBatch& batch) {
  if (op.tenure) {
    op.result = op.tenure->error.load(std::memory_order_relaxed);
    if (op.result != Err::kOk) return;
  }
  switch (op.type) {
    case OpType::kAppend:
      return StageAppend(op, batch);
    case OpType::kTrim:
      return StageTrim(op, batch);
    case OpType::kFence:
      return StageFence(op, batch);
    case OpType::kRemove:
      return StageRemove(op, batch);
    case OpType::kSweep:
      return SweepTrims(batch);
    case OpType::kBarrier:
    case OpType::kCall:
      return;
  }
}

void CommitThread::StageAppend(Op& op, rocksdb::WriteBatch& batch) {
  LaneState& lane = *op.lane;
  op.position = lane.next++;
  Position& last = op.record.kind == Kind::kData ? lane.last_data : lane.last_control;
  const EntryKey key(lane.id, op.position);
  const EncodedHeader header = EncodeHeader(key,
                                            {.kind = op.record.kind,
                                             .epoch = op.tenure->epoch,
                                             .previous = last,
                                             .base_offset = op.record.base_offset,
                                             .count = op.record.count},
                                            op.record);
  table_.Put(batch, key, header, op.record);
  last = op.position;
  if (op.record.kind == Kind::kData) {
    ++lane.appended_entries;
    lane.appended_bytes += op.charge;
  }
  if (op.record.kind == Kind::kSnapshot) {
    std::lock_guard lock(lane.mu);
    lane.record.snapshot = op.position;
    PutLane(lane, batch);
  }
  appended_bytes_.fetch_add(op.record.body_bytes(), std::memory_order_relaxed);
  op.waits_for_sync = op.level == Level::kFsync;
}

// REQUIRES: lane.mu is held.
void CommitThread::PutLane(LaneState& lane, rocksdb::WriteBatch& batch) {
  table_.PutMeta(batch, LaneKey(lane.id), EncodeLaneRecord(lane.record));
}

void CommitThread::StageTrim(Op& op, rocksdb::WriteBatch& batch) {
  LaneState& lane = *op.lane;
  const Position upto = std::min(op.position, lane.next);
  {
    std::lock_guard lock(lane.mu);
    if (upto <= lane.record.trimmed) return;
    // Before the deletion can be seen: a reader that misses entries looks here.
    lane.record.trimmed = upto;
    if (lane.record.snapshot > 0) {
      DropFencesBelow(lane.fences, std::min(upto, lane.record.snapshot), table_, lane.id, batch);
    }
    PutLane(lane, batch);
  }
  const uint64_t mean = MeanEntryBytes(lane);
  const uint64_t entries = upto - lane.deleted_data;
  if (entries >= kTrimEntries || entries * mean >= options_.write_buffer_bytes / kTrimShare) {
    DeleteTrimmed(lane, batch);
  } else {
    QueueTrim(op.lane);
  }
  if (hooks_.on_trimmed) hooks_.on_trimmed(lane.id, upto, (upto - lane.reclaimed) * mean);
  lane.reclaimed = upto;
}

void CommitThread::QueueTrim(const std::shared_ptr<LaneState>& lane) {
  if (std::exchange(lane->trim_queued, true)) return;
  trim_queue_.push_back(lane);
}

void CommitThread::DeleteTrimmed(LaneState& lane, rocksdb::WriteBatch& batch) {
  Position data, control;
  {
    std::lock_guard lock(lane.mu);
    data = lane.record.trimmed;
    control = std::min(lane.record.trimmed, lane.record.snapshot);
  }
  // Disjoint ranges, aimed at the memtable that is being filled.
  table_.Delete(batch, Family::kData, lane.id, lane.deleted_data, data);
  table_.Delete(batch, Family::kControl, lane.id, lane.deleted_control, control);
  lane.deleted_data = std::max(lane.deleted_data, data);
  lane.deleted_control = std::max(lane.deleted_control, control);
}

void CommitThread::SweepTrimsIfDue(rocksdb::WriteBatch& batch) {
  if (bytes_since_sweep_ >= options_.write_buffer_bytes / kTrimShare) SweepTrims(batch);
}

void CommitThread::SweepTrims(rocksdb::WriteBatch& batch) {
  bytes_since_sweep_ = 0;
  for (auto& lane : trim_queue_) {
    lane->trim_queued = false;
    DeleteTrimmed(*lane, batch);
  }
  trim_queue_.clear();
}

void CommitThread::StageFence(Op& op, rocksdb::WriteBatch& batch) {
  LaneState& lane = *op.lane;
  op.waits_for_sync = true;
  op.position = lane.next++;
  op.tenure = std::make_shared<Tenure>(op.lane, ++last_epoch_);
  {
    std::lock_guard lock(lane.mu);
    lane.record.fence_epoch = op.tenure->epoch;
    lane.record.fence_position = op.position;
    lane.fences.push_back({op.position, op.tenure->epoch});
    PutLane(lane, batch);
  }
  table_.PutMeta(batch, EpochKey(), EncodeEpoch(last_epoch_));
  table_.PutMeta(batch, FenceKey(lane.id, op.position), EncodeEpoch(op.tenure->epoch));
  if (lane.owner) {
    // From here on in this very batch the old owner's entries are refused.
    lane.owner->error.store(Err::kFenced, std::memory_order_release);
    lost_.push_back(lane.owner);
  }
  lane.owner = op.tenure;
  // What the last process trimmed may not be deleted yet.
  if (lane.deleted_data < lane.record.trimmed) QueueTrim(op.lane);
}

void CommitThread::StageRemove(Op& op, rocksdb::WriteBatch& batch) {
  LaneState& lane = *op.lane;
  op.waits_for_sync = true;
  if (lane.owner) {
    lane.owner->error.store(Err::kFenced, std::memory_order_release);
    lost_.push_back(std::exchange(lane.owner, nullptr));
  }
  table_.Delete(batch, Family::kData, lane.id, 0, lane.next);
  table_.Delete(batch, Family::kControl, lane.id, 0, lane.next);
  table_.DeleteMeta(batch, LaneKey(lane.id));
  if (hooks_.on_trimmed) {
    hooks_.on_trimmed(lane.id, lane.next, (lane.next - lane.reclaimed) * MeanEntryBytes(lane));
  }
  std::lock_guard lock(lane.mu);
  for (const auto& fence : lane.fences) {
    table_.DeleteMeta(batch, FenceKey(lane.id, fence.position));
  }
  lane.fences.clear();
  lane.record = {};
  lane.next = 1;
  lane.last_data = lane.last_control = 0;
  lane.deleted_data = lane.deleted_control = lane.reclaimed = 0;
}

}  // namespace spillway::storage
