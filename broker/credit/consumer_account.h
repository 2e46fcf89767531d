// What may still be delivered to one consumer: the limit that it granted, and the
// operator's clamp.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>

#include "broker/base/types.h"

namespace spillway::credit {

// Invariant: delivered() is within limit() in every unit; both only rise (I12).
// No sum is made of what a peer sends, so the largest limits do not wrap.
// Units: messages, and bytes of encoded records.
// Thread-safety: none.
class ConsumerAccount {
 public:
  enum class Verdict : uint8_t {
    kOk,
    kRegressed,   // lower than before, in some unit
    kOtherEpoch,  // of a stream that is gone, or not of this one
  };

  // `clamp`: the most that may be in flight, whatever the consumer grants.
  explicit ConsumerAccount(const Credit& clamp, uint64_t epoch = 0)
      : clamp_(clamp), epoch_(epoch) {}

  // A new cumulative limit of the epoch. On an error nothing changes.
  [[nodiscard]] Verdict SetLimit(const Credit& limit) {
    if (!limit_.Within(limit)) return Verdict::kRegressed;
    limit_ = limit;
    return Verdict::kOk;
  }
  // The same from a frame that names its epoch.
  [[nodiscard]] Verdict SetLimit(uint64_t epoch, const Credit& limit) {
    return epoch == epoch_ ? SetLimit(limit) : Verdict::kOtherEpoch;
  }
  void set_clamp(const Credit& clamp) { clamp_ = clamp; }

  // What may be delivered now, with `in_flight` unsettled (what a resumed consumer
  // still holds included).
  Credit Room(const Credit& in_flight) const {
    const Credit own = left();
    return {std::min(own.messages, Left(clamp_.messages, in_flight.messages)),
            std::min(own.bytes, Left(clamp_.bytes, in_flight.bytes))};
  }
  // What one record may take that is larger than Room: with nothing in flight, the
  // clamp on bytes does not bind a single record, or a record larger than the
  // clamp would never be delivered. The consumer's own limit always binds.
  Credit RoomForOne(const Credit& in_flight) const {
    if (in_flight.messages > 0 || clamp_.messages == 0) return {};
    const Credit own = left();
    return {std::min<uint64_t>(own.messages, 1), own.bytes};
  }
  // REQUIRES: cost is within Room or RoomForOne.
  void Deliver(const Credit& cost) {
    assert(cost.Within(left()));
    delivered_ += cost;
  }

  uint64_t epoch() const { return epoch_; }
  const Credit& limit() const { return limit_; }
  const Credit& delivered() const { return delivered_; }
  const Credit& clamp() const { return clamp_; }
  // What the consumer's own limit leaves.
  Credit left() const { return limit_ - delivered_; }

 private:
  static uint64_t Left(uint64_t limit, uint64_t used) { return limit > used ? limit - used : 0; }
  Credit limit_;
  Credit delivered_;
  Credit clamp_;
  uint64_t epoch_;
};

}  // namespace spillway::credit
