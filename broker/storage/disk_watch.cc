#include "broker/storage/disk_watch.h"

namespace spillway::storage {

using DiskState = CommitThread::DiskState;

DiskWatch::DiskWatch(Options options, ReserveFile reserve)
    : options_(std::move(options)), reserve_(std::move(reserve)) {}

DiskState DiskWatch::Check() {
  const auto space = options_.space(options_.path);
  if (!space) return DiskState::kEnough;
  const uint64_t free = space->free_bytes;
  if (free < options_.reserve_release_bytes) {
    if (reserve_.held()) reserve_.Release();
  } else if (!reserve_.held() && free > options_.reserve_release_bytes + 2 * reserve_.bytes()) {
    // With room to spare, or giving and taking would alternate.
    reserve_.Allocate();
  }
  // A tenth more is asked for to leave a state than to enter it.
  const uint64_t floor = options_.floor_bytes;
  const auto below = [&](uint64_t limit, DiskState state) {
    return free < (state_ >= state ? limit + limit / 10 : limit);
  };
  if (below(floor / 4, DiskState::kUrgent)) {
    state_ = DiskState::kUrgent;
  } else {
    state_ = below(floor, DiskState::kLow) ? DiskState::kLow : DiskState::kEnough;
  }
  return state_;
}

bool DiskWatch::EnoughToOpen() {
  const auto enough = [this] {
    const auto space = options_.space(options_.path);
    return !space || space->free_bytes >= options_.floor_bytes / 4;
  };
  if (enough()) return true;
  reserve_.Release();
  return enough();
}

}  // namespace spillway::storage
