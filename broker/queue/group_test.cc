#include "broker/queue/group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace spillway::queue {
namespace {

using Ranges = std::vector<OffsetRange>;
using Revoked = std::vector<std::pair<MemberId, OffsetRange>>;

constexpr MonoNanos kNever = std::numeric_limits<MonoNanos>::max();
constexpr MonoNanos kDeadline = 1'000;
constexpr MemberId kAnn = 1, kBob = 2;

class GroupTest : public ::testing::Test {
 protected:
  // Delivers what is fresh, one byte a record unless given.
  void Fresh(uint64_t count, MemberId member, uint64_t bytes = 0) {
    const Offset first = group_.FreshRange().first;
    group_.DeliverFresh({first, count}, bytes == 0 ? count : bytes, member, kDeadline);
  }
  // Delivers the first that is ready; returns which attempt it was.
  uint32_t Ready(MemberId member) {
    const Group::Ready ready = group_.FirstReady();
    group_.DeliverReady(ready.range, ready.range.count, member, kDeadline);
    return ready.attempt;
  }
  Ranges Ack(OffsetRange range, MemberId member) {
    return group_.Settle(range, member, SettleAction::kAck, 0, "", now_, rules_);
  }
  Ranges Nack(OffsetRange range, MemberId member, MonoNanos delay = 0,
              SettleAction action = SettleAction::kRetry) {
    return group_.Settle(range, member, action, delay, "why", now_, rules_);
  }
  Revoked Tick(MonoNanos at) {
    Revoked revoked;
    now_.mono = at;
    group_.Tick(now_, rules_, &revoked);
    return revoked;
  }
  // What a restart makes of the group.
  Group Restarted() const {
    Group group("g", GroupMode::kShared, 0);
    group.Restore(group_.state());
    return group;
  }

  Group group_{"g", GroupMode::kShared, 0};
  RetryRules rules_{.max_attempts = 3, .ack_deadline = kDeadline, .backoff = [](uint32_t attempt) {
                      return attempt * 10;
                    }};
  Now now_{100, 5'000};
};

// ---- Settling

TEST_F(GroupTest, TheCursorWaitsForTheLowestUnsettled) {
  Fresh(10, kAnn);
  EXPECT_EQ(Ack({2, 3}, kAnn), Ranges{});
  EXPECT_EQ(group_.cursor(), 0u);
  EXPECT_EQ(group_.settled_above_cursor(), 3u);
  EXPECT_EQ(Ack({0, 2}, kAnn), Ranges{});
  EXPECT_EQ(group_.cursor(), 5u);
  EXPECT_EQ(Ack({5, 5}, kAnn), Ranges{});
  EXPECT_EQ(group_.cursor(), 10u);
  EXPECT_EQ(group_.settled_total(), 10u);
}

TEST_F(GroupTest, StaleIsWhatTheMemberDoesNotHold) {
  Fresh(5, kAnn);
  Fresh(5, kBob);
  EXPECT_EQ(Ack({3, 4}, kAnn), (Ranges{{5, 2}})) << "foreign";
  EXPECT_EQ(Ack({2, 3}, kAnn), (Ranges{{3, 2}})) << "settled before";
  EXPECT_EQ(Ack({8, 10}, kBob), (Ranges{{10, 8}})) << "never delivered";
  EXPECT_EQ(Ack({0, 0}, kAnn), Ranges{});
  EXPECT_EQ(group_.InFlightOf(kAnn).messages, 2u);
  EXPECT_EQ(group_.InFlightOf(kBob).messages, 3u);
  EXPECT_EQ(group_.in_flight_messages(), 5u);
}

TEST_F(GroupTest, BytesOfASplitRunReturnWithItsParts) {
  Fresh(10, kAnn, 1'003);
  Ack({3, 1}, kAnn);
  EXPECT_NEAR(group_.InFlightOf(kAnn).bytes, 903.0, 2);
  Ack({0, 3}, kAnn);
  Ack({7, 3}, kAnn);
  EXPECT_NEAR(group_.InFlightOf(kAnn).bytes, 301.0, 3);
  Ack({4, 3}, kAnn);
  EXPECT_EQ(group_.InFlightOf(kAnn), Credit{});
  EXPECT_EQ(group_.in_flight_messages(), 0u);
}

TEST_F(GroupTest, ARetryWaitsForItsDelay) {
  Fresh(3, kAnn);
  Nack({0, 1}, kAnn);          // backoff: attempt 2, 20
  Nack({1, 1}, kAnn, 500);     // as asked
  Nack({2, 1}, kAnn, kNever);  // no overflow
  EXPECT_EQ(group_.delayed_messages(), 3u);
  EXPECT_EQ(group_.next_deadline(), 120);
  Tick(119);
  EXPECT_FALSE(group_.has_ready());
  Tick(120);
  EXPECT_EQ(Ready(kBob), 2u);
  EXPECT_EQ(group_.next_deadline(), 600);
  Tick(600);
  EXPECT_EQ(group_.FirstReady().range, (OffsetRange{1, 1}));
  EXPECT_EQ(group_.delayed_messages(), 1u);
  EXPECT_EQ(group_.cursor(), 0u);
}

TEST_F(GroupTest, UsedUpAttemptsArePutAside) {
  Fresh(2, kAnn);
  for (uint32_t attempt = 2; attempt <= 3; ++attempt) {
    Nack({0, 1}, kAnn, 1);
    Tick(now_.mono + 1);
    EXPECT_EQ(Ready(kAnn), attempt);
  }
  Nack({0, 1}, kAnn, 1);
  ASSERT_EQ(group_.parked().size(), 1u);
  EXPECT_EQ(group_.parked().at(0).attempts, 3u);
  EXPECT_EQ(group_.parked().at(0).reason, "why");
  EXPECT_EQ(group_.parked().at(0).parked_at, now_.unix_ms);
  EXPECT_EQ(group_.cursor(), 1u) << "what is parked holds nobody up";
  EXPECT_EQ(group_.needed_from(), 0u) << "but its record is needed";
  EXPECT_EQ(group_.settled_total(), 0u);
}

TEST_F(GroupTest, ParkIsBounded) {
  const uint64_t most = Group::kMaxParked;
  Fresh(most, kAnn);
  Nack({0, most}, kAnn, 0, SettleAction::kPark);
  Fresh(1, kAnn);
  Nack({most, 1}, kAnn, 0, SettleAction::kPark);
  EXPECT_EQ(group_.parked().size(), most);
  EXPECT_EQ(group_.delayed_messages(), 1u) << "comes again instead";
}

TEST_F(GroupTest, SkipSettles) {
  Fresh(2, kAnn);
  Nack({0, 2}, kAnn, 0, SettleAction::kSkip);
  EXPECT_EQ(group_.cursor(), 2u);
  EXPECT_TRUE(group_.parked().empty());
}

// ---- Deadlines

TEST_F(GroupTest, APassedDeadlineRevokes) {
  Fresh(2, kAnn);
  EXPECT_EQ(Tick(kDeadline - 1), Revoked{});
  EXPECT_EQ(Tick(kDeadline), (Revoked{{kAnn, {0, 2}}}));
  EXPECT_EQ(group_.InFlightOf(kAnn), Credit{});
  EXPECT_EQ(group_.FirstReady().attempt, 2u);
  EXPECT_EQ(Ack({0, 2}, kAnn), (Ranges{{0, 2}})) << "late, harmless";
}

TEST_F(GroupTest, ExtendMovesTheDeadlineOfItsPart) {
  Fresh(4, kAnn);
  EXPECT_EQ(group_.Extend({1, 2}, kAnn, 5'000), Ranges{});
  EXPECT_EQ(group_.Extend({3, 2}, kBob, 5'000), (Ranges{{3, 1}, {4, 1}}));
  EXPECT_EQ(Tick(kDeadline), (Revoked{{kAnn, {0, 1}}, {kAnn, {3, 1}}}));
  EXPECT_EQ(group_.InFlightOf(kAnn).messages, 2u);
  EXPECT_EQ(group_.next_deadline(), 5'000);
  EXPECT_EQ(Tick(5'000).size(), 1u);
  EXPECT_EQ(group_.InFlightOf(kAnn), Credit{});
}

TEST_F(GroupTest, TheLastDeadlineParks) {
  Fresh(1, kAnn);
  for (int i = 0; i < 2; ++i) {
    Nack({0, 1}, kAnn, 1);
    Tick(now_.mono + 1);
    Ready(kAnn);
  }
  Tick(kDeadline);
  EXPECT_EQ(group_.parked().at(0).attempts, 3u);
  EXPECT_FALSE(group_.parked().at(0).reason.empty());
}

TEST_F(GroupTest, DeadlinesOfSettledRunsGoAway) {
  for (int i = 0; i < 10'000; ++i) {
    Fresh(1, kAnn);
    Ack({static_cast<Offset>(i), 1}, kAnn);
  }
  Fresh(1, kAnn);
  now_.mono = 0;
  group_.Extend({10'000, 1}, kAnn, 9'000);
  for (int i = 0; i < 200; ++i) group_.Extend({10'000, 1}, kAnn, 9'001);
  EXPECT_EQ(group_.next_deadline(), 9'001) << "made anew from what is in flight";
}

// ---- Coming and going

TEST_F(GroupTest, ADisconnectGivesBackAtOnce) {
  Fresh(2, kAnn);
  Fresh(2, kBob);
  group_.Disconnect(kAnn);
  group_.Disconnect(77);
  EXPECT_EQ(group_.InFlightOf(kAnn), Credit{});
  EXPECT_EQ(group_.FirstReady().range, (OffsetRange{0, 2}));
  EXPECT_EQ(Ready(kBob), 2u);
  EXPECT_EQ(group_.InFlightOf(kBob).messages, 4u);
  EXPECT_EQ(group_.next_deadline(), kDeadline);
}

TEST_F(GroupTest, AResumedMemberKeepsWhatIsStillThere) {
  Fresh(10, kAnn);
  group_.Disconnect(kAnn);
  group_.DeliverReady({0, 3}, 3, kBob, kDeadline);
  const MemberId ann = 3;
  EXPECT_EQ(group_.Reclaim({1, 6}, ann, 10, kDeadline), (Ranges{{1, 2}}));
  EXPECT_EQ(group_.InFlightOf(ann).messages, 4u);
  EXPECT_EQ(group_.ready_messages(), 3u);
  EXPECT_EQ(group_.Reclaim({3, 4}, ann, 10, kDeadline), Ranges{}) << "stated twice";
  EXPECT_EQ(group_.Reclaim({8, 9}, ann, 10, kDeadline), (Ranges{{10, 7}})) << "beyond the tail";
  Nack({3, 1}, ann, 1);
  Tick(now_.mono + 1);
  EXPECT_EQ(group_.FirstReady().attempt, 2u) << "a resume is no attempt";
}

TEST_F(GroupTest, WhatIsHeldSurvivesARestart) {
  Fresh(6, kAnn);
  Ack({1, 2}, kAnn);
  Group group = Restarted();
  EXPECT_EQ(group.Reclaim({0, 5}, kAnn, 6, kDeadline), (Ranges{{1, 2}}));
  EXPECT_EQ(group.FreshRange().first, 5u) << "not delivered to others";
  group.Settle({0, 1}, kAnn, SettleAction::kAck, 0, "", now_, rules_);
  group.Settle({3, 2}, kAnn, SettleAction::kAck, 0, "", now_, rules_);
  EXPECT_EQ(group.cursor(), 5u);
}

// ---- Administration

TEST_F(GroupTest, AReleasedRecordComesAgain) {
  Fresh(3, kAnn);
  Nack({1, 1}, kAnn, 0, SettleAction::kPark);
  EXPECT_EQ(group_.Release({0, 10}), 1u);
  Ack({0, 1}, kAnn);
  Ack({2, 1}, kAnn);
  EXPECT_EQ(group_.cursor(), 1u) << "released above the cursor: it waits";
  EXPECT_EQ(Ready(kBob), 1u);
  Ack({1, 1}, kBob);
  EXPECT_EQ(group_.cursor(), 3u);
}

TEST_F(GroupTest, AReleasedRecordBelowTheCursorIsNeeded) {
  Fresh(3, kAnn);
  Nack({0, 1}, kAnn, 0, SettleAction::kPark);
  Ack({1, 2}, kAnn);
  ASSERT_EQ(group_.cursor(), 3u);
  group_.Release({0, 1});
  EXPECT_EQ(group_.cursor(), 3u) << "moves back on a seek only";
  EXPECT_EQ(group_.needed_from(), 0u);

  Group crashed = Restarted();
  EXPECT_EQ(crashed.needed_from(), 0u);
  EXPECT_EQ(crashed.FirstReady().range, (OffsetRange{0, 1}));

  Ready(kAnn);
  Nack({0, 1}, kAnn, 1);
  EXPECT_EQ(group_.needed_from(), 0u);
  Tick(now_.mono + 1);
  EXPECT_EQ(Ready(kAnn), 2u);
  Ack({0, 1}, kAnn);
  EXPECT_EQ(group_.needed_from(), 3u);
}

TEST_F(GroupTest, SeekBackDeliversAgainButNotWhatIsParked) {
  Fresh(6, kAnn);
  Nack({2, 1}, kAnn, 0, SettleAction::kPark);
  Ack({0, 2}, kAnn);
  Nack({3, 1}, kAnn, 50);
  Revoked revoked;
  group_.Seek(1, &revoked);
  EXPECT_EQ(revoked, (Revoked{{kAnn, {4, 2}}}));
  EXPECT_EQ(group_.cursor(), 1u);
  EXPECT_EQ(group_.InFlightOf(kAnn), Credit{});
  EXPECT_EQ(group_.delayed_messages() + group_.ready_messages(), 0u);
  EXPECT_EQ(group_.FreshRange(), (std::pair<Offset, Offset>(1, 2)));
  Fresh(1, kAnn);
  EXPECT_EQ(group_.FreshRange().first, 3u) << "around the parked one";
  Ack({1, 1}, kAnn);
  EXPECT_EQ(group_.cursor(), 3u);
  EXPECT_EQ(group_.needed_from(), 2u);
}

TEST_F(GroupTest, SeekForwardSettlesWhatItPasses) {
  Fresh(3, kAnn);
  Nack({0, 1}, kAnn, 0, SettleAction::kPark);
  Revoked revoked;
  group_.Seek(50, &revoked);
  EXPECT_EQ(group_.cursor(), 50u);
  EXPECT_EQ(group_.FreshRange().first, 50u);
  EXPECT_EQ(group_.parked().count(0), 1u);
  EXPECT_EQ(Ack({1, 1}, kAnn), (Ranges{{1, 1}}));
}

TEST_F(GroupTest, SeekBelowTheHeadMeansTheHead) {
  group_.AdvanceHead(10);
  Revoked revoked;
  group_.Seek(3, &revoked);
  EXPECT_EQ(group_.cursor(), 10u);
  EXPECT_EQ(group_.FreshRange().first, 10u);
}

TEST_F(GroupTest, AdvanceHeadNamesWhatWasNotSettled) {
  Fresh(8, kAnn);
  Ack({0, 1}, kAnn);                           // settled
  Nack({1, 1}, kAnn, 50);                      // delayed
  Nack({2, 1}, kAnn, 0, SettleAction::kPark);  // parked
  Nack({3, 1}, kAnn, 1);                       // ready
  Tick(now_.mono + 1);                         // 4 … 7 stay in flight
  EXPECT_EQ(group_.AdvanceHead(10), (Ranges{{1, 3}, {8, 2}}));
  EXPECT_EQ(group_.gone_total(), 5u);
  EXPECT_EQ(group_.cursor(), 4u);
  EXPECT_EQ(group_.ready_messages() + group_.delayed_messages(), 0u);
  EXPECT_TRUE(group_.parked().empty());
  EXPECT_EQ(group_.AdvanceHead(10), Ranges{});
  // Whatever becomes of what was in flight, it does not come again.
  Ack({4, 1}, kAnn);
  Nack({5, 1}, kAnn);
  Nack({6, 1}, kAnn, 0, SettleAction::kPark);
  group_.Disconnect(kAnn);
  EXPECT_FALSE(group_.has_ready());
  EXPECT_TRUE(group_.parked().empty());
  EXPECT_EQ(group_.cursor(), 10u);
  EXPECT_EQ(group_.needed_from(), 10u);
}

TEST_F(GroupTest, AdvanceHeadCutsRanges) {
  Fresh(10, kAnn);
  Nack({0, 4}, kAnn, 50);
  Nack({4, 6}, kAnn, 1);
  Tick(now_.mono + 1);
  EXPECT_EQ(group_.AdvanceHead(6), (Ranges{{0, 6}}));
  EXPECT_EQ(group_.FirstReady().range, (OffsetRange{6, 4}));
  EXPECT_EQ(group_.delayed_messages(), 0u);
  EXPECT_EQ(group_.cursor(), 6u);
}

TEST_F(GroupTest, SkipsAndDropsWhatIsLost) {
  EXPECT_EQ(group_.SkipFresh({0, 5}), 5u);
  EXPECT_EQ(group_.cursor(), 5u);
  Fresh(3, kAnn);
  group_.Disconnect(kAnn);
  group_.DropReady({5, 2});
  EXPECT_EQ(group_.FirstReady().range, (OffsetRange{7, 1}));
  EXPECT_EQ(group_.cursor(), 7u);
  EXPECT_EQ(group_.gone_total(), 7u);
  EXPECT_EQ(group_.settled_total(), 0u);
}

// ---- State

TEST_F(GroupTest, StateRoundTrip) {
  Fresh(10, kAnn);
  Ack({0, 2}, kAnn);
  Ack({5, 1}, kAnn);
  Nack({7, 1}, kAnn, 0, SettleAction::kPark);
  Nack({3, 1}, kAnn, 50);
  Group restarted = Restarted();
  EXPECT_EQ(restarted.cursor(), 2u);
  EXPECT_EQ(restarted.needed_from(), 2u);
  EXPECT_EQ(restarted.parked().at(7).reason, "why");
  EXPECT_EQ(restarted.FirstReady().range, (OffsetRange{3, 1}));
  EXPECT_EQ(restarted.FirstReady().attempt, 2u);
  EXPECT_EQ(restarted.in_flight_messages(), 0u);
  // Once more changes nothing.
  Group again("g", GroupMode::kShared, 0);
  again.Restore(restarted.state());
  EXPECT_EQ(again.state().cursor, restarted.state().cursor);
  EXPECT_EQ(again.state().settled, restarted.state().settled);

  Ranges fresh;
  while (restarted.FreshRange().first < 10) {
    const auto [first, limit] = restarted.FreshRange();
    const uint64_t count = std::min<Offset>(limit, 10) - first;
    restarted.DeliverFresh({first, count}, 0, kAnn, kDeadline);
    fresh.push_back({first, count});
  }
  EXPECT_EQ(fresh, (Ranges{{2, 1}, {4, 1}, {6, 1}, {8, 2}}));
}

TEST_F(GroupTest, ARestartForgetsWhatIsBelowTheHead) {
  Fresh(4, kAnn);
  group_.Disconnect(kAnn);
  Ready(kAnn);
  group_.AdvanceHead(3);
  const Group::State state = group_.state();
  Group restarted("g", GroupMode::kShared, 0);
  restarted.AdvanceHead(3);
  restarted.Restore(state);
  EXPECT_EQ(restarted.cursor(), 3u);
  EXPECT_EQ(restarted.FirstReady().range, (OffsetRange{3, 1}));
}

TEST_F(GroupTest, TheVersionFollowsWhatIsKept) {
  const uint64_t before = group_.version();
  Fresh(2, kAnn);
  Ack({0, 1}, kAnn);
  const uint64_t acked = group_.version();
  EXPECT_NE(acked, before);
  Nack({1, 1}, kAnn, 0, SettleAction::kPark);
  const uint64_t parked = group_.version();
  EXPECT_NE(parked, acked);
  group_.Release({1, 1});
  EXPECT_NE(group_.version(), parked);
}

}  // namespace
}  // namespace spillway::queue
