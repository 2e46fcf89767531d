// Keeps the mark's account of RocksDB's MANIFEST, and checks it before an open.
//
// A MANIFEST with a cut tail opens as an older one: files of entries that it then
// does not name are deleted, and the logs that they replaced are long gone. So
// the mark holds how much of it was durable, and its checksum.
#pragma once

#include <mutex>
#include <string>

#include "broker/storage/file_util.h"
#include "broker/storage/high_water_mark.h"

namespace spillway::storage {

// Thread-safe.
class ManifestWatch {
 public:
  ManifestWatch(std::string db_folder, HighWaterMark& mark)
      : folder_(std::move(db_folder)), mark_(mark) {}

  // Empty if the MANIFEST that CURRENT names begins with what the mark says, else
  // what is wrong. REQUIRES: RocksDB is not open.
  std::string Check();
  // Takes what the MANIFEST holds now into the mark, durably. To be called when
  // RocksDB has opened, and after each change of its files. False with errno set.
  bool Refresh();

 private:
  bool OpenCurrent(std::string* why);

  const std::string folder_;
  HighWaterMark& mark_;
  std::mutex mu_;
  Fd fd_;                // guarded by mu_
  uint64_t number_ = 0;  // guarded by mu_; of fd_
  uint64_t bytes_ = 0;   // guarded by mu_; under crc_
  uint32_t crc_ = 0;     // guarded by mu_
};

}  // namespace spillway::storage
