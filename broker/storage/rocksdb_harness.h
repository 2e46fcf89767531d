// A RocksDbStore in a folder of its own, for tests.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <rocksdb/env.h>

#include "broker/storage/log_store_contract.h"
#include "broker/storage/lossy_file_system.h"
#include "broker/storage/rocksdb_store.h"

namespace spillway::storage {

// How much of a test to do: the slice of every run, or what the environment asks.
inline uint64_t Amount(const char* variable, uint64_t slice) {
  const char* asked = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe)
  return asked == nullptr ? slice : std::strtoull(asked, nullptr, 10);
}

// A folder that goes with its object.
class TempFolder {
 public:
  TempFolder() {
    std::string name = ::testing::TempDir() + "/spillway-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  TempFolder(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Small buffers, so that little data reaches every kind of file.
inline RocksDbOptions SmallOptions(const std::string& path) {
  return {.path = path,
          .write_buffer_bytes = size_t{1} << 20,
          .max_total_wal_bytes = uint64_t{8} << 20,
          .max_pending_bytes = size_t{16} << 20,
          .max_record_bytes = size_t{4} << 20,
          .max_cycle_bytes = size_t{1} << 20,
          .reclaim_bytes = uint64_t{1} << 20,
          .disk_floor_bytes = 0,
          .reserve_bytes = 0};
}

class RocksDbHarness final : public contract::Harness {
 public:
  explicit RocksDbHarness(const contract::Limits& limits = {}, uint64_t seed = 1)
      : random_(seed),
        fs_(std::make_shared<LossyFileSystem>()),
        env_(rocksdb::NewCompositeEnv(fs_)) {
    options_ = SmallOptions(folder_.path() + "/0");
    options_.max_pending_bytes = limits.max_pending_bytes;
    options_.max_record_bytes = limits.max_record_bytes;
    options_.env = env_.get();
    options_.boot = 1;
    EXPECT_EQ(Open(), OpenErr::kNone) << message_;
  }
  ~RocksDbHarness() override { store_.reset(); }

  LogStore& store() override { return *store_; }
  void Reopen() override {
    store_.reset();
    EXPECT_EQ(Open(), OpenErr::kNone) << message_;
  }
  bool Crash(Level level) override {
    // All callbacks have come, so the files are at rest: a copy is what a crash
    // leaves.
    CopyAfterCrash(level);
    store_.reset();
    if (level == Level::kFsync) ++options_.boot;
    std::filesystem::remove_all(std::exchange(options_.path, copy_));
    EXPECT_EQ(Open(), OpenErr::kNone) << message_;
    return true;
  }
  // Leaves a copy beside, which a later Crash or Use would open.
  void CopyAfterCrash(Level level) {
    copy_ = folder_.path() + "/" + std::to_string(++copies_);
    if (level == Level::kProcess) {
      std::filesystem::copy(options_.path, copy_, std::filesystem::copy_options::recursive);
    } else {
      fs_->CopyAfterPowerFailure(options_.path, copy_, &random_);
    }
  }
  void Close() { store_.reset(); }
  OpenErr Open() {
    auto opened = RocksDbStore::Open(options_);
    store_ = std::move(opened.store);
    message_ = opened.message;
    return opened.err;
  }
  RocksDbOptions& options() { return options_; }
  const std::string& path() const { return options_.path; }
  const std::string& copy() const { return copy_; }
  const std::string& message() const { return message_; }
  LossyFileSystem& fs() { return *fs_; }
  Random& random() { return random_; }

 private:
  TempFolder folder_;
  Random random_;
  std::shared_ptr<LossyFileSystem> fs_;
  std::unique_ptr<rocksdb::Env> env_;
  RocksDbOptions options_;
  std::unique_ptr<RocksDbStore> store_;
  std::string copy_;
  int copies_ = 0;
  std::string message_;
};

// The lane of tests that need one.
inline constexpr LaneId kLane{3, 0};

// Appends entries of `bytes` each.
inline void Fill(contract::Driver& drive, Owner& owner, int entries, size_t bytes,
                 Level level = Level::kProcess) {
  for (int i = 0; i < entries; ++i) {
    const Record record = contract::MakeRecord(std::string(bytes, 'f'), static_cast<Offset>(i));
    ASSERT_EQ(drive.Append(owner, record, level).err, Err::kOk);
  }
}

}  // namespace spillway::storage
