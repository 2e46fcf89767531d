#include "broker/storage/file_util.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace spillway::storage {

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

std::optional<std::string> ReadWholeFile(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st;
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0) return std::nullopt;
  std::string bytes(static_cast<size_t>(st.st_size), '\0');
  if (!ReadAt(fd.get(), bytes.data(), bytes.size(), 0)) return std::nullopt;
  return bytes;
}

bool WriteWholeFile(const std::string& folder, const std::string& name, std::string_view bytes) {
  const std::string path = folder + "/" + name, fresh = path + ".new";
  {
    const Fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.valid() || !WriteAt(fd.get(), bytes, 0) || ::fsync(fd.get()) != 0) return false;
  }
  return ::rename(fresh.c_str(), path.c_str()) == 0 && SyncFolder(folder);
}

bool SyncFolder(const std::string& folder) {
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.valid() && ::fsync(fd.get()) == 0;
}

bool Exists(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0;
}

bool ReadAt(int fd, char* to, size_t size, uint64_t at) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = ::pread(fd, to + done, size - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = 0;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

bool WriteAt(int fd, std::string_view bytes, uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
  return true;
}

}  // namespace spillway::storage
