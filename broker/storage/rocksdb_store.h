// The embedded log: every lane of this process in one RocksDB, behind one commit
// thread. docs/on_disk_format.md says what lies in the data folder.
//
// Open refuses a folder rather than serve less than what was acknowledged: see
// OpenErr. Once a write or a sync has failed the store is poisoned: nothing is
// retried, since what the failed one left behind is not known.
//
// Threads: one that commits, a few that read and replay, one that watches the
// disk, and RocksDB's two. Completions of appends run on the first, of reads and
// acquires on the second.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "broker/storage/disk_space.h"
#include "broker/storage/log_store.h"

namespace rocksdb {
class Env;
}

namespace spillway::storage {

enum class OpenErr : uint8_t {
  kNone,
  kInUse,          // another process has the data folder open
  kNewerFormat,    // written by a newer version
  kCorrupt,        // damaged, or less than what was acknowledged
  kCannotCreate,   // no permission, not a folder, or someone else's files are in it
  kNotEnoughDisk,  // recovery needs room
  kFailed,         // anything else; the message says what
};
std::string_view OpenErrName(OpenErr err);

struct RocksDbOptions {
  std::string path;
  // Memory for records before they are flushed; up to twice as much while they are.
  size_t write_buffer_bytes = size_t{128} << 20;
  // Bounds the time of a recovery.
  uint64_t max_total_wal_bytes = uint64_t{256} << 20;
  // What room() starts from.
  size_t max_pending_bytes = size_t{64} << 20;
  size_t max_record_bytes = size_t{16} << 20;
  size_t max_cycle_bytes = size_t{8} << 20;
  int read_threads = 2;
  size_t max_waiting_reads = 1024;
  // For how long the commit thread polls before it sleeps, at most; see IdlePoll.
  MonoNanos longest_poll = 0;
  // How often the high-water mark itself is made durable; a shorter time narrows
  // what a power failure can hide of a log that was cut.
  uint64_t mark_sync_interval_ms = 1000;
  // Trimmed bytes after which space is given back to the file system.
  uint64_t reclaim_bytes = uint64_t{64} << 20;

  // Free disk below which data is refused with kUnavailable; control entries and
  // snapshots are refused at a quarter of it. 0: never.
  uint64_t disk_floor_bytes = uint64_t{128} << 20;
  // A file that holds this much, given up when free space falls below
  // `reserve_release_bytes` so that RocksDB can still flush. 0: none.
  uint64_t reserve_bytes = uint64_t{64} << 20;
  uint64_t reserve_release_bytes = uint64_t{256} << 20;
  uint64_t disk_check_interval_ms = 100;
  // Called on a thread of the store with what was found when a lane is answered
  // with kCorrupt; must not block.
  std::function<void(std::string)> on_damage;
  // For tests; by default the file system is asked.
  DiskSpaceFn disk_space;
  rocksdb::Env* env = nullptr;
  uint64_t boot = 0;  // which start of the machine this is; 0: the kernel is asked
};

// Thread-safe. REQUIRES: owners are destroyed before the store.
class RocksDbStore final : public LogStore {
 public:
  struct Opened {
    std::unique_ptr<RocksDbStore> store;  // null: `err` and `message` say why
    OpenErr err = OpenErr::kNone;
    std::string message;
  };
  static Opened Open(RocksDbOptions options);
  // Commits what is pending, then closes. What comes meanwhile is kUnavailable.
  ~RocksDbStore() override;

  Capabilities capabilities() const override;
  void Acquire(LaneId lane, Replay replay, Acquired done) override;
  void Read(LaneId lane, Position from, size_t max_bytes, ReadDone done) override;
  void Watch(std::function<void(LaneId, bool)> f) override;
  void Remove(LaneId lane, Completion done) override;
  void BeginRound() override;
  void EndRound(bool may_wait) override;
  StoreStats stats() const override;
  void OnPoisoned(std::function<void(std::string)> f) override;

 private:
  class Core;
  explicit RocksDbStore(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

}  // namespace spillway::storage
