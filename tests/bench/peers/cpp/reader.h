// The application's side of a subscription: notes what came, and when.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "tests/bench/peers/cpp/payload.h"

namespace spillway::bench {

using Clock = std::chrono::steady_clock;

inline int64_t NanosSince(Clock::time_point epoch) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - epoch).count();
}

// A quantile of values; sorts them. REQUIRES: there is one.
inline double Quantile(std::vector<uint32_t>& values, double part) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(part * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

// One thread takes; others look once it has ended.
class Reader {
 public:
  explicit Reader(int64_t size) : ledger_(size) {}

  void Take(std::string_view payload) {
    PayloadHeader header;
    if (!ledger_.Take(payload, header)) return;
    if (ledger_.count() == 1) first_ = Clock::now();
    if (ledger_.count() == last_count_) last_ = Clock::now();
    if (header.intended >= timed_from_.load(std::memory_order_relaxed)) {
      const int64_t micros = (NanosSince(epoch_) - header.intended) / 1000;
      latencies_.push_back(static_cast<uint32_t>(
          std::clamp<int64_t>(micros, 1, std::numeric_limits<uint32_t>::max())));
    }
  }

  const Ledger& ledger() const { return ledger_; }
  // Before it takes: how many will come.
  void Expect(int64_t count) {
    last_count_ = count;
    latencies_.reserve(static_cast<size_t>(count));
  }
  // Times what was intended from then on, in nanoseconds since the epoch.
  void TimeFrom(int64_t intended) { timed_from_ = intended; }
  Clock::time_point epoch() const { return epoch_; }
  // From the first message to the last of those expected.
  double seconds() const { return std::chrono::duration<double>(last_ - first_).count(); }
  std::vector<uint32_t>& latencies() { return latencies_; }

 private:
  Ledger ledger_;
  const Clock::time_point epoch_ = Clock::now();
  std::atomic<int64_t> timed_from_ = std::numeric_limits<int64_t>::max();
  int64_t last_count_ = 0;
  Clock::time_point first_;
  Clock::time_point last_;
  std::vector<uint32_t> latencies_;  // microseconds
};

}  // namespace spillway::bench
