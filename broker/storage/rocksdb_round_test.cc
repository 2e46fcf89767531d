// Who commits what was appended in a round.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "broker/storage/rocksdb_harness.h"
#include "broker/storage/rocksdb_store.h"

namespace spillway::storage {
namespace {

using contract::Driver;
using contract::Held;
using contract::MakeRecord;

// A round of one record; whether it was complete when the round had ended, on this
// thread.
bool CommitsHere(Driver& drive, LogStore& store, Owner& owner, const Record& record, Level level,
                 bool may_wait) {
  std::atomic<int> completed = 0;
  std::atomic<bool> here = false;
  store.BeginRound();
  const Err err =
      owner.Append(record, level, [&, caller = std::this_thread::get_id()](Err err, Position) {
        EXPECT_EQ(err, Err::kOk);
        here = std::this_thread::get_id() == caller;
        ++completed;
      });
  EXPECT_EQ(err, Err::kOk);
  store.EndRound(may_wait);
  const bool at_once = completed == 1 && here;
  EXPECT_TRUE(drive.Until([&] { return completed == 1; }));
  return at_once;
}

TEST(RocksDbRounds, ALittleIsCommittedByWhoAppendedIt) {
  for (const Level level : {Level::kProcess, Level::kFsync}) {
    RocksDbHarness h;
    Driver drive(h);
    Held held = drive.Acquire(kLane);
    // The thread may be at something of its own, as what it did for the acquire, and a
    // busy machine may make a sync slow.
    EXPECT_TRUE(drive.Until([&] {
      const StoreStats before = h.store().stats();
      if (!CommitsHere(drive, h.store(), *held.owner, MakeRecord("x"), level, true)) return false;
      const StoreStats after = h.store().stats();
      return after.commits_total - before.commits_total == 1 &&
             after.syncs_total - before.syncs_total == (level == Level::kFsync ? 1 : 0);
    }));
  }
}

TEST(RocksDbRounds, WhoMustNotWaitLeavesItToTheThread) {
  RocksDbHarness h;
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(
        CommitsHere(drive, h.store(), *held.owner, MakeRecord("x"), Level::kProcess, false));
  }
}

TEST(RocksDbRounds, MuchIsLeftToTheThread) {
  RocksDbHarness h;
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  const Record large = MakeRecord(std::string(256 << 10, 'l'));
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(CommitsHere(drive, h.store(), *held.owner, large, Level::kProcess, true));
  }
}

// A disk that is slow holds up what waits for it, and nobody else.
TEST(RocksDbRounds, ASlowSyncIsLeftToTheThread) {
  RocksDbHarness h;
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  h.fs().DelayLogSyncs(std::chrono::milliseconds(2));
  ASSERT_EQ(drive.Append(*held.owner, MakeRecord("x"), Level::kFsync).err, Err::kOk);
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(CommitsHere(drive, h.store(), *held.owner, MakeRecord("x"), Level::kFsync, true));
  }
  // What needs no sync is not held up by it.
  EXPECT_TRUE(drive.Until([&] {
    return CommitsHere(drive, h.store(), *held.owner, MakeRecord("x"), Level::kProcess, true);
  }));
  // The thread finds out when it is quick again.
  h.fs().DelayLogSyncs({});
  EXPECT_TRUE(drive.Until([&] {
    return CommitsHere(drive, h.store(), *held.owner, MakeRecord("x"), Level::kFsync, true);
  }));
}

// Writes that had to wait for a flush are no reason any more once it has ended.
TEST(RocksDbRounds, ALittleIsCommittedByWhoAppendedItAfterAStall) {
  RocksDbHarness h;
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  h.fs().HoldTables(true);
  constexpr int kRecords = 60;  // of more memtables than there may be
  std::atomic<int> completed = 0;
  const Record record = MakeRecord(std::string(100'000, 's'));
  for (int i = 0; i < kRecords; ++i) {
    ASSERT_EQ(held.owner->Append(record, Level::kProcess, [&](Err, Position) { ++completed; }),
              Err::kOk);
  }
  ASSERT_TRUE(drive.Until([&] { return completed > 10; }));
  EXPECT_LT(completed, kRecords);
  h.fs().HoldTables(false);
  ASSERT_TRUE(drive.Until([&] { return completed == kRecords; }));
  EXPECT_TRUE(drive.Until([&] {
    return CommitsHere(drive, h.store(), *held.owner, MakeRecord("x"), Level::kProcess, true);
  }));
}

TEST(RocksDbRounds, AFailedCommitPoisonsTheStore) {
  RocksDbHarness h;
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  std::atomic<bool> told = false;
  h.store().OnPoisoned([&](const std::string&) { told = true; });
  EXPECT_TRUE(drive.Until([&] {
    return CommitsHere(drive, h.store(), *held.owner, MakeRecord("x"), Level::kFsync, true);
  }));
  h.fs().FailLogSync(1);
  std::atomic<int> failed = 0;
  h.store().BeginRound();
  ASSERT_EQ(held.owner->Append(MakeRecord("x"), Level::kFsync,
                               [&](Err err, Position) { failed += err == Err::kUnknown ? 1 : 0; }),
            Err::kOk);
  h.store().EndRound(true);
  EXPECT_TRUE(drive.Until([&] { return failed == 1 && told.load(); }));
  EXPECT_EQ(held.owner->Append(MakeRecord("x"), Level::kProcess, [](Err, Position) {}),
            Err::kUnavailable);
}

// Rounds of several threads, now committed by one of them and now by the store's own:
// nothing is left behind, and each lane's entries stay in order.
TEST(RocksDbRounds, NothingIsLeftBehindWhereRoundsOverlap) {
  constexpr int kThreads = 3;
  constexpr int kRounds = 400;
  RocksDbHarness h;
  Driver drive(h);
  struct Lane {
    Held held;
    int appended = 0;
    std::atomic<int> completed = 0;
    Position last = 0;
  };
  std::vector<Lane> lanes(kThreads);
  for (uint32_t i = 0; i < kThreads; ++i) lanes[i].held = drive.Acquire({i, 0});
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (Lane& lane : lanes) {
    threads.emplace_back([&h, &lane] {
      for (int round = 0; round < kRounds; ++round) {
        h.store().BeginRound();
        for (int i = round % 3; i >= 0; --i) {
          const Level level = round % 7 == 0 ? Level::kFsync : Level::kProcess;
          const int nth = lane.appended++;
          EXPECT_EQ(lane.held.owner->Append(MakeRecord("x"), level,
                                            [&lane, nth](Err err, Position position) {
                                              EXPECT_EQ(err, Err::kOk);
                                              EXPECT_GT(position, lane.last);
                                              lane.last = position;
                                              EXPECT_EQ(lane.completed++, nth);
                                            }),
                    Err::kOk);
        }
        h.store().EndRound(round % 5 != 0);
        // Nothing else will wake anyone for what this round left.
        if (round % 11 == 0) {
          while (lane.completed < lane.appended) std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Lane& lane : lanes) {
    EXPECT_TRUE(drive.Until([&] { return lane.completed == lane.appended; }));
  }
}

}  // namespace
}  // namespace spillway::storage
