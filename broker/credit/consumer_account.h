// What may still be delivered to one consumer: the limit that it granted, and the
// operator's clamp.
#pragma once

#include <algorithm>
#include <cstdint>

#include "broker/base/types.h"

namespace spillway::credit {

// Invariant: delivered() is within limit() in every unit; both only rise.
// Thread-safety: none.
class ConsumerAccount {
 public:
  enum class Verdict : uint8_t { kOk, kRegressed };

  // `clamp`: the most that may be in flight, whatever the consumer grants.
  explicit ConsumerAccount(const Credit& clamp) : clamp_(clamp) {}

  // A new cumulative limit of the epoch. A lower one changes nothing.
  [[nodiscard]] Verdict SetLimit(const Credit& limit) {
    if (!limit_.Within(limit)) return Verdict::kRegressed;
    limit_ = limit;
    return Verdict::kOk;
  }
  void set_clamp(const Credit& clamp) { clamp_ = clamp; }

  // What may be delivered now, with `in_flight` unsettled. When nothing is in
  // flight the clamp on bytes does not bind, so that one record larger than it is
  // still delivered; the consumer's own limit always binds.
  Credit Room(const Credit& in_flight) const {
    Credit room = limit_ - delivered_;
    room.messages = std::min(room.messages, Left(clamp_.messages, in_flight.messages));
    if (in_flight.messages > 0) {
      room.bytes = std::min(room.bytes, Left(clamp_.bytes, in_flight.bytes));
    }
    return room;
  }
  // REQUIRES: cost.Within(Room(…)).
  void Deliver(const Credit& cost) { delivered_ += cost; }

  const Credit& limit() const { return limit_; }
  const Credit& delivered() const { return delivered_; }
  const Credit& clamp() const { return clamp_; }

 private:
  static uint64_t Left(uint64_t limit, uint64_t used) { return limit > used ? limit - used : 0; }
  Credit limit_;
  Credit delivered_;
  Credit clamp_;
};

}  // namespace spillway::credit
