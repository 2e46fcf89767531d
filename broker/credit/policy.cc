#include "broker/credit/policy.h"

#include <algorithm>

#include "absl/container/inlined_vector.h"

namespace spillway::credit {
namespace {

uint64_t Less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

Credit Min(const Credit& a, const Credit& b) {
  return {std::min(a.messages, b.messages), std::min(a.bytes, b.bytes)};
}

Credit Less(const Credit& a, const Credit& b) {
  return {Less(a.messages, b.messages), Less(a.bytes, b.bytes)};
}

// One that has the messages may lack bytes alone.
bool Waits(const Claim& claim) { return !(claim.waiting == Credit{}); }
bool Granted(const Claim& claim) { return !(claim.grant == Credit{}); }
bool Exhausted(const Claim& claim) {
  return claim.outstanding.messages == 0 || claim.outstanding.bytes == 0;
}

// What is left to be granted in this plan, and what bounds it.
class Room {
 public:
  explicit Room(const Pressure& p)
      : left_(Less(Less(p.window, p.held), p.unspent)),
        when_full_(p.when_full),
        bytes_(p.when_full) {
    if (p.budget_bytes < left_.bytes) {
      left_.bytes = p.budget_bytes;
      bytes_ = Reason::kMemoryBudget;
    }
    const uint64_t quota = Less(p.quota_bytes, p.unspent.bytes);
    if (quota < left_.bytes) {
      left_.bytes = quota;
      bytes_ = Reason::kDiskQuota;
    }
    if (p.stop != Reason::kNone) {
      left_ = {};
      when_full_ = bytes_ = p.stop;
    }
  }
  const Credit& left() const { return left_; }
  bool Fits(const Credit& credit) const { return credit.Within(left_); }
  void Take(const Credit& credit) { left_ -= credit; }
  // What keeps `credit` from fitting; kNone if nothing does.
  Reason Why(const Credit& credit) const {
    if (credit.messages > left_.messages) return when_full_;
    return credit.bytes > left_.bytes ? bytes_ : Reason::kNone;
  }

 private:
  Credit left_;
  Reason when_full_;  // what bounds messages
  Reason bytes_;      // what bounds bytes
};

// What it must have, beside what it holds, to send its next record. A record
// larger than any that the queue takes (the tuning has changed) must not block
// others.
Credit Need(const Pressure& p, const Claim& claim) {
  return Less(Credit{1, std::min(claim.next_record_bytes, p.max_message_bytes)}, claim.outstanding);
}

// A full queue fails publications instead of letting them wait.
bool NobodyWaits(const Pressure& p) { return p.when_full == Reason::kFullReject; }

Credit Share(const Pressure& p, std::span<const Claim> claims) {
  uint64_t active = p.others_active;
  for (const Claim& claim : claims) {
    if (Waits(claim) || p.now - claim.active_at < WindowSharePolicy::kIdleAfter) ++active;
  }
  // As if there were one more.
  const uint64_t parts = (std::max<uint64_t>(active, 1) + 1) * (p.slow ? 2 : 1);
  const Credit open = Less(p.window, p.held);
  Credit share = {open.messages / parts, open.bytes / parts};
  // One producer may have all of a window of one message; and where nobody waits,
  // the last message of the window is somebody's.
  if (share.messages == 0 && (active <= 1 || NobodyWaits(p))) {
    share.messages = std::min<uint64_t>(open.messages, 1);
  }
  return Min(share, WindowSharePolicy::kMostOutstanding);
}

// 1. Returns the longest waiter that could not be served, if any.
const Claim* ServeWaiting(const Pressure& p, const Credit& share, std::span<Claim> claims,
                          Room* room) {
  absl::InlinedVector<Claim*, 8> waiting;
  for (Claim& claim : claims) {
    if (Waits(claim) && !(Need(p, claim) == Credit{})) waiting.push_back(&claim);
  }
  std::stable_sort(waiting.begin(), waiting.end(), [](const Claim* a, const Claim* b) {
    return a->waiting_since < b->waiting_since;
  });
  const Claim* first = nullptr;
  for (Claim* claim : waiting) {
    const Credit need = Need(p, *claim);
    if (first != nullptr || !room->Fits(need)) {
      claim->reason = room->Fits(need) ? Reason::kFairShare : room->Why(need);
      if (first == nullptr) first = claim;
      continue;
    }
    const Credit want = Min(claim->waiting, Less(share, claim->outstanding));
    claim->grant = need;
    // Bytes without the messages to carry them would lie idle.
    if (want.messages > need.messages || claim->waiting.messages == 0) {
      claim->grant = Min(
          room->left(), {std::max(need.messages, want.messages), std::max(need.bytes, want.bytes)});
    }
    room->Take(claim->grant);
  }
  return first;
}

// What running producers leave to those who will wait.
Credit RunningRoom(const Pressure& p, const Room& room) {
  if (NobodyWaits(p)) return room.left();
  const Credit reserve = {std::min<uint64_t>(1, p.window.messages / 2),
                          std::min(p.max_message_bytes, p.window.bytes / 2)};
  return Min(Less(room.left(), reserve), {room.left().messages, p.budget_bytes / 2});
}

// 2.
void TopUp(const Pressure& p, const Credit& share, std::span<Claim> claims, Room* room) {
  if (share.messages == 0 || share.bytes == 0) return;
  const Credit half = {(share.messages + 1) / 2, (share.bytes + 1) / 2};
  for (Claim& claim : claims) {
    if (Granted(claim) || claim.reason != Reason::kNone) continue;
    const bool idle = p.now - claim.active_at >= WindowSharePolicy::kIdleAfter;
    if (idle && !Waits(claim)) continue;
    const Credit more = Less(share, claim.outstanding);
    const bool low =
        claim.outstanding.messages < half.messages || claim.outstanding.bytes < half.bytes;
    const bool rides = claim.riding && (more.messages >= (share.messages + 7) / 8 ||
                                        more.bytes >= (share.bytes + 7) / 8);
    if (!low && !rides) continue;
    const Credit running = RunningRoom(p, *room);
    if (!Min(more, half).Within(running)) {
      claim.low = low;
      continue;
    }
    claim.grant = Min(more, running);
    room->Take(claim.grant);
  }
}

// Whether only what others have not spent is in the way of this one.
bool OthersInTheWay(const Pressure& p, const Claim& claim) {
  return p.stop == Reason::kNone &&
         Need(p, claim).Within(Less(Less(p.window, p.held), claim.outstanding));
}

// 3. Every producer that can send nothing, and gets nothing, hears why; who holds
// what the longest waiter needs is asked to give back.
void NameReasons(const Pressure& p, const Claim* first, const Room& room, std::span<Claim> claims) {
  const bool ask_back = first != nullptr && OthersInTheWay(p, *first);
  for (Claim& claim : claims) {
    if (Granted(claim) || &claim == first) continue;
    if (ask_back && !(claim.outstanding == Credit{})) {
      claim.reason = Reason::kFairShare;
    } else if (claim.reason == Reason::kNone && Exhausted(claim)) {
      claim.reason = room.Why({1, 1});
      if (claim.reason == Reason::kNone && first != nullptr) claim.reason = Reason::kFairShare;
    } else if (p.stop != Reason::kNone) {
      claim.reason = p.stop;
    }
  }
}

}  // namespace

void WindowSharePolicy::Plan(const Pressure& p, std::span<Claim> claims) {
  for (Claim& claim : claims) {
    claim.grant = {};
    claim.reason = Reason::kNone;
    claim.low = false;
  }
  Room room(p);
  const Credit share = Share(p, claims);
  const Claim* first = ServeWaiting(p, share, claims, &room);
  if (first == nullptr) TopUp(p, share, claims, &room);
  NameReasons(p, first, room, claims);
}

}  // namespace spillway::credit
