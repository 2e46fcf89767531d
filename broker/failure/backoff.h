// When a record is delivered again, and when no more.
#pragma once

#include <algorithm>
#include <cstdint>

#include "broker/base/types.h"

namespace spillway::failure {

// The wait before attempt `attempt` (2, 3, …): `initial` doubled with each further
// one, at most `max`, and a fifth more or less by `unit`, uniform in [0, 1), so
// that what failed together does not come back together. At most 1.2 times `max`,
// and never more than a century.
inline MonoNanos RedeliveryDelay(uint32_t attempt, uint64_t initial_ms, uint64_t max_ms,
                                 double unit) {
  constexpr double kCenturyMs = 100.0 * 365 * 24 * 3'600 * 1'000;
  const uint32_t doublings = std::min<uint32_t>(attempt > 2 ? attempt - 2 : 0, 40);
  double ms = static_cast<double>(initial_ms) * static_cast<double>(uint64_t{1} << doublings);
  ms = std::min({ms, static_cast<double>(max_ms), kCenturyMs / 1.2});
  ms *= 0.8 + 0.4 * unit;
  return static_cast<MonoNanos>(ms * static_cast<double>(kNanosPerMilli));
}

// Whether a record that was delivered `attempts` times is parked instead.
inline bool AttemptsUsedUp(uint32_t attempts, uint32_t max_attempts) {
  return attempts >= max_attempts;
}

}  // namespace spillway::failure
