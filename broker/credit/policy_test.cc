#include "broker/credit/policy.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <limits>
#include <vector>

namespace spillway::credit {
namespace {

constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();

Pressure Of(const Credit& window, uint64_t max_message_bytes) {
  Pressure p;
  p.window = window;
  p.max_message_bytes = max_message_bytes;
  p.budget_bytes = kAny;
  p.quota_bytes = kAny;
  return p;
}

Claim Waiting(uint64_t next_record_bytes, MonoNanos since, const Credit& outstanding = {}) {
  return {.outstanding = outstanding,
          .waiting = {1, next_record_bytes},
          .next_record_bytes = next_record_bytes,
          .waiting_since = since};
}

void Plan(const Pressure& p, std::vector<Claim>& claims) {
  WindowSharePolicy policy;
  policy.Plan(p, claims);
}

TEST(WindowSharePolicy, ANewProducerGetsItsShareAndLeavesOne) {
  std::vector<Claim> claims(2);
  Plan(Of({1'000, 100'000}, 1'000), claims);
  for (const Claim& claim : claims) {
    EXPECT_EQ(claim.grant, (Credit{333, 33'333}));
    EXPECT_EQ(claim.reason, Reason::kNone);
  }
}

TEST(WindowSharePolicy, DoesNotDribble) {
  Pressure p = Of({1'000, 100'000}, 1'000);
  std::vector<Claim> claims = {{.outstanding = {250, 40'000}}};
  p.unspent = claims[0].outstanding;
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{}));  // half of its messages are left
  claims[0].riding = true;
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{250, 10'000}));  // but this costs no frame
  claims[0] = {.outstanding = {249, 40'000}};
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{251, 10'000}));
}

TEST(WindowSharePolicy, AWaitingProducerIsServedAsSoonAsItsRecordFits) {
  Pressure p = Of({1'000, 1'000}, 1'000);
  p.held = {10, 500};
  std::vector<Claim> claims = {Waiting(501, 1)};
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{}));
  EXPECT_EQ(claims[0].reason, Reason::kWindowFull);
  p.held = {10, 499};
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{1, 501}));
  EXPECT_EQ(claims[0].reason, Reason::kNone);
}

TEST(WindowSharePolicy, AProducerThatLacksBytesAloneIsServed) {
  Pressure p = Of({1'000, 1'000}, 100);
  std::vector<Claim> claims = {
      {.outstanding = {10, 0}, .waiting = {0, 300}, .next_record_bytes = 30, .waiting_since = 1},
      {.outstanding = {900, 900}}};
  p.unspent = {910, 900};
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{0, 100}));  // all that is left
  EXPECT_EQ(claims[1].grant, (Credit{}));
}

// Its demand and a grant crossed: it has no message to carry the bytes any more.
TEST(WindowSharePolicy, AProducerThatAsksForBytesAloneGetsAMessageForThem) {
  std::vector<Claim> claims = {{.waiting = {0, 300}, .next_record_bytes = 30, .waiting_since = 1}};
  Plan(Of({1'000, 1'000}, 100), claims);
  EXPECT_EQ(claims[0].grant, (Credit{1, 300}));
}

TEST(WindowSharePolicy, SmallProducersDoNotStarveALargeRecord) {
  Pressure p = Of({1'000, 1'000}, 900);
  p.held = {10, 500};
  std::vector<Claim> claims = {Waiting(10, 2), Waiting(900, 1), Waiting(10, 3), {}};
  Plan(p, claims);
  for (const Claim& claim : claims) EXPECT_EQ(claim.grant, (Credit{}));
  EXPECT_EQ(claims[0].reason, Reason::kFairShare);
  EXPECT_EQ(claims[1].reason, Reason::kWindowFull);
  p.held = {};
  Plan(p, claims);
  EXPECT_EQ(claims[1].grant, (Credit{1, 900}));
  EXPECT_EQ(claims[0].grant, (Credit{1, 10}));
  EXPECT_EQ(claims[2].grant, (Credit{1, 10}));
}

TEST(WindowSharePolicy, AsksBackWhatIsInTheWayOfTheLongestWaiter) {
  Pressure p = Of({100, 1'000}, 900);
  p.unspent = {10, 500};
  // An idle producer, and one that waits with credit it cannot use.
  std::vector<Claim> claims = {
      {.outstanding = {5, 300}}, Waiting(900, 1), Waiting(800, 2, {5, 200})};
  Plan(p, claims);
  EXPECT_EQ(claims[0].reason, Reason::kFairShare);
  EXPECT_EQ(claims[1].reason, Reason::kWindowFull);
  EXPECT_EQ(claims[2].reason, Reason::kFairShare);
  // What is held is in the way, too: giving back would not help yet.
  p.held = {1, 400};
  Plan(p, claims);
  EXPECT_EQ(claims[0].reason, Reason::kNone);
}

TEST(WindowSharePolicy, RunningProducersLeaveRoomForOneLargestMessage) {
  Pressure p = Of({100, 1'000}, 400);
  std::vector<Claim> claims(8);
  Credit used;
  for (int round = 0; round < 20; ++round) {
    Plan(p, claims);
    for (Claim& claim : claims) {
      claim.outstanding += claim.grant;
      used += claim.grant;
    }
    p.unspent = used;
    claims.resize(claims.size() + 1);  // and one more opens
  }
  EXPECT_LE(used.bytes, 600u);
  EXPECT_LE(used.messages, 99u);
}

TEST(WindowSharePolicy, ALoweredWindowGrantsNothingUntilUseFallsBelowIt) {
  Pressure p = Of({10, 1'000}, 500);
  p.held = {8, 800};
  p.unspent = {8, 800};
  std::vector<Claim> claims = {Waiting(10, 1, {8, 5})};
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{}));
  EXPECT_EQ(claims[0].reason, Reason::kWindowFull);
  p.held = {0, 0};
  p.unspent = {8, 5};
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{0, 5}));
}

TEST(WindowSharePolicy, AThousandProducersTakeTurnsAtAWindowOfAHundred) {
  Pressure p = Of({100, 10'000}, 100);
  std::vector<Claim> claims;
  claims.reserve(1'000);
  for (int i = 0; i < 1'000; ++i) claims.push_back(Waiting(100, i));
  std::vector<int> served(1'000);
  MonoNanos now = 1'000;
  for (int round = 0; round < 20; ++round) {
    Plan(p, claims);
    uint64_t granted = 0;
    for (size_t i = 0; i < claims.size(); ++i) {
      if (claims[i].grant == Credit{}) {
        EXPECT_NE(claims[i].reason, Reason::kNone);
        continue;
      }
      EXPECT_EQ(claims[i].grant, (Credit{1, 100}));
      ++granted;
      ++served[i];
      claims[i] = Waiting(100, ++now);  // sent, drained, and waits again
    }
    EXPECT_EQ(granted, 100u);
  }
  for (const int n : served) EXPECT_EQ(n, 2);
}

TEST(WindowSharePolicy, AWindowOfOneMessageWorks) {
  std::vector<Claim> claims(1);
  Plan(Of({1, 100}, 100), claims);
  EXPECT_EQ(claims[0].grant, (Credit{1, 50}));
  claims = {Waiting(100, 1), Waiting(100, 2)};
  Plan(Of({1, 100}, 100), claims);
  EXPECT_EQ(claims[0].grant, (Credit{1, 100}));
  EXPECT_NE(claims[1].reason, Reason::kNone);
}

TEST(WindowSharePolicy, NamesWhatBinds) {
  const auto reason = [](const Pressure& p) {
    std::vector<Claim> claims = {Waiting(100, 1)};
    Plan(p, claims);
    EXPECT_EQ(claims[0].grant, (Credit{}));
    return claims[0].reason;
  };
  const Pressure open = Of({100, 1'000}, 500);
  Pressure p = open;
  p.budget_bytes = 99;
  EXPECT_EQ(reason(p), Reason::kMemoryBudget);
  p = open;
  p.quota_bytes = 99;
  EXPECT_EQ(reason(p), Reason::kDiskQuota);
  p = open;
  p.held = {100, 100};
  EXPECT_EQ(reason(p), Reason::kWindowFull);
  p.when_full = Reason::kFullReject;
  EXPECT_EQ(reason(p), Reason::kFullReject);
  p.when_full = Reason::kDiskSlow;
  EXPECT_EQ(reason(p), Reason::kDiskSlow);
  p.stop = Reason::kDraining;
  EXPECT_EQ(reason(p), Reason::kDraining);
}

TEST(WindowSharePolicy, AStopIsToldToEveryProducer) {
  Pressure p = Of({100, 1'000}, 500);
  p.stop = Reason::kStoreFailed;
  std::vector<Claim> claims = {{}, {.outstanding = {5, 5}}, Waiting(10, 1)};
  Plan(p, claims);
  for (const Claim& claim : claims) {
    EXPECT_EQ(claim.grant, (Credit{}));
    EXPECT_EQ(claim.reason, Reason::kStoreFailed);
  }
}

TEST(WindowSharePolicy, ASlowStoreHalvesTheShares) {
  Pressure p = Of({1'000, 100'000}, 1'000);
  p.slow = true;
  std::vector<Claim> claims(1);
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{250, 25'000}));
}

TEST(WindowSharePolicy, IdleProducersHaveNoShare) {
  Pressure p = Of({1'000, 100'000}, 1'000);
  p.now = 10 * WindowSharePolicy::kIdleAfter;
  std::vector<Claim> claims(100);
  claims[7].active_at = p.now;
  Plan(p, claims);
  EXPECT_EQ(claims[7].grant, (Credit{500, 50'000}));
  EXPECT_EQ(claims[8].grant, (Credit{}));
  EXPECT_EQ(claims[8].reason, Reason::kNone);
}

TEST(WindowSharePolicy, ARejectingQueueGivesOutTheWholeWindowToWhoRuns) {
  Pressure p = Of({4, 1'000}, 500);
  p.when_full = Reason::kFullReject;
  std::vector<Claim> claims(2);
  while (p.held.messages < 4) {
    Plan(p, claims);
    Credit granted;
    for (const Claim& claim : claims) granted += claim.grant;
    ASSERT_GT(granted.messages, 0u);
    p.held += granted;  // all is sent at once, and nobody consumes
  }
  Plan(p, claims);
  for (const Claim& claim : claims) EXPECT_EQ(claim.reason, Reason::kFullReject);
}

TEST(WindowSharePolicy, ARecordThatNoLongerFitsTheQueueBlocksNobody) {
  Pressure p = Of({100, 1'000}, 300);  // was lowered after the demand
  p.held = {1, 600};
  std::vector<Claim> claims = {Waiting(2'000, 1), Waiting(10, 2)};
  Plan(p, claims);
  EXPECT_EQ(claims[0].grant, (Credit{1, 300}));
  EXPECT_EQ(claims[1].grant, (Credit{1, 10}));
}

}  // namespace
}  // namespace spillway::credit
