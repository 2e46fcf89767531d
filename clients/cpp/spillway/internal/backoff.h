// How long to wait before a stream is opened again.
#pragma once

#include <algorithm>

#include "clients/cpp/spillway/options.h"

namespace spillway::client::internal {

// The schedule of one stream's reconnects. Pure; not thread-safe.
class Backoff {
 public:
  Backoff(milliseconds base, milliseconds max) : base_(std::min(base, max)), max_(max) {}

  // The stream was in good health for long enough.
  void Reset() { ceiling_ = milliseconds(0); }

  // The wait before the next attempt: full jitter below a ceiling that doubles. Without
  // budget the ceiling is at its highest and half of it is waited at least, so retries
  // slow down rather than end, and not all clients come at once. `at_least` is the
  // broker's retry_after; `jitter` draws between 0 and its argument.
  template <typename Jitter>
  milliseconds Next(bool budget, milliseconds at_least, const Jitter& jitter) {
    ceiling_ = std::clamp(2 * ceiling_, base_, max_);
    const milliseconds wait = budget ? jitter(ceiling_) : max_ - jitter(max_ / 2);
    return std::max<milliseconds>(wait, at_least);
  }

 private:
  const milliseconds base_;
  const milliseconds max_;
  milliseconds ceiling_{0};
};

}  // namespace spillway::client::internal
