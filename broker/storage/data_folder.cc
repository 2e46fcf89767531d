#include "broker/storage/data_folder.h"

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>

namespace spillway::storage {
namespace {

constexpr std::string_view kFormatPrefix = "spillway-storage ";

std::string Errno(const std::string& what) {
  return what + ": " + std::generic_category().message(errno);
}

// Whether something lies there that is not ours.
bool HoldsForeignFiles(const std::string& path) {
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(path, error)) {
    const std::string name = file.path().filename().string();
    if (name != "LOCK" && name != "mark" && name != "mark.new" && name != "FORMAT.new" &&
        name != "reserve" && name != "db" && name != "lost+found") {
      return true;
    }
  }
  return false;
}

}  // namespace

OpenErr DataFolder::Open(const std::string& path, MonoNanos mark_sync_interval,
                         std::unique_ptr<DataFolder>* out, std::string* message) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    *message = path + ": " + error.message();
    return OpenErr::kCannotCreate;
  }
  const auto format = ReadWholeFile(path + "/FORMAT");
  if (!format && HoldsForeignFiles(path)) {
    *message = path + " holds files that are not Spillway's";
    return OpenErr::kCannotCreate;
  }
  std::unique_ptr<DataFolder> folder(new DataFolder);
  folder->path_ = path;
  folder->lock_ = Fd(::open((path + "/LOCK").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!folder->lock_.valid()) {
    *message = Errno(path + "/LOCK");
    return OpenErr::kCannotCreate;
  }
  if (::flock(folder->lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    *message = path + " is open in another process";
    return errno == EWOULDBLOCK ? OpenErr::kInUse : OpenErr::kFailed;
  }
  folder->mark_ = HighWaterMark::Open(path, mark_sync_interval);

  if (!format) {
    // New, or an attempt to make it that did not get to its end.
    if (folder->mark_ && folder->mark_->mark().sequence > 0) {
      *message = path + "/FORMAT is missing";
      return OpenErr::kCorrupt;
    }
    if (!folder->mark_ && Exists(folder->db_path())) {
      *message = path + " holds a database without FORMAT and mark";
      return OpenErr::kCorrupt;
    }
    folder->is_new_ = true;
    if (!folder->mark_) folder->mark_ = HighWaterMark::Create(path, mark_sync_interval);
    if (!folder->mark_) {
      *message = Errno(path + "/mark");
      return OpenErr::kCannotCreate;
    }
    *out = std::move(folder);
    return OpenErr::kNone;
  }

  int version = 0;
  const std::string_view text = *format;
  const char* end = text.data() + text.size() - (text.ends_with('\n') ? 1 : 0);
  const bool named = text.starts_with(kFormatPrefix) && text.ends_with('\n');
  if (named) {
    const auto parsed = std::from_chars(text.data() + kFormatPrefix.size(), end, version);
    if (parsed.ec != std::errc() || parsed.ptr != end) version = 0;
  }
  if (version < 1) {
    *message = path + "/FORMAT is not readable";
    return OpenErr::kCorrupt;
  }
  if (version > kFormatVersion) {
    *message = path + " is of format " + std::to_string(version) + "; this version knows up to " +
               std::to_string(kFormatVersion);
    return OpenErr::kNewerFormat;
  }
  if (!folder->mark_) {
    *message = path + "/mark is missing or damaged";
    return OpenErr::kCorrupt;
  }
  if (!Exists(folder->db_path() + "/CURRENT")) {
    *message = path + "/db is missing";
    return OpenErr::kCorrupt;
  }
  *out = std::move(folder);
  return OpenErr::kNone;
}

bool DataFolder::Seal() {
  is_new_ = false;
  return WriteWholeFile(path_, "FORMAT",
                        std::string(kFormatPrefix) + std::to_string(kFormatVersion) + "\n");
}

}  // namespace spillway::storage
