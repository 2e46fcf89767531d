#include "broker/credit/ledger.h"

#include <gtest/gtest.h>

namespace spillway::credit {
namespace {

using Verdict = Ledger::ReturnVerdict;

constexpr Bound kBound{.window = {100, 10'000}, .held = {}};

TEST(Ledger, TakesAFrameAtTheLimitAndNoneOneOverIt) {
  Ledger ledger;
  const auto id = ledger.Open();
  EXPECT_EQ(ledger.Grant(id, {2, 100}, kBound), (Credit{2, 100}));
  EXPECT_FALSE(ledger.Receive(id, {3, 10}));
  EXPECT_FALSE(ledger.Receive(id, {2, 101}));
  EXPECT_EQ(ledger.received(id), (Credit{}));  // judged as a whole
  EXPECT_EQ(ledger.outstanding(id), (Credit{2, 100}));
  EXPECT_TRUE(ledger.Receive(id, {2, 100}));
  EXPECT_EQ(ledger.unspent(), (Credit{}));
  EXPECT_FALSE(ledger.Receive(id, {0, 1}));
  EXPECT_TRUE(ledger.Receive(id, {0, 0}));
}

TEST(Ledger, LimitsAreTotalsThatOnlyRise) {
  Ledger ledger;
  const auto id = ledger.Open();
  EXPECT_EQ(ledger.Grant(id, {2, 100}, kBound), (Credit{2, 100}));
  EXPECT_TRUE(ledger.Receive(id, {1, 60}));
  EXPECT_EQ(ledger.Grant(id, {1, 10}, kBound), (Credit{3, 110}));
  EXPECT_EQ(ledger.Return(id, {2, 50}), Verdict::kOk);
  EXPECT_EQ(ledger.granted(id), (Credit{3, 110}));
  EXPECT_EQ(ledger.outstanding(id), (Credit{}));
  EXPECT_EQ(ledger.Grant(id, {1, 10}, kBound), (Credit{4, 120}));
  EXPECT_EQ(ledger.outstanding(id), (Credit{1, 10}));
}

TEST(Ledger, AReturnThatCrossesAGrantMeansTheSameToBothSides) {
  Ledger ledger;
  const auto id = ledger.Open();
  ledger.Grant(id, {10, 100}, kBound);
  // The producer returns all that it has seen, while more is granted.
  ledger.Grant(id, {5, 50}, kBound);
  EXPECT_EQ(ledger.Return(id, {10, 100}), Verdict::kOk);
  // Its limit of {15, 150} less {10, 100} returned is what the ledger expects.
  EXPECT_TRUE(ledger.Receive(id, {5, 50}));
}

TEST(Ledger, ReturnsAreBoundedByWhatIsUnspent) {
  Ledger ledger;
  const auto id = ledger.Open();
  ledger.Grant(id, {10, 100}, kBound);
  ASSERT_TRUE(ledger.Receive(id, {4, 40}));
  EXPECT_EQ(ledger.Return(id, {7, 60}), Verdict::kExceeded);
  EXPECT_EQ(ledger.Return(id, {6, 61}), Verdict::kExceeded);
  EXPECT_EQ(ledger.Return(id, {5, 50}), Verdict::kOk);
  EXPECT_EQ(ledger.Return(id, {5, 50}), Verdict::kOk);  // again: harmless
  EXPECT_EQ(ledger.Return(id, {4, 60}), Verdict::kRegressed);
  EXPECT_EQ(ledger.Return(id, {6, 60}), Verdict::kOk);
  EXPECT_EQ(ledger.unspent(), (Credit{}));
}

TEST(Ledger, WhatAClosedAccountHadLeftIsReturnedOnce) {
  Ledger ledger;
  const auto a = ledger.Open();
  const auto b = ledger.Open();
  ledger.Grant(a, {10, 1'000}, kBound);
  ledger.Grant(b, {10, 1'000}, kBound);
  ASSERT_TRUE(ledger.Receive(a, {3, 300}));
  ASSERT_EQ(ledger.Return(a, {2, 200}), Verdict::kOk);
  ledger.Close(a);
  EXPECT_EQ(ledger.unspent(), (Credit{10, 1'000}));
  EXPECT_EQ(ledger.open_accounts(), 1u);
  // The id is used again, with nothing of the old epoch in it.
  const auto c = ledger.Open();
  EXPECT_EQ(c, a);
  EXPECT_EQ(ledger.granted(c), (Credit{}));
  EXPECT_FALSE(ledger.Receive(c, {1, 1}));
  ledger.Close(b);
  ledger.Close(c);
  EXPECT_EQ(ledger.unspent(), (Credit{}));
  EXPECT_EQ(ledger.granted_total(), ledger.received_total() + ledger.returned_total());
  EXPECT_TRUE(ledger.Balanced());
}

TEST(Ledger, ALoweredWindowHasNoRoomUntilUseFallsBelowIt) {
  Ledger ledger;
  const auto id = ledger.Open();
  ledger.Grant(id, {10, 1'000}, kBound);
  EXPECT_EQ(ledger.Room({{8, 10'000}, {}}), (Credit{0, 9'000}));
  ASSERT_TRUE(ledger.Receive(id, {5, 500}));  // what was granted is taken
  EXPECT_EQ(ledger.Room({{8, 10'000}, {5, 500}}), (Credit{0, 9'000}));
  EXPECT_EQ(ledger.Room({{8, 10'000}, {1, 100}}), (Credit{2, 9'400}));
}

}  // namespace
}  // namespace spillway::credit
