#include "broker/queue/range_set.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <vector>

#include "broker/base/random.h"

namespace spillway::queue {
namespace {

using Ranges = std::vector<OffsetRange>;

RangeSet Of(const Ranges& ranges) {
  RangeSet set;
  for (const OffsetRange& range : ranges) set.Add(range);
  return set;
}

TEST(RangeSet, JoinsWhatTouches) {
  RangeSet set;
  EXPECT_EQ(set.Add({10, 5}), 5u);
  EXPECT_EQ(set.Add({20, 5}), 5u);
  EXPECT_EQ(set.Add({15, 5}), 5u);
  EXPECT_EQ(set.ToVector(), (Ranges{{10, 15}}));
  EXPECT_EQ(set.Add({9, 1}), 1u);
  EXPECT_EQ(set.Add({25, 1}), 1u);
  EXPECT_EQ(set.first_range(), (OffsetRange{9, 17}));
  EXPECT_EQ(set.count(), 17u);
}

TEST(RangeSet, CountsOnlyWhatIsNew) {
  RangeSet set = Of({{10, 5}, {20, 5}, {30, 5}});
  EXPECT_EQ(set.Add({12, 2}), 0u);
  EXPECT_EQ(set.Add({12, 20}), 10u);
  EXPECT_EQ(set.ToVector(), (Ranges{{10, 25}}));
  EXPECT_EQ(set.Add({7, 0}), 0u);
  EXPECT_EQ(set.count(), 25u);
}

TEST(RangeSet, RemovesTheMiddleAndGoesOn) {
  RangeSet set = Of({{0, 10}, {20, 10}, {40, 10}});
  EXPECT_EQ(set.Remove({5, 40}), 5u + 10 + 5);
  EXPECT_EQ(set.ToVector(), (Ranges{{0, 5}, {45, 5}}));
  EXPECT_EQ(set.Remove({1, 2}), 2u);
  EXPECT_EQ(set.ToVector(), (Ranges{{0, 1}, {3, 2}, {45, 5}}));
  EXPECT_EQ(set.Remove({10, 20}), 0u);
  set.RemoveBelow(46);
  EXPECT_EQ(set.ToVector(), (Ranges{{46, 4}}));
  set.Clear();
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.count(), 0u);
}

TEST(RangeSet, FindsInsideAndOutside) {
  const RangeSet set = Of({{10, 5}, {20, 5}});
  EXPECT_FALSE(set.Contains(9));
  EXPECT_TRUE(set.Contains(10));
  EXPECT_TRUE(set.Contains(14));
  EXPECT_FALSE(set.Contains(15));
  EXPECT_EQ(set.NextInside(0), 10u);
  EXPECT_EQ(set.NextInside(12), 12u);
  EXPECT_EQ(set.NextInside(15), 20u);
  EXPECT_EQ(set.NextInside(25), std::numeric_limits<Offset>::max());
  EXPECT_EQ(set.NextOutside(9), 9u);
  EXPECT_EQ(set.NextOutside(10), 15u);
  EXPECT_EQ(set.Intersect({12, 10}), (Ranges{{12, 3}, {20, 2}}));
  EXPECT_EQ(set.Missing({12, 15}), (Ranges{{15, 5}, {25, 2}}));
  EXPECT_EQ(set.Intersect({15, 5}), Ranges{});
  EXPECT_EQ(set.Missing({10, 5}), Ranges{});
}

TEST(RangeSet, IsASetOfOffsets) {
  constexpr Offset kEnd = 400;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    RangeSet set;
    std::set<Offset> model;
    for (int i = 0; i < 400; ++i) {
      const OffsetRange range{random.Below(kEnd), random.Below(40)};
      const size_t before = model.size();
      const bool add = random.Below(2) == 0;
      for (Offset o = range.first; o < range.end(); ++o) {
        if (add) {
          model.insert(o);
        } else {
          model.erase(o);
        }
      }
      const uint64_t changed = add ? set.Add(range) : set.Remove(range);
      ASSERT_EQ(changed, add ? model.size() - before : before - model.size()) << seed;
      ASSERT_EQ(set.count(), model.size()) << seed;
      std::set<Offset> flat;
      Offset last_end = 0;
      for (const OffsetRange& r : set.ToVector()) {
        ASSERT_TRUE(flat.empty() || r.first > last_end) << "ranges that touch, seed " << seed;
        last_end = r.end();
        for (Offset o = r.first; o < r.end(); ++o) flat.insert(o);
      }
      ASSERT_EQ(flat, model) << seed;
    }
  }
}

}  // namespace
}  // namespace spillway::queue
