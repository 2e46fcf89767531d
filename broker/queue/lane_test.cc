#include "broker/queue/lane.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/queue/model/records.h"

namespace spillway::queue {
namespace {

using Offsets = std::vector<Offset>;
using Ranges = std::vector<OffsetRange>;

constexpr Credit kAll{1'000'000, 1'000'000'000};
constexpr MemberId kAnn = 1, kBob = 2;

Tuning With(Durability durability, Retention retention = Retention::kUntilSettled) {
  Tuning tuning;
  tuning.durability = durability;
  tuning.retention = retention;
  return tuning;
}

// A lane with a disk of its own: position 100 + n is the n-th batch stored.
class LaneTest : public ::testing::Test {
 protected:
  explicit LaneTest(Durability durability = Durability::kSynced) : lane_(With(durability)) {}

  Offset Publish(size_t count, size_t bytes = 10) {
    const std::vector<std::string> bodies(count, std::string(bytes, 'x'));
    return lane_.Publish(model::MakeRecords(bodies), {}, now_);
  }
  void Store(const Credit& keep = {}) {
    while (const Batch* batch = lane_.NextToStore(keep)) {
      disk_.push_back(*batch);
      lane_.MarkStoring();
    }
    while (lane_.window().stored_end() < lane_.window().storing_end()) {
      lane_.Stored(100 + stored_++);
    }
  }
  // Publishes, stores and evicts.
  void Spill(size_t count, size_t bytes = 10) {
    Publish(count, bytes);
    Store();
    lane_.EvictTo(0, 0);
  }
  void Serve(const DiskRead& read, size_t most = 100) {
    ASSERT_NE(read.fetch, nullptr);
    read.fetch->Begin();
    std::deque<Batch> batches;
    size_t at = read.from - 100;
    for (; at < disk_.size() && batches.size() < most; ++at) batches.push_back(disk_[at]);
    ++reads_;
    read.fetch->Finish(std::move(batches), 100 + at);
  }
  Outcome Once(Group* group, MemberId member, const Credit& room = kAll, const Credit& max = kAll) {
    out_ = {};
    read_ = {};
    gap_.clear();
    return lane_.Deliver(*group, member, room, max, now_, 1'000, &out_, &read_, &gap_);
  }
  Outcome ReadOnce(Reader& reader, const Credit& room = kAll) {
    out_ = {};
    read_ = {};
    gap_.clear();
    return lane_.Read(reader, room, kAll, &out_, &read_, &gap_);
  }
  // All that a member can get, disk included; acknowledged if `ack`.
  Offsets Drain(Group* group, MemberId member, bool ack = true) {
    Offsets all;
    for (int i = 0; i < 1'000; ++i) {
      const Outcome outcome = Once(group, member);
      for (const Offset offset : model::OffsetsOf(out_)) all.push_back(offset);
      if (outcome == Outcome::kReadDisk) {
        Serve(read_, 2);
      } else if (outcome != Outcome::kDelivered) {
        break;
      }
    }
    if (ack) {
      for (const Offset offset : all) Ack(group, {offset, 1}, member);
    }
    return all;
  }
  void Ack(Group* group, OffsetRange range, MemberId member) {
    group->Settle(range, member, SettleAction::kAck, 0, "", now_, rules_);
  }

  const RetryRules rules_{.max_attempts = 5, .backoff = [](uint32_t) { return MonoNanos{10}; }};
  Now now_{100, 5'000};
  Lane lane_;
  std::vector<Batch> disk_;
  uint64_t stored_ = 0;
  int reads_ = 0;
  wire::Delivery out_;
  DiskRead read_;
  Ranges gap_;
};

class MemoryLaneTest : public LaneTest {
 protected:
  MemoryLaneTest() : LaneTest(Durability::kMemory) {}
};

Offsets UpTo(Offset first, Offset end) {
  Offsets out;
  for (; first < end; ++first) out.push_back(first);
  return out;
}

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

// ---- Memory

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
  EXPECT_TRUE(lane_.CanSnapshot());
  lane_.Stored(200);
  EXPECT_EQ(lane_.NeededPosition(), 200u);
  Drain(group, kAnn);
  lane_.AdvanceHead(lane_.SettledHead(), GoneReason::kRetention);
  EXPECT_FALSE(lane_.NeededPosition());
  EXPECT_TRUE(lane_.index().marks().empty()) << "they may lead to trimmed entries";
}

// ---- Recovery

TEST_F(LaneTest, StateRoundTrip) {
  Group* group = lane_.AddGroup("g", GroupMode::kShared, 0);
  for (int i = 0; i < 4; ++i) Publish(2, 7);
  Store();
  Publish(2, 7);
  Once(group, kAnn, {3, 100});
  Ack(group, {0, 2}, kAnn);
  lane_.AdvanceHead(2, GoneReason::kRetention);
  const Lane::State state = lane_.state();
  const Group::State group_state = group->state();

  Lane restarted(lane_.tuning());
  restarted.Restore(state);
  Group* restored = restarted.AddGroup("g", GroupMode::kShared, 0);
  restored->Restore(group_state);
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
