// Decides who is granted how much, and why not more.
#pragma once

#include <cstdint>
#include <span>

#include "broker/base/types.h"

namespace spillway::credit {

// The numbers of spillway.v1.CreditReason.
enum class Reason : uint8_t {
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

// What a lane shows the policy at the end of a batch.
struct Pressure {
  Credit window;
  // Resident, on its way to the disk, and whatever else takes the window's place.
  Credit held;
  Credit unspent;  // Ledger::unspent()
  uint64_t max_message_bytes = 0;
  // What the process's budget leaves.
  uint64_t budget_bytes = 0;
  // What the disk quota leaves, for queues that spill; max() for others.
  uint64_t quota_bytes = 0;
  // Nothing may be granted for this reason, whatever the room.
  Reason stop = Reason::kNone;
  // What a full window is called: kWindowFull, kDiskSlow, kFullReject.
  Reason when_full = Reason::kWindowFull;
};

// One producer.
struct Claim {
  Credit outstanding;  // granted and not received
  // The producer waits for this; 0 messages if it does not wait.
  Credit waiting;
  uint64_t next_record_bytes = 0;
  MonoNanos waiting_since = 0;
  // ---- The answer.
  Credit grant;
  Reason reason = Reason::kNone;
};

// Safety does not depend on the policy's quality: whatever it decides, the sum of
// grants stays within the room (checked by the caller's ledger test, I11).
class Policy {
 public:
  virtual ~Policy() = default;
  // Fills grant and reason of every claim.
  virtual void Plan(const Pressure& pressure, std::span<Claim> claims) = 0;
};

// Shares the room of the window fairly. A running producer is topped up when less
// than half of its share is left; one that waits, in the order of waiting, as
// soon as its next record fits, and nobody who came later is granted before it.
// What running producers may hold leaves room for one largest message, so that
// idle ones cannot starve it.
class WindowSharePolicy final : public Policy {
 public:
  void Plan(const Pressure& pressure, std::span<Claim> claims) override;

  // No producer holds more unspent than this beyond its demand.
  static constexpr Credit kMostOutstanding{262'144, 16 << 20};
};

}  // namespace spillway::credit
