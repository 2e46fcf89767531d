// Names and numbers that every floor of the broker uses.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace spillway {

// A record's place in its lane: dense from the lane's start, rising by one.
using Offset = uint64_t;

// Milliseconds since the Unix epoch, by the broker's clock; kept with records.
using UnixMillis = uint64_t;

// Nanoseconds of a clock that never goes back; for deadlines, ages and rates.
using MonoNanos = int64_t;

constexpr MonoNanos kNanosPerMilli = 1'000'000;

// One moment, read once for a batch of events and passed down, so that the core
// reads no clock and a simulator can make time.
struct Now {
  MonoNanos mono = 0;
  UnixMillis unix_ms = 0;
};

// The unit of log, credit, ownership and recovery: one (queue, partition).
// `queue` is given once when the queue is created and never used again.
struct LaneId {
  uint32_t queue = 0;
  uint32_t partition = 0;
  auto operator<=>(const LaneId&) const = default;  // NOLINT(modernize-use-nullptr): not one
  template <typename H>
  friend H AbslHashValue(H h, const LaneId& id) {
    return H::combine(std::move(h), id.queue, id.partition);
  }
};

// Offsets first .. first + count - 1.
struct OffsetRange {
  Offset first = 0;
  uint64_t count = 0;
  Offset end() const { return first + count; }
  auto operator<=>(const OffsetRange&) const = default;
};

// What an acknowledgement means, weakest first.
enum class Durability : uint8_t { kMemory = 1, kPersisted = 2, kSynced = 3 };

// An amount of credit, or a cumulative total of it, in every unit.
struct Credit {
  uint64_t messages = 0;
  uint64_t bytes = 0;

  // Whether this much is within `limit` in every unit.
  bool Within(const Credit& limit) const {
    return messages <= limit.messages && bytes <= limit.bytes;
  }
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
  bool operator==(const Credit&) const = default;
};

}  // namespace spillway
