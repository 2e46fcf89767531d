// What was durable must be there when a store is opened again.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>

#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {

namespace {

using contract::Bodies;
using contract::Completed;
using contract::Driver;
using contract::Held;
using contract::MakeRecord;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

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

// A snapshot stands for what is trimmed after it. Where a power failure takes it back,
// what it stood for is there again: the replay begins with a snapshot and ends before
// what is lost, without a hole.
TEST(RocksDbRecovery, PowerFailuresTakeASnapshotAndItsTrimTogether) {
  const uint64_t first = Amount("SPILLWAY_SEED", 1);
  const uint64_t last = first + Amount("SPILLWAY_POWER_FAILURES", 60) / 3;
  for (uint64_t seed = first; seed < last; ++seed) {
    RocksDbHarness h({}, seed);
    Driver drive(h);
    Random random(seed);
    for (int crash = 0; crash < 3; ++crash) {
      Held held = drive.Acquire(kLane);
      ASSERT_EQ(held.err, Err::kOk) << seed;
      Offset next = 0;
      for (const Entry& entry : held.replayed) {
        if (entry.kind == Kind::kSnapshot) {
          next = std::stoull(std::string(entry.body.view()));
        } else {
          ASSERT_EQ(entry.base_offset, next++) << seed;
        }
      }
      for (uint64_t n = 20 + random.Below(160); n > 0; --n) {
        const std::string body(100'000, static_cast<char>('a' + random.Below(26)));
        ASSERT_EQ(drive.Append(*held.owner, MakeRecord(body, next++), Level::kProcess).err,
                  Err::kOk);
        if (random.Below(40) != 0) continue;
        const Completed snapshot = drive.Append(
            *held.owner, MakeRecord(std::to_string(next), 0, Kind::kSnapshot), Level::kProcess);
        ASSERT_EQ(drive.Trim(*held.owner, snapshot.position).err, Err::kOk);
      }
      held.owner.reset();
      h.Crash(Level::kFsync);
    }
  }
}

}  // namespace
}  // namespace spillway::storage
