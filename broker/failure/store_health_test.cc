#include "broker/failure/store_health.h"

#include <gtest/gtest.h>

namespace spillway::failure {
namespace {

using State = StoreHealth::State;
using Grants = StoreHealth::Grants;
using Disk = StoreHealth::Disk;

constexpr MonoNanos kMs = kNanosPerMilli;
constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;

TEST(StoreHealth, SlowCommitsHalveGrantsUntilTheyAreFastAgain) {
  StoreHealth health;
  EXPECT_EQ(health.grants(), Grants::kAll);
  health.Committed(1'000 * kMs, 1);  // one alone says nothing
  EXPECT_EQ(health.state(), State::kHealthy);
  for (int i = 0; i < 20; ++i) health.Committed(300 * kMs, 2);
  EXPECT_EQ(health.state(), State::kSlow);
  EXPECT_EQ(health.since(), 2);
  EXPECT_EQ(health.grants(), Grants::kHalf);
  for (int i = 0; i < 40; ++i) health.Committed(150 * kMs, 3);
  EXPECT_EQ(health.state(), State::kSlow);
  for (int i = 0; i < 20; ++i) health.Committed(5 * kMs, 4);
  EXPECT_EQ(health.state(), State::kHealthy);
  EXPECT_EQ(health.why(), "");
}

TEST(StoreHealth, AnAppendThatHangsStopsGrants) {
  StoreHealth health;
  health.Waiting(4'999 * kMs, 1);
  EXPECT_EQ(health.grants(), Grants::kAll);
  health.Waiting(5'000 * kMs, 2);
  EXPECT_EQ(health.grants(), Grants::kNone);
  EXPECT_NE(health.why(), "");
  health.Waiting(0, 3);
  EXPECT_EQ(health.grants(), Grants::kAll);
}

TEST(StoreHealth, ALargeDiskIsLowByBytesAndASmallOneByItsShare) {
  StoreHealth large;
  large.DiskSpace(5 * kGiB, 1'000 * kGiB, 1);
  EXPECT_EQ(large.disk(), Disk::kEnough);
  large.DiskSpace(3 * kGiB, 1'000 * kGiB, 2);
  EXPECT_EQ(large.disk(), Disk::kWarn);
  EXPECT_EQ(large.grants(), Grants::kAll);
  large.DiskSpace(2 * kGiB - 1, 1'000 * kGiB, 3);
  EXPECT_EQ(large.disk(), Disk::kLow);
  EXPECT_EQ(large.grants(), Grants::kNone);
  EXPECT_TRUE(large.takes_records());  // what was granted is taken
  StoreHealth small;
  small.DiskSpace(1'500 * kMiB, 10 * kGiB, 1);
  EXPECT_EQ(small.disk(), Disk::kEnough);
  small.DiskSpace(600 * kMiB, 10 * kGiB, 1);
  EXPECT_EQ(small.disk(), Disk::kWarn);
  small.DiskSpace(300 * kMiB, 10 * kGiB, 1);
  EXPECT_EQ(small.disk(), Disk::kLow);
}

TEST(StoreHealth, ADiskStateIsLeftWithHalfAsMuchAgain) {
  StoreHealth health;
  health.DiskSpace(255 * kMiB, 100 * kGiB, 1);
  EXPECT_EQ(health.disk(), Disk::kFull);
  EXPECT_FALSE(health.takes_records());
  health.DiskSpace(383 * kMiB, 100 * kGiB, 2);
  EXPECT_EQ(health.disk(), Disk::kFull);
  health.DiskSpace(384 * kMiB, 100 * kGiB, 3);
  EXPECT_EQ(health.disk(), Disk::kLow);
  health.DiskSpace(3 * kGiB - 1, 100 * kGiB, 4);
  EXPECT_EQ(health.disk(), Disk::kLow);
  EXPECT_EQ(health.since(), 1);
  health.DiskSpace(3 * kGiB, 100 * kGiB, 5);
  EXPECT_EQ(health.disk(), Disk::kWarn);
  EXPECT_EQ(health.state(), State::kHealthy);
  EXPECT_EQ(health.since(), 5);
}

TEST(StoreHealth, AFailureIsForEverAndTheFirstIsTheCause) {
  StoreHealth health;
  health.DiskSpace(0, 100 * kGiB, 1);
  health.Fail("fsync: EIO", 2);
  health.Fail("something that followed", 3);
  health.DiskSpace(50 * kGiB, 100 * kGiB, 4);
  health.Committed(1, 5);
  EXPECT_EQ(health.state(), State::kFailed);
  EXPECT_EQ(health.since(), 2);
  EXPECT_EQ(health.why(), "fsync: EIO");
  EXPECT_EQ(health.grants(), Grants::kNone);
  EXPECT_FALSE(health.takes_records());
}

}  // namespace
}  // namespace spillway::failure
