// How long a thread polls before it sleeps.
#pragma once

#include <algorithm>

#include "broker/base/types.h"

namespace spillway {

// A sleep costs its waker a system call and the sleeper tens of microseconds until it
// runs again, longest on virtual machines. Polling spares both if what is waited for
// comes soon, and burns a core if it does not. So the span follows what came of it:
// it grows when something came shortly after polling ended, and shrinks when nothing
// came for long: the rule of Linux's halt polling (virt/kvm/halt-polling.rst).
//
// Thread-safety: none.
class IdlePoll {
 public:
  // 0 never polls.
  explicit IdlePoll(MonoNanos longest) : longest_(longest) {}

  // How long to poll now, from when there was nothing to do.
  MonoNanos span() const { return span_; }
  // Something came `waited` after there was nothing to do.
  void Waited(MonoNanos waited) {
    if (waited <= span_) return;
    if (waited <= longest_) {
      span_ = std::min(longest_, std::max(kFirst, 2 * span_));
    } else {
      span_ = span_ <= kFirst ? 0 : span_ / 2;
    }
  }

 private:
  static constexpr MonoNanos kFirst = 10'000;

  const MonoNanos longest_;
  MonoNanos span_ = 0;
};

}  // namespace spillway
