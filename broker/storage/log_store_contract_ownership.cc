// A lane has one owner, and no lane waits for another.
#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "broker/storage/callback_slot.h"
#include "broker/storage/log_store_contract.h"

namespace spillway::storage::contract {

using ::testing::ElementsAre;

// ---- 5 to 11: ownership ----------------------------------------------------

TEST_P(LogStoreContract, AcquireStealsFromALiveOwner) {
  Start();
  Held old = drive().Acquire(kLane);
  ASSERT_EQ(drive().Append(*old.owner, MakeRecord("old")).err, Err::kOk);
  Slot<bool> lost;
  old.owner->OnLost([lost]() mutable { lost.Set(true); });
  Held fresh = drive().Acquire(kLane);
  ASSERT_EQ(fresh.err, Err::kOk);
  EXPECT_GT(fresh.owner->epoch(), old.owner->epoch());
  EXPECT_TRUE(drive().Until([&] { return lost.ready(); }));
  EXPECT_EQ(drive().Append(*old.owner, MakeRecord("zombie")).err, Err::kFenced);
  EXPECT_EQ(drive().Barrier(*old.owner).err, Err::kFenced);
  EXPECT_EQ(drive().Append(*fresh.owner, MakeRecord("new")).err, Err::kOk);
  fresh.owner.reset();
  EXPECT_THAT(Bodies(drive().Acquire(kLane).replayed), ElementsAre("old", "new"));
}

TEST_P(LogStoreContract, OnLostAfterTheLossIsCalledToo) {
  Start();
  Held old = drive().Acquire(kLane);
  Held fresh = drive().Acquire(kLane);
  ASSERT_EQ(drive().Barrier(*old.owner).err, Err::kFenced);
  Slot<bool> lost;
  old.owner->OnLost([lost]() mutable { lost.Set(true); });
  EXPECT_TRUE(drive().Until([&] { return lost.ready(); }));
}

// 6, 7, 8, 18: an owner with appends in flight is robbed of its lane, 50 times.
TEST_P(LogStoreContract, NothingPassesTheFence) {
  Start();
  Held h = drive().Acquire(kLane);
  ASSERT_TRUE(h.owner);
  size_t confirmed_before = 0;
  for (int round = 0; round < 50; ++round) {
    struct Log {
      std::mutex mu;
      std::vector<std::pair<std::string, Completed>> done;
    };
    auto log = std::make_shared<Log>();
    int accepted = 0;
    Slot<Held> slot;
    for (int i = 0; i < 30; ++i) {
      const std::string body = std::to_string(round) + "." + std::to_string(i);
      const Err err =
          h.owner->Append(MakeRecord(body), i % 3 == 0 ? Level::kFsync : Level::kProcess,
                          [log, body](Err err, Position p) {
                            std::lock_guard lock(log->mu);
                            log->done.push_back({body, {err, p}});
                          });
      accepted += err == Err::kOk ? 1 : 0;
      if (i == (round % 29)) {
        auto entries = std::make_shared<std::vector<Entry>>();
        store().Acquire(
            kLane,
            [entries](const Entry& e) {
              entries->push_back(e);
              return true;
            },
            [slot, entries](Err err, std::unique_ptr<Owner> owner) mutable {
              slot.Set({err, std::move(owner), std::move(*entries)});
            });
        if (round % 2 != 0) std::this_thread::sleep_for(std::chrono::microseconds(round * 20));
      }
    }
    ASSERT_TRUE(drive().Until([&] {
      std::lock_guard lock(log->mu);
      return slot.ready() && log->done.size() == static_cast<size_t>(accepted);
    }));
    Held next = slot.Take();
    ASSERT_EQ(next.err, Err::kOk);
    std::vector<std::string> confirmed;
    bool failed = false;
    for (const auto& [body, c] : log->done) {
      if (c.err == Err::kOk) {
        EXPECT_FALSE(failed) << "confirmed after a failure";
        confirmed.push_back(body);
      } else {
        EXPECT_EQ(c.err, Err::kFenced);
        failed = true;
      }
    }
    // The new owner was given exactly what was, or will be, confirmed.
    const std::vector<std::string> replayed = Bodies(next.replayed);
    ASSERT_EQ(replayed.size(), confirmed_before + confirmed.size());
    EXPECT_TRUE(std::equal(confirmed.begin(), confirmed.end(),
                           replayed.begin() + static_cast<ptrdiff_t>(confirmed_before)));
    confirmed_before = replayed.size();
    h.owner->Append(MakeRecord("state of a zombie", 0, Kind::kSnapshot), Level::kFsync,
                    [](Err err, Position) { EXPECT_NE(err, Err::kOk); });
    h = std::move(next);
  }
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("the owner is well")).err, Err::kOk);
}

TEST_P(LogStoreContract, OfRacingAcquiresOneSurvives) {
  Start();
  for (int round = 0; round < 10; ++round) {
    std::vector<Slot<Held>> slots(4);
    for (auto& slot : slots) {
      store().Acquire(
          kLane, [](const Entry&) { return true; },
          [slot](Err err, std::unique_ptr<Owner> owner) mutable {
            slot.Set({err, std::move(owner), {}});
          });
    }
    std::vector<Held> held;
    for (auto& slot : slots) {
      ASSERT_TRUE(drive().Until([&] { return slot.ready(); }));
      held.push_back(slot.Take());
    }
    std::set<Epoch> epochs;
    Epoch highest = 0, survivor = 0;
    int alive = 0;
    for (Held& h : held) {
      EXPECT_TRUE(h.err == Err::kOk || h.err == Err::kFenced);
      if (!h.owner) continue;
      EXPECT_TRUE(epochs.insert(h.owner->epoch()).second);
      highest = std::max(highest, h.owner->epoch());
      if (drive().Append(*h.owner, MakeRecord("x"), Level::kProcess).err == Err::kOk) {
        ++alive;
        survivor = h.owner->epoch();
      }
    }
    EXPECT_EQ(alive, 1);
    EXPECT_EQ(survivor, highest);
  }
}

TEST_P(LogStoreContract, TwentyStealsInARow) {
  Start();
  Epoch last = 0;
  for (size_t i = 0; i < 20; ++i) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    EXPECT_GT(h.owner->epoch(), last);
    last = h.owner->epoch();
    EXPECT_EQ(h.replayed.size(), i);
    EXPECT_EQ(drive().Append(*h.owner, MakeRecord(std::to_string(i))).err, Err::kOk);
  }
}

TEST_P(LogStoreContract, EpochsRiseAcrossLanesAndReopenings) {
  Start();
  std::set<Epoch> seen;
  for (int i = 0; i < 6; ++i) {
    const LaneId lane = i % 2 != 0 ? kLane : kOther;
    Held h = drive().Acquire(lane);
    ASSERT_EQ(h.err, Err::kOk);
    EXPECT_TRUE(seen.empty() || h.owner->epoch() > *seen.rbegin());
    seen.insert(h.owner->epoch());
    h.owner.reset();
    if (i % 3 == 2) harness_->Reopen();
  }
}

TEST_P(LogStoreContract, AfterTheFirstErrorAllAreRefused) {
  Start();
  Held old = drive().Acquire(kLane);
  Held fresh = drive().Acquire(kLane);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(drive().Append(*old.owner, MakeRecord("late"), Level::kProcess).err, Err::kFenced);
  }
}

// ---- 24: lanes do not wait for each other ----------------------------------

TEST_P(LogStoreContract, AStuckLaneDoesNotHoldTheOthers) {
  Start();
  if (!harness_->parallel()) GTEST_SKIP() << "the store does one thing at a time";
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("x"));
  }
  std::promise<void> release;
  auto released = release.get_future().share();
  Slot<Held> stuck;
  store().Acquire(
      kLane,
      [released](const Entry&) {
        released.wait();
        return true;
      },
      [stuck](Err err, std::unique_ptr<Owner> owner) mutable {
        stuck.Set({err, std::move(owner), {}});
      });
  Held other = drive().Acquire(kOther);
  EXPECT_EQ(other.err, Err::kOk);
  EXPECT_EQ(drive().Append(*other.owner, MakeRecord("goes on")).err, Err::kOk);
  EXPECT_FALSE(stuck.ready());
  release.set_value();
  EXPECT_TRUE(drive().Until([&] { return stuck.ready(); }));
}

}  // namespace spillway::storage::contract
