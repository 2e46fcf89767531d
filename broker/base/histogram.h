// Counts of observations by upper bound, as Prometheus wants them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace spillway {

// Of a thousand queues each may have one, so bounds are shared and few.
// Thread-safety: none.
class Histogram {
 public:
  // `bounds` rise, and outlive this.
  explicit Histogram(std::span<const double> bounds)
      : bounds_(bounds), counts_(bounds.size() + 1) {}

  // `times` observations of `value`. A bound belongs to its bucket.
  void Add(double value, uint64_t times = 1) {
    const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
    counts_[static_cast<size_t>(bound - bounds_.begin())] += times;
    sum_ += value * static_cast<double>(times);
  }
  // REQUIRES: the same bounds.
  void Add(const Histogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    sum_ += other.sum_;
  }

  std::span<const double> bounds() const { return bounds_; }
  // Of each bucket alone; the last is beyond all bounds.
  std::span<const uint64_t> counts() const { return counts_; }
  double sum() const { return sum_; }
  uint64_t total() const { return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0}); }

 private:
  std::span<const double> bounds_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
};

// Seconds, from what memory takes to what a backlog takes.
inline constexpr std::array<double, 14> kSecondsBounds = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 5, 30, 300};
inline constexpr std::array<double, 8> kCountBounds = {1, 4, 16, 64, 256, 1'024, 4'096, 16'384};

}  // namespace spillway
