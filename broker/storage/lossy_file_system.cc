#include "broker/storage/lossy_file_system.h"

#include <filesystem>
#include <fstream>
#include <thread>

#include "broker/storage/file_util.h"

namespace spillway::storage {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

class LossyFileSystem::File final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(LossyFileSystem& fs, const std::string& name,
       std::unique_ptr<rocksdb::FSWritableFile> target, std::shared_ptr<Progress> progress)
      : FSWritableFileOwnerWrapper(std::move(target)),
        fs_(fs),
        is_log_(name.ends_with(".log")),
        is_table_(name.ends_with(".sst")),
        progress_(std::move(progress)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  IODebugContext* debug) override {
    if (is_log_ && fs_.Fails(fs_.fail_append_in_)) return IOStatus::IOError("injected");
    std::shared_lock at_work(fs_.copying_);
    IOStatus s = FSWritableFileOwnerWrapper::Append(data, options, debug);
    if (s.ok()) Wrote(data.size());
    return s;
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& info, IODebugContext* debug) override {
    if (is_log_ && fs_.Fails(fs_.fail_append_in_)) return IOStatus::IOError("injected");
    std::shared_lock at_work(fs_.copying_);
    IOStatus s = FSWritableFileOwnerWrapper::Append(data, options, info, debug);
    if (s.ok()) Wrote(data.size());
    return s;
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    if (is_log_) {
      ++fs_.log_syncs_;
      fs_.syncs_held_.wait(true);
      if (fs_.Fails(fs_.fail_sync_in_)) return IOStatus::IOError("injected");
      std::this_thread::sleep_for(fs_.sync_delay_.load());
    }
    std::shared_lock at_work(fs_.copying_);
    const uint64_t upto = Written();
    // A test loses power only in a copy: the real sync is not needed.
    IOStatus s = FSWritableFileOwnerWrapper::Flush(options, debug);
    if (s.ok()) Synced(upto);
    return s;
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    IOStatus s = FSWritableFileOwnerWrapper::Close(options, debug);
    if (is_table_) ++fs_.tables_;
    return s;
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Sync(options, debug);
  }

 private:
  void Wrote(size_t n) {
    std::lock_guard lock(fs_.mu_);
    progress_->written += n;
  }
  uint64_t Written() {
    std::lock_guard lock(fs_.mu_);
    return progress_->written;
  }
  void Synced(uint64_t upto) {
    std::lock_guard lock(fs_.mu_);
    progress_->synced = std::max(progress_->synced, upto);
  }
  LossyFileSystem& fs_;
  const bool is_log_;
  const bool is_table_;
  const std::shared_ptr<Progress> progress_;
};

bool LossyFileSystem::Fails(std::atomic<int>& in) {
  int left = in.load();
  while (left > 1) {
    if (in.compare_exchange_weak(left, left - 1)) return false;
  }
  if (left == 0) return false;
  ++failures_;
  return true;
}

IOStatus LossyFileSystem::NewWritableFile(const std::string& name,
                                          const rocksdb::FileOptions& options,
                                          std::unique_ptr<rocksdb::FSWritableFile>* file,
                                          IODebugContext* debug) {
  if (name.ends_with(".sst")) tables_held_.wait(true);
  std::unique_ptr<rocksdb::FSWritableFile> target;
  std::shared_lock at_work(copying_);
  IOStatus s = FileSystemWrapper::NewWritableFile(name, options, &target, debug);
  if (!s.ok()) return s;
  auto progress = std::make_shared<Progress>();
  {
    std::lock_guard lock(mu_);
    files_[name] = progress;
  }
  *file = std::make_unique<File>(*this, name, std::move(target), progress);
  return s;
}

IOStatus LossyFileSystem::RenameFile(const std::string& from, const std::string& to,
                                     const IOOptions& options, IODebugContext* debug) {
  std::shared_lock at_work(copying_);
  IOStatus s = FileSystemWrapper::RenameFile(from, to, options, debug);
  std::lock_guard lock(mu_);
  auto it = files_.find(from);
  if (s.ok() && it != files_.end()) {
    files_[to] = it->second;
    files_.erase(from);
  }
  return s;
}

IOStatus LossyFileSystem::DeleteFile(const std::string& name, const IOOptions& options,
                                     IODebugContext* debug) {
  std::shared_lock at_work(copying_);
  {
    std::lock_guard lock(mu_);
    files_.erase(name);
  }
  return FileSystemWrapper::DeleteFile(name, options, debug);
}

void LossyFileSystem::CopyAfterPowerFailure(const std::string& from, const std::string& to,
                                            Random* torn) {
  namespace fs = std::filesystem;
  // Of one moment, whatever RocksDB's threads are at.
  std::unique_lock at_rest(copying_);
  std::lock_guard lock(mu_);
  fs::create_directories(to);
  for (const auto& file : fs::recursive_directory_iterator(from)) {
    const std::string source = file.path().string();
    const std::string target = to + source.substr(from.size());
    if (file.is_directory()) {
      fs::create_directories(target);
      continue;
    }
    if (source.ends_with("/reserve")) continue;
    auto bytes = ReadWholeFile(source);
    if (!bytes) continue;
    auto it = files_.find(source);
    if (it != files_.end() && it->second->synced < bytes->size()) {
      const size_t synced = it->second->synced;
      size_t kept = synced;
      if (torn != nullptr) {
        kept += torn->Below(bytes->size() - synced + 1);
        if (kept > synced && torn->Below(2) == 0) {
          // A sector that was allocated and not written.
          for (size_t i = synced + torn->Below(kept - synced); i < kept; ++i) (*bytes)[i] = 0;
        }
      }
      bytes->resize(kept);
    }
    std::ofstream(target, std::ios::binary) << *bytes;
  }
}

}  // namespace spillway::storage
