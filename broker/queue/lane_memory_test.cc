// What of a lane stays in memory, and what is stored.
#include "broker/queue/lane_fixture.h"

namespace spillway::queue {
namespace {

TEST_F(MemoryLaneTest, SeenAtOnceAndSpilledWhenShort) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  for (int i = 0; i < 4; ++i) Publish(2);
  EXPECT_EQ(lane_.visible_end(), 8u);
  EXPECT_EQ(lane_.NextToStore({8, 1'000'000}), nullptr);
  const uint64_t one = ResidentWindow::Footprint(*lane_.window().Find(0));
  EXPECT_EQ(lane_.NextToStore({1'000, 2 * one})->first, 0u);
  Store({4, 1'000'000});
  EXPECT_EQ(lane_.window().stored_end(), 4u);
  EXPECT_EQ(lane_.spilled_messages_total(), 4u);
  lane_.EvictTo(0, 0);
  EXPECT_EQ(lane_.window().begin(), 4u) << "the rest is in memory only";
  EXPECT_EQ(Drain(group, kAnn), UpTo(0, 8));
}

TEST_F(MemoryLaneTest, WhatIsSettledNeedsNoDisk) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  for (int i = 0; i < 4; ++i) Publish(2);
  EXPECT_EQ(Drain(group, kAnn), UpTo(0, 8));
  EXPECT_EQ(lane_.SettledHead(), 8u);
  EXPECT_TRUE(lane_.AdvanceHead(8, GoneReason::kRetention).empty());
  EXPECT_EQ(lane_.window().footprint_bytes(), 0u);
  EXPECT_EQ(lane_.disk_messages(), 0u);
  EXPECT_FALSE(lane_.NeededPosition());
}

TEST_F(LaneTest, WhatWasPromisedToTheDiskGoesThereThoughTheQueueIsMemoryNow) {
  Publish(2);
  lane_.set_tuning(With(Durability::kMemory));
  EXPECT_EQ(lane_.visible_end(), 0u);
  Publish(2);
  EXPECT_EQ(lane_.visible_end(), 4u);
  Store(kAll);
  EXPECT_EQ(lane_.window().stored_end(), 2u);
}

TEST_F(LaneTest, EvictionStopsAtTheTarget) {
  for (int i = 0; i < 4; ++i) Publish(2);
  const uint64_t one = ResidentWindow::Footprint(*lane_.window().Find(0));
  lane_.EvictTo(0, 0);
  EXPECT_EQ(lane_.window().begin(), 0u) << "nothing is stored";
  Store();
  lane_.EvictTo(3 * one, 1'000);
  EXPECT_EQ(lane_.window().begin(), 2u);
  lane_.EvictTo(1'000'000, 3);
  EXPECT_EQ(lane_.window().begin(), 6u);
}

}  // namespace
}  // namespace spillway::queue
