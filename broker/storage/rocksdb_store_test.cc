#include "broker/storage/rocksdb_store.h"

#include <atomic>
#include <future>
#include <string>
#include <vector>

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

using contract::Driver;
using contract::Held;
using contract::MakeRecord;

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
  held.reserve(10);
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

// A lane that has much to write does not make another one wait for all of it.
TEST(RocksDbStore, ALaneWaitsForNoMoreThanAShareOfAnother) {
  for (const Level level : {Level::kProcess, Level::kFsync}) {
    RocksDbHarness h;
    Driver drive(h);
    Held many = drive.Acquire(kLane), one = drive.Acquire({4, 0});
    // The thread is kept busy while all is appended.
    std::promise<void> busy, release;
    auto released = release.get_future().share();
    ASSERT_EQ(many.owner->Append(MakeRecord("busy"), Level::kProcess,
                                 [&busy, released](Err, Position) {
                                   busy.set_value();
                                   released.wait();
                                 }),
              Err::kOk);
    busy.get_future().wait();
    constexpr int kMany = 60;
    std::atomic<int> written = 0, before = -1;
    for (int i = 0; i < kMany; ++i) {
      ASSERT_EQ(many.owner->Append(MakeRecord(std::string(64 << 10, 'm')), level,
                                   [&, i](Err err, Position) {
                                     EXPECT_EQ(err, Err::kOk);
                                     EXPECT_EQ(written++, i) << "a lane's entries are in order";
                                   }),
                Err::kOk);
    }
    ASSERT_EQ(one.owner->Append(MakeRecord("one"), level,
                                [&](Err err, Position) {
                                  EXPECT_EQ(err, Err::kOk);
                                  before = written.load();
                                }),
              Err::kOk);
    release.set_value();
    ASSERT_TRUE(drive.Until([&] { return written == kMany && before >= 0; }));
    EXPECT_LE(before, level == Level::kFsync ? 16 : 5);
  }
}

}  // namespace
}  // namespace spillway::storage
