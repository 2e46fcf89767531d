// The data folder: who has it, what version wrote it, and its durable mark.
//
//   LOCK     held while the store is open
//   FORMAT   "spillway-storage <version>\n"; written last when a folder is made
//   mark     see high_water_mark.h
//   reserve  see disk_space.h
//   db/      RocksDB's
#pragma once

#include <memory>
#include <string>

#include "broker/storage/file_util.h"
#include "broker/storage/high_water_mark.h"
#include "broker/storage/rocksdb_store.h"

namespace spillway::storage {

class DataFolder {
 public:
  static constexpr int kFormatVersion = 1;

  // Takes the lock, checks the format, opens the mark; prepares a new folder if
  // there is none. On failure `message` says more.
  static OpenErr Open(const std::string& path, MonoNanos mark_sync_interval,
                      std::unique_ptr<DataFolder>* folder, std::string* message);
  // Seals a new folder: from here on it must open again with all that it held.
  bool Seal();

  bool is_new() const { return is_new_; }
  HighWaterMark& mark() { return *mark_; }
  std::string db_path() const { return path_ + "/db"; }
  std::string reserve_path() const { return path_ + "/reserve"; }

 private:
  DataFolder() = default;
  std::string path_;
  Fd lock_;
  std::unique_ptr<HighWaterMark> mark_;
  bool is_new_ = false;
};

}  // namespace spillway::storage
