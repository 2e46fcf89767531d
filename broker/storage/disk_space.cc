#include "broker/storage/disk_space.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace spillway::storage {

std::optional<DiskSpace> GetDiskSpace(const std::string& path) {
  struct statvfs s;
  if (::statvfs(path.c_str(), &s) != 0) return std::nullopt;
  return DiskSpace{.free_bytes = uint64_t{s.f_bavail} * s.f_frsize,
                   .total_bytes = uint64_t{s.f_blocks} * s.f_frsize};
}

bool ReserveFile::Allocate() {
  if (bytes_ == 0 || held_) return held_;
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  held_ = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes_)) == 0;
  ::close(fd);
  if (!held_) ::unlink(path_.c_str());
  return held_;
}

void ReserveFile::Release() {
  ::unlink(path_.c_str());
  held_ = false;
}

}  // namespace spillway::storage
