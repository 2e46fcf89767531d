// Writes and syncs that fail.
#include <atomic>
#include <future>
#include <string>

#include <gmock/gmock.h>

#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {

namespace {

using contract::Driver;
using contract::Held;
using contract::MakeRecord;
using ::testing::HasSubstr;

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
  std::promise<void> busy;
  std::promise<void> release;
  auto released = release.get_future().share();
  ASSERT_EQ(a.owner->Append(MakeRecord("busy"), Level::kProcess,
                            [&busy, released](Err, Position) {
                              busy.set_value();
                              released.wait();
                            }),
            Err::kOk);
  busy.get_future().wait();
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

}  // namespace
}  // namespace spillway::storage
