#include "broker/storage/commit_thread.h"

#include <sched.h>

#include <algorithm>

#include "broker/base/clock.h"

namespace spillway::storage {
namespace {

// What an accepted operation costs beside its body.
constexpr size_t kOpOverheadBytes = 128;
// A range deletion is written when this share of the write buffer can go: often
// enough that what drains is gone before its memtable is flushed, and few enough
// that readers do not wade through tombstones.
constexpr size_t kTrimShare = 8;
constexpr uint64_t kTrimEntries = 4096;
constexpr size_t kMaxOpsPerCycle = 8192;

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

CommitThread::CommitThread(EntryTable& table, Epoch last_epoch, Options options, Hooks hooks)
    : table_(table),
      options_(options),
      hooks_(std::move(hooks)),
      last_epoch_(last_epoch),
      idle_poll_(options_.longest_poll) {
  thread_ = std::thread([this] { Run(); });
}

CommitThread::~CommitThread() { Stop(); }

void CommitThread::Stop() {
  {
    std::lock_guard lock(mu_);
    stopping_ = true;
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

size_t CommitThread::room() const {
  if (poisoned() || disk_.load(std::memory_order_relaxed) != DiskState::kEnough) return 0;
  const size_t pending = pending_bytes_.load(std::memory_order_relaxed);
  return pending >= options_.max_pending_bytes ? 0 : options_.max_pending_bytes - pending;
}

Err CommitThread::Append(const std::shared_ptr<Tenure>& tenure, const Record& record, Level level,
                         Completion done) {
  if (level > Level::kFsync || record.kind == Kind::kFence) return Err::kMisconfigured;
  const size_t bytes = record.body_bytes();
  if (bytes > options_.max_record_bytes) return Err::kTooLarge;
  if (poisoned()) return Err::kUnavailable;
  const Err lost = tenure->error.load(std::memory_order_acquire);
  if (lost != Err::kOk) return lost == Err::kFenced ? lost : Err::kUnavailable;
  const DiskState disk = disk_.load(std::memory_order_relaxed);
  // Settling is what frees space: it may go on when no new data may come.
  if (disk == DiskState::kUrgent || (disk == DiskState::kLow && record.kind == Kind::kData)) {
    return Err::kUnavailable;
  }
  const size_t charge = bytes + kOpOverheadBytes;
  const size_t pending = pending_bytes_.fetch_add(charge, std::memory_order_relaxed);
  // One is always taken, however large.
  if (pending > 0 && pending + charge > options_.max_pending_bytes) {
    pending_bytes_.fetch_sub(charge, std::memory_order_relaxed);
    return Err::kOverloaded;
  }
  if (!Push({.type = OpType::kAppend,
             .level = level,
             .lane = tenure->lane,
             .tenure = tenure,
             .record = record,
             .charge = charge,
             .done = std::move(done)})) {
    pending_bytes_.fetch_sub(charge, std::memory_order_relaxed);
    return Err::kUnavailable;
  }
  return Err::kOk;
}

void CommitThread::Barrier(const std::shared_ptr<Tenure>& tenure, Completion done) {
  Push({.type = OpType::kBarrier, .lane = tenure->lane, .tenure = tenure, .done = std::move(done)});
}
void CommitThread::Trim(const std::shared_ptr<Tenure>& tenure, Position upto, Completion done) {
  Push({.type = OpType::kTrim,
        .lane = tenure->lane,
        .tenure = tenure,
        .position = upto,
        .done = std::move(done)});
}
void CommitThread::Fence(std::shared_ptr<LaneState> lane, Fenced done) {
  Push({.type = OpType::kFence, .lane = std::move(lane), .fenced = std::move(done)});
}
void CommitThread::Remove(std::shared_ptr<LaneState> lane, Completion done) {
  Push({.type = OpType::kRemove, .lane = std::move(lane), .done = std::move(done)});
}
void CommitThread::Sweep(Completion done) {
  Push({.type = OpType::kSweep, .done = std::move(done)});
}
void CommitThread::Call(std::function<void()> f) {
  Push({.type = OpType::kCall, .call = std::move(f)});
}

// An operation that comes after the thread's end completes inline, but for
// appends, which are refused.
bool CommitThread::Push(Op op) {
  bool taken = false;
  bool first = false;
  {
    std::lock_guard lock(mu_);
    if (!ended_) {
      first = queue_.empty();
      queue_.push_back(std::move(op));
      taken = true;
    }
  }
  if (first) Wake();
  if (taken) return true;
  if (op.type == OpType::kAppend) return false;
  op.result = Err::kUnavailable;
  Complete(op);
  return true;
}

void CommitThread::OnDrain(std::function<void()> f) {
  {
    std::lock_guard lock(mu_);
    if (ended_) return;
    drain_waiters_.push_back(std::move(f));
    attention_ = true;
  }
  Wake();
}

void CommitThread::SetDisk(DiskState state) {
  if (disk_.exchange(state, std::memory_order_relaxed) == state) return;
  {
    std::lock_guard lock(mu_);
    attention_ = true;
  }
  Wake();
}

void CommitThread::Poison(std::string why) {
  {
    std::lock_guard lock(mu_);
    if (poisoned_.load(std::memory_order_relaxed)) return;
    poison_reason_ = std::move(why);
    poisoned_.store(true, std::memory_order_release);
    attention_ = true;
  }
  Wake();
}

void CommitThread::OnPoisoned(std::function<void(std::string)> f) {
  {
    std::lock_guard lock(mu_);
    poison_waiters_.push_back(std::move(f));
    attention_ = true;
  }
  Wake();
}

void CommitThread::AddStats(StoreStats& stats) const {
  stats.commits_total += commits_.load(std::memory_order_relaxed);
  stats.syncs_total += syncs_.load(std::memory_order_relaxed);
  stats.appended_bytes_total += appended_bytes_.load(std::memory_order_relaxed);
  stats.pending_bytes += pending_bytes_.load(std::memory_order_relaxed);
  stats.last_sync_nanos = last_sync_nanos_.load(std::memory_order_relaxed);
  const std::lock_guard lock(histograms_mu_);
  stats.sync_seconds.Add(sync_seconds_);
  stats.commit_records.Add(commit_records_);
}

void CommitThread::Wake() {
  roused_.store(true, std::memory_order_release);
  wake_.notify_one();
}

void CommitThread::Run() {
  std::vector<Op> ops;
  for (;;) {
    ops.clear();
    const MonoNanos idle_since = SteadyNanos();
    while (!roused_.load(std::memory_order_acquire) &&
           SteadyNanos() - idle_since < idle_poll_.span()) {
      sched_yield();  // whoever else wants the core gets it
    }
    {
      std::unique_lock lock(mu_);
      wake_.wait(lock, [this] { return !queue_.empty() || attention_ || stopping_; });
      roused_.store(false, std::memory_order_relaxed);
      attention_ = false;
      ops.swap(queue_);
      if (ops.empty() && stopping_) {
        ended_ = true;
        return;
      }
    }
    idle_poll_.Waited(SteadyNanos() - idle_since);
    for (size_t i = 0; i < ops.size();) i += Cycle(ops, i);
    AfterCycle();
  }
}

size_t CommitThread::Cycle(std::vector<Op>& ops, size_t begin) {
  ++cycle_;
  rocksdb::WriteBatch& batch = batch_;
  batch.Clear();  // keeps its memory
  size_t end = begin;
  size_t bytes = 0;
  bool sync = false;
  bool early = false;  // something need not wait for the sync
  for (; end < ops.size() && end - begin < kMaxOpsPerCycle; ++end) {
    Op& op = ops[end];
    if (end > begin && bytes + op.charge > options_.max_cycle_bytes) break;
    bytes += op.charge;
    if (poisoned()) {
      op.result = op.type == OpType::kCall ? Err::kOk : Err::kUnknown;
      continue;
    }
    Stage(op, batch);
    if (op.waits_for_sync) {
      sync = true;
    } else if (op.type == OpType::kAppend) {
      early = true;
    }
  }
  bytes_since_sweep_ += bytes;
  if (bytes_since_sweep_ >= options_.write_buffer_bytes / kTrimShare) SweepTrims(batch);

  const auto fail = [&] {
    for (size_t i = begin; i < end; ++i) {
      if (ops[i].result == Err::kOk && ops[i].type != OpType::kCall) {
        ops[i].result = Err::kUnknown;
      }
    }
  };
  const bool two_steps = sync && early;
  if (batch.Count() > 0 && !Commit(batch, sync && !two_steps)) {
    fail();
  } else if (two_steps) {
    const uint64_t sequence = table_.latest_sequence();
    for (size_t i = begin; i < end; ++i) {
      Op& op = ops[i];
      if (!op.waits_for_sync && (!op.lane || op.lane->waiting_cycle != cycle_)) {
        Complete(op);
        op.done = nullptr;
        op.type = OpType::kCall;
      }
    }
    if (!SyncNow(sequence)) fail();
  }
  for (size_t i = begin; i < end; ++i) Complete(ops[i]);
  for (auto& tenure : lost_) tenure->Lose(poisoned() ? Err::kUnknown : Err::kFenced);
  lost_.clear();
  return end - begin;
}

bool CommitThread::Commit(rocksdb::WriteBatch& batch, bool sync) {
  commits_.fetch_add(1, std::memory_order_relaxed);
  const MonoNanos began = sync ? SteadyNanos() : 0;
  {
    const std::lock_guard lock(histograms_mu_);
    commit_records_.Add(batch.Count());
  }
  const rocksdb::Status s = table_.Write(batch, sync);
  if (!s.ok()) {
    Poison("write failed: " + s.ToString());
    return false;
  }
  const uint64_t sequence = table_.latest_sequence();
  if (!sync) return Note(hooks_.on_written(sequence));
  Synced(began);
  return Note(hooks_.on_synced(sequence));
}

void CommitThread::Synced(MonoNanos began) {
  const MonoNanos now = SteadyNanos();
  syncs_.fetch_add(1, std::memory_order_relaxed);
  last_sync_nanos_.store(now, std::memory_order_relaxed);
  const std::lock_guard lock(histograms_mu_);
  sync_seconds_.Add(static_cast<double>(now - began) / 1e9);
}

bool CommitThread::SyncNow(uint64_t sequence) {
  const MonoNanos began = SteadyNanos();
  const rocksdb::Status s = table_.Sync();
  if (!s.ok()) {
    Poison("sync failed: " + s.ToString());
    return false;
  }
  Synced(began);
  return Note(hooks_.on_synced(sequence));
}

// The mark is a promise that recovery relies on: without it, no more are made.
bool CommitThread::Note(bool ok) {
  if (!ok) Poison("the high-water mark could not be written");
  return ok;
}

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
  if (op.level == Level::kFsync) {
    op.waits_for_sync = true;
    lane.waiting_cycle = cycle_;
  }
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
  lane.waiting_cycle = cycle_;
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
  lane.waiting_cycle = cycle_;
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

void CommitThread::Complete(Op& op) {
  switch (op.type) {
    case OpType::kCall:
      if (op.call) op.call();
      op.call = nullptr;
      return;
    case OpType::kFence:
      if (op.result == Err::kOk) {
        op.lane->visible.store(op.position, std::memory_order_release);
      }
      op.fenced(op.result, op.result == Err::kOk ? op.tenure : nullptr, op.position);
      return;
    case OpType::kAppend:
      pending_bytes_.fetch_sub(op.charge, std::memory_order_relaxed);
      if (op.result == Err::kOk) {
        op.lane->visible.store(op.position, std::memory_order_release);
      } else {
        Err none = Err::kOk;
        op.tenure->error.compare_exchange_strong(none, op.result);
        op.position = 0;
      }
      break;
    case OpType::kRemove:
      if (op.result == Err::kOk) op.lane->visible.store(0, std::memory_order_release);
      break;
    case OpType::kBarrier:
    case OpType::kTrim:
    case OpType::kSweep:
      break;
  }
  op.record = {};  // lets go of the bytes before the rest of the cycle is done
  if (op.done) op.done(op.result, op.position);
  op.done = nullptr;
}

void CommitThread::AfterCycle() {
  std::vector<std::function<void()>> drained;
  std::vector<std::function<void(std::string)>> told;
  std::string why;
  {
    std::lock_guard lock(mu_);
    if (room() >= options_.max_pending_bytes / 2) drained.swap(drain_waiters_);
    if (poisoned()) {
      told.swap(poison_waiters_);
      why = poison_reason_;
    }
  }
  for (auto& f : drained) f();
  for (auto& f : told) f(why);
}

}  // namespace spillway::storage
