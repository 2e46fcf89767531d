// The log in memory, by the same contract: for tests, for queues that need no
// disk, and for simulation.
//
// In the manual mode nothing runs by itself: what was asked for waits until
// RunOne or RunAll, on the caller's thread, so that a simulator decides when the
// disk is done. In the threaded mode a thread of the store does it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "broker/base/random.h"
#include "broker/storage/log_store.h"
#include "broker/storage/memory_image.h"

namespace spillway::storage {

struct MemoryOptions {
  bool manual = true;
  size_t max_pending_bytes = size_t{64} << 20;
  size_t max_record_bytes = size_t{16} << 20;
  // Manual: 0 runs what waits in the order of arrival; any other number lets the
  // lanes overtake each other by chance, repeatably.
  uint64_t seed = 0;
};

// Thread-safe in the threaded mode; in the manual mode one thread at a time.
// REQUIRES: owners are destroyed before the store.
class MemoryStore final : public LogStore {
 public:
  explicit MemoryStore(MemoryOptions options = {});
  // Threaded: finishes what waits. Manual: drops it uncalled, as a crash would.
  ~MemoryStore() override;

  // Manual mode: does the next waiting thing and calls what it completes. False
  // if nothing waited.
  bool RunOne();
  // Until nothing waits; returns how many there were.
  size_t RunAll();
  size_t waiting() const;

  // What a new process would find after this one was killed (kProcess), or after
  // the machine lost its power (kFsync): then what was written and not synced
  // is gone, but for the first `unsynced_kept` writes, which had reached the disk
  // by chance. Entries that wait and were not run are gone in both.
  std::unique_ptr<MemoryStore> CrashClone(Level level, size_t unsynced_kept = 0) const;
  // Writes that a power failure may take.
  size_t unsynced() const;

  // What EndRound was told after the last append.
  bool may_wait() const { return may_wait_; }

  // From here on everything fails, as after a failed sync.
  void Poison(std::string why);

  Capabilities capabilities() const override;
  void Acquire(LaneId lane, Replay replay, Acquired done) override;
  void Read(LaneId lane, Position from, size_t max_bytes, ReadDone done) override;
  void Watch(std::function<void(LaneId, bool)> f) override;
  void Remove(LaneId lane, Completion done) override;
  void EndRound(bool may_wait) override {
    if (appended_.exchange(false)) may_wait_ = may_wait;
  }
  StoreStats stats() const override;
  void OnPoisoned(std::function<void(std::string)> f) override;

 private:
  class OwnerImpl;
  struct Tenure {
    LaneId lane;
    Epoch epoch = 0;
    Err error = Err::kOk;           // guarded by mu_
    std::function<void()> on_lost;  // guarded by mu_
  };
  struct Work {
    LaneId lane;
    std::function<void()> run;
  };

  void Post(LaneId lane, std::function<void()> run);
  void PostLocked(LaneId lane, std::function<void()> run);
  void Write(MemoryChange change, bool sync);
  void LoseLocked(LaneId lane);
  Err Append(const std::shared_ptr<Tenure>& tenure, const Record& record, Level level,
             Completion done);
  void Barrier(const std::shared_ptr<Tenure>& tenure, Completion done);
  void Trim(const std::shared_ptr<Tenure>& tenure, Position upto, Completion done);
  void OnLost(const std::shared_ptr<Tenure>& tenure, std::function<void()> f);
  void OnDrain(std::function<void()> f);
  size_t room() const;
  void Drained();

  const MemoryOptions options_;
  mutable std::mutex mu_;
  std::condition_variable wake_;
  // All below are guarded by mu_.
  std::deque<Work> work_;
  MemoryImage live_;                    // what a reader sees
  MemoryImage synced_;                  // what a power failure leaves
  std::vector<MemoryChange> unsynced_;  // from synced_ to live_
  std::map<LaneId, std::shared_ptr<Tenure>> owners_;
  std::vector<std::function<void()>> drain_waiters_;
  std::vector<std::function<void(std::string)>> poison_waiters_;
  std::string poison_reason_;
  bool poisoned_ = false;
  bool stopping_ = false;
  Random random_;
  StoreStats stats_;
  std::thread thread_;
  std::atomic<bool> appended_{false}, may_wait_{false};
};

}  // namespace spillway::storage
