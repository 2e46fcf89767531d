// A lane that is restored from its state and its log.
#include <utility>

#include "broker/queue/lane_fixture.h"

namespace spillway::queue {
namespace {

TEST_F(LaneTest, StateRoundTrip) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  for (int i = 0; i < 4; ++i) Publish(2, 7);
  Store();
  Publish(2, 7);
  Once(group, kAnn, {3, 100});
  Ack(group, {0, 2}, kAnn);
  lane_.AdvanceHead(2, GoneReason::kRetention);

  Lane restarted = Restarted();
  const Group* restored = restarted.FindGroup("g");
  EXPECT_TRUE(restarted.Replayed(8, 2, 14, 6'000, 104));
  EXPECT_FALSE(restarted.Replayed(8, 2, 14, 6'000, 105)) << "an offset twice";
  restarted.FinishReplay(0);
  EXPECT_EQ(restarted.head(), 2u);
  EXPECT_EQ(restarted.tail(), 10u);
  EXPECT_EQ(restarted.visible_end(), 10u);
  EXPECT_EQ(restarted.bytes_before(10), lane_.bytes_before(10));
  EXPECT_EQ(restored->cursor(), 2u);
  EXPECT_EQ(restarted.NeededPosition(), 100u);
  Store();
  lane_ = std::move(restarted);
  EXPECT_EQ(Drain(lane_.FindGroup("g"), kBob), UpTo(2, 10));
}

TEST_F(LaneTest, TimesDoNotGoBack) {
  now_.unix_ms = 9'000;
  Publish(1);
  now_.unix_ms = 8'000;
  Publish(1);
  EXPECT_EQ(lane_.window().Find(1)->appended_at, 9'000u);
  EXPECT_EQ(lane_.appended_at(1), 9'000u);
}

TEST_F(MemoryLaneTest, WhatWasInMemoryOnlyIsAGapForEachGroupAndReader) {
  Lane restarted(lane_.tuning());
  restarted.Restore({.head = 0, .tail = 4});
  Group* group = restarted.AddGroup("g", GroupMode::kShared, 0);
  // 5 and 6 were delivered before and come again; 0 and 1 are settled.
  group->Restore({.cursor = 2, .settled = {}, .attempted = {{{5, 2}, 3}}, .parked = {}});
  // 4 … 9 were never stored.
  EXPECT_TRUE(restarted.Replayed(10, 2, 20, 6'000, 100));
  restarted.FinishReplay(15);
  EXPECT_EQ(restarted.tail(), 15u);
  EXPECT_EQ(restarted.head(), 0u);
  EXPECT_EQ(restarted.backlog().messages, 4u) << "holes are no backlog";
  lane_ = std::move(restarted);
  group = lane_.FindGroup("g");

  EXPECT_EQ(Once(group, kAnn), Outcome::kGap) << "what came again is lost, too";
  EXPECT_EQ(gap_, (Ranges{{5, 2}}));
  group->SkipFresh({2, 2});  // stands for two deliveries
  EXPECT_EQ(Once(group, kAnn), Outcome::kGap);
  EXPECT_EQ(gap_, (Ranges{{4, 1}}));
  EXPECT_EQ(Once(group, kAnn), Outcome::kGap);
  EXPECT_EQ(gap_, (Ranges{{7, 3}}));
  EXPECT_EQ(Once(group, kAnn), Outcome::kReadDisk);
  Reader reader{.next = 12};
  EXPECT_EQ(ReadOnce(reader), Outcome::kGap);
  EXPECT_EQ(gap_, (Ranges{{12, 3}}));
  EXPECT_EQ(ReadOnce(reader), Outcome::kEmpty);
  EXPECT_EQ(Publish(1), 15u) << "no offset is given out twice";
}

TEST_F(LaneTest, AHoleBelowEveryGroupIsPassed) {
  Lane restarted(lane_.tuning());
  restarted.AddGroup("g", GroupMode::kShared, 0)->Restore({.cursor = 8});
  restarted.FinishReplay(10);
  EXPECT_EQ(restarted.head(), 8u) << "up to who must still be told";
  Lane alone(lane_.tuning());
  alone.FinishReplay(10);
  EXPECT_EQ(alone.head(), 10u);
  EXPECT_EQ(alone.disk_bytes(), 0u);
}

}  // namespace
}  // namespace spillway::queue
