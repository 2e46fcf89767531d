#include "broker/credit/model.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <span>
#include <string>

namespace spillway::credit {
namespace {

#ifdef NDEBUG
constexpr uint64_t kSeeds = 2'000;
#else
constexpr uint64_t kSeeds = 200;  // the sanitizers are slow
#endif

TEST(CreditModel, HoldsForEverySeed) {
  uint64_t records = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Model<Ledger, WindowSharePolicy> model(seed);
    ASSERT_EQ(model.Run(), "") << "seed " << seed;
    records += model.records_received();
  }
  // A run in which nothing flows proves nothing.
  EXPECT_GT(records, kSeeds * 100);
}

// ---- Planted faults: each must be found. -------------------------------------
// NOLINTBEGIN(bugprone-derived-method-shadowing-base-method): what the model is made
// with is the faulty one, by its type.

// Ledger::Grant without its clamp, to see that the auditor does not rely on it.
struct Unclamped : Ledger {
  Credit Grant(AccountId id, const Credit& more, const Bound& /*bound*/) {
    constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
    return Ledger::Grant(id, more, {{kMost, kMost}, {}});
  }
};

struct LeaksOnClose : Ledger {
  void Close(AccountId /*id*/) {}
};
struct ReturnsTwiceOnClose : Ledger {
  void Close(AccountId id) {
    again += outstanding(id);
    Ledger::Close(id);
  }
  Credit unspent() const {
    const Credit once = Ledger::unspent();
    return again.Within(once) ? once - again : Credit{};
  }
  Credit again;
};
struct ForgetsReturns : Ledger {
  ReturnVerdict Return(AccountId /*id*/, const Credit& /*total*/) { return ReturnVerdict::kOk; }
};
struct TakesOneMore : Ledger {
  bool Receive(AccountId id, const Credit& cost) {
    return Ledger::Receive(id, cost) || cost.Within(outstanding(id) + Credit{1, 1});
  }
};
struct RefusesAtTheLimit : Ledger {
  bool Receive(AccountId id, const Credit& cost) {
    return cost.bytes < outstanding(id).bytes && Ledger::Receive(id, cost);
  }
};
struct CountsRefused : Ledger {
  bool Receive(AccountId id, const Credit& cost) {
    if (Ledger::Receive(id, cost)) return true;
    (void)Ledger::Receive(id, outstanding(id));
    return false;
  }
};

// NOLINTEND(bugprone-derived-method-shadowing-base-method)

struct Wrapper {
  WindowSharePolicy inner;
};
struct GrantsBeyondTheWindow : Wrapper {
  void Plan(const Pressure& pressure, std::span<Claim> claims) {
    Pressure more = pressure;
    more.window.bytes += 1;
    inner.Plan(more, claims);
  }
};
struct ForgetsUnspent : Wrapper {
  void Plan(const Pressure& pressure, std::span<Claim> claims) {
    Pressure less = pressure;
    less.unspent = {};
    inner.Plan(less, claims);
  }
};
struct StarvesTheLarge : Wrapper {
  void Plan(const Pressure& pressure, std::span<Claim> claims) {
    for (Claim& claim : claims) {
      claim.waiting_since = static_cast<MonoNanos>(claim.next_record_bytes);
    }
    inner.Plan(pressure, claims);
  }
};
struct NeverAsksBack : Wrapper {
  void Plan(const Pressure& pressure, std::span<Claim> claims) {
    inner.Plan(pressure, claims);
    for (Claim& claim : claims) {
      if (claim.reason == Reason::kFairShare) claim.reason = Reason::kWindowFull;
    }
  }
};
struct Silent : Wrapper {
  void Plan(const Pressure& pressure, std::span<Claim> claims) {
    inner.Plan(pressure, claims);
    for (Claim& claim : claims) claim.reason = Reason::kNone;
  }
};

// What the first of 200 seeds says.
template <typename LedgerT, typename PolicyT>
std::string Found() {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    std::string violation = Model<LedgerT, PolicyT>(seed).Run();
    if (!violation.empty()) return violation;
  }
  return "nothing";
}

TEST(CreditModel, FindsALeakOnDisconnect) {
  EXPECT_EQ((Found<LeaksOnClose, WindowSharePolicy>()), "I13: closing an account");
}
TEST(CreditModel, FindsADoubleReturnOnDisconnect) {
  EXPECT_EQ((Found<ReturnsTwiceOnClose, WindowSharePolicy>()), "I13: closing an account");
}
TEST(CreditModel, FindsAForgottenReturn) {
  EXPECT_EQ((Found<ForgetsReturns, WindowSharePolicy>()), "I13: returning");
}
TEST(CreditModel, FindsOneTooManyTaken) {
  EXPECT_EQ((Found<TakesOneMore, WindowSharePolicy>()), "I13: a frame beyond the limit was taken");
}
TEST(CreditModel, FindsARefusalAtTheLimit) {
  EXPECT_NE((Found<RefusesAtTheLimit, WindowSharePolicy>()), "nothing");
}
TEST(CreditModel, FindsARefusedFrameThatCounts) {
  EXPECT_EQ((Found<CountsRefused, WindowSharePolicy>()), "I13: a refused frame was counted");
}
TEST(CreditModel, FindsAGrantBeyondTheWindow) {
  EXPECT_EQ((Found<Unclamped, GrantsBeyondTheWindow>()), "I11: beyond the window");
}
TEST(CreditModel, FindsAForgottenReservation) {
  EXPECT_EQ((Found<Unclamped, ForgetsUnspent>()), "I11: beyond the window");
}
TEST(CreditModel, FindsAStarvedLargeRecord) {
  EXPECT_EQ((Found<Ledger, StarvesTheLarge>()), "I15: the longest waiter was passed over");
}
TEST(CreditModel, FindsCreditThatIsNeverAskedBack) {
  EXPECT_EQ((Found<Ledger, NeverAsksBack>()), "I15: records wait, though there is room");
}
TEST(CreditModel, FindsAStallWithoutAReason) {
  EXPECT_EQ((Found<Ledger, Silent>()), "a wait without a reason");
}

#ifdef NDEBUG
// Safety does not depend on the policy: where assertions are off, the ledger clamps.
struct Lavish final : Policy {
  void Plan(const Pressure& pressure, std::span<Claim> claims) override {
    for (Claim& claim : claims) claim.grant = pressure.window + pressure.window;
  }
};
TEST(Ledger, KeepsTheBoundWhateverThePolicyDecides) {
  Ledger ledger;
  const auto a = ledger.Open();
  const auto b = ledger.Open();
  const Bound bound{.window = {10, 1000}, .held = {3, 100}};
  EXPECT_EQ(ledger.Grant(a, {20, 600}, bound), (Credit{7, 600}));
  EXPECT_EQ(ledger.Grant(b, {20, 600}, bound), (Credit{0, 300}));
  EXPECT_EQ(ledger.Grant(b, {1, 1}, bound), (Credit{0, 300}));
}
TEST(CreditModel, HoldsTheWindowUnderALavishPolicy) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const std::string violation = Model<Ledger, Lavish>(seed).Run();
    EXPECT_NE(violation.substr(0, 3), "I13") << seed;
    EXPECT_NE(violation, "I11: beyond the window") << seed;
  }
}
#endif

}  // namespace
}  // namespace spillway::credit
