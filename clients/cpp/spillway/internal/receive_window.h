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
// A consumer that wants so many records and no more never asks for others: they would
// only go back, with an attempt used.
//
// Invariant: limits only rise within an epoch, and what is received and not
// settled, held records included, stays within the window.
class ReceiveWindow {
 public:
  // `total` records at most in all epochs; 0: any number.
  explicit ReceiveWindow(const Credit& window, uint64_t total = 0)
      : window_(window), total_(total) {}

  // Widens the window, so that one largest message fits.
  void AtLeast(uint64_t bytes) { window_.bytes = std::max(window_.bytes, bytes); }

  // A new epoch begins, with this much in the application's hands. Returns the
  // first limit.
  Credit Open(const Credit& held) {
    held_ = held;
    received_before_ += received_.messages;
    released_ = {};
    received_ = {};
    granted_ = {};
    return granted_ = limit();
  }
  void Received(const Credit& cost) { received_ += cost; }
  // Settled, revoked or gone: received in this epoch, or held from an earlier one.
  void Released(const Credit& cost) { released_ += cost; }
  // Taken back: others may come in their place.
  void Refund(uint64_t records) {
    if (total_ != 0) total_ += records;
  }
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
  Credit limit() const {
    Credit limit = released_ + SaturatingMinus(window_, held_);
    if (total_ != 0) {
      const uint64_t left = total_ > received_before_ ? total_ - received_before_ : 0;
      limit.messages = std::min(limit.messages, left);
    }
    return Max(granted_, limit);
  }

  Credit window_;
  uint64_t total_;
  uint64_t received_before_ = 0;  // in earlier epochs
  Credit held_;
  Credit released_;
  Credit received_;
  Credit granted_;
};

}  // namespace spillway::client::internal
