#include "broker/storage/rocksdb_store.h"

#include <atomic>
#include <fstream>
#include <future>
#include <thread>

#include <gmock/gmock.h>

#include "broker/storage/entry_table.h"
#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {

namespace contract {
INSTANTIATE_TEST_SUITE_P(RocksDb, LogStoreContract,
                         ::testing::Values(Param{"RocksDb",
                                                 [](const Limits& limits) {
                                                   return std::make_unique<RocksDbHarness>(limits);
                                                 }}),
                         ParamName);
}  // namespace contract

namespace {

using contract::Bodies;
using contract::Completed;
using contract::Driver;
using contract::Held;
using contract::MakeRecord;
using contract::Page;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr LaneId kLane{3, 0};

uint64_t FolderBytes(const std::string& path, std::string_view suffix) {
  uint64_t total = 0;
  for (const auto& f : std::filesystem::recursive_directory_iterator(path)) {
    std::error_code error;
    if (f.path().string().ends_with(suffix)) total += f.file_size(error);
  }
  return total;
}

void Fill(Driver& drive, Owner& owner, int entries, size_t bytes, Level level = Level::kProcess) {
  for (int i = 0; i < entries; ++i) {
    ASSERT_EQ(
        drive.Append(owner, MakeRecord(std::string(bytes, 'f'), static_cast<Offset>(i)), level).err,
        Err::kOk);
  }
}

// ---- opening ---------------------------------------------------------------

TEST(RocksDbOpen, AFolderIsOpenOnce) {
  RocksDbHarness h;
  const auto second = RocksDbStore::Open(h.options());
  EXPECT_EQ(second.err, OpenErr::kInUse) << second.message;
  EXPECT_FALSE(second.store);
}

TEST(RocksDbOpen, ANewerFormatIsRefused) {
  RocksDbHarness h;
  h.Close();
  std::ofstream(h.path() + "/FORMAT") << "spillway-storage 2\n";
  EXPECT_EQ(h.Open(), OpenErr::kNewerFormat);
  EXPECT_THAT(h.message(), HasSubstr("format 2"));
}

TEST(RocksDbOpen, AFolderOfSomeoneElseIsLeftAlone) {
  TempFolder folder;
  std::ofstream(folder.path() + "/thesis.txt") << "x";
  const auto opened = RocksDbStore::Open(SmallOptions(folder.path()));
  EXPECT_EQ(opened.err, OpenErr::kCannotCreate) << opened.message;
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(RocksDbOpen, AFileIsNoFolder) {
  TempFolder folder;
  std::ofstream(folder.path() + "/file") << "x";
  EXPECT_EQ(RocksDbStore::Open(SmallOptions(folder.path() + "/file")).err, OpenErr::kCannotCreate);
}

TEST(RocksDbOpen, TooLittleDiskIsRefused) {
  TempFolder folder;
  RocksDbOptions o = SmallOptions(folder.path() + "/data");
  o.disk_floor_bytes = 1000;
  o.disk_space = [](const std::string&) {
    return DiskSpace{.free_bytes = 200, .total_bytes = 9999};
  };
  EXPECT_EQ(RocksDbStore::Open(o).err, OpenErr::kNotEnoughDisk);
}

TEST(RocksDbOpen, WhatBelongsToAFolderMustBeThere) {
  for (const char* name : {"/FORMAT", "/mark", "/db/CURRENT", "/db"}) {
    RocksDbHarness h;
    {
      Driver drive(h);
      Held held = drive.Acquire(kLane);
      drive.Append(*held.owner, MakeRecord("x"));
    }
    h.Close();
    std::filesystem::remove_all(h.path() + name);
    EXPECT_EQ(h.Open(), OpenErr::kCorrupt) << name << ": " << h.message();
  }
}

TEST(RocksDbOpen, AnInterruptedCreationIsTakenUp) {
  RocksDbHarness h;
  h.Close();
  std::filesystem::remove(h.path() + "/FORMAT");
  EXPECT_EQ(h.Open(), OpenErr::kNone) << h.message();
}

// ---- what was durable must be there ----------------------------------------

TEST(RocksDbRecovery, ALogCutBelowTheMarkIsRefused) {
  RocksDbHarness h;
  {
    Driver drive(h);
    Held held = drive.Acquire(kLane);
    Fill(drive, *held.owner, 20, 100, Level::kFsync);
  }
  h.CopyAfterCrash(Level::kProcess);
  h.Close();
  h.options().path = h.copy();
  for (const auto& f : std::filesystem::directory_iterator(h.path() + "/db")) {
    if (f.path().extension() == ".log") {
      std::filesystem::resize_file(f.path(), f.file_size() - 500);
    }
  }
  EXPECT_EQ(h.Open(), OpenErr::kCorrupt);
  EXPECT_THAT(h.message(), HasSubstr("was acknowledged"));
}

// Of what was only written nothing is missed when the machine went down, all when
// only the process did.
class RocksDbTornTail : public ::testing::TestWithParam<bool> {};

TEST_P(RocksDbTornTail, AboveTheMarkIsNormalAfterAPowerFailure) {
  const bool power_failed = GetParam();
  RocksDbHarness h;
  {
    Driver drive(h);
    Held held = drive.Acquire(kLane);
    drive.Append(*held.owner, MakeRecord("synced"), Level::kFsync);
    drive.Append(*held.owner, MakeRecord("torn"), Level::kProcess);
  }
  h.CopyAfterCrash(Level::kProcess);
  h.Close();
  h.options().path = h.copy();
  for (const auto& f : std::filesystem::directory_iterator(h.path() + "/db")) {
    if (f.path().extension() == ".log") std::filesystem::resize_file(f.path(), f.file_size() - 3);
  }
  if (power_failed) ++h.options().boot;
  ASSERT_EQ(h.Open(), power_failed ? OpenErr::kNone : OpenErr::kCorrupt) << h.message();
  if (!power_failed) return;
  Driver drive(h);
  EXPECT_THAT(Bodies(drive.Acquire(kLane).replayed), ElementsAre("synced"));
}
INSTANTIATE_TEST_SUITE_P(Of, RocksDbTornTail, ::testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "Machine" : "Process");
});

TEST(RocksDbRecovery, ManyPowerFailures) {
  const uint64_t first = Amount("SPILLWAY_SEED", 1);
  const uint64_t last = first + Amount("SPILLWAY_POWER_FAILURES", 60) / 3;
  for (uint64_t seed = first; seed < last; ++seed) {
    RocksDbHarness h({}, seed);
    Driver drive(h);
    Random random(seed);
    size_t synced = 0, written = 0;
    for (int crash = 0; crash < 3; ++crash) {
      Held held = drive.Acquire(kLane);
      ASSERT_EQ(held.err, Err::kOk) << seed;
      ASSERT_GE(held.replayed.size(), synced) << seed;
      ASSERT_LE(held.replayed.size(), written) << seed;
      for (size_t i = 0; i < held.replayed.size(); ++i) {
        ASSERT_EQ(held.replayed[i].base_offset, i) << seed;
      }
      synced = written = held.replayed.size();
      for (uint64_t n = random.Below(60); n > 0; --n) {
        const Level level = random.Below(3) == 0 ? Level::kFsync : Level::kProcess;
        const size_t bytes = random.Below(10) == 0 ? 200'000 : random.Below(2000);
        ASSERT_EQ(
            drive.Append(*held.owner, MakeRecord(std::string(bytes, 'b'), written), level).err,
            Err::kOk);
        ++written;
        if (level == Level::kFsync) synced = written;
      }
      held.owner.reset();
      h.Crash(Level::kFsync);
    }
  }
}

// ---- entries that do not belong (19, 20) -----------------------------------

// Changes the database behind the store's back. REQUIRES: the store is closed.
void Tamper(const std::string& path,
            const std::function<void(EntryTable&, rocksdb::WriteBatch&)>& change) {
  std::unique_ptr<EntryTable> table;
  rocksdb::Status s = EntryTable::Open(path + "/db", {}, &table);
  ASSERT_TRUE(s.ok()) << s.ToString();
  rocksdb::WriteBatch batch;
  change(*table, batch);
  s = table->Write(batch, true);
  ASSERT_TRUE(s.ok()) << s.ToString();
}

void PutEntry(EntryTable& table, rocksdb::WriteBatch& batch, Position position, Position previous,
              Epoch epoch, const Record& record) {
  const EntryKey key(kLane, position);
  const EncodedHeader header = EncodeHeader(
      key, {.kind = record.kind, .epoch = epoch, .previous = previous, .count = 1}, record);
  table.Put(batch, key, header, record);
}

// A harness whose lane holds "a", "b", "c" by one owner, and is closed; the file
// that the mark watches changes when tampered with, so it starts a new one.
struct Tampered {
  Tampered() {
    contract::Driver drive(h);
    Held held = drive.Acquire(kLane);
    epoch = held.owner->epoch();
    for (const char* body : {"a", "b", "c"}) {
      at.push_back(drive.Append(*held.owner, MakeRecord(body)).position);
    }
    held.owner.reset();
    h.options().on_damage = [this](std::string why) { damage = std::move(why); };
    h.Close();
  }
  RocksDbHarness h;
  Epoch epoch = 0;
  std::vector<Position> at;
  std::string damage;
};

TEST(RocksDbEntries, OnesOfAnotherEpochAreIgnored) {
  for (const Epoch foreign : {Epoch{0}, Epoch{77}}) {
    Tampered t;
    Tamper(t.h.path(), [&](EntryTable& table, rocksdb::WriteBatch& batch) {
      PutEntry(table, batch, t.at[2] + 1, t.at[2], foreign, MakeRecord("zombie"));
    });
    ASSERT_EQ(t.h.Open(), OpenErr::kNone) << t.h.message();
    Driver drive(t.h);
    EXPECT_THAT(Bodies(drive.Read(kLane, 0).entries), ElementsAre("a", "b", "c"));
    Held held = drive.Acquire(kLane);
    EXPECT_THAT(Bodies(held.replayed), ElementsAre("a", "b", "c"));
    EXPECT_EQ(drive.Append(*held.owner, MakeRecord("d")).err, Err::kOk);
    EXPECT_THAT(Bodies(drive.Read(kLane, 0).entries), ElementsAre("a", "b", "c", "d"));
  }
}

TEST(RocksDbEntries, AMissingOneIsCorrupt) {
  Tampered t;
  Tamper(t.h.path(), [&](EntryTable& table, rocksdb::WriteBatch& batch) {
    table.Delete(batch, Family::kData, kLane, t.at[1], t.at[1] + 1);
  });
  ASSERT_EQ(t.h.Open(), OpenErr::kNone) << t.h.message();
  Driver drive(t.h);
  // What is before it can be read; it is not passed over.
  const Page before = drive.Read(kLane, 0);
  EXPECT_EQ(before.err, Err::kOk);
  EXPECT_THAT(Bodies(before.entries), ElementsAre("a"));
  EXPECT_EQ(drive.Read(kLane, before.next).err, Err::kCorrupt);
  EXPECT_THAT(t.damage, HasSubstr("missing"));
  EXPECT_EQ(drive.Acquire(kLane).err, Err::kCorrupt);
  // Other lanes are served.
  EXPECT_EQ(drive.Acquire({9, 0}).err, Err::kOk);
}

TEST(RocksDbEntries, AChangedOneIsCorrupt) {
  Tampered t;
  Tamper(t.h.path(), [&](EntryTable& table, rocksdb::WriteBatch& batch) {
    // A whole entry, under another's key.
    const EntryKey key(kLane, t.at[2]);
    const Record record = MakeRecord("c");
    table.Put(batch, EntryKey(kLane, t.at[1]),
              EncodeHeader(key, {.epoch = t.epoch, .previous = t.at[0], .count = 1}, record),
              record);
  });
  ASSERT_EQ(t.h.Open(), OpenErr::kNone) << t.h.message();
  Driver drive(t.h);
  EXPECT_EQ(drive.Read(kLane, t.at[1]).err, Err::kCorrupt);
  EXPECT_THAT(t.damage, HasSubstr("checksum"));
  EXPECT_EQ(drive.Acquire(kLane).err, Err::kCorrupt);
}

TEST(RocksDbEntries, AMissingSnapshotOrFenceIsCorrupt) {
  for (const bool fence : {true, false}) {
    Tampered t;
    ASSERT_EQ(t.h.Open(), OpenErr::kNone);
    Position snapshot = 0, fence_at = 0;
    {
      Driver drive(t.h);
      Held held = drive.Acquire(kLane);
      fence_at = t.at[2] + 1;
      snapshot = drive.Append(*held.owner, MakeRecord("s", 0, Kind::kSnapshot)).position;
    }
    t.h.Close();
    Tamper(t.h.path(), [&](EntryTable& table, rocksdb::WriteBatch& batch) {
      if (fence) {
        table.DeleteMeta(batch, FenceKey(kLane, fence_at));
      } else {
        table.Delete(batch, Family::kControl, kLane, snapshot, snapshot + 1);
      }
    });
    ASSERT_EQ(t.h.Open(), OpenErr::kNone) << t.h.message();
    Driver drive(t.h);
    EXPECT_EQ(drive.Acquire(kLane).err, Err::kCorrupt);
    EXPECT_THAT(t.damage, HasSubstr(fence ? "fence" : "snapshot"));
  }
}

// ---- failures --------------------------------------------------------------

class RocksDbFailure : public ::testing::TestWithParam<bool> {};

TEST_P(RocksDbFailure, PoisonsTheStoreAndIsNotRetried) {
  const bool sync = GetParam();
  RocksDbHarness h;
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  Held other = drive.Acquire({4, 0});
  std::atomic<bool> poisoned = false;
  h.store().OnPoisoned([&](const std::string& why) {
    EXPECT_THAT(why, HasSubstr("injected"));
    poisoned = true;
  });
  Fill(drive, *held.owner, 5, 100, Level::kFsync);
  if (sync) {
    h.fs().FailLogSync(1);
  } else {
    h.fs().FailLogAppend(1);
  }
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("unknown"), Level::kFsync).err, Err::kUnknown);
  const int failures = h.fs().failures();
  EXPECT_TRUE(drive.Until([&] { return poisoned.load(); }));
  h.fs().FailLogSync(0);
  h.fs().FailLogAppend(0);
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("x"), Level::kFsync).err, Err::kUnavailable);
  EXPECT_EQ(drive.Append(*other.owner, MakeRecord("x"), Level::kProcess).err, Err::kUnavailable);
  EXPECT_EQ(held.owner->room(), 0u);
  EXPECT_NE(drive.Acquire({5, 0}).err, Err::kOk);
  EXPECT_EQ(h.fs().failures(), failures) << "it was tried again";
  held.owner.reset();
  other.owner.reset();
  // The outcome is found by a new process: wholly there, or not at all.
  h.Reopen();
  Held again = drive.Acquire(kLane);
  ASSERT_EQ(again.err, Err::kOk);
  EXPECT_GE(again.replayed.size(), 5u);
  EXPECT_LE(again.replayed.size(), 6u);
}
INSTANTIATE_TEST_SUITE_P(WriteOrSync, RocksDbFailure, ::testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "Sync" : "Write");
});

// What asked for less than a sync was completed before the sync that failed.
TEST(RocksDbFailures, AWriteThatNeedsNoSyncDoesNotWaitForOne) {
  RocksDbHarness h;
  Driver drive(h);
  Held a = drive.Acquire(kLane), b = drive.Acquire({4, 0});
  // One cycle holds both: the thread is kept busy while they are appended.
  std::promise<void> release;
  auto released = release.get_future().share();
  ASSERT_EQ(a.owner->Append(MakeRecord("busy"), Level::kProcess,
                            [released](Err, Position) { released.wait(); }),
            Err::kOk);
  std::atomic<int> done = 0;
  Err synced = Err::kOk, written = Err::kUnknown, after = Err::kOk;
  a.owner->Append(MakeRecord("s"), Level::kFsync, [&](Err e, Position) { synced = e, ++done; });
  a.owner->Append(MakeRecord("behind it"), Level::kProcess,
                  [&](Err e, Position) { after = e, ++done; });
  b.owner->Append(MakeRecord("w"), Level::kProcess, [&](Err e, Position) { written = e, ++done; });
  h.fs().FailLogSync(1);
  release.set_value();
  ASSERT_TRUE(drive.Until([&] { return done == 3; }));
  EXPECT_EQ(written, Err::kOk);
  EXPECT_EQ(synced, Err::kUnknown);
  EXPECT_EQ(after, Err::kUnknown);
}

// ---- disk ------------------------------------------------------------------

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

TEST(RocksDbDisk, RemovedLanesGiveTheSpaceBack) {
  RocksDbHarness h;
  Driver drive(h);
  {
    Held held = drive.Acquire(kLane);
    Fill(drive, *held.owner, 60, 100'000);
  }
  EXPECT_GT(FolderBytes(h.path(), ".sst"), 3'000'000u);
  EXPECT_EQ(drive.Remove(kLane).err, Err::kOk);
  EXPECT_TRUE(drive.Until([&] { return FolderBytes(h.path(), ".sst") < 1'000'000; }));
}

// ---- life ------------------------------------------------------------------

TEST(RocksDbStore, ClosingCommitsWhatWasAccepted) {
  RocksDbHarness h;
  Driver drive(h);
  std::atomic<int> done = 0;
  {
    Held held = drive.Acquire(kLane);
    for (int i = 0; i < 500; ++i) {
      ASSERT_EQ(held.owner->Append(MakeRecord("x"), Level::kFsync,
                                   [&](Err e, Position) { done += e == Err::kOk ? 1 : 0; }),
                Err::kOk);
    }
  }
  h.Reopen();
  EXPECT_EQ(done, 500);
  EXPECT_EQ(drive.Acquire(kLane).replayed.size(), 500u);
}

TEST(RocksDbStore, ReadsThatAreTooManyAreRefused) {
  RocksDbHarness h;
  h.Close();
  h.options().read_threads = 1;
  h.options().max_waiting_reads = 4;
  ASSERT_EQ(h.Open(), OpenErr::kNone);
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  drive.Append(*held.owner, MakeRecord("x"));
  std::promise<void> release;
  auto released = release.get_future().share();
  std::atomic<int> ok = 0, refused = 0;
  h.store().Read(kLane, 0, 1, [&, released](Err, const std::vector<Entry>&, Position) {
    released.wait();
    ++ok;
  });
  for (int i = 0; i < 20; ++i) {
    h.store().Read(kLane, 0, 1, [&](Err e, const std::vector<Entry>&, Position) {
      ++(e == Err::kOverloaded ? refused : ok);
    });
  }
  EXPECT_TRUE(drive.Until([&] { return refused >= 15; }));
  release.set_value();
  EXPECT_TRUE(drive.Until([&] { return ok + refused == 21; }));
  EXPECT_GE(ok, 4);
}

TEST(RocksDbStore, ManyPendingAppendsShareASync) {
  RocksDbHarness h;
  Driver drive(h);
  std::vector<Held> held;
  for (uint32_t i = 0; i < 10; ++i) held.push_back(drive.Acquire({i, 0}));
  const StoreStats before = h.store().stats();
  std::promise<void> release;
  auto released = release.get_future().share();
  std::atomic<int> done = 0;
  held[0].owner->Append(MakeRecord("busy"), Level::kProcess,
                        [released](Err, Position) { released.wait(); });
  for (int i = 0; i < 1000; ++i) {
    held[static_cast<size_t>(i) % 10].owner->Append(MakeRecord("x"), Level::kFsync,
                                                    [&](Err, Position) { ++done; });
  }
  release.set_value();
  EXPECT_TRUE(drive.Until([&] { return done == 1000; }));
  const StoreStats after = h.store().stats();
  EXPECT_LE(after.syncs_total - before.syncs_total, 3u);
  EXPECT_LE(after.commits_total - before.commits_total, 4u);
  EXPECT_GT(after.live_bytes, 0u);
}

}  // namespace
}  // namespace spillway::storage
