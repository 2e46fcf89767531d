// Latencies in little space.
#pragma once

#include <array>
#include <cstdint>

namespace spillway::bench {

// A log-linear histogram of nanoseconds: 64 equal buckets for each power of two, so
// that a quantile is at most 1/64 (1.6 %) above the true one. Values below 64 are
// exact. Adding costs a few instructions and never allocates. Not thread-safe.
class Histogram {
 public:
  void Add(uint64_t nanos);
  void Merge(const Histogram& other);
  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }
  double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }
  // The upper bound of the bucket that holds the quantile, `q` from 0 to 1.
  uint64_t Quantile(double q) const;

 private:
  static constexpr int kSubBits = 6;
  static constexpr int kBuckets = (64 - kSubBits + 1) << kSubBits;
  static int IndexOf(uint64_t nanos);
  static uint64_t UpperBound(int index);

  std::array<uint64_t, kBuckets> counts_ = {};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace spillway::bench
