// Where a lane's head goes, and what of the log that leaves.
#include "broker/queue/lane_fixture.h"

namespace spillway::queue {
namespace {

// ---- Removing

TEST_F(LaneTest, TheSettledHeadIsTheSlowestGroup) {
  Group* a = lane_.AddGroup("a", GroupMode::kShared, 0);
  Group* b = lane_.AddGroup("b", GroupMode::kShared, 0);
  Publish(6);
  Store();
  Drain(a, kAnn);
  EXPECT_EQ(lane_.SettledHead(), 0u);
  Once(b, kBob, {3, 100});
  Ack(b, {1, 2}, kBob);
  b->Settle({0, 1}, kBob, SettleAction::kPark, 0, "", now_, rules_);
  EXPECT_EQ(lane_.SettledHead(), 0u) << "a parked record is needed";
  b->Release({0, 1});
  EXPECT_EQ(lane_.SettledHead(), 0u);
  Drain(b, kBob);
  EXPECT_EQ(lane_.SettledHead(), 6u);
  lane_.RemoveGroup("a");
  lane_.RemoveGroup("b");
  EXPECT_EQ(lane_.SettledHead(), 0u) << "without groups nothing is settled";
}

TEST_F(LaneTest, GapsNameWhatEachGroupLost) {
  Group* a = lane_.AddGroup("a", GroupMode::kShared, 0);
  Group* b = lane_.AddGroup("b", GroupMode::kShared, 0);
  Publish(6);
  Store();
  Drain(a, kAnn);
  Once(b, kBob, {2, 100});
  const auto gaps = lane_.AdvanceHead(100, GoneReason::kDropped);
  ASSERT_EQ(gaps.size(), 1u);
  EXPECT_EQ(gaps[0].group, b);
  EXPECT_EQ(gaps[0].ranges, (Ranges{{2, 4}}));
  EXPECT_EQ(lane_.head(), 6u) << "never past what is visible";
  EXPECT_EQ(lane_.dropped_total(), 6u);
  EXPECT_EQ(lane_.gone_reason(), GoneReason::kDropped);
  Group* late = lane_.AddGroup("late", GroupMode::kShared, 0);
  EXPECT_EQ(late->cursor(), 6u);
}

TEST_F(LaneTest, DropHeadKeepsAllThatFits) {
  lane_.AddGroup("g", GroupMode::kShared, 0);
  for (int i = 0; i < 10; ++i) Spill(2, 10);
  EXPECT_EQ(lane_.DropHead(1'000, 20), 0u);
  EXPECT_EQ(lane_.DropHead(1'000, 15), 5u) << "though all is on disk";
  for (int i = 0; i < 5; ++i) Publish(2, 10);
  Store();
  EXPECT_EQ(lane_.DropHead(100, 1'000), 20u) << "by batches in memory";
  EXPECT_EQ(lane_.DropHead(70, 1'000), 24u);
  EXPECT_EQ(lane_.DropHead(0, 0), 30u);
}

TEST_F(LaneTest, RetentionByAgeAndBytes) {
  constexpr size_t kLarge = 1 << 20;
  lane_.set_tuning(With(Durability::kSynced, Retention::kLimits));
  for (int i = 0; i < 4; ++i) {
    now_.unix_ms = 10'000 + 1'000 * static_cast<UnixMillis>(i);
    Publish(1, kLarge);
  }
  Store();
  Tuning tuning = lane_.tuning();
  EXPECT_EQ(lane_.RetentionHead(now_), 0u) << "no limits";
  tuning.retention_bytes = 2 * kLarge;
  lane_.set_tuning(tuning);
  EXPECT_EQ(lane_.RetentionHead(now_), 2u);
  tuning.retention_bytes = 0;
  tuning.retention_age_ms = 2'000;
  lane_.set_tuning(tuning);
  EXPECT_EQ(lane_.RetentionHead(now_), 1u);
  now_.unix_ms = 15'000;
  EXPECT_EQ(lane_.RetentionHead(now_), 4u) << "all of it, once the youngest is old";
  tuning.retention = Retention::kUntilSettled;
  lane_.set_tuning(tuning);
  EXPECT_EQ(lane_.RetentionHead(now_), 0u);
}

TEST_F(LaneTest, NumbersOfTheBacklog) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  Publish(4, 10);
  Store();
  Publish(2, 5);
  EXPECT_EQ(lane_.backlog(), (Credit{6, 50}));
  EXPECT_EQ(lane_.disk_messages(), 4u);
  EXPECT_EQ(lane_.disk_bytes(), 40u);
  Drain(group, kAnn);
  EXPECT_EQ(lane_.backlog(), (Credit{2, 10}));
  lane_.AdvanceHead(lane_.SettledHead(), GoneReason::kRetention);
  EXPECT_EQ(lane_.disk_bytes(), 0u);
  EXPECT_EQ(lane_.bytes_before(5), 45u);
}

// ---- Trimming

TEST_F(LaneTest, WhatIsOnItsWayIsNotTrimmed) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  EXPECT_TRUE(lane_.CanSnapshot());
  Publish(2);
  lane_.MarkStoring();
  EXPECT_FALSE(lane_.CanSnapshot()) << "nobody knows where the batch will be";
  lane_.Stored(100);
  EXPECT_TRUE(lane_.CanSnapshot());
  EXPECT_EQ(lane_.NeededPosition(), 100u);
  Drain(group, kAnn);
  Publish(2);
  lane_.MarkStoring();
  lane_.AdvanceHead(lane_.SettledHead(), GoneReason::kRetention);
  EXPECT_EQ(lane_.NeededPosition(), 100u) << "the one on its way comes after it";
  lane_.MarkHead();
  EXPECT_EQ(lane_.NeededPosition(), 101u) << "and after all that is stored";
  EXPECT_TRUE(lane_.CanSnapshot());
  lane_.Stored(200);
  EXPECT_EQ(lane_.NeededPosition(), 200u);
  Drain(group, kAnn);
  lane_.AdvanceHead(lane_.SettledHead(), GoneReason::kRetention);
  EXPECT_FALSE(lane_.NeededPosition());
  EXPECT_TRUE(lane_.index().marks().empty()) << "they may lead to trimmed entries";
}

TEST_F(LaneTest, WhatIsNeededIsKnownToTheBatch) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  for (int i = 0; i < 4; ++i) Publish(2);
  Store();
  ASSERT_EQ(lane_.index().marks().size(), 1u) << "the index is sparse";
  Once(group, kAnn, {5, 100});
  Ack(group, {0, 5}, kAnn);
  lane_.AdvanceHead(lane_.SettledHead(), GoneReason::kRetention);
  lane_.MarkHead();
  EXPECT_EQ(lane_.NeededPosition(), 102u) << "offset 5 is in the third batch";

  Lane restarted = Restarted();
  restarted.FinishReplay(0);
  EXPECT_EQ(restarted.NeededPosition(), 102u);
  restarted.MarkHead();
  EXPECT_EQ(restarted.NeededPosition(), 102u) << "what is not in memory stays as it was";
  lane_ = std::move(restarted);
  EXPECT_EQ(Drain(lane_.FindGroup("g"), kAnn), UpTo(5, 8));
}

TEST_F(LaneTest, WhatIsOnItsWayIsFoundAfterARestart) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  Publish(2);
  Store();
  Drain(group, kAnn);
  Publish(2);
  disk_.push_back(*lane_.NextToStore({}));
  lane_.MarkStoring();
  lane_.AdvanceHead(lane_.SettledHead(), GoneReason::kRetention);
  lane_.MarkHead();

  Lane restarted = Restarted();
  restarted.FinishReplay(0);
  EXPECT_EQ(restarted.NeededPosition(), 101u);
  lane_ = std::move(restarted);
  EXPECT_EQ(Drain(lane_.FindGroup("g"), kAnn), UpTo(2, 4));
}

}  // namespace
}  // namespace spillway::queue
