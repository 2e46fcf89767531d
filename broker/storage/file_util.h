// Small files, whole and durable.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace spillway::storage {

// A descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

// The file's bytes, or nothing if it cannot be read.
std::optional<std::string> ReadWholeFile(const std::string& path);
// Writes a new file, syncs it, renames it into place, syncs the folder. False
// with errno set.
bool WriteWholeFile(const std::string& folder, const std::string& name, std::string_view bytes);
bool SyncFolder(const std::string& folder);
bool Exists(const std::string& path);
// pread/pwrite until all is done. False with errno set (0: end of file).
bool ReadAt(int fd, char* to, size_t size, uint64_t at);
bool WriteAt(int fd, std::string_view bytes, uint64_t at);

}  // namespace spillway::storage
