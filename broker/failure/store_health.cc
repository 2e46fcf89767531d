#include "broker/failure/store_health.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace spillway::failure {
namespace {

using Disk = StoreHealth::Disk;

// Free space below which a disk is in this state.
uint64_t Mark(Disk disk, uint64_t total_bytes) {
  switch (disk) {
    case Disk::kEnough:
      return 0;
    case Disk::kWarn:
      return std::min(total_bytes / 100 * StoreHealth::kWarnPercent, StoreHealth::kWarnBytes);
    case Disk::kLow:
      return std::min(total_bytes / 100 * StoreHealth::kLowPercent, StoreHealth::kLowBytes);
    case Disk::kFull:
      return StoreHealth::kFullBytes;
  }
  return 0;
}

}  // namespace

void StoreHealth::Committed(MonoNanos latency, MonoNanos now) {
  mean_ += (latency - mean_) / 8;
  slow_ = mean_ >= (slow_ ? kFastNanos : kSlowNanos);
  Update(now);
}

void StoreHealth::Waiting(MonoNanos oldest, MonoNanos now) {
  stalled_ = oldest >= kStalledNanos;
  Update(now);
}

void StoreHealth::DiskSpace(uint64_t free_bytes, uint64_t total_bytes, MonoNanos now) {
  free_bytes_ = free_bytes;
  Disk worst = Disk::kEnough;
  for (const Disk disk : {Disk::kWarn, Disk::kLow, Disk::kFull}) {
    const uint64_t mark = Mark(disk, total_bytes);
    if (free_bytes < (disk_ >= disk ? mark + mark / 2 : mark)) worst = disk;
  }
  disk_ = worst;
  Update(now);
}

void StoreHealth::Fail(std::string why, MonoNanos now) {
  if (!failed_) failure_ = std::move(why);  // the first is the cause
  failed_ = true;
  Update(now);
}

void StoreHealth::Update(MonoNanos now) {
  State state = State::kHealthy;
  if (failed_) {
    state = State::kFailed;
  } else if (disk_ >= Disk::kLow) {
    state = State::kDiskLow;
  } else if (slow_ || stalled_) {
    state = State::kSlow;
  }
  if (state == state_) return;
  state_ = state;
  since_ = now;
}

StoreHealth::Grants StoreHealth::grants() const {
  switch (state_) {
    case State::kHealthy:
      return Grants::kAll;
    case State::kSlow:
      return stalled_ ? Grants::kNone : Grants::kHalf;
    case State::kDiskLow:
    case State::kFailed:
      break;
  }
  return Grants::kNone;
}

std::string StoreHealth::why() const {
  switch (state_) {
    case State::kHealthy:
      return "";
    case State::kSlow:
      return stalled_ ? absl::StrCat("an append waits for more than ",
                                     kStalledNanos / kNanosPerMilli, " ms")
                      : absl::StrCat("appends take ", mean_ / kNanosPerMilli, " ms");
    case State::kDiskLow:
      return absl::StrCat(free_bytes_ >> 20, " MiB of disk are free");
    case State::kFailed:
      return failure_;
  }
  return "";
}

}  // namespace spillway::failure
