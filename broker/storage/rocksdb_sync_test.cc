// Syncs beside the commits of those who need none.
#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {
namespace {

using contract::Driver;
using contract::Held;
using contract::MakeRecord;

// Two lanes: what `live` appends needs no sync, some of what `kept` appends does.
struct TwoLanes {
  RocksDbHarness h;
  Driver drive{h};
  Held kept = drive.Acquire(kLane), live = drive.Acquire({4, 0});
  std::mutex mu;
  std::vector<std::pair<int, Err>> completed;  // guarded by mu; of `kept`, by number

  void Keep(int number, Level level) {
    EXPECT_EQ(kept.owner->Append(MakeRecord("k" + std::to_string(number)), level,
                                 [this, number](Err err, Position) {
                                   const std::lock_guard lock(mu);
                                   completed.emplace_back(number, err);
                                 }),
              Err::kOk);
  }
  std::vector<std::pair<int, Err>> Completed() {
    const std::lock_guard lock(mu);
    return completed;
  }
  Err Live() { return drive.Append(*live.owner, MakeRecord("live"), Level::kProcess).err; }
};

TEST(RocksDbSyncs, OneHoldsUpItsLaneAlone) {
  TwoLanes t;
  ASSERT_EQ(t.Live(), Err::kOk);
  t.h.fs().HoldLogSyncs(true);
  t.Keep(1, Level::kProcess);
  t.Keep(2, Level::kFsync);
  t.Keep(3, Level::kProcess);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(t.Live(), Err::kOk);
    t.Keep(4 + i, i % 2 == 0 ? Level::kFsync : Level::kProcess);
  }
  using Results = std::vector<std::pair<int, Err>>;
  ASSERT_TRUE(t.drive.Until([&] { return !t.Completed().empty(); }));
  EXPECT_EQ(t.Completed(), (Results{{1, Err::kOk}})) << "it was before what waits";
  t.h.fs().HoldLogSyncs(false);
  ASSERT_TRUE(t.drive.Until([&] { return t.Completed().size() == 8; }));
  Results all;
  for (int i = 1; i <= 8; ++i) all.emplace_back(i, Err::kOk);
  EXPECT_EQ(t.Completed(), all);
}

TEST(RocksDbSyncs, WhatItMadeDurableOutlivesTheMachine) {
  TwoLanes t;
  ASSERT_EQ(t.Live(), Err::kOk);
  t.Keep(1, Level::kFsync);
  t.Keep(2, Level::kFsync);
  ASSERT_TRUE(t.drive.Until([&] { return t.Completed().size() == 2; }));
  ASSERT_EQ(t.Live(), Err::kOk);
  t.kept.owner.reset();
  t.live.owner.reset();
  ASSERT_TRUE(t.h.Crash(Level::kFsync));
  Driver again(t.h);
  EXPECT_EQ(again.Acquire(kLane).replayed.size(), 2u);
}

TEST(RocksDbSyncs, OneThatFailsPoisonsTheStore) {
  TwoLanes t;
  ASSERT_EQ(t.Live(), Err::kOk);
  std::atomic<bool> told = false;
  t.h.store().OnPoisoned([&](const std::string&) { told = true; });
  t.h.fs().FailLogSync(1);
  t.Keep(1, Level::kFsync);
  ASSERT_TRUE(t.drive.Until([&] { return t.Completed().size() == 1 && told; }));
  EXPECT_EQ(t.Completed()[0].second, Err::kUnknown);
  EXPECT_EQ(t.Live(), Err::kUnavailable);
}

// What was written meanwhile and needs no sync is not told to be there: what its lane
// holds before it is not known.
TEST(RocksDbSyncs, WhatFollowsOneThatFailsFailsWithIt) {
  TwoLanes t;
  ASSERT_EQ(t.Live(), Err::kOk);
  t.h.fs().HoldLogSyncs(true);
  t.h.fs().FailLogSync(1);
  const int before = t.h.fs().log_syncs();
  t.Keep(1, Level::kFsync);
  ASSERT_TRUE(t.drive.Until([&] { return t.h.fs().log_syncs() > before; }));
  t.Keep(2, Level::kProcess);
  ASSERT_EQ(t.Live(), Err::kOk) << "all before it is written";
  t.h.fs().HoldLogSyncs(false);
  ASSERT_TRUE(t.drive.Until([&] { return t.Completed().size() == 2; }));
  for (const auto& [number, err] : t.Completed()) EXPECT_EQ(err, Err::kUnknown) << number;
}

TEST(RocksDbSyncs, TheEndWaitsForOne) {
  TwoLanes t;
  ASSERT_EQ(t.Live(), Err::kOk);
  t.h.fs().HoldLogSyncs(true);
  t.Keep(1, Level::kFsync);
  t.kept.owner.reset();
  t.live.owner.reset();
  std::thread end([&] { t.h.Reopen(); });
  EXPECT_TRUE(t.Completed().empty());
  t.h.fs().HoldLogSyncs(false);
  end.join();
  ASSERT_EQ(t.Completed().size(), 1u);
  EXPECT_EQ(t.Completed()[0].second, Err::kOk);
}

}  // namespace
}  // namespace spillway::storage
