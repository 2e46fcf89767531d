// How fast queues that spill may write while others want the store.
#pragma once

#include <array>
#include <cstdint>

#include "broker/base/types.h"

namespace spillway::credit {

// What spills waits on disk for a consumer that is behind; what does not spill is
// waited for now. Both go through one log and the same cores, so a queue that spills
// as fast as it can makes every other one wait. This holds it to the rate at which
// the others' appends take no longer than without it, and so its producers: their
// window stays full, and they are told DISK_SLOW.
//
// The rate follows the others' delay, as in LEDBAT (RFC 6817): what an append took
// less the least that one took lately. It falls with the share of appends that are
// late and grows with time while it is made use of, so that about one in 1,000 is
// late. With no others there is no limit.
//
// Units: nanoseconds and bytes. Thread-safety: none.
class SpillPace {
 public:
  // Others count for so long after their last append.
  static constexpr MonoNanos kCompanyFor = 10'000 * kNanosPerMilli;
  // Later than the least by more than this (or than the least itself) is late.
  static constexpr MonoNanos kLateBy = kNanosPerMilli * 3 / 10;
  static constexpr uint64_t kSlowestBytesPerSecond = uint64_t{4} << 20;
  static constexpr uint64_t kFirstBytesPerSecond = uint64_t{32} << 20;
  static constexpr uint64_t kFastestBytesPerSecond = uint64_t{1} << 30;

  // An append of `queue`, which does not spill, has completed after `latency`.
  void Committed(const void* queue, MonoNanos latency, MonoNanos now);
  // When `bytes` more of `queue`, which spills, may go to the store: `now`, or later.
  // They are counted, whether they go or not.
  MonoNanos Reserve(const void* queue, uint64_t bytes, MonoNanos now);

  // The limit of `queue`; 0 is none.
  uint64_t bytes_per_second(const void* queue, MonoNanos now) const;

 private:
  void Adjust(MonoNanos now);
  MonoNanos least() const;

  // The least latency of this stretch of time and of the one before.
  std::array<MonoNanos, 2> least_{};
  MonoNanos stretch_at_ = 0;
  // Since the rate was last adjusted.
  MonoNanos adjusted_at_ = 0;
  uint64_t appends_ = 0;
  uint64_t late_ = 0;
  // The last append that did not spill, and the last one of any other queue than that:
  // one of the two is of another queue than whoever asks.
  struct Append {
    const void* queue = nullptr;  // nullptr: none
    MonoNanos at = 0;
  };
  std::array<Append, 2> company_;
  bool used_ = false;  // since the rate was last adjusted
  double rate_ = kFirstBytesPerSecond;
  MonoNanos next_at_ = 0;  // when all that was reserved has gone at the rate
};

}  // namespace spillway::credit
