#include "broker/credit/spill_pace.h"

#include <gtest/gtest.h>

namespace spillway::credit {
namespace {

constexpr MonoNanos kMicro = kNanosPerMilli / 1'000;
constexpr MonoNanos kSecond = 1'000 * kNanosPerMilli;

class SpillPaceTest : public ::testing::Test {
 protected:
  // 1,000 appends a second of `live`, while `spilling` asks as often.
  void Run(MonoNanos for_nanos, MonoNanos latency) {
    for (const MonoNanos end = now_ + for_nanos; now_ < end; now_ += kNanosPerMilli) {
      pace_.Committed(&live_, latency, now_);
      pace_.Reserve(&spilling_, 1, now_);
    }
  }
  uint64_t rate() const { return pace_.bytes_per_second(&spilling_, now_); }
  // When the next of `bytes` may go, from now.
  MonoNanos Wait(uint64_t bytes) { return pace_.Reserve(&spilling_, bytes, now_) - now_; }

  SpillPace pace_;
  MonoNanos now_ = 100 * kSecond;
  char live_ = 0;
  char spilling_ = 0;
};

TEST_F(SpillPaceTest, AloneThereIsNoLimit) {
  EXPECT_EQ(Wait(1 << 30), 0);
  EXPECT_EQ(Wait(1 << 30), 0);
  // What a queue appended before it spilled is no company for it.
  pace_.Committed(&spilling_, kMicro, now_);
  EXPECT_EQ(rate(), 0u);
  EXPECT_EQ(Wait(1 << 30), 0);
}

TEST_F(SpillPaceTest, CompanyIsAnyOtherQueueForAWhile) {
  pace_.Committed(&live_, kMicro, now_);
  EXPECT_GT(rate(), 0u);
  for (int i = 0; i < 10; ++i) pace_.Committed(&spilling_, kMicro, now_);
  EXPECT_GT(rate(), 0u) << "its own appends do not hide the other";
  now_ += SpillPace::kCompanyFor;
  EXPECT_EQ(rate(), 0u);
}

TEST_F(SpillPaceTest, WhatIsReservedGoesAtTheRateInTurn) {
  pace_.Committed(&live_, kMicro, now_);
  const uint64_t rate = this->rate();
  Wait(rate / 10);
  const MonoNanos second = Wait(rate / 10);
  EXPECT_NEAR(static_cast<double>(second), 0.1e9, 3e6);
  char third = 0;
  EXPECT_NEAR(static_cast<double>(pace_.Reserve(&third, 1, now_) - now_), 0.2e9, 3e6);
  now_ += kSecond;
  EXPECT_EQ(Wait(rate), 0) << "unused time is not saved up,";
  EXPECT_GT(Wait(1), 9 * kSecond / 10) << "but for a moment";
}

TEST_F(SpillPaceTest, FallsWhenOthersAreLateAndRecovers) {
  Run(kSecond, 100 * kMicro);
  const uint64_t before = rate();
  Run(50 * kNanosPerMilli, 5 * kNanosPerMilli);
  EXPECT_EQ(rate(), SpillPace::kSlowestBytesPerSecond);
  EXPECT_LT(rate(), before);
  Run(30 * kSecond, 100 * kMicro);
  EXPECT_EQ(rate(), SpillPace::kFastestBytesPerSecond);
}

TEST_F(SpillPaceTest, WhatNobodyUsesDoesNotGrow) {
  pace_.Committed(&live_, 100 * kMicro, now_);
  const uint64_t before = rate();
  for (int i = 0; i < 20'000; ++i) {
    now_ += kNanosPerMilli;
    pace_.Committed(&live_, 100 * kMicro, now_);
  }
  EXPECT_EQ(rate(), before);
}

// A disk that takes 10 ms for each sync takes them without anything that spills, too.
TEST_F(SpillPaceTest, LateIsLaterThanTheLeast) {
  Run(kSecond, 10 * kNanosPerMilli);
  const uint64_t before = rate();
  Run(kSecond, 15 * kNanosPerMilli);
  EXPECT_GT(rate(), before);
  Run(kSecond, 25 * kNanosPerMilli);
  EXPECT_EQ(rate(), SpillPace::kSlowestBytesPerSecond);
}

// The least is that of the last five to ten seconds.
TEST_F(SpillPaceTest, ForgetsAnOldLeast) {
  Run(kSecond, 100 * kMicro);
  Run(12 * kSecond, 10 * kNanosPerMilli);
  EXPECT_GT(rate(), SpillPace::kSlowestBytesPerSecond);
}

}  // namespace
}  // namespace spillway::credit
