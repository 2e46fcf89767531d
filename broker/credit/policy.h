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
  // Producers that wait or were active lately, beside those that are asked about.
  uint64_t others_active = 0;
  uint64_t max_message_bytes = 0;
  // What the process's budget leaves.
  uint64_t budget_bytes = 0;
  // What the disk quota leaves, for queues that spill; max() for others.
  uint64_t quota_bytes = 0;
  // Nothing may be granted for this reason, whatever the room.
  Reason stop = Reason::kNone;
  // What a full window is called: kWindowFull, kDiskSlow, kFullReject.
  Reason when_full = Reason::kWindowFull;
  // The store delays writes: running producers get half.
  bool slow = false;
  MonoNanos now = 0;

  bool operator==(const Pressure&) const = default;
};

// One producer.
struct Claim {
  Credit outstanding;  // granted and not received
  // The producer waits for this; 0 messages if it does not wait.
  Credit waiting;
  uint64_t next_record_bytes = 0;
  MonoNanos waiting_since = 0;
  // When it last sent, or opened; see kIdleAfter.
  MonoNanos active_at = 0;
  // A confirmation goes to it in any case, so that a grant costs no frame.
  bool riding = false;
  // ---- The answer.
  Credit grant;
  // Why it got nothing. With kFairShare it is also asked to give back what it cannot
  // use at once: the longest waiter needs it (ADR 0009).
  Reason reason = Reason::kNone;
  // It runs low and got nothing for want of room: ask again when there is some.
  bool low = false;
};

// Decides; the Ledger, through which every grant goes, keeps the bound (I11)
// whatever is decided.
// Thread-safety: none.
class Policy {
 public:
  virtual ~Policy() = default;
  // Fills grant, reason and low of every claim. The answer to an equal pressure and
  // equal claims is equal, so a caller for whom nothing changed need not ask.
  // Producers that neither wait, nor hear a reason, nor run low, nor sent or were
  // confirmed anything since the last plan need no claim (Pressure::others_active
  // counts them), unless a claim comes back with a reason: then what they hold may be
  // in the way, and all are to be asked about.
  virtual void Plan(const Pressure& pressure, std::span<Claim> claims) = 0;
};

// Shares the room of the window fairly, in this order:
//  1. Producers that wait, longest first: each as soon as its next record fits.
//     While it does not fit, nobody else is granted anything, so that many small
//     producers cannot starve a large record. What it gets is within its share, or
//     one record.
//  2. Producers that run: topped up to their share once less than half of it is
//     left (or an eighth is gone, when the grant can ride on a confirmation), and
//     by no less than half of it: no dribbling. This leaves room for one largest
//     message (up to half of the window), and half of the process's headroom, to
//     those who wait.
// A share is what the window has beside what is held, divided by the producers that
// wait or were active in the last second, and by one who may come.
//
// Within the room, every waiting producer is granted after finitely many plans:
// what is held drains, and what idle ones hold is asked back when only that is in
// the way.
// O(producers), and O(n log n) in those that wait.
class WindowSharePolicy final : public Policy {
 public:
  void Plan(const Pressure& pressure, std::span<Claim> claims) override;

  // No producer holds more unspent than this beyond its demand.
  static constexpr Credit kMostOutstanding{262'144, 16 << 20};
  // Who sent nothing for this long has no share, and keeps what it has.
  static constexpr MonoNanos kIdleAfter = 1'000 * kNanosPerMilli;
};

}  // namespace spillway::credit
