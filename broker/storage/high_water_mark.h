// A small file that says how far the log must reach, so that a log that was cut is
// told from one whose tail was torn: RocksDB opens both without a word.
//
// It is written after every commit, and is itself made durable about once a
// second: after a kill it is exact, after a power failure at most that much
// behind, and never ahead of what was synced. Two slots in turn, each within one
// sector.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "broker/base/types.h"
#include "broker/storage/file_util.h"

namespace spillway::storage {

struct Mark {
  // RocksDB's number of the last write that was synced. 0: nothing yet.
  uint64_t sequence = 0;
  // ... that was written; it must be there as long as the machine was not started
  // anew, since a kill leaves the page cache.
  uint64_t written = 0;
  // Which start of the machine that was. 0: not known.
  uint64_t boot = 0;
  // The start of the MANIFEST that was durable: its file number, how long, and
  // its checksum. RocksDB takes a MANIFEST that was cut for an older one.
  uint64_t manifest_number = 0;
  uint64_t manifest_bytes = 0;
  uint32_t manifest_crc = 0;
};

// Thread-safe.
class HighWaterMark {
 public:
  // Makes the file with an empty mark. Null with errno set.
  static std::unique_ptr<HighWaterMark> Create(const std::string& folder, MonoNanos sync_interval);
  // Null if the file is not there or neither slot is whole.
  static std::unique_ptr<HighWaterMark> Open(const std::string& folder, MonoNanos sync_interval);
  static constexpr const char* kFileName = "mark";

  Mark mark() const;
  // `sequence` is written (durable). False with errno set: then promise no more. That
  // of the mark itself is left for SyncIfDue: neither waits for the disk.
  bool Written(uint64_t sequence);
  bool Synced(uint64_t sequence);
  // What recovery found is the new start: durable, and of this start of the
  // machine. To be followed by SetManifest.
  void Recovered(uint64_t sequence, uint64_t boot);
  bool SetManifest(uint64_t number, uint64_t bytes, uint32_t crc);
  // Makes durable what was left for later; the others go on meanwhile.
  bool SyncIfDue(MonoNanos now);
  bool Sync();

 private:
  HighWaterMark(Fd fd, MonoNanos sync_interval)
      : fd_(std::move(fd)), sync_interval_(sync_interval) {}
  bool WriteLocked();

  const Fd fd_;
  const MonoNanos sync_interval_;
  mutable std::mutex mu_;
  Mark mark_;                // guarded by mu_
  uint64_t generation_ = 0;  // guarded by mu_
  MonoNanos synced_at_ = 0;  // guarded by mu_
  bool dirty_ = false;       // guarded by mu_
};

// A number for this start of the machine, 0 if it does not say.
uint64_t CurrentBoot();

}  // namespace spillway::storage
