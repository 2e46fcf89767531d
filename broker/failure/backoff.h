// When a record is delivered again.
#pragma once

#include <algorithm>
#include <cstdint>

#include "broker/base/types.h"

namespace spillway::failure {

// The wait before attempt `attempt` (2, 3, …): `initial` doubled with each further
// one, at most `max`, and a fifth more or less by `unit`, uniform in [0, 1), so
// that what failed together does not come back together.
inline MonoNanos RedeliveryDelay(uint32_t attempt, uint64_t initial_ms, uint64_t max_ms,
                                 double unit) {
  const uint32_t doublings = std::min<uint32_t>(attempt > 2 ? attempt - 2 : 0, 40);
  double ms = static_cast<double>(initial_ms);
  ms = std::min(ms * static_cast<double>(uint64_t{1} << doublings), static_cast<double>(max_ms));
  ms *= 0.8 + 0.4 * unit;
  return static_cast<MonoNanos>(ms * static_cast<double>(kNanosPerMilli));
}

}  // namespace spillway::failure
