// What members and readers of a lane are given, from memory and from disk.
#include <utility>
#include <vector>

#include "broker/queue/lane_fixture.h"

namespace spillway::queue {
namespace {

// ---- Delivering

TEST_F(LaneTest, DeliversWhatIsStored) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  EXPECT_EQ(Once(group, kAnn), Outcome::kEmpty);
  EXPECT_EQ(Publish(3), 0u);
  EXPECT_EQ(Publish(2), 3u);
  EXPECT_EQ(Once(group, kAnn), Outcome::kEmpty) << "not stored yet";
  Store();
  EXPECT_EQ(Once(group, kAnn), Outcome::kDelivered);
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(0, 5));
  EXPECT_EQ(out_.runs.size(), 1u) << "what touches is one run";
  EXPECT_EQ(out_.cost, (Credit{5, 50}));
  EXPECT_EQ(group->InFlightOf(kAnn), (Credit{5, 50}));
}

TEST_F(LaneTest, RoomIsALimitAndAFrameIsNot) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  Publish(4);
  Store();
  EXPECT_EQ(Once(group, kAnn, {0, 100}), Outcome::kNoRoom);
  EXPECT_EQ(Once(group, kAnn, {9, 9}), Outcome::kNoRoom);
  EXPECT_EQ(Once(group, kAnn, {9, 10}), Outcome::kDelivered);
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(0, 1));
  EXPECT_EQ(Once(group, kAnn, kAll, {9, 5}), Outcome::kDelivered) << "one may pass the frame";
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(1, 2));
  EXPECT_EQ(Once(group, kAnn, {2, 100}, {1, 100}), Outcome::kDelivered);
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(2, 3));
  EXPECT_EQ(group->InFlightOf(kAnn), (Credit{3, 30}));
}

TEST_F(LaneTest, WhatComesAgainGoesFirst) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  Publish(4);
  Store();
  Once(group, kAnn, {2, 100});
  group->Disconnect(kAnn);
  EXPECT_EQ(Once(group, kBob), Outcome::kDelivered);
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(0, 4));
  ASSERT_EQ(out_.runs.size(), 2u);
  EXPECT_EQ(out_.runs[0].attempt, 2u);
  EXPECT_EQ(out_.runs[1].attempt, 1u);
}

TEST_F(LaneTest, ALaggardReadsTheDiskAndALiveGroupDoesNot) {
  Group* live = lane_.AddGroup("live", GroupMode::kShared, 0);
  Group* lagging = lane_.AddGroup("lagging", GroupMode::kShared, 0);
  for (int i = 0; i < 8; ++i) {
    Publish(3);
    Store();
    EXPECT_EQ(Drain(live, kAnn).size(), 3u);
    lane_.EvictTo(0, 0);
  }
  EXPECT_EQ(reads_, 0);
  Publish(3);
  Store();
  EXPECT_EQ(Drain(lagging, kBob), UpTo(0, 27));
  EXPECT_GT(reads_, 0);
  EXPECT_EQ(lane_.unspilled_messages_total(), 24u);
  EXPECT_EQ(lane_.spilled_messages_total(), 24u);
  EXPECT_EQ(Drain(live, kAnn), UpTo(24, 27));
}

TEST_F(LaneTest, FreshOnesNeedNotWaitForTheDiskOfARetry) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  Publish(2);
  Store();
  Once(group, kAnn);
  lane_.EvictTo(0, 0);
  group->Disconnect(kAnn);
  Publish(2);
  Store();
  EXPECT_EQ(Once(group, kBob), Outcome::kDelivered);
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(2, 4));
  EXPECT_EQ(read_.fetch, &group->retry_fetch) << "and the read is asked for";
  Serve(read_);
  EXPECT_EQ(Once(group, kBob), Outcome::kDelivered);
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(0, 2));
}

TEST_F(LaneTest, OneReadAtATime) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  Spill(2);
  EXPECT_EQ(Once(group, kAnn), Outcome::kReadDisk);
  read_.fetch->Begin();
  EXPECT_EQ(Once(group, kAnn), Outcome::kReadDisk);
  EXPECT_EQ(read_.fetch, nullptr);
  group->fresh_fetch.Fail();
  EXPECT_EQ(Once(group, kAnn), Outcome::kReadDisk);
  EXPECT_EQ(read_.fetch, &group->fresh_fetch) << "asked for again";
}

TEST_F(LaneTest, WhatTheDiskDoesNotHaveIsReportedNotReadForEver) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  Spill(2);
  Spill(2);
  EXPECT_EQ(Once(group, kAnn), Outcome::kReadDisk);
  disk_.erase(disk_.begin());
  Serve(read_);
  EXPECT_EQ(Once(group, kAnn), Outcome::kMissing);
  EXPECT_EQ(Once(group, kAnn), Outcome::kMissing);
}

TEST_F(LaneTest, ASeekFreesAFetchWhoseReadIsForgotten) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  Spill(2);
  Once(group, kAnn);
  read_.fetch->Begin();
  std::vector<std::pair<MemberId, OffsetRange>> revoked;
  group->Seek(1, &revoked);
  EXPECT_EQ(Once(group, kAnn), Outcome::kReadDisk);
  EXPECT_EQ(read_.fetch, &group->fresh_fetch);
}

// ---- Readers

// One read waits for the disk; the others come while what was read before is used.
TEST_F(LaneTest, AReplayReadsAhead) {
  for (int i = 0; i < 8; ++i) Spill(2);
  Publish(2);  // is in memory
  Store();
  Reader reader;
  ASSERT_EQ(ReadOnce(reader), Outcome::kReadDisk);
  Serve(read_, 2);
  Offsets all;
  for (Outcome outcome{}; reader.next < 18;) {
    outcome = ReadOnce(reader, {1, 100});
    ASSERT_EQ(outcome, Outcome::kDelivered);
    for (const Offset offset : model::OffsetsOf(out_)) all.push_back(offset);
    if (read_.fetch != nullptr) Serve(read_, 2);
  }
  EXPECT_EQ(all, UpTo(0, 18));
  EXPECT_EQ(reads_, 4) << "of two batches each, and none of what is in memory";
}

TEST_F(LaneTest, AReaderStopsWhereItShould) {
  for (int i = 0; i < 5; ++i) {
    now_.unix_ms = 1'000 + static_cast<UnixMillis>(i);
    Publish(2);
  }
  Store();
  Reader by_offset{.next = 1, .stop = 4};
  EXPECT_EQ(ReadOnce(by_offset, {2, 100}), Outcome::kDelivered);
  EXPECT_EQ(ReadOnce(by_offset), Outcome::kDelivered);
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(3, 4));
  EXPECT_EQ(out_.runs[0].attempt, 0u);
  EXPECT_EQ(ReadOnce(by_offset), Outcome::kStopped);

  Reader by_time{.next = 0, .stop_time = 1'002};
  EXPECT_EQ(ReadOnce(by_time), Outcome::kDelivered);
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(0, 4));
  EXPECT_EQ(ReadOnce(by_time), Outcome::kStopped);
  EXPECT_TRUE(by_time.stopped);

  Reader open{.next = 9};
  EXPECT_EQ(ReadOnce(open, {1, 1}), Outcome::kNoRoom);
  EXPECT_EQ(ReadOnce(open), Outcome::kDelivered);
  EXPECT_EQ(ReadOnce(open), Outcome::kEmpty);
}

TEST_F(LaneTest, AReaderIsToldOfWhatIsGone) {
  Publish(6);
  Store();
  Reader reader;
  lane_.AdvanceHead(4, GoneReason::kPurged);
  EXPECT_EQ(ReadOnce(reader), Outcome::kGap);
  EXPECT_EQ(gap_, (Ranges{{0, 4}}));
  EXPECT_EQ(ReadOnce(reader), Outcome::kDelivered);
  EXPECT_EQ(model::OffsetsOf(out_), UpTo(4, 6));
  Reader short_one{.next = 0, .stop = 2};
  EXPECT_EQ(ReadOnce(short_one), Outcome::kGap);
  EXPECT_EQ(gap_, (Ranges{{0, 2}}));
  EXPECT_EQ(ReadOnce(short_one), Outcome::kStopped);
}

}  // namespace
}  // namespace spillway::queue
