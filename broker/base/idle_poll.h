// How long a thread polls before it sleeps.
#pragma once

#include <sched.h>

#include <algorithm>

#include "broker/base/clock.h"
#include "broker/base/types.h"

namespace spillway {

// A sleep costs its waker a system call and the sleeper tens of microseconds until it
// runs again, longest on virtual machines. Polling spares both if what is waited for
// comes soon, and burns a core if it does not. So the span follows what came of it:
// it grows when something came shortly after polling ended, and shrinks when nothing
// came for long: the rule of Linux's halt polling (virt/kvm/halt-polling.rst).
//
// Who polls yields the core between looks. If somebody else takes it, it is back after
// milliseconds, when a sleeper would have been woken at once: then there is no polling
// for a while, which gets longer if it happens again.
//
// Thread-safety: none.
class IdlePoll {
 public:
  // 0 never polls.
  explicit IdlePoll(MonoNanos longest) : longest_(longest) {}

  // How long to poll now, from when there was nothing to do.
  MonoNanos span() const { return span_; }
  // Gives the core to whoever else wants it. To be called between looks.
  void Yield() {
    const MonoNanos before = SteadyNanos();
    sched_yield();
    const MonoNanos after = SteadyNanos();
    Yielded(after - before, after);
  }
  // A yield ended `now` and took this long.
  void Yielded(MonoNanos took, MonoNanos now) {
    if (took < kTaken) return;
    span_ = 0;
    backoff_ = now > resume_at_ + kLongestBackoff ? kFirstBackoff
                                                  : std::min(kLongestBackoff, 2 * backoff_);
    resume_at_ = now + backoff_;
  }
  // Something came `waited` after there was nothing to do, which is now.
  void Waited(MonoNanos waited, MonoNanos now) {
    if (waited <= span_ || now < resume_at_) return;
    if (waited <= longest_) {
      span_ = std::min(longest_, std::max(kFirst, 2 * span_));
    } else {
      span_ = span_ <= kFirst ? 0 : span_ / 2;
    }
  }

 private:
  static constexpr MonoNanos kFirst = 10'000;
  // No yield takes this long if nobody else runs.
  static constexpr MonoNanos kTaken = 50'000;
  static constexpr MonoNanos kFirstBackoff = 100'000'000;
  static constexpr MonoNanos kLongestBackoff = 10'000'000'000;

  const MonoNanos longest_;
  MonoNanos span_ = 0;
  MonoNanos backoff_ = kFirstBackoff;
  MonoNanos resume_at_ = 0;
};

}  // namespace spillway
