// The broker's way out: told, finished, saved, gone.
//
//   serving --Begin--> announced --credit spent, or three quarters of the time-->
//   flushing --all stored and saved--> done
//
// From announced on nothing is granted; what was granted is still taken. From
// flushing on it is not. Whatever is left at the deadline, it is done: what was
// not confirmed is sent again elsewhere, and a kill at any moment is as safe.
#pragma once

#include <cstdint>

#include "broker/base/types.h"

namespace spillway::failure {

// Invariant: phases only advance. Thread-safety: none.
class Drain {
 public:
  enum class Phase : uint8_t { kServing, kAnnounced, kFlushing, kDone };

  struct Progress {
    // No producer has credit, nothing waits for a confirmation, no consumer has
    // anything in flight.
    bool credit_spent = false;
    bool saved = false;  // all that was taken is stored, cursors are saved
  };

  // Starts; false if it was started before (the first deadline stands).
  bool Begin(uint64_t deadline_ms, MonoNanos now);
  // Where it is, given what has been done. Advances by as many phases as it can.
  Phase Advance(const Progress& progress, MonoNanos now);

  Phase phase() const { return phase_; }
  bool grants() const { return phase_ == Phase::kServing; }
  bool takes_records() const { return phase_ <= Phase::kAnnounced; }
  // Done because of the deadline, with work left.
  bool timed_out() const { return timed_out_; }
  // When Advance is due at the latest; max() if it is not.
  MonoNanos next_deadline() const;
  MonoNanos deadline() const { return deadline_; }

 private:
  Phase phase_ = Phase::kServing;
  bool timed_out_ = false;
  MonoNanos flush_at_ = 0;
  MonoNanos deadline_ = 0;
};

}  // namespace spillway::failure
