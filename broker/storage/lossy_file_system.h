// A file system for tests of RocksDB: it knows what was synced, can leave the rest
// out of a copy as a power failure does, and can fail.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>

#include <rocksdb/file_system.h>

#include "broker/base/random.h"

namespace spillway::storage {

// Thread-safe.
class LossyFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  LossyFileSystem() : rocksdb::FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "LossyFileSystem"; }

  // Copies the folder `from` to `to` as a power failure now would leave it: of each
  // file what was synced, and with `torn` some of what followed, the last bytes of
  // it perhaps wrong.
  void CopyAfterPowerFailure(const std::string& from, const std::string& to, Random* torn);

  // The n-th sync (append) of a write-ahead log from now fails, and all after it.
  // 0: none does.
  void FailLogSync(int nth) { fail_sync_in_ = nth; }
  void FailLogAppend(int nth) { fail_append_in_ = nth; }
  int failures() const { return failures_; }
  // Each sync of a write-ahead log takes at least so long.
  void DelayLogSyncs(std::chrono::nanoseconds delay) { sync_delay_ = delay; }
  // While they are held, a sync of a write-ahead log waits.
  void HoldLogSyncs(bool held) {
    syncs_held_ = held;
    syncs_held_.notify_all();
  }
  // How many were begun.
  int log_syncs() const { return log_syncs_; }
  // While they are held, what writes a table waits: a flush does not end.
  void HoldTables(bool held) {
    tables_held_ = held;
    tables_held_.notify_all();
  }
  // How many were written to their end.
  int tables() const { return tables_; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  class File;
  struct Progress {
    uint64_t written = 0;
    uint64_t synced = 0;
  };
  // Whether the call that counts down in `in` fails.
  bool Fails(std::atomic<int>& in);

  std::shared_mutex copying_;  // before mu_; held by all that change a file
  std::mutex mu_;
  std::map<std::string, std::shared_ptr<Progress>> files_;  // guarded by mu_
  std::atomic<int> fail_sync_in_{0};
  std::atomic<int> fail_append_in_{0};
  std::atomic<int> failures_{0};
  std::atomic<std::chrono::nanoseconds> sync_delay_{};
  std::atomic<bool> syncs_held_ = false;
  std::atomic<int> log_syncs_{0};
  std::atomic<bool> tables_held_ = false;
  std::atomic<int> tables_{0};
};

}  // namespace spillway::storage
