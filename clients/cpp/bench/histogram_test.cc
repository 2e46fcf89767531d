#include "clients/cpp/bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace spillway::bench {
namespace {

TEST(Histogram, SmallValuesAreExact) {
  Histogram h;
  for (uint64_t v = 0; v < 64; ++v) h.Add(v);
  EXPECT_EQ(h.Quantile(0.5), 31U);
  EXPECT_EQ(h.Quantile(1), 63U);
  EXPECT_EQ(h.max(), 63U);
}

TEST(Histogram, QuantilesAreWithinOneSixtyFourth) {
  Histogram h;
  std::mt19937_64 random(1);  // NOLINT(bugprone-random-generator-seed): always the same
  std::vector<uint64_t> values;
  for (int i = 0; i < 10'000; ++i) {
    values.push_back(random() >> (random() % 50 + 10));
    h.Add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double q : {0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<size_t>(std::ceil(q * 10'000));
    const auto exact = static_cast<double>(values[rank - 1]);
    EXPECT_GE(static_cast<double>(h.Quantile(q)), exact) << q;
    EXPECT_LE(static_cast<double>(h.Quantile(q)), exact * (1 + 1.0 / 64) + 1) << q;
  }
}

TEST(Histogram, ExtremesAndMerge) {
  Histogram a;
  Histogram b;
  EXPECT_EQ(a.Quantile(0.5), 0U);
  a.Add(UINT64_MAX);
  b.Add(1);
  a.Merge(b);
  EXPECT_EQ(a.count(), 2U);
  EXPECT_EQ(a.Quantile(0.5), 1U);
  EXPECT_EQ(a.Quantile(1), UINT64_MAX);
}

}  // namespace
}  // namespace spillway::bench
