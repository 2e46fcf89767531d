// What an owner is given of what was appended before it, and after a crash.
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "broker/storage/callback_slot.h"
#include "broker/storage/log_store_contract.h"

namespace spillway::storage::contract {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace {

std::vector<Position> Positions(const std::vector<Entry>& entries) {
  std::vector<Position> out;
  out.reserve(entries.size());
  for (const Entry& e : entries) out.push_back(e.position);
  return out;
}

}  // namespace

// ---- 1: the replay is what was appended ------------------------------------

TEST_P(LogStoreContract, AnEmptyLaneReplaysNothing) {
  Start();
  Held h = drive().Acquire(kLane);
  EXPECT_EQ(h.err, Err::kOk);
  ASSERT_TRUE(h.owner);
  EXPECT_GT(h.owner->epoch(), 0u);
  EXPECT_THAT(h.replayed, IsEmpty());
  const Page page = drive().Read(kLane, 0);
  EXPECT_EQ(page.err, Err::kOk);
  EXPECT_EQ(page.next, 0u);
}

TEST_P(LogStoreContract, ReplayIsWhatWasAppended) {
  Start();
  Held h = drive().Acquire(kLane);
  ASSERT_TRUE(h.owner);
  const Epoch epoch = h.owner->epoch();
  std::vector<Position> positions;
  const auto append = [&](const Record& r, Level level) {
    const Completed c = drive().Append(*h.owner, r, level);
    EXPECT_EQ(c.err, Err::kOk);
    positions.push_back(c.position);
  };
  append(MakeRecord("first", 0), Level::kProcess);
  append(MakeRecord({"a", "bc", "def"}, 1), Level::kFsync);
  append(MakeRecord("cursor", 0, Kind::kControl), Level::kFsync);
  append(MakeRecord("", 4), Level::kProcess);
  append(MakeRecord(std::string("\0\xff\0", 3), 5), Level::kFsync);
  h.owner.reset();
  for (int i = 0; i < 2; ++i) {
    if (i == 1) harness_->Reopen();
    Held again = drive().Acquire(kLane);
    ASSERT_EQ(again.err, Err::kOk);
    EXPECT_GT(again.owner->epoch(), epoch);
    EXPECT_THAT(Bodies(again.replayed),
                ElementsAre("first", "abcdef", "cursor", "", std::string("\0\xff\0", 3)));
    EXPECT_EQ(Positions(again.replayed), positions);
    EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end()));
    EXPECT_GT(positions.front(), 0u);
    EXPECT_EQ(again.replayed[1].base_offset, 1u);
    EXPECT_EQ(again.replayed[1].count, 3u);
    EXPECT_EQ(again.replayed[1].epoch, epoch);
    EXPECT_EQ(again.replayed[1].kind, Kind::kData);
    EXPECT_EQ(again.replayed[2].kind, Kind::kControl);
  }
}

TEST_P(LogStoreContract, LanesDoNotMix) {
  Start();
  const std::vector<LaneId> lanes = {{1, 0}, {1, 1}, {2, 0}, {256, 0}, {0, 0}, {UINT32_MAX, 5}};
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < lanes.size(); ++i) {
      Held h = drive().Acquire(lanes[i]);
      ASSERT_EQ(h.err, Err::kOk);
      ASSERT_EQ(h.replayed.size(), static_cast<size_t>(round));
      for (const Entry& e : h.replayed) EXPECT_EQ(e.body.view(), "lane " + std::to_string(i));
      drive().Append(*h.owner, MakeRecord("lane " + std::to_string(i)), Level::kProcess);
    }
  }
}

TEST_P(LogStoreContract, AReplayThatIsRefusedStopsTheAcquire) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("one"));
    drive().Append(*h.owner, MakeRecord("two"));
  }
  Slot<Err> slot;
  auto seen = std::make_shared<std::atomic<int>>(0);
  store().Acquire(
      kLane,
      [seen](const Entry&) {
        ++*seen;
        return false;
      },
      [slot](Err err, std::unique_ptr<Owner> owner) mutable {
        EXPECT_FALSE(owner);
        slot.Set(err);
      });
  ASSERT_TRUE(drive().Until([&] { return slot.ready(); }));
  EXPECT_EQ(slot.Take(), Err::kCorrupt);
  EXPECT_EQ(*seen, 1);
}

// ---- 3: what was acknowledged survives -------------------------------------

TEST_P(LogStoreContract, AcknowledgedSurvivesAKill) {
  Start();
  std::vector<std::string> bodies;
  for (int round = 0; round < 4; ++round) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    ASSERT_EQ(Bodies(h.replayed), bodies);
    for (int i = 0; i < 20; ++i) {
      bodies.push_back(std::to_string(round) + "." + std::to_string(i));
      ASSERT_EQ(drive()
                    .Append(*h.owner, MakeRecord(bodies.back()),
                            i % 2 != 0 ? Level::kFsync : Level::kProcess)
                    .err,
                Err::kOk);
    }
    h.owner.reset();
    if (!harness_->Crash(Level::kProcess)) GTEST_SKIP() << "cannot be shown with this store";
  }
}

TEST_P(LogStoreContract, SyncedSurvivesAPowerFailure) {
  Start();
  std::vector<std::string> bodies;
  for (int round = 0; round < 4; ++round) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    // What was not synced may be there or not; what was synced is.
    std::vector<std::string> replayed = Bodies(h.replayed);
    ASSERT_GE(replayed.size(), bodies.size());
    replayed.resize(bodies.size());
    ASSERT_EQ(replayed, bodies);
    bodies = Bodies(h.replayed);
    for (int i = 0; i < 20; ++i) {
      bodies.push_back(std::to_string(round) + "." + std::to_string(i));
      ASSERT_EQ(drive()
                    .Append(*h.owner, MakeRecord(bodies.back()),
                            i % 2 != 0 ? Level::kFsync : Level::kProcess)
                    .err,
                Err::kOk);
    }
    drive().Append(*h.owner, MakeRecord("not synced"), Level::kProcess);
    h.owner.reset();
    if (!harness_->Crash(Level::kFsync)) GTEST_SKIP() << "cannot be shown with this store";
  }
}

}  // namespace spillway::storage::contract
