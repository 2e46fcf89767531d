// Writes. A cycle takes everything that is pending of all lanes, makes it one RocksDB
// batch with one sync, and completes it in order. One thread runs cycles as long as
// anything is pending: commit when idle, batch when busy, no timer.
//
// A little that is pending alone is committed by the thread that appended it, at the
// end of its round: two threads that wake each other cost more than the write.
//
// Appends that ask for kProcess do not wait for a sync, unless an earlier entry of their
// lane does. Where there are such, of records, syncs run on a thread of their own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "broker/base/histogram.h"
#include "broker/base/idle_poll.h"
#include "broker/storage/entry_table.h"
#include "broker/storage/lane_state.h"
#include "broker/storage/log_store.h"

namespace spillway::storage {

// Thread-safe, but for what Tenure's owner calls: that is one thread's per lane.
class CommitThread {
 public:
  struct Options {
    size_t max_pending_bytes = size_t{64} << 20;
    size_t max_cycle_bytes = size_t{8} << 20;
    size_t max_record_bytes = size_t{16} << 20;
    size_t write_buffer_bytes = size_t{128} << 20;
    MonoNanos longest_poll = 0;  // before the thread sleeps; see IdlePoll
  };
  // What a cycle tells; all are called by who runs it, and must not block.
  struct Hooks {
    // `sequence` is written, is durable. False: that could not be noted; promise no more.
    std::function<bool(uint64_t sequence)> on_written;
    std::function<bool(uint64_t sequence)> on_synced;
    // About so many bytes below `upto` were trimmed.
    std::function<void(LaneId, Position upto, uint64_t bytes)> on_trimmed;
  };
  using Fenced = std::function<void(Err, std::shared_ptr<Tenure>, Position fence)>;

  CommitThread(EntryTable& table, Epoch last_epoch, Options options, Hooks hooks);
  // Stops if it was not stopped.
  ~CommitThread();
  // Commits what is pending and ends the thread; what comes after is
  // kUnavailable.
  void Stop();

  // REQUIRES (of all five): the lane is loaded. `done` is called by who runs the cycle.
  Err Append(const std::shared_ptr<Tenure>& tenure, const Record& record, Level level,
             Completion done);
  void Barrier(const std::shared_ptr<Tenure>& tenure, Completion done);
  void Trim(const std::shared_ptr<Tenure>& tenure, Position upto, Completion done);
  void Fence(std::shared_ptr<LaneState> lane, Fenced done);
  void Remove(std::shared_ptr<LaneState> lane, Completion done);
  // Deletes what was trimmed and not deleted yet.
  void Sweep(Completion done);
  // Runs `f` on the thread; inline once it has ended.
  void Call(std::function<void()> f);
  // See LogStore. Any number of threads.
  void BeginRound() { rounds_.fetch_add(1); }
  void EndRound(bool may_wait);

  size_t room() const;
  void OnDrain(std::function<void()> f);
  // Refuses data (and at `urgent` everything but trims) until called again.
  enum class DiskState : uint8_t { kEnough, kLow, kUrgent };
  void SetDisk(DiskState state);

  // Fails all that is in flight with kUnknown, and all that comes; for good.
  void Poison(std::string why);
  bool poisoned() const { return poisoned_.load(std::memory_order_acquire); }
  void OnPoisoned(std::function<void(std::string)> f);

  void AddStats(StoreStats& stats) const;

 private:
  enum class OpType : uint8_t { kAppend, kBarrier, kTrim, kFence, kRemove, kSweep, kCall };
  struct Op {
    OpType type = OpType::kCall;
    Level level = Level::kProcess;
    bool waits_for_sync = false;
    bool later = false;  // completed after a sync beside the cycles
    Err result = Err::kOk;
    std::shared_ptr<LaneState> lane;
    std::shared_ptr<Tenure> tenure;  // kFence: the new one
    Record record;
    Position position = 0;  // kTrim: up to where
    size_t charge = 0;
    Completion done;
    Fenced fenced;
    std::function<void()> call;
  };

  bool Push(Op op);
  // After something was put under mu_.
  void Wake();
  // The same, or at the end of the round that is under way.
  void WakeAfterRound();
  void Run();
  // Waits until something is pending. False: the end.
  bool Wait();
  // Adds what has been pushed to what is pending.
  void Take();
  // Whether what has been pushed is so little that a thread with something else to do may
  // run the cycle for it. REQUIRES: mu_.
  bool Little() const;
  // Runs that cycle on this thread. False: it was not little, or another one is running.
  bool CycleHere();
  // Takes from what is pending what the next cycle writes: in order, but no more of a
  // lane than its share, so that nobody waits behind all that another one has.
  void Choose();
  void Cycle();
  void Stage(Op& op, rocksdb::WriteBatch& batch);
  void StageAppend(Op& op, rocksdb::WriteBatch& batch);
  void StageTrim(Op& op, rocksdb::WriteBatch& batch);
  void StageFence(Op& op, rocksdb::WriteBatch& batch);
  void StageRemove(Op& op, rocksdb::WriteBatch& batch);
  void QueueTrim(const std::shared_ptr<LaneState>& lane);
  void DeleteTrimmed(LaneState& lane, rocksdb::WriteBatch& batch);
  void SweepTrims(rocksdb::WriteBatch& batch);
  void SweepTrimsIfDue(rocksdb::WriteBatch& batch);
  void PutLane(LaneState& lane, rocksdb::WriteBatch& batch);
  // Completes what a cycle has written. `apart`: what waits for a sync is left for the
  // thread of the syncs, and with it what follows in those lanes.
  void Finish(std::vector<Op>& ops, bool apart);
  void Complete(Op& op);
  static void Fail(std::vector<Op>& ops);
  void RunSyncs();
  // Until no sync is under way or asked for.
  void AwaitSyncs();
  void StopSyncs();
  bool Commit(rocksdb::WriteBatch& batch, bool sync);
  bool SyncNow(uint64_t sequence);
  void Synced(MonoNanos began);
  bool Note(bool ok);
  void AfterCycle();

  EntryTable& table_;
  const Options options_;
  const Hooks hooks_;

  std::atomic<size_t> pending_bytes_{0};
  std::atomic<DiskState> disk_{DiskState::kEnough};
  std::atomic<bool> poisoned_{false};
  std::atomic<uint64_t> commits_{0}, syncs_{0}, appended_bytes_{0};
  std::atomic<MonoNanos> last_sync_nanos_{0}, last_sync_took_{0};
  mutable std::mutex histograms_mu_;
  Histogram sync_seconds_{kSecondsBounds};  // guarded by histograms_mu_
  Histogram commit_records_{kCountBounds};  // guarded by histograms_mu_

  std::atomic<int> rounds_{0};
  std::atomic<bool> unwoken_{false};  // something was pushed in a round, and the thread not woken
  std::atomic<bool> roused_{false};   // there is something under mu_, or there was
  mutable std::mutex mu_;
  std::condition_variable wake_;
  std::vector<Op> queue_;                                         // guarded by mu_
  std::vector<std::function<void()>> drain_waiters_;              // guarded by mu_
  std::vector<std::function<void(std::string)>> poison_waiters_;  // guarded by mu_
  std::string poison_reason_;                                     // guarded by mu_
  bool attention_ = false;  // guarded by mu_; waiters or the poison need a look
  bool stopping_ = false;   // guarded by mu_
  bool left_ = false;       // guarded by mu_; a cycle has left something in pending_
  bool ended_ = false;      // guarded by mu_; the thread takes nothing more

  // Taken before mu_, if both. Whoever runs a cycle holds it; what follows is theirs.
  std::mutex cycle_mu_;
  std::vector<Op> pending_;  // taken from queue_
  std::vector<Op> chosen_;   // of this cycle
  std::vector<Op> waiting_;  // for another one: of lanes that had nothing of this one,
  std::vector<Op> served_;   // and of those that had
  rocksdb::WriteBatch batch_;
  Epoch last_epoch_;
  IdlePoll idle_poll_;
  uint64_t cycle_ = 0;
  uint64_t bytes_since_sweep_ = 0;
  std::vector<std::shared_ptr<LaneState>> trim_queue_;
  std::vector<std::shared_ptr<Tenure>> lost_;  // by this cycle's fences
  // When records were last written for whom no sync is needed.
  MonoNanos unsynced_records_at_ = 0;

  // Taken after cycle_mu_, if both; never together with mu_.
  std::mutex sync_mu_;
  std::condition_variable sync_wake_, synced_;
  std::vector<Op> unsynced_;              // guarded by sync_mu_
  bool syncs_end_ = false;                // guarded by sync_mu_
  std::atomic<size_t> unsynced_ops_ = 0;  // in unsynced_ or on the way there or from there

  std::thread thread_, sync_thread_;
};

}  // namespace spillway::storage
