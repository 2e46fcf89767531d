#include "clients/cpp/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace spillway::bench {

int Histogram::IndexOf(uint64_t nanos) {
  const int width = std::bit_width(nanos);
  if (width <= kSubBits) return static_cast<int>(nanos);
  const int shift = width - kSubBits - 1;  // keeps kSubBits + 1 significant bits
  return ((shift + 1) << kSubBits) + static_cast<int>((nanos >> shift) & ((1U << kSubBits) - 1));
}

uint64_t Histogram::UpperBound(int index) {
  const int octave = index >> kSubBits;
  const uint64_t sub = static_cast<uint64_t>(index) & ((1U << kSubBits) - 1);
  if (octave == 0) return sub;
  const int shift = octave - 1;
  return (((1ULL << kSubBits) + sub + 1) << shift) - 1;
}

void Histogram::Add(uint64_t nanos) {
  ++counts_[static_cast<size_t>(IndexOf(nanos))];
  ++count_;
  max_ = std::max(max_, nanos);
  sum_ += static_cast<double>(nanos);
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

uint64_t Histogram::Quantile(double q) const {
  if (count_ == 0) return 0;
  const auto rank =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= rank) return std::min(max_, UpperBound(static_cast<int>(i)));
  }
  return max_;
}

}  // namespace spillway::bench
