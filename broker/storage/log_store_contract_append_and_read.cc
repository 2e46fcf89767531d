// What is appended is completed in order, within limits, and can be read.
#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "broker/storage/callback_slot.h"
#include "broker/storage/log_store_contract.h"

namespace spillway::storage::contract {

using ::testing::ElementsAre;

namespace {

thread_local int inside_append = 0;

}  // namespace

// ---- 2: completions --------------------------------------------------------

TEST_P(LogStoreContract, CompletionsComeOnceInOrderAndNeverInsideTheCall) {
  Start({.max_pending_bytes = size_t{64} << 20});
  Held a = drive().Acquire(kLane), b = drive().Acquire(kOther);
  ASSERT_TRUE(a.owner && b.owner);
  struct Log {
    std::mutex mu;
    std::map<LaneId, std::vector<std::pair<int, Position>>> done;
    size_t count = 0;
    bool inside = false;
  };
  auto log = std::make_shared<Log>();
  constexpr int kEach = 1500;
  for (int i = 0; i < kEach; ++i) {
    for (auto [lane, owner] : {std::pair{kLane, a.owner.get()}, {kOther, b.owner.get()}}) {
      const Level level = (i * 7 + lane.partition) % 3 == 0 ? Level::kFsync : Level::kProcess;
      ++inside_append;
      const Err err = owner->Append(MakeRecord(std::to_string(i)), level,
                                    [log, i, lane = lane](Err err, Position p) {
                                      EXPECT_EQ(err, Err::kOk);
                                      std::lock_guard lock(log->mu);
                                      log->inside |= inside_append > 0;
                                      log->done[lane].push_back({i, p});
                                      ++log->count;
                                    });
      --inside_append;
      ASSERT_EQ(err, Err::kOk);
    }
  }
  ASSERT_TRUE(drive().Until([&] {
    std::lock_guard lock(log->mu);
    return log->count == 2 * kEach;
  }));
  EXPECT_FALSE(log->inside);
  for (const auto& [lane, done] : log->done) {
    ASSERT_EQ(done.size(), static_cast<size_t>(kEach));
    for (int i = 0; i < kEach; ++i) {
      ASSERT_EQ(done[i].first, i);
      ASSERT_TRUE(i == 0 || done[i].second > done[i - 1].second);
    }
  }
  EXPECT_EQ(store().stats().pending_bytes, 0u);
}

// ---- 13, 21: limits --------------------------------------------------------

TEST_P(LogStoreContract, TheLargestRecordFitsAndOneByteMoreDoesNot) {
  Start({.max_pending_bytes = size_t{1} << 20, .max_record_bytes = size_t{2} << 20});
  Held h = drive().Acquire(kLane);
  const size_t largest = store().capabilities().max_record_bytes;
  ASSERT_EQ(largest, size_t{2} << 20);
  // Taken though it alone is more than what may be pending.
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord(std::string(largest, 'L'))).err, Err::kOk);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord(std::string(largest + 1, 'M'))).err,
            Err::kTooLarge);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("after")).err, Err::kOk);
  const Page page = drive().Read(kLane, 0);
  ASSERT_EQ(page.entries.size(), 2u);
  EXPECT_EQ(page.entries[0].body.view(), std::string(largest, 'L'));
  EXPECT_EQ(page.entries[1].body.view(), "after");
}

TEST_P(LogStoreContract, OverloadedHasNoEffectAndDrains) {
  Start({.max_pending_bytes = size_t{256} << 10});
  Held h = drive().Acquire(kLane);
  EXPECT_EQ(h.owner->room(), size_t{256} << 10);
  const std::string body(size_t{32} << 10, 'x');
  auto completed = std::make_shared<std::atomic<int>>(0);
  // Nothing completes before one was refused, however fast the store is.
  std::promise<void> refusal;
  const std::shared_future<void> was_refused = refusal.get_future().share();
  int accepted = 0, refused = 0;
  for (int i = 0; i < 2000 && refused == 0; ++i) {
    const Err err = h.owner->Append(MakeRecord(body, static_cast<Offset>(accepted)), Level::kFsync,
                                    [completed, was_refused](Err err, Position) {
                                      was_refused.wait();
                                      EXPECT_EQ(err, Err::kOk);
                                      ++*completed;
                                    });
    if (err == Err::kOk) {
      ++accepted;
    } else {
      EXPECT_EQ(err, Err::kOverloaded);
      ++refused;
    }
  }
  refusal.set_value();
  EXPECT_EQ(refused, 1) << "the store took everything";
  Slot<bool> drained;
  h.owner->OnDrain([drained]() mutable { drained.Set(true); });
  ASSERT_TRUE(drive().Until([&] { return drained.ready(); }));
  EXPECT_GE(h.owner->room(), size_t{128} << 10);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("last", static_cast<Offset>(accepted))).err,
            Err::kOk);
  EXPECT_EQ(*completed, accepted);
  const Page page = drive().Read(kLane, 0);
  ASSERT_EQ(page.entries.size(), static_cast<size_t>(accepted) + 1);
  for (size_t i = 0; i < page.entries.size(); ++i) EXPECT_EQ(page.entries[i].base_offset, i);
}

TEST_P(LogStoreContract, OnDrainWithRoomIsCalledSoon) {
  Start();
  Held h = drive().Acquire(kLane);
  Slot<bool> drained;
  h.owner->OnDrain([drained]() mutable { drained.Set(true); });
  EXPECT_TRUE(drive().Until([&] { return drained.ready(); }));
}

TEST_P(LogStoreContract, ALevelThatIsNotReachedIsRefused) {
  Start();
  Held h = drive().Acquire(kLane);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("x"), Level::kQuorumFsync).err,
            Err::kMisconfigured);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("x", 0, Kind::kFence)).err, Err::kMisconfigured);
}

// ---- 14: barrier -----------------------------------------------------------

TEST_P(LogStoreContract, BarrierFollowsWhatWasAppended) {
  Start();
  Held h = drive().Acquire(kLane);
  auto done = std::make_shared<std::atomic<int>>(0);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(h.owner->Append(MakeRecord("x"), i % 2 != 0 ? Level::kFsync : Level::kProcess,
                              [done](Err, Position) { ++*done; }),
              Err::kOk);
  }
  Slot<int> at_barrier;
  h.owner->Barrier([done, at_barrier](Err err, Position) mutable {
    EXPECT_EQ(err, Err::kOk);
    at_barrier.Set(*done);
  });
  ASSERT_TRUE(drive().Until([&] { return at_barrier.ready(); }));
  EXPECT_EQ(at_barrier.Take(), 100);
}

// ---- reading ---------------------------------------------------------------

TEST_P(LogStoreContract, ReadGoesPageByPage) {
  Start();
  Held h = drive().Acquire(kLane);
  for (int i = 0; i < 25; ++i) {
    drive().Append(*h.owner,
                   MakeRecord(std::string(100, static_cast<char>('a' + i)), static_cast<Offset>(i)),
                   Level::kProcess);
    if (i % 5 == 0) {
      drive().Append(*h.owner, MakeRecord("control", 0, Kind::kControl), Level::kProcess);
    }
  }
  Offset expected = 0;
  Position from = 0;
  for (;;) {
    const Page page = drive().Read(kLane, from, 350);
    ASSERT_EQ(page.err, Err::kOk);
    if (page.entries.empty()) {
      EXPECT_EQ(page.next, from);
      break;
    }
    EXPECT_LE(page.entries.size(), 3u);
    for (const Entry& e : page.entries) {
      EXPECT_EQ(e.kind, Kind::kData);
      EXPECT_EQ(e.base_offset, expected++);
      EXPECT_GE(e.position, from);
    }
    EXPECT_GT(page.next, page.entries.back().position);
    from = page.next;
  }
  EXPECT_EQ(expected, 25u);
  // At least one entry, however small the page.
  EXPECT_EQ(drive().Read(kLane, 0, 1).entries.size(), 1u);
  EXPECT_EQ(drive().Read(kLane, 0, 0).entries.size(), 1u);
  // What comes later is found where the end was.
  drive().Append(*h.owner, MakeRecord("later"), Level::kProcess);
  EXPECT_THAT(Bodies(drive().Read(kLane, from).entries), ElementsAre("later"));
}

TEST_P(LogStoreContract, ReadNeedsNoOwner) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("x"));
  }
  harness_->Reopen();
  EXPECT_THAT(Bodies(drive().Read(kLane, 0).entries), ElementsAre("x"));
}

}  // namespace spillway::storage::contract
