#include "broker/credit/memory_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "broker/base/random.h"

namespace spillway::credit {
namespace {

using Level = MemoryBudget::Level;
using Pool = MemoryBudget::Pool;

TEST(MemoryBudget, AShareIsGivenBackOnce) {
  MemoryBudget budget(1'000);
  {
    MemoryBudget::Share a(&budget);
    a.Set(300);
    MemoryBudget::Share b(std::move(a));
    EXPECT_EQ(budget.used_bytes(), 300u);
    MemoryBudget::Share c(&budget, Pool::kFrames);
    c.Set(100);
    EXPECT_EQ(budget.used_bytes(Pool::kFrames), 100u);
    c = std::move(b);  // gives its 100 back, and holds the 300 of the other pool
    EXPECT_EQ(budget.used_bytes(Pool::kFrames), 0u);
    EXPECT_EQ(budget.used_bytes(Pool::kWindow), 300u);
    c.Set(200);
    EXPECT_EQ(budget.used_bytes(), 200u);
  }
  EXPECT_EQ(budget.used_bytes(), 0u);
  EXPECT_EQ(budget.high_water_bytes(), 400u);
}

TEST(MemoryBudget, HeadroomShrinksFrom70PercentToNothingAt95) {
  MemoryBudget budget(1'000);
  MemoryBudget::Share share(&budget);
  EXPECT_EQ(budget.headroom_bytes(), 950u);
  share.Set(700);
  EXPECT_EQ(budget.headroom_bytes(), 250u);
  share.Set(825);  // half of the way: half of what is left
  EXPECT_EQ(budget.headroom_bytes(), 62u);
  uint64_t last = 250;
  for (uint64_t used = 700; used < 1'200; ++used) {
    share.Set(used);
    EXPECT_LE(budget.headroom_bytes(), last);
    last = budget.headroom_bytes();
    EXPECT_TRUE(last == 0 || used + last <= 950);
  }
  EXPECT_EQ(last, 0u);
}

TEST(MemoryBudget, LevelsAreLeftTenPointsLower) {
  MemoryBudget budget(1'000);
  MemoryBudget::Share share(&budget);
  const auto at = [&](uint64_t used) {
    share.Set(used);
    return budget.level();
  };
  EXPECT_EQ(at(699), Level::kNormal);
  EXPECT_EQ(at(700), Level::kWarn);
  EXPECT_EQ(at(600), Level::kWarn);
  EXPECT_EQ(at(599), Level::kNormal);
  EXPECT_EQ(at(950), Level::kStop);
  EXPECT_EQ(at(850), Level::kStop);
  EXPECT_EQ(at(849), Level::kDegrade);
  EXPECT_EQ(at(750), Level::kDegrade);
  EXPECT_EQ(at(749), Level::kWarn);
  EXPECT_EQ(at(0), Level::kNormal);
}

TEST(MemoryBudget, ReservesOnlyWhatStaysBelow95Percent) {
  MemoryBudget budget(1'000);
  auto first = budget.TryReserve(Pool::kCatchUp, 950);
  ASSERT_TRUE(first);
  EXPECT_FALSE(budget.TryReserve(Pool::kCatchUp, 1));
  first.reset();
  EXPECT_TRUE(budget.TryReserve(Pool::kCatchUp, 1));
  EXPECT_FALSE(budget.TryReserve(Pool::kCatchUp, UINT64_MAX));
}

TEST(MemoryBudget, NothingIsPromisedOfNothing) {
  MemoryBudget budget(0);
  EXPECT_EQ(budget.headroom_bytes(), 0u);
  EXPECT_EQ(budget.level(), Level::kNormal);
}

TEST(MemoryBudget, EachOfSeveralThreadsMayPromiseItsPart) {
  MemoryBudget budget(1'000, 2);
  EXPECT_EQ(budget.headroom_bytes(), 475u);
  MemoryBudget::Share share(&budget);
  share.Set(825);
  EXPECT_EQ(budget.headroom_bytes(), 31u);
}

TEST(MemoryBudget, ThreadsTogetherNeverReserveMoreThanThereIs) {
  constexpr uint64_t kLimit = 1'000'000;
  constexpr int kThreads = 4;
  MemoryBudget budget(kLimit, kThreads);
  std::atomic<uint64_t> reserved = 0;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(static_cast<uint64_t>(t));
      const auto pool = static_cast<Pool>(t % 3);
      for (int i = 0; i < 20'000; ++i) {
        const uint64_t bytes = random.Below(kLimit / 2);
        auto share = budget.TryReserve(pool, bytes);
        if (!share) continue;
        reserved += bytes;
        EXPECT_LE(budget.used_bytes(), kLimit / 100 * 95);
        share->Set(bytes / 2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(reserved, kLimit);
  EXPECT_EQ(budget.used_bytes(), 0u);
  for (size_t pool = 0; pool < MemoryBudget::kPools; ++pool) {
    EXPECT_EQ(budget.used_bytes(static_cast<Pool>(pool)), 0u);
  }
  EXPECT_GT(budget.high_water_bytes(), 0u);
  EXPECT_LE(budget.high_water_bytes(), kLimit / 100 * 95);
}

}  // namespace
}  // namespace spillway::credit
