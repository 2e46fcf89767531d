// Random numbers that a seed repeats.
#pragma once

#include <cstdint>

namespace spillway {

// xoshiro256** seeded through splitmix64: fast, small, good enough for jitter,
// ids and simulation; not for secrets.
// Thread-safety: none.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t Next();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [0, 1).
  double Unit();

  using result_type = uint64_t;
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return UINT64_MAX; }
  uint64_t operator()() { return Next(); }

 private:
  uint64_t state_[4];
};

// A seed from the operating system.
uint64_t SystemSeed();

}  // namespace spillway
