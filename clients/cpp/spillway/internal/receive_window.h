// How much a consumer lets the broker send.
#pragma once

#include <algorithm>
#include <optional>

#include "clients/cpp/spillway/credit.h"

namespace spillway::client::internal {

// The consumer's rule: the limit is what was settled in this epoch plus what it
// takes at once, less what it still holds from earlier epochs; told to the broker
// when half of the window is used, or with any settle. Pure; not thread-safe.
//
// Invariant: limits only rise within an epoch, and what is received and not
// settled, held records included, stays within the window.
class ReceiveWindow {
 public:
  explicit ReceiveWindow(const Credit& window) : window_(window) {}

  // Widens the window, so that one largest message fits.
  void AtLeast(uint64_t bytes) { window_.bytes = std::max(window_.bytes, bytes); }

  // A new epoch begins, with this much in the application's hands. Returns the
  // first limit.
  Credit Open(const Credit& held) {
    held_ = held;
    released_ = {};
    received_ = {};
    granted_ = {};
    return granted_ = limit();
  }
  void Received(const Credit& cost) { received_ += cost; }
  // Settled, revoked or gone: received in this epoch, or held from an earlier one.
  void Released(const Credit& cost) { released_ += cost; }
  void HeldReleased(const Credit& cost) { held_ = SaturatingMinus(held_, cost); }

  // The limit to send along with something else, if it is news.
  std::optional<Credit> Riding() {
    const Credit now = limit();
    if (now == granted_) return std::nullopt;
    granted_ = now;
    return granted_;
  }
  // Whether it is worth a frame of its own: half of the window is used.
  bool Due() const {
    const Credit news = SaturatingMinus(limit(), granted_);
    return 2 * news.messages >= std::max<uint64_t>(1, window_.messages) ||
           2 * news.bytes >= std::max<uint64_t>(1, window_.bytes);
  }

  // What was received in any epoch and not released.
  Credit unfinished() const { return held_ + received_ - released_; }

  const Credit& granted() const { return granted_; }
  const Credit& received() const { return received_; }
  const Credit& window() const { return window_; }

 private:
  Credit limit() const { return Max(granted_, released_ + SaturatingMinus(window_, held_)); }

  Credit window_;
  Credit held_;
  Credit released_;
  Credit received_;
  Credit granted_;
};

}  // namespace spillway::client::internal
