#include "broker/storage/commit_thread.h"

#include <algorithm>
#include <iterator>

#include "broker/base/clock.h"
#include "broker/base/thread_name.h"

namespace spillway::storage {
namespace {

// What an accepted operation costs beside its body.
constexpr size_t kOpOverheadBytes = 128;
constexpr size_t kMaxOpsPerCycle = 8192;
// What a lane may have of a cycle. A cycle ends when all of it is written, so where
// several lanes wait, none may make it long: a little more where each cycle costs a
// sync. One lane alone may find company while its cycle runs; only syncs make it worth
// waiting for.
constexpr size_t kShareBytes = size_t{256} << 10;
constexpr size_t kSyncedShareBytes = size_t{1} << 20;
constexpr size_t kAloneBytes = size_t{1} << 20;
// What a thread with something else to do commits by itself: what a write to the page
// cache takes as long for as waking another thread. A sync only if the last one was
// quick.
constexpr size_t kLittleBytes = size_t{32} << 10;
constexpr size_t kLittleOps = 16;
constexpr MonoNanos kQuickSync = kNanosPerMilli;
// Syncs are beside the cycles for so long after records that need none.
constexpr MonoNanos kApartFor = 1'000 * kNanosPerMilli;

}  // namespace

CommitThread::CommitThread(EntryTable& table, Epoch last_epoch, Options options, Hooks hooks)
    : table_(table),
      options_(options),
      hooks_(std::move(hooks)),
      last_epoch_(last_epoch),
      idle_poll_(options_.longest_poll) {
  sync_thread_ = std::thread([this] { RunSyncs(); });
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
  StopSyncs();
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
  {
    std::unique_lock lock(mu_);
    if (!ended_) {
      const bool first = queue_.empty();
      queue_.push_back(std::move(op));
      lock.unlock();  // or the thread would wake up to wait for it
      if (first) WakeAfterRound();
      return true;
    }
  }
  if (op.type == OpType::kAppend) return false;
  op.result = Err::kUnavailable;
  Complete(op);
  return true;
}

// Either this sees no round, or the end of the last one sees what this notes.
void CommitThread::WakeAfterRound() {
  unwoken_.store(true);
  if (rounds_.load() == 0 && unwoken_.exchange(false)) Wake();
}

void CommitThread::EndRound(bool may_wait) {
  rounds_.fetch_sub(1);
  if (!unwoken_.load() || !unwoken_.exchange(false)) return;
  if (!may_wait || !CycleHere()) Wake();
}

bool CommitThread::Little() const {
  if (queue_.size() > kLittleOps || stopping_ || left_) return false;
  size_t bytes = 0;
  bool sync = false;
  for (const Op& op : queue_) {
    if (op.type != OpType::kAppend && op.type != OpType::kTrim) return false;
    bytes += op.charge;
    sync = sync || (op.type == OpType::kAppend && op.level == Level::kFsync);
  }
  return bytes <= kLittleBytes &&
         (!sync || last_sync_took_.load(std::memory_order_relaxed) < kQuickSync);
}

bool CommitThread::CycleHere() {
  const std::unique_lock cycle(cycle_mu_, std::try_to_lock);
  if (!cycle || table_.stalled()) return false;
  {
    const std::lock_guard lock(mu_);
    if (!Little()) return false;
    pending_.swap(queue_);
  }
  Cycle();
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
  NameThread("commit");
  while (Wait()) {
    {
      const std::lock_guard cycle(cycle_mu_);
      Take();
      Cycle();
    }
    AfterCycle();
  }
}

bool CommitThread::Wait() {
  const bool idle = !roused_.load(std::memory_order_acquire);
  const MonoNanos idle_since = SteadyNanos();
  while (!roused_.load(std::memory_order_acquire) &&
         SteadyNanos() - idle_since < idle_poll_.span()) {
    idle_poll_.Yield();
  }
  {
    std::unique_lock lock(mu_);
    const auto roused = [this] { return left_ || !queue_.empty() || attention_ || stopping_; };
    for (wake_.wait(lock, roused); stopping_ && !left_ && queue_.empty();) {
      // What completes inline after the end comes after all that was accepted before.
      if (unsynced_ops_.load() == 0) {
        ended_ = true;
        return false;
      }
      lock.unlock();
      AwaitSyncs();
      lock.lock();
    }
    roused_.store(false, std::memory_order_relaxed);
    attention_ = false;
  }
  if (idle) {
    const MonoNanos now = SteadyNanos();
    idle_poll_.Waited(now - idle_since, now);
  }
  return true;
}

void CommitThread::Take() {
  const std::lock_guard lock(mu_);
  if (pending_.empty()) {
    pending_.swap(queue_);
  } else {
    std::move(queue_.begin(), queue_.end(), std::back_inserter(pending_));
    queue_.clear();
  }
}

// A lane's operations stay in order: once one of them has to wait, so do all that
// follow, because what the lane has in this cycle does not get less, nor does a full
// cycle get room. Who had nothing of this cycle is first in the next.
void CommitThread::Choose() {
  const LaneState* lane = nullptr;
  bool several = false;
  bool sync = false;
  for (const Op& op : pending_) {
    if (op.lane && lane == nullptr) lane = op.lane.get();
    several = several || (op.lane && op.lane.get() != lane);
    sync = sync || (op.type == OpType::kAppend && op.level == Level::kFsync);
  }
  size_t share = options_.max_cycle_bytes;
  if (several) {
    share = sync ? kSyncedShareBytes : kShareBytes;
  } else if (!sync) {
    share = kAloneBytes;
  }
  chosen_.clear();
  waiting_.clear();
  served_.clear();
  size_t bytes = 0;
  bool full = false;
  for (Op& op : pending_) {
    LaneState* of = op.lane.get();
    if (of != nullptr && of->cycle != cycle_) {
      of->cycle = cycle_;
      of->cycle_bytes = 0;
    }
    const bool served = of != nullptr && of->cycle_bytes > 0;
    full = full || chosen_.size() == kMaxOpsPerCycle ||
           (!chosen_.empty() && bytes + op.charge > options_.max_cycle_bytes);
    if (served && (full || of->cycle_bytes >= share)) {
      served_.push_back(std::move(op));
    } else if (full) {
      waiting_.push_back(std::move(op));
    } else {
      bytes += op.charge;
      if (of != nullptr) of->cycle_bytes += op.charge;
      chosen_.push_back(std::move(op));
    }
  }
  std::move(served_.begin(), served_.end(), std::back_inserter(waiting_));
  pending_.swap(waiting_);
  {
    const std::lock_guard lock(mu_);
    left_ = !pending_.empty();
    if (left_) roused_.store(true, std::memory_order_relaxed);
  }
  bytes_since_sweep_ += bytes;
}

void CommitThread::Cycle() {
  ++cycle_;
  Choose();
  std::vector<Op>& ops = chosen_;
  rocksdb::WriteBatch& batch = batch_;
  batch.Clear();  // keeps its memory
  bool sync = false;
  bool records = false;  // for whom no sync is needed
  for (Op& op : ops) {
    if (poisoned()) {
      op.result = op.type == OpType::kCall ? Err::kOk : Err::kUnknown;
      continue;
    }
    Stage(op, batch);
    if (op.waits_for_sync) {
      sync = true;
    } else if (op.type == OpType::kAppend && op.record.kind == Kind::kData) {
      records = true;
    }
  }
  SweepTrimsIfDue(batch);

  const MonoNanos now = SteadyNanos();
  if (records) unsynced_records_at_ = now;
  const bool apart = sync && unsynced_records_at_ != 0 && now - unsynced_records_at_ < kApartFor;
  if (batch.Count() > 0 && !Commit(batch, sync && !apart)) Fail(ops);
  Finish(ops, apart);
  for (auto& tenure : lost_) tenure->Lose(poisoned() ? Err::kUnknown : Err::kFenced);
  lost_.clear();
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
  last_sync_took_.store(now - began, std::memory_order_relaxed);
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
