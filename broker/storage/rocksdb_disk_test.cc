// A disk that fills up, and space that is given back.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "broker/base/thread_weight.h"
#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {

namespace {

using contract::Completed;
using contract::Driver;
using contract::Held;
using contract::MakeRecord;

uint64_t FolderBytes(const std::string& path, std::string_view suffix) {
  uint64_t total = 0;
  for (const auto& f : std::filesystem::recursive_directory_iterator(path)) {
    std::error_code error;
    if (f.path().string().ends_with(suffix)) total += f.file_size(error);
  }
  return total;
}

TEST(RocksDbDisk, BelowTheFloorDataIsRefusedAndSettlingIsNot) {
  TempFolder folder;
  std::atomic<uint64_t> free = 1'000'000;
  RocksDbOptions o = SmallOptions(folder.path() + "/data");
  o.disk_floor_bytes = 10'000;
  o.disk_check_interval_ms = 1;
  o.disk_space = [&free](const std::string&) {
    return DiskSpace{.free_bytes = free, .total_bytes = 2'000'000};
  };
  struct Plain final : contract::Harness {
    std::unique_ptr<RocksDbStore> s;
    LogStore& store() override { return *s; }
    void Reopen() override {}
    bool Crash(Level) override { return false; }
  } h;
  h.s = RocksDbStore::Open(o).store;
  ASSERT_TRUE(h.s);
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  const auto data = [&] { return drive.Append(*held.owner, MakeRecord("d")).err; };
  const auto control = [&] {
    return drive.Append(*held.owner, MakeRecord("c", 0, Kind::kControl)).err;
  };
  EXPECT_EQ(data(), Err::kOk);
  free = 9'000;
  EXPECT_TRUE(drive.Until([&] { return held.owner->room() == 0; }));
  EXPECT_EQ(data(), Err::kUnavailable);
  EXPECT_EQ(control(), Err::kOk);
  EXPECT_EQ(drive.Trim(*held.owner, 1).err, Err::kOk);
  free = 2'000;
  EXPECT_TRUE(drive.Until([&] { return control() == Err::kUnavailable; }));
  EXPECT_EQ(drive.Trim(*held.owner, 2).err, Err::kOk);
  std::atomic<bool> drained = false;
  held.owner->OnDrain([&] { drained = true; });
  free = 10'500;  // not quite enough to take data again
  EXPECT_TRUE(drive.Until([&] { return control() == Err::kOk; }));
  EXPECT_EQ(data(), Err::kUnavailable);
  EXPECT_FALSE(drained);
  free = 1'000'000;
  EXPECT_TRUE(drive.Until([&] { return drained.load(); }));
  EXPECT_EQ(data(), Err::kOk);
}

TEST(RocksDbDisk, TheReserveIsGivenUpAndTakenBack) {
  TempFolder folder;
  std::atomic<uint64_t> free = 1'000'000;
  RocksDbOptions o = SmallOptions(folder.path() + "/data");
  o.reserve_bytes = 65'536;
  o.reserve_release_bytes = 100'000;
  o.disk_check_interval_ms = 1;
  o.disk_space = [&free](const std::string&) {
    return DiskSpace{.free_bytes = free, .total_bytes = 2'000'000};
  };
  auto opened = RocksDbStore::Open(o);
  ASSERT_TRUE(opened.store) << opened.message;
  const std::string reserve = o.path + "/reserve";
  const auto eventually = [&](bool there) {
    const auto is = [&] {
      std::error_code error;
      const auto size = std::filesystem::file_size(reserve, error);
      return there ? !error && size == 65'536 : static_cast<bool>(error);
    };
    for (int i = 0; i < 5000 && !is(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return is();
  };
  EXPECT_TRUE(eventually(true));
  free = 90'000;
  EXPECT_TRUE(eventually(false));
  free = 150'000;  // would be given up again at once
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(std::filesystem::exists(reserve));
  free = 500'000;
  EXPECT_TRUE(eventually(true));
}

TEST(RocksDbDisk, TrimGivesTheSpaceBack) {
  RocksDbHarness h;
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  Held other = drive.Acquire({4, 0});
  for (int i = 0; i < 6; ++i) {
    Fill(drive, *held.owner, 20, 100'000);
    Fill(drive, *other.owner, 1, 100'000);
  }
  const uint64_t before = FolderBytes(h.path(), ".sst");
  EXPECT_GT(before, 8'000'000u);
  EXPECT_EQ(drive.Trim(*held.owner, UINT64_MAX).err, Err::kOk);
  EXPECT_TRUE(drive.Until([&] { return FolderBytes(h.path(), ".sst") < 2'000'000; }))
      << FolderBytes(h.path(), ".sst") << " of " << before;
  EXPECT_EQ(drive.Read({4, 0}, 0).entries.size(), 6u);
}

TEST(RocksDbDisk, AQueueThatDrainsInTimeLeavesNothing) {
  RocksDbHarness h;
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  for (int i = 0; i < 200; ++i) {
    const Completed c =
        drive.Append(*held.owner, MakeRecord(std::string(50'000, 'x')), Level::kProcess);
    drive.Trim(*held.owner, c.position + 1);
  }
  // Ten write buffers went through; of each at most what was not yet trimmed when
  // it was flushed is on disk.
  EXPECT_LT(FolderBytes(h.path(), ".sst"), 3'000'000u);
}

// The nice value of a thread of this process; 0 if there is none of this name.
int NiceOf(const std::string& thread) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name != thread) continue;
    return getpriority(PRIO_PROCESS, static_cast<id_t>(std::stoul(task.path().filename())));
  }
  return 0;
}

TEST(RocksDbDisk, FlushesMakeWayForWhoWaits) {
  RocksDbHarness h;
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  Fill(drive, *held.owner, 60, 100'000);
  ASSERT_TRUE(drive.Until([&] { return FolderBytes(h.path(), ".sst") > 0; }));
  EXPECT_EQ(NiceOf("rocksdb:high"), kBackgroundNice);
  EXPECT_EQ(NiceOf("commit"), 0);
}

// Less than this is left where it is: not worth a compaction. A little of other lanes.
uint64_t NotWorthReclaiming(RocksDbHarness& h) { return h.options().reclaim_bytes + 65'536; }

TEST(RocksDbDisk, RemovedLanesGiveTheSpaceBack) {
  RocksDbHarness h;
  Driver drive(h);
  {
    Held held = drive.Acquire(kLane);
    Fill(drive, *held.owner, 60, 100'000);
  }
  EXPECT_GT(FolderBytes(h.path(), ".sst"), 3'000'000u);
  EXPECT_EQ(drive.Remove(kLane).err, Err::kOk);
  EXPECT_TRUE(drive.Until([&] { return FolderBytes(h.path(), ".sst") < NotWorthReclaiming(h); }));
}

TEST(RocksDbDisk, WhatReachesAFileAfterItsRemovalIsGivenBack) {
  std::atomic<int> rounds = 0;  // of the caretaker, who looks at the disk in each
  RocksDbHarness h;
  h.options().write_buffer_bytes = size_t{4} << 20;
  h.options().disk_check_interval_ms = 1;
  h.options().disk_space = [&rounds](const std::string& path) {
    ++rounds;
    return GetDiskSpace(path);
  };
  h.Reopen();
  Driver drive(h);
  h.fs().HoldTables(true);
  {
    Held held = drive.Acquire(kLane);
    Fill(drive, *held.owner, 60, 100'000);
  }
  EXPECT_EQ(drive.Remove(kLane).err, Err::kOk);
  const int then = rounds;
  EXPECT_TRUE(drive.Until([&] { return rounds > then + 2; }));
  EXPECT_EQ(FolderBytes(h.path(), ".sst"), 0u);
  // What is deleted in a memtable is not in the one before it, which is a file now.
  h.fs().HoldTables(false);
  EXPECT_TRUE(drive.Until([&] {
    return h.fs().tables() > 0 && FolderBytes(h.path(), ".sst") < NotWorthReclaiming(h);
  }));
}

// What reclaims asks for a flush and waits for it; one that was under way must not
// swallow the request.
TEST(RocksDbDisk, ReclaimingDuringAFlushEnds) {
  RocksDbHarness h;
  h.options().write_buffer_bytes = size_t{2} << 20;
  h.Reopen();
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  const Record record = MakeRecord(std::string(100'000, 'f'));
  for (int round = 0; round < 20; ++round) {
    Fill(drive, *held.owner, 45, 100'000);
    ASSERT_TRUE(drive.Until([&] { return FolderBytes(h.path(), ".sst") > 1'500'000; }));
    h.fs().HoldTables(true);
    std::atomic<int> waiting = 0;  // for what may have to wait until the flush has ended
    const auto done = [&waiting](Err err, Position) {
      EXPECT_EQ(err, Err::kOk);
      --waiting;
    };
    for (int i = 0; i < 22 + round % 4; ++i, ++waiting) {
      EXPECT_EQ(held.owner->Append(record, Level::kProcess, done), Err::kOk);
    }
    held.owner->Trim(UINT64_MAX, done);
    ++waiting;
    h.fs().HoldTables(false);
    ASSERT_TRUE(drive.Until([&] { return waiting == 0; }));
    ASSERT_TRUE(drive.Until([&] { return FolderBytes(h.path(), ".sst") < NotWorthReclaiming(h); }))
        << "round " << round;
  }
}

}  // namespace
}  // namespace spillway::storage
