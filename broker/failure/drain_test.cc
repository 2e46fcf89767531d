#include "broker/failure/drain.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace spillway::failure {
namespace {

using Phase = Drain::Phase;
constexpr MonoNanos kSecond = 1'000 * kNanosPerMilli;

TEST(Drain, PassesThroughItsPhasesAsWorkIsDone) {
  Drain drain;
  EXPECT_TRUE(drain.grants());
  EXPECT_EQ(drain.Advance({.credit_spent = true, .saved = true}, 0), Phase::kServing);
  EXPECT_TRUE(drain.Begin(20'000, kSecond));
  EXPECT_FALSE(drain.Begin(90'000, 2 * kSecond));
  EXPECT_EQ(drain.deadline(), 21 * kSecond);
  EXPECT_FALSE(drain.grants());
  EXPECT_TRUE(drain.takes_records());
  EXPECT_EQ(drain.Advance({.saved = true}, 2 * kSecond), Phase::kAnnounced);
  EXPECT_EQ(drain.Advance({.credit_spent = true}, 3 * kSecond), Phase::kFlushing);
  EXPECT_FALSE(drain.takes_records());
  EXPECT_EQ(drain.Advance({.saved = true}, 4 * kSecond), Phase::kDone);
  EXPECT_FALSE(drain.timed_out());
  EXPECT_EQ(drain.next_deadline(), std::numeric_limits<MonoNanos>::max());
}

TEST(Drain, IdleMeansAtOnce) {
  Drain drain;
  drain.Begin(20'000, 0);
  EXPECT_EQ(drain.Advance({.credit_spent = true, .saved = true}, 0), Phase::kDone);
}

TEST(Drain, UnspentCreditDoesNotHoldItForEver) {
  Drain drain;
  drain.Begin(20'000, 0);
  EXPECT_EQ(drain.next_deadline(), 15 * kSecond);
  EXPECT_EQ(drain.Advance({}, 15 * kSecond - 1), Phase::kAnnounced);
  EXPECT_EQ(drain.Advance({}, 15 * kSecond), Phase::kFlushing);
  EXPECT_EQ(drain.next_deadline(), 20 * kSecond);
  EXPECT_EQ(drain.Advance({}, 20 * kSecond), Phase::kDone);
  EXPECT_TRUE(drain.timed_out());
}

TEST(Drain, AnyDeadlineIsWithinTheClock) {
  Drain drain;
  drain.Begin(UINT64_MAX, kSecond);
  EXPECT_GT(drain.deadline(), kSecond);
  Drain now;
  now.Begin(0, kSecond);
  EXPECT_EQ(now.Advance({}, kSecond), Phase::kDone);
}

}  // namespace
}  // namespace spillway::failure
