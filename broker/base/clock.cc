#include "broker/base/clock.h"

#include <chrono>

namespace spillway {

MonoNanos SteadyNanos() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Now RealClock::Read() {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(wall).count();
  return {.mono = SteadyNanos(), .unix_ms = static_cast<UnixMillis>(millis)};
}

}  // namespace spillway
