// What the store's state asks of producers: from commit times, free disk, and
// failures.
//
//   state     entered                                left                 grants
//   slow      mean commit >= 200 ms                  < 100 ms             half
//             or an append waits >= 5 s              it completes         none
//   disk low  free < 5 % and < 2 GiB (see below)     half as much again   none
//   failed    a write failed                         never                none
//
// The marks for free disk are the smaller of a share of the disk and an absolute
// size, so that a large disk is not left unused, and a small one can be used at
// all: warn 10 % or 4 GiB (told, nothing else), low 5 % or 2 GiB, full 256 MiB
// (nothing is appended; reading, settling and deleting go on).
#pragma once

#include <cstdint>
#include <string>

#include "broker/base/types.h"

namespace spillway::failure {

// Invariants: the worst of what holds is the state; failed is for ever; since() is
// when the state was entered.
// Units: nanoseconds and bytes. Thread-safety: none.
class StoreHealth {
 public:
  enum class State : uint8_t { kHealthy, kSlow, kDiskLow, kFailed };
  enum class Disk : uint8_t { kEnough, kWarn, kLow, kFull };
  enum class Grants : uint8_t { kAll, kHalf, kNone };

  static constexpr MonoNanos kSlowNanos = 200 * kNanosPerMilli;
  static constexpr MonoNanos kFastNanos = 100 * kNanosPerMilli;
  static constexpr MonoNanos kStalledNanos = 5'000 * kNanosPerMilli;
  static constexpr uint64_t kWarnBytes = uint64_t{4} << 30;
  static constexpr uint64_t kLowBytes = uint64_t{2} << 30;
  static constexpr uint64_t kFullBytes = uint64_t{256} << 20;
  static constexpr uint64_t kWarnPercent = 10;
  static constexpr uint64_t kLowPercent = 5;

  // An append completed after this long; the mean forgets half in about 5.
  void Committed(MonoNanos latency, MonoNanos now);
  // The age of the oldest append that has not completed; 0 if there is none.
  void Waiting(MonoNanos oldest, MonoNanos now);
  void DiskSpace(uint64_t free_bytes, uint64_t total_bytes, MonoNanos now);
  void Fail(std::string why, MonoNanos now);

  State state() const { return state_; }
  MonoNanos since() const { return since_; }
  // For people; empty when healthy.
  std::string why() const;
  Grants grants() const;
  // Whether records may be appended. Settles and deletions always may be tried.
  bool takes_records() const { return state_ != State::kFailed && disk_ != Disk::kFull; }
  Disk disk() const { return disk_; }
  MonoNanos mean_commit() const { return mean_; }

 private:
  void Update(MonoNanos now);

  State state_ = State::kHealthy;
  MonoNanos since_ = 0;
  Disk disk_ = Disk::kEnough;
  bool slow_ = false;
  bool stalled_ = false;
  MonoNanos mean_ = 0;
  uint64_t free_bytes_ = 0;
  std::string failure_;
  bool failed_ = false;
};

}  // namespace spillway::failure
