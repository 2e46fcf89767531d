#include "broker/failure/drain.h"

#include <algorithm>
#include <limits>

namespace spillway::failure {

bool Drain::Begin(uint64_t deadline_ms, MonoNanos now) {
  if (phase_ != Phase::kServing) return false;
  constexpr uint64_t kDayMs = 24 * 3'600 * 1'000;
  const auto length = static_cast<MonoNanos>(std::min(deadline_ms, kDayMs)) * kNanosPerMilli;
  flush_at_ = now + length / 4 * 3;
  deadline_ = now + length;
  phase_ = Phase::kAnnounced;
  return true;
}

Drain::Phase Drain::Advance(const Progress& progress, MonoNanos now) {
  if (phase_ == Phase::kAnnounced && (progress.credit_spent || now >= flush_at_)) {
    phase_ = Phase::kFlushing;
  }
  if (phase_ == Phase::kFlushing && (progress.saved || now >= deadline_)) {
    phase_ = Phase::kDone;
    timed_out_ = !progress.saved;
  }
  return phase_;
}

MonoNanos Drain::next_deadline() const {
  if (phase_ == Phase::kAnnounced) return flush_at_;
  if (phase_ == Phase::kFlushing) return deadline_;
  return std::numeric_limits<MonoNanos>::max();
}

}  // namespace spillway::failure
