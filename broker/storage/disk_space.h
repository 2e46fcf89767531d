// How much room the file system has, and a file that keeps some of it back.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace spillway::storage {

struct DiskSpace {
  uint64_t free_bytes = 0;  // for a process without privileges
  uint64_t total_bytes = 0;
};
using DiskSpaceFn = std::function<std::optional<DiskSpace>(const std::string& path)>;

// Nothing if the file system does not say.
std::optional<DiskSpace> GetDiskSpace(const std::string& path);

// A file whose blocks are allocated and empty. RocksDB must never meet a full
// disk: when it is nearly full this file goes, and what it held is enough to
// flush and to settle.
// Thread-safety: one thread at a time.
class ReserveFile {
 public:
  ReserveFile(std::string path, uint64_t bytes) : path_(std::move(path)), bytes_(bytes) {}
  // Allocates it unless it is there. False if there is no room.
  bool Allocate();
  void Release();
  bool held() const { return held_; }
  uint64_t bytes() const { return bytes_; }

 private:
  const std::string path_;
  const uint64_t bytes_;
  bool held_ = false;
};

}  // namespace spillway::storage
