// The thread that does what is slow or by the clock: looks at the disk, syncs the
// high-water mark, gives the space of trimmed lanes back.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "broker/storage/commit_thread.h"
#include "broker/storage/disk_watch.h"
#include "broker/storage/entry_table.h"
#include "broker/storage/high_water_mark.h"

namespace spillway::storage {

// Thread-safe.
class Caretaker {
 public:
  struct Options {
    uint64_t reclaim_bytes = 0;
    uint64_t interval_ms = 100;
  };
  Caretaker(Options options, EntryTable& table, CommitThread& commits, HighWaterMark& mark,
            DiskWatch disk);
  ~Caretaker() { Stop(); }
  void Stop();
  // About `bytes` of the lane below `upto` were trimmed.
  void Trimmed(LaneId lane, Position upto, uint64_t bytes);
  // A memtable became a file. Cheap: for the thread that flushed it.
  void Flushed();

 private:
  void Run();
  // REQUIRES: mu_ is held.
  void Remember(LaneId lane, Position upto);
  // Whether a look may find something, and is due. REQUIRES: mu_ is held.
  bool MayReclaim() const;
  // Of what was trimmed, what lies in files; nothing as long as that is not enough to
  // be worth a compaction. What may yet reach a file is kept for the next look.
  std::map<LaneId, Position> InFiles(const std::map<LaneId, Position>& lanes);
  void Reclaim(const std::map<LaneId, Position>& lanes);

  const Options options_;
  EntryTable& table_;
  CommitThread& commits_;
  HighWaterMark& mark_;
  DiskWatch disk_;
  std::mutex mu_;
  std::condition_variable wake_;
  std::map<LaneId, Position> trimmed_;  // guarded by mu_
  uint64_t trimmed_bytes_ = 0;          // since the last look; guarded by mu_
  bool awaits_flush_ = false;           // some of trimmed_ is not in files yet; guarded by mu_
  bool flushed_ = false;                // since the last look; guarded by mu_
  MonoNanos not_before_ = 0;            // the next look; guarded by mu_
  bool stopping_ = false;               // guarded by mu_
  std::thread thread_;
};

}  // namespace spillway::storage
