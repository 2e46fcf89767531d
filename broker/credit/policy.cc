#include "broker/credit/policy.h"

#include <algorithm>
#include <vector>

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

}  // namespace

void WindowSharePolicy::Plan(const Pressure& p, std::span<Claim> claims) {
  if (claims.empty()) return;
  const Credit free = Less(Less(p.window, p.held), p.unspent);
  Credit room = free;
  Reason full = p.when_full;
  if (p.budget_bytes < room.bytes) {
    room.bytes = p.budget_bytes;
    full = Reason::kMemoryBudget;
  }
  const uint64_t quota = Less(p.quota_bytes, p.unspent.bytes);
  if (quota < room.bytes) {
    room.bytes = quota;
    full = Reason::kDiskQuota;
  }
  if (p.stop != Reason::kNone) {
    room = {};
    full = p.stop;
  }

  const uint64_t n = claims.size();
  const Credit half = {Less(p.window.messages, p.held.messages) / 2,
                       Less(p.window.bytes, p.held.bytes) / 2};
  Credit share = Min(half, {p.window.messages, Less(p.window.bytes, p.max_message_bytes)});
  share = Min({share.messages / n, share.bytes / n}, kMostOutstanding);
  // The last messages of a window are given out too, as long as they go round.
  if (share.messages == 0 && room.messages >= n) share.messages = 1;

  absl::InlinedVector<Claim*, 8> waiting;
  for (Claim& claim : claims) {
    claim.grant = {};
    claim.reason = Reason::kNone;
    if (claim.waiting.messages > 0) waiting.push_back(&claim);
  }
  std::stable_sort(waiting.begin(), waiting.end(), [](const Claim* a, const Claim* b) {
    return a->waiting_since < b->waiting_since;
  });

  bool reserved = false;
  for (Claim* claim : waiting) {
    const Credit need = Less(Credit{1, claim->next_record_bytes}, claim->outstanding);
    if (need == Credit{}) continue;
    if (reserved || !need.Within(room)) {
      claim->reason = need.Within(room) ? Reason::kFairShare : full;
      reserved = true;  // what there is, and what comes, is for who waited longest
      continue;
    }
    const Credit want = Min(claim->waiting, Less(share, claim->outstanding));
    claim->grant =
        Min(room, {std::max(need.messages, want.messages), std::max(need.bytes, want.bytes)});
    room -= claim->grant;
  }

  for (Claim& claim : claims) {
    if (claim.waiting.messages > 0 && !(claim.grant == Credit{})) continue;
    const bool low = claim.outstanding.messages < std::max<uint64_t>(1, share.messages / 2) ||
                     claim.outstanding.bytes < std::max<uint64_t>(1, share.bytes / 2);
    if (!low || claim.reason != Reason::kNone) continue;
    const Credit more = Less(share, claim.outstanding);
    if (reserved || share.messages == 0 || share.bytes == 0) {
      claim.reason = p.stop != Reason::kNone || room.messages == 0 || room.bytes == 0
                         ? full
                         : Reason::kFairShare;
      continue;
    }
    // No dribbling: all of it, or wait until there is room for all of it.
    const Credit least = {std::min(more.messages, (share.messages + 1) / 2),
                          std::min(more.bytes, (share.bytes + 1) / 2)};
    if (!least.Within(room)) {
      claim.reason = full;
      continue;
    }
    claim.grant = Min(more, room);
    room -= claim.grant;
  }
}

}  // namespace spillway::credit
