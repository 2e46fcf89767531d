#include "broker/queue/disk_index.h"

#include <gtest/gtest.h>

#include <limits>

#include "broker/queue/fetch.h"
#include "broker/queue/model/records.h"

namespace spillway::queue {
namespace {

constexpr uint64_t kMiB = DiskIndex::kSpacingBytes;

DiskIndex Marks() {
  DiskIndex index;
  index.Add({10, 1, 1'000, 0});
  index.Add({20, 2, 1'000, kMiB - 1});  // too near
  index.Add({30, 3, 2'000, kMiB});
  index.Add({40, 4, 2'000, 2 * kMiB});
  return index;
}

TEST(DiskIndex, KeepsAMarkAMebibyte) {
  const DiskIndex index = Marks();
  ASSERT_EQ(index.marks().size(), 3u);
  EXPECT_EQ(index.Floor(10)->position, 1u);
  EXPECT_EQ(index.Floor(29)->position, 1u);
  EXPECT_EQ(index.Floor(30)->position, 3u);
  EXPECT_EQ(index.Floor(999)->position, 4u);
  EXPECT_EQ(index.Floor(0)->position, 1u) << "all are after it";
  EXPECT_FALSE(DiskIndex().Floor(0));
  EXPECT_EQ(index.NextAfter(9), 10u);
  EXPECT_EQ(index.NextAfter(10), 30u);
  EXPECT_EQ(index.NextAfter(40), std::numeric_limits<Offset>::max());
}

TEST(DiskIndex, FindsATimeFromBeforeIt) {
  const DiskIndex index = Marks();
  EXPECT_EQ(index.FloorTime(0)->position, 1u);
  EXPECT_EQ(index.FloorTime(1'500)->position, 1u);
  // A batch of the same millisecond may be before the mark.
  EXPECT_EQ(index.FloorTime(2'000)->position, 1u);
  EXPECT_EQ(index.FloorTime(2'001)->position, 4u);
}

TEST(DiskIndex, TrimsWhatNoOffsetNeeds) {
  DiskIndex index = Marks();
  index.TrimBelow(29);
  EXPECT_EQ(index.marks().size(), 3u);
  index.TrimBelow(30);
  EXPECT_EQ(index.marks().front().first, 30u);
  index.TrimBelow(1'000);
  EXPECT_EQ(index.marks().front().first, 40u) << "one stays";
  index.Clear();
  EXPECT_TRUE(index.marks().empty());
}

TEST(DiskIndex, MarksTheEndOfAHole) {
  DiskIndex index = Marks();
  index.Break();
  index.Add({50, 5, 2'000, 2 * kMiB + 1});
  index.Add({60, 6, 2'000, 2 * kMiB + 2});
  EXPECT_EQ(index.marks().back().first, 50u);
}

std::deque<Batch> Batches(const std::vector<Offset>& firsts) {
  std::deque<Batch> out;
  for (const Offset first : firsts) {
    Batch batch;
    batch.first = first;
    batch.records = model::MakeRecords({"a", "b"});
    out.push_back(std::move(batch));
  }
  return out;
}

TEST(Fetch, DropsWhatItHasPassed) {
  Fetch fetch;
  fetch.Want(10);
  fetch.Begin();
  EXPECT_TRUE(fetch.reading());
  fetch.Finish(Batches({8, 10, 12}), 77);
  EXPECT_EQ(fetch.Find(11)->first, 10u);
  EXPECT_EQ(fetch.Find(12)->first, 12u);
  EXPECT_EQ(fetch.Find(14), nullptr);
  EXPECT_FALSE(fetch.missed(10));
  EXPECT_EQ(fetch.ContinueAt(14, 8), 77u);
  EXPECT_FALSE(fetch.ContinueAt(14, 14)) << "the mark is as near";
  EXPECT_FALSE(fetch.ContinueAt(13, 8)) << "already passed";
}

TEST(Fetch, KnowsWhatIsNotThere) {
  Fetch fetch;
  fetch.Want(10);
  fetch.Begin();
  fetch.Finish(Batches({8, 12}), 77);
  EXPECT_TRUE(fetch.missed(10)) << "passed by";
  fetch.Want(12);
  fetch.Begin();
  fetch.Finish({}, 77);
  EXPECT_TRUE(fetch.missed(12)) << "nothing at all";
  EXPECT_FALSE(fetch.missed(10));
  fetch.Want(12);
  fetch.Begin();
  fetch.Finish(Batches({8, 10}), 78);
  EXPECT_FALSE(fetch.missed(12)) << "not there yet; the read goes on";
  fetch.Clear();
  EXPECT_FALSE(fetch.reading());
}

TEST(Fetch, ReadsAheadOfWhatIsUsed) {
  Fetch fetch;
  EXPECT_FALSE(fetch.MayReadAhead()) << "of nothing";
  fetch.Want(8);
  fetch.Begin();
  EXPECT_FALSE(fetch.MayReadAhead()) << "a read is under way";
  fetch.Finish(Batches({8, 10}), 77);
  ASSERT_TRUE(fetch.MayReadAhead());
  fetch.WantAhead();
  fetch.Begin();
  EXPECT_EQ(fetch.Find(9)->first, 8u) << "what is held stays";
  fetch.Finish(Batches({8, 10, 12}), 78);  // from a mark
  EXPECT_EQ(fetch.batches(), 3u);
  EXPECT_EQ(fetch.end(), 14u);
  EXPECT_EQ(fetch.ContinueAt(14, 8), 78u);
  // Nothing is there yet, or the read fails: once is enough.
  for (const bool fails : {false, true}) {
    ASSERT_TRUE(fetch.MayReadAhead());
    fetch.WantAhead();
    fetch.Begin();
    fails ? fetch.Fail() : fetch.Finish({}, 78);
    EXPECT_FALSE(fetch.MayReadAhead());
    EXPECT_EQ(fetch.Find(12)->first, 12u);
    EXPECT_FALSE(fetch.missed(14)) << "a read for it may find it";
    fetch.Clear();
    fetch.Want(12);
    fetch.Begin();
    fetch.Finish(Batches({12}), 78);
  }
}

TEST(Fetch, HoldsNoMoreThanIsWorthwhile) {
  Fetch fetch;
  auto batches = Batches({10, 12});
  batches[0].records = model::MakeRecords({std::string(Fetch::kAheadBytes, 'x'), "y"});
  fetch.Want(10);
  fetch.Begin();
  fetch.Finish(std::move(batches), 77);
  EXPECT_FALSE(fetch.MayReadAhead());
  fetch.Find(12);
  EXPECT_TRUE(fetch.MayReadAhead());
}

}  // namespace
}  // namespace spillway::queue
