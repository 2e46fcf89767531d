// What trimming and removal take away, and what they leave.
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "broker/storage/log_store_contract.h"

namespace spillway::storage::contract {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// ---- 15 to 18: trim and snapshots ------------------------------------------

TEST_P(LogStoreContract, TrimIsMonotoneAndReadingBelowSaysTrimmed) {
  Start();
  Held h = drive().Acquire(kLane);
  std::vector<Position> p;
  p.reserve(10);
  for (int i = 0; i < 10; ++i) {
    p.push_back(drive().Append(*h.owner, MakeRecord(std::to_string(i))).position);
  }
  EXPECT_EQ(drive().Trim(*h.owner, p[4]).err, Err::kOk);
  EXPECT_EQ(drive().Trim(*h.owner, p[2]).err, Err::kOk);
  h.owner.reset();
  for (int i = 0; i < 2; ++i) {
    if (i == 1) harness_->Reopen();
    const Page below = drive().Read(kLane, p[3]);
    EXPECT_EQ(below.err, Err::kTrimmed);
    EXPECT_THAT(below.entries, IsEmpty());
    EXPECT_EQ(below.next, p[4]);
    EXPECT_EQ(drive().Read(kLane, 0).err, Err::kTrimmed);
    const Page above = drive().Read(kLane, below.next);
    EXPECT_EQ(above.err, Err::kOk);
    EXPECT_THAT(Bodies(above.entries), ElementsAre("4", "5", "6", "7", "8", "9"));
    Held again = drive().Acquire(kLane);
    EXPECT_EQ(again.err, Err::kOk);
    EXPECT_THAT(Bodies(again.replayed), ElementsAre("4", "5", "6", "7", "8", "9"));
  }
}

TEST_P(LogStoreContract, PositionsRiseAfterAllIsTrimmed) {
  Start();
  Position last = 0;
  for (int round = 0; round < 4; ++round) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    EXPECT_THAT(h.replayed, IsEmpty());
    const Completed c = drive().Append(*h.owner, MakeRecord("x"));
    EXPECT_GT(c.position, last);
    last = c.position;
    EXPECT_EQ(drive().Trim(*h.owner, last + 1).err, Err::kOk);
    h.owner.reset();
    if (round % 2 != 0) harness_->Reopen();
  }
}

TEST_P(LogStoreContract, TrimPastTheEndTakesNothingThatComesLater) {
  Start();
  Held h = drive().Acquire(kLane);
  drive().Append(*h.owner, MakeRecord("gone"));
  EXPECT_EQ(drive().Trim(*h.owner, UINT64_MAX).err, Err::kOk);
  const Completed kept = drive().Append(*h.owner, MakeRecord("kept"));
  EXPECT_EQ(kept.err, Err::kOk);
  EXPECT_THAT(Bodies(drive().Read(kLane, kept.position).entries), ElementsAre("kept"));
  h.owner.reset();
  harness_->Reopen();
  EXPECT_THAT(Bodies(drive().Acquire(kLane).replayed), ElementsAre("kept"));
}

TEST_P(LogStoreContract, AStaleOwnersTrimHasNoEffect) {
  Start();
  Held old = drive().Acquire(kLane);
  const Position p = drive().Append(*old.owner, MakeRecord("kept")).position;
  Held fresh = drive().Acquire(kLane);
  EXPECT_EQ(drive().Trim(*old.owner, p + 1).err, Err::kFenced);
  EXPECT_THAT(Bodies(drive().Read(kLane, p).entries), ElementsAre("kept"));
}

TEST_P(LogStoreContract, ReplayBeginsAtTheLastSnapshot) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("d1"));
    drive().Append(*h.owner, MakeRecord("c1", 0, Kind::kControl));
    drive().Append(*h.owner, MakeRecord("s1", 0, Kind::kSnapshot));
    drive().Append(*h.owner, MakeRecord("d2"));
    drive().Append(*h.owner, MakeRecord("s2", 0, Kind::kSnapshot));
    drive().Append(*h.owner, MakeRecord("c2", 0, Kind::kControl));
    drive().Append(*h.owner, MakeRecord("d3"));
  }
  for (int i = 0; i < 2; ++i) {
    if (i == 1) harness_->Reopen();
    Held h = drive().Acquire(kLane);
    EXPECT_THAT(Bodies(h.replayed), ElementsAre("s2", "c2", "d3"));
    EXPECT_EQ(h.replayed[0].kind, Kind::kSnapshot);
    // The data before it is still there to be read.
    EXPECT_THAT(Bodies(drive().Read(kLane, 0).entries), ElementsAre("d1", "d2", "d3"));
  }
}

TEST_P(LogStoreContract, TrimKeepsWhatFollowsTheLastSnapshot) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("c1", 0, Kind::kControl));
    drive().Append(*h.owner, MakeRecord("s1", 0, Kind::kSnapshot));
    drive().Append(*h.owner, MakeRecord("d1"));
    drive().Append(*h.owner, MakeRecord("c2", 0, Kind::kControl));
    const Position p = drive().Append(*h.owner, MakeRecord("d2")).position;
    ASSERT_EQ(drive().Trim(*h.owner, p).err, Err::kOk);
    drive().Append(*h.owner, MakeRecord("c3", 0, Kind::kControl));
  }
  for (int i = 0; i < 3; ++i) {
    if (i == 1) harness_->Reopen();
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    EXPECT_THAT(Bodies(h.replayed), ElementsAre("s1", "c2", "d2", "c3"));
    h.owner.reset();
  }
}

TEST_P(LogStoreContract, WithoutASnapshotTrimKeepsControlEntries) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("c1", 0, Kind::kControl));
    const Position p = drive().Append(*h.owner, MakeRecord("d1")).position;
    ASSERT_EQ(drive().Trim(*h.owner, p + 1).err, Err::kOk);
  }
  harness_->Reopen();
  EXPECT_THAT(Bodies(drive().Acquire(kLane).replayed), ElementsAre("c1"));
}

TEST_P(LogStoreContract, SnapshotAndTrimOverManyOwners) {
  Start();
  std::vector<std::string> kept;
  for (int round = 0; round < 12; ++round) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk) << round;
    ASSERT_EQ(Bodies(h.replayed), kept) << round;
    const std::string n = std::to_string(round);
    drive().Append(*h.owner, MakeRecord("d" + n), Level::kProcess);
    kept.push_back("d" + n);
    if (round % 3 == 1) {
      const Completed s =
          drive().Append(*h.owner, MakeRecord("s" + n, 0, Kind::kSnapshot), Level::kFsync);
      kept = {"s" + n};
      ASSERT_EQ(drive().Trim(*h.owner, s.position).err, Err::kOk);
    }
    drive().Append(*h.owner, MakeRecord("c" + n, 0, Kind::kControl), Level::kProcess);
    kept.push_back("c" + n);
    h.owner.reset();
    if (round % 4 == 3) harness_->Reopen();
  }
}

// ---- removal ---------------------------------------------------------------

TEST_P(LogStoreContract, RemoveTakesOneLaneOnly) {
  Start();
  Epoch epoch = 0;
  for (LaneId lane : {kLane, kOther}) {
    Held h = drive().Acquire(lane);
    drive().Append(*h.owner, MakeRecord("data"));
    drive().Append(*h.owner, MakeRecord("state", 0, Kind::kSnapshot));
    drive().Append(*h.owner, MakeRecord("more"));
    epoch = h.owner->epoch();
  }
  EXPECT_EQ(drive().Remove(kLane).err, Err::kOk);
  for (int i = 0; i < 2; ++i) {
    if (i == 1) harness_->Reopen();
    EXPECT_THAT(drive().Read(kLane, 0).entries, IsEmpty());
    Held gone = drive().Acquire(kLane);
    ASSERT_EQ(gone.err, Err::kOk);
    EXPECT_THAT(gone.replayed, IsEmpty());
    EXPECT_GT(gone.owner->epoch(), epoch);
    EXPECT_THAT(Bodies(drive().Acquire(kOther).replayed), ElementsAre("state", "more"));
  }
  // The lane can be used again.
  {
    Held h = drive().Acquire(kLane);
    EXPECT_EQ(drive().Append(*h.owner, MakeRecord("again")).err, Err::kOk);
  }
  harness_->Reopen();
  EXPECT_THAT(Bodies(drive().Acquire(kLane).replayed), ElementsAre("again"));
}

TEST_P(LogStoreContract, RemovingALaneThatNeverWasIsFine) {
  Start();
  EXPECT_EQ(drive().Remove({99, 9}).err, Err::kOk);
}

}  // namespace spillway::storage::contract
