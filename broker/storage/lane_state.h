// What the embedded store knows of a lane, and of one ownership of it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "broker/storage/entry_format.h"

namespace spillway::storage {

struct LaneState;

// One ownership of a lane, from its fence to the next one.
struct Tenure {
  Tenure(std::shared_ptr<LaneState> l, Epoch e) : lane(std::move(l)), epoch(e) {}
  const std::shared_ptr<LaneState> lane;
  const Epoch epoch;
  // The first failure; sticks. Set by the commit thread.
  std::atomic<Err> error{Err::kOk};

  // Ends the tenure and calls what waits for it. First call only.
  void Lose(Err why) {
    Err none = Err::kOk;
    error.compare_exchange_strong(none, why);
    std::function<void()> f;
    {
      std::lock_guard lock(mu);
      if (std::exchange(lost, true)) return;
      f = std::exchange(on_lost, nullptr);
    }
    if (f) f();
  }

  std::mutex mu;
  bool lost = false;              // guarded by mu
  std::function<void()> on_lost;  // guarded by mu
};

struct Fence {
  Position position = 0;
  Epoch epoch = 0;
};

// Invariants: record.trimmed <= next; fences rise in position and in epoch; every
// position given out is < next.
struct LaneState {
  explicit LaneState(LaneId lane) : id(lane) {}
  const LaneId id;

  // Entries up to here may be read: their appends have completed.
  std::atomic<Position> visible{0};

  // Written by the commit thread (by the loader before `loaded`), read by the
  // readers.
  std::mutex mu;
  bool loaded = false;        // guarded by mu
  LaneRecord record;          // guarded by mu
  std::vector<Fence> fences;  // guarded by mu

  // The commit thread's own, after loading.
  Position next = 1;
  Position last_data = 0;
  Position last_control = 0;
  Position deleted_data = 0;  // range deletions reach up to here
  Position deleted_control = 0;
  Position reclaimed = 0;  // the reclaimer was told of what is below
  bool trim_queued = false;
  uint64_t appended_entries = 0;  // in this process; for the mean size
  uint64_t appended_bytes = 0;
  uint64_t cycle = 0;      // the last one that had something of the lane
  size_t cycle_bytes = 0;  // and how much
  std::shared_ptr<Tenure> owner;

  // Of CommitThread: operations that wait for a sync beside its cycles, or for one that
  // does. Guarded by its sync_mu_.
  size_t unsynced = 0;
};

}  // namespace spillway::storage
