// Where time comes from. Only the threads that drive a shard read it, once for a
// batch of events; what they drive is handed a Now.
#pragma once

#include "broker/base/types.h"

namespace spillway {

// Thread-safety: Read may be called on any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Now Read() = 0;
};

// The machine's clocks.
class RealClock final : public Clock {
 public:
  Now Read() override;
};

// Nanoseconds of the machine's steady clock, as in Now::mono of RealClock.
MonoNanos SteadyNanos();

}  // namespace spillway
