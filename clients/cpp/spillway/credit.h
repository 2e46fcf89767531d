// Amounts of credit, and why it does not rise.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace spillway::client {

// Messages, and bytes: the length of each encoded Record, without the tag and the
// length that embed it in a frame.
struct Credit {
  uint64_t messages = 0;
  uint64_t bytes = 0;

  // Whether this much is within `limit` in every unit.
  bool Within(const Credit& limit) const {
    return messages <= limit.messages && bytes <= limit.bytes;
  }
  bool zero() const { return messages == 0 && bytes == 0; }
  bool operator==(const Credit&) const = default;

  Credit& operator+=(const Credit& o) {
    messages += o.messages;
    bytes += o.bytes;
    return *this;
  }
  // REQUIRES: o.Within(*this).
  Credit& operator-=(const Credit& o) {
    messages -= o.messages;
    bytes -= o.bytes;
    return *this;
  }
  friend Credit operator+(Credit a, const Credit& b) { return a += b; }
  friend Credit operator-(Credit a, const Credit& b) { return a -= b; }
};

// a − b, and 0 where b is more.
inline Credit SaturatingMinus(const Credit& a, const Credit& b) {
  return {a.messages > b.messages ? a.messages - b.messages : 0,
          a.bytes > b.bytes ? a.bytes - b.bytes : 0};
}
inline Credit Max(const Credit& a, const Credit& b) {
  return {std::max(a.messages, b.messages), std::max(a.bytes, b.bytes)};
}

// The numbers of spillway.v1.CreditReason.
enum class CreditReason : uint8_t {
  kNone = 0,
  kWindowFull = 1,
  kMemoryBudget = 2,
  kDiskQuota = 3,
  kDiskSlow = 4,
  kDiskLow = 5,
  kFairShare = 6,
  kOperatorLimit = 7,
  kDraining = 8,
  kStoreFailed = 9,
  kFullReject = 10,
};

// "WINDOW_FULL".
std::string_view Name(CreditReason reason);
// "consumers settle": what would end it, for people.
std::string_view EndsWhen(CreditReason reason);

// What a producer waits for.
struct Blocked {
  // The reason of the broker's last grant; kNone: the broker named none, or the
  // connection is being made.
  CreditReason reason = CreditReason::kNone;
  // For how long this producer has waited.
  std::chrono::milliseconds waiting{0};
  // For how long the reason has held, by the broker.
  std::chrono::milliseconds reason_age{0};
  // Use of the queue's window when the grant was sent.
  uint64_t window_used_bytes = 0;
  uint64_t window_bytes = 0;
  // Whether the stream is open; if not, a reconnect is what ends the wait.
  bool connected = true;
};

}  // namespace spillway::client
