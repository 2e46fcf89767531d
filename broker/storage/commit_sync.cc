// Syncs beside the cycles: where somebody waits for no sync, nobody else's holds him up.
#include <algorithm>
#include <utility>

#include "broker/base/thread_name.h"
#include "broker/storage/commit_thread.h"

namespace spillway::storage {

void CommitThread::Fail(std::vector<Op>& ops) {
  for (Op& op : ops) {
    if (op.result == Err::kOk && op.type != OpType::kCall) op.result = Err::kUnknown;
  }
}

// What follows in a lane waits with it, also what needs no sync: completions stay in
// the lane's order. So what came before has to be completed before the other thread can
// take what waits.
void CommitThread::Finish(std::vector<Op>& ops, bool apart) {
  size_t later = 0;
  if (apart || unsynced_ops_.load(std::memory_order_acquire) > 0) {
    const std::lock_guard lock(sync_mu_);
    for (Op& op : ops) {
      if (!op.lane) continue;
      op.later = op.lane->unsynced > 0 || (apart && op.waits_for_sync);
      if (!op.later) continue;
      ++op.lane->unsynced;
      ++later;
    }
    unsynced_ops_ += later;
  }
  // Looked at after the lanes: one that waits for nothing any more may have waited for a
  // sync that failed.
  if (poisoned()) Fail(ops);
  for (Op& op : ops) {
    if (!op.later) Complete(op);
  }
  if (later == 0) return;
  {
    const std::lock_guard lock(sync_mu_);
    std::copy_if(std::move_iterator(ops.begin()), std::move_iterator(ops.end()),
                 std::back_inserter(unsynced_), [](const Op& op) { return op.later; });
  }
  sync_wake_.notify_one();
}

void CommitThread::RunSyncs() {
  NameThread("sync");
  std::vector<Op> ops;
  for (;;) {
    {
      std::unique_lock lock(sync_mu_);
      sync_wake_.wait(lock, [this] { return !unsynced_.empty() || syncs_end_; });
      if (unsynced_.empty()) return;
      ops.swap(unsynced_);
    }
    const bool sync = std::any_of(ops.begin(), ops.end(), [](const Op& op) {
      return op.waits_for_sync && op.result == Err::kOk;
    });
    // All of them were written before this number is read. Once a sync has failed, what
    // needs none fails, too: it may be behind what is not known to be there.
    if (poisoned() || (sync && !SyncNow(table_.latest_sequence()))) Fail(ops);
    for (Op& op : ops) Complete(op);
    {
      const std::lock_guard lock(sync_mu_);
      for (Op& op : ops) --op.lane->unsynced;
      unsynced_ops_ -= ops.size();
    }
    synced_.notify_all();
    ops.clear();
    AfterCycle();
  }
}

void CommitThread::AwaitSyncs() {
  std::unique_lock lock(sync_mu_);
  synced_.wait(lock, [this] { return unsynced_ops_.load() == 0; });
}

void CommitThread::StopSyncs() {
  {
    // A cycle that is under way may hand over more.
    const std::lock_guard cycle(cycle_mu_);
    const std::lock_guard lock(sync_mu_);
    syncs_end_ = true;
  }
  sync_wake_.notify_one();
  if (sync_thread_.joinable()) sync_thread_.join();
}

}  // namespace spillway::storage
