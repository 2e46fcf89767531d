#include "clients/cpp/spillway/internal/unanswered.h"

#include <gtest/gtest.h>

#include <vector>

#include "broker/base/registry.gen.h"

namespace spillway::client::internal {
namespace {

using Ranges = std::vector<OffsetRange>;

Settled Ack(const Ranges& ranges) { return {.ranges = ranges}; }

Ranges All(const Unanswered& unanswered) {
  Ranges all = unanswered.Ranges();
  Normalize(&all);
  return all;
}

TEST(Unanswered, APongAnswersWhatWasSettledBeforeItsPing) {
  Unanswered unanswered;
  unanswered.Add(Ack({{0, 2}}));
  unanswered.Ping();
  unanswered.Add(Ack({{2, 2}}));
  EXPECT_EQ(All(unanswered), (Ranges{{0, 4}}));
  unanswered.Pong();
  EXPECT_EQ(All(unanswered), (Ranges{{2, 2}}));
  unanswered.Ping();
  unanswered.Add(Ack({{4, 1}}));
  unanswered.Ping();  // the Pong to this one is awaited now
  unanswered.Pong();
  EXPECT_TRUE(All(unanswered).empty());
  unanswered.Add(Ack({{5, 1}}));
  unanswered.Finished();
  EXPECT_TRUE(All(unanswered).empty());
}

TEST(Unanswered, SettlesAgainOnceTheBrokerHasSpoken) {
  Unanswered unanswered;
  unanswered.Add(Ack({{0, 3}}));
  unanswered.Ping();
  unanswered.Add({SettleAction::kRetry, 7, "x", {{9, 1}}});
  unanswered.Add({SettleAction::kPark, 0, "y", {{7, 1}}});
  unanswered.Add(Ack({{3, 2}, {5, 1}}));
  unanswered.Broke();
  EXPECT_EQ(All(unanswered), (Ranges{{0, 6}, {7, 1}, {9, 1}}));
  EXPECT_FALSE(unanswered.Next(9).has_value());
  EXPECT_TRUE(unanswered.wants_pong());
  // The broker had taken two of them. That is no news, in contrast to the third.
  EXPECT_EQ(unanswered.Over({{1, 1}, {6, 1}, {9, 1}}), (Ranges{{6, 1}}));
  unanswered.Ping();
  unanswered.Pong();
  Ranges acknowledged;
  bool parked = false;
  while (const std::optional<Settled> next = unanswered.Next(1)) {
    unanswered.Add(*next);
    ASSERT_EQ(next->ranges.size(), 1U);
    if (next->action == SettleAction::kPark) {
      parked = next->reason == "y" && next->ranges == Ranges{{7, 1}};
    } else {
      EXPECT_EQ(next->action, SettleAction::kAck);
      acknowledged.push_back(next->ranges[0]);
    }
  }
  EXPECT_TRUE(parked);
  EXPECT_EQ(acknowledged, (Ranges{{0, 1}, {2, 4}}));
  EXPECT_EQ(All(unanswered), (Ranges{{0, 1}, {2, 4}, {7, 1}}));
  unanswered.Ping();
  unanswered.Pong();
  EXPECT_EQ(unanswered.count(), 0U);
  EXPECT_FALSE(unanswered.wants_pong());
}

TEST(Unanswered, ForgetsTheOldest) {
  constexpr size_t kMost = registry::limit::kMaxUnansweredSettleRanges;
  Unanswered unanswered;
  for (uint64_t i = 0; i < 10'000; ++i) {
    unanswered.Add(Ack({{2 * i, 1}}));
    ASSERT_LE(unanswered.count(), kMost);
    if (i % 1000 == 0) unanswered.Ping();
  }
  EXPECT_GE(unanswered.count(), kMost * 3 / 4);
  EXPECT_EQ(All(unanswered).back().first_offset, 2U * 9'999);
}

TEST(Unanswered, TakesRangesOut) {
  const Ranges ranges{{0, 5}, {7, 3}, {20, 10}};
  const Ranges cut{{1, 1}, {4, 5}, {12, 3}, {20, 2}, {25, 9}};
  EXPECT_EQ(Without(ranges, cut), (Ranges{{0, 1}, {2, 2}, {9, 1}, {22, 3}}));
  EXPECT_EQ(Without(ranges, {}), ranges);
  EXPECT_TRUE(Without(ranges, {{0, 50}}).empty());
}

}  // namespace
}  // namespace spillway::client::internal
