#include "broker/storage/manifest_watch.h"

#include <algorithm>
#include <charconv>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/storage/crc32c.h"

namespace spillway::storage {
namespace {

// The checksum of fd's bytes [from, upto), going on from `crc`.
bool Extend(int fd, uint64_t from, uint64_t upto, uint32_t* crc) {
  std::string piece;
  while (from < upto) {
    piece.resize(std::min<uint64_t>(upto - from, 1 << 16));
    if (!ReadAt(fd, piece.data(), piece.size(), from)) return false;
    *crc = Crc32c(piece, *crc);
    from += piece.size();
  }
  return true;
}

}  // namespace

// REQUIRES: mu_ is held.
bool ManifestWatch::OpenCurrent(std::string* why) {
  constexpr std::string_view kPrefix = "MANIFEST-";
  const auto current = ReadWholeFile(folder_ + "/CURRENT");
  uint64_t number = 0;
  if (!current || !current->starts_with(kPrefix) || !current->ends_with('\n')) {
    *why = "CURRENT does not name a MANIFEST";
    return false;
  }
  const char* end = current->data() + current->size() - 1;
  const auto parsed = std::from_chars(current->data() + kPrefix.size(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    *why = "CURRENT does not name a MANIFEST";
    return false;
  }
  if (fd_.valid() && number == number_) return true;
  const std::string name = current->substr(0, current->size() - 1);
  Fd fd(::open((folder_ + "/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    *why = name + " cannot be opened";
    return false;
  }
  fd_ = std::move(fd);
  number_ = number;
  bytes_ = 0;
  crc_ = 0;
  return true;
}

std::string ManifestWatch::Check() {
  std::lock_guard lock(mu_);
  const Mark mark = mark_.mark();
  if (mark.manifest_number == 0) return "";
  std::string why;
  if (!OpenCurrent(&why)) return why;
  const std::string name = "MANIFEST " + std::to_string(number_);
  if (number_ < mark.manifest_number) return name + " is older than the mark's";
  // A newer one was begun by an open that did not get to tell the mark.
  if (number_ > mark.manifest_number) return "";
  struct stat st;
  if (::fstat(fd_.get(), &st) != 0) return name + " cannot be read";
  if (static_cast<uint64_t>(st.st_size) < mark.manifest_bytes) {
    return name + " has " + std::to_string(st.st_size) + " bytes of " +
           std::to_string(mark.manifest_bytes);
  }
  uint32_t crc = 0;
  if (!Extend(fd_.get(), 0, mark.manifest_bytes, &crc)) return name + " cannot be read";
  if (crc != mark.manifest_crc) return name + " does not match its checksum";
  return "";
}

bool ManifestWatch::Refresh() {
  std::lock_guard lock(mu_);
  std::string why;
  struct stat st;
  if (!OpenCurrent(&why) || ::fstat(fd_.get(), &st) != 0) return false;
  const auto size = static_cast<uint64_t>(st.st_size);
  // Another thread may be in the middle of a record; what is there by now is made
  // durable before it is promised.
  if (::fdatasync(fd_.get()) != 0 || !Extend(fd_.get(), bytes_, size, &crc_)) return false;
  bytes_ = size;
  return mark_.SetManifest(number_, bytes_, crc_);
}

}  // namespace spillway::storage
