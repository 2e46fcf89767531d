#include "broker/failure/backoff.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>

#include <nlohmann/json.hpp>

namespace spillway::failure {
namespace {

TEST(Backoff, DoublesUpToTheMost) {
  const auto ms = [](uint32_t attempt) {
    return RedeliveryDelay(attempt, 200, 30'000, 0.5) / kNanosPerMilli;
  };
  EXPECT_EQ(ms(2), 200);
  EXPECT_EQ(ms(3), 400);
  EXPECT_EQ(ms(4), 800);
  EXPECT_EQ(ms(9), 25'600);
  EXPECT_EQ(ms(10), 30'000);
  EXPECT_EQ(ms(UINT32_MAX), 30'000);
  EXPECT_EQ(ms(1), 200);  // a first delivery waits for nothing; asked all the same
}

TEST(Backoff, VariesByAFifth) {
  EXPECT_EQ(RedeliveryDelay(2, 1'000, 1'000, 0.0), 800 * kNanosPerMilli);
  EXPECT_NEAR(static_cast<double>(RedeliveryDelay(2, 1'000, 1'000, 0.999999)),
              1'200.0 * kNanosPerMilli, 1e4);
}

// What the documents and the clients' tests say of it, too.
TEST(Backoff, KeepsToTheSharedVectors) {
  std::ifstream file("tests/vectors/retry.json");
  const nlohmann::json vectors = nlohmann::json::parse(file)["redelivery"];
  EXPECT_GE(vectors.size(), 6u);
  for (const nlohmann::json& v : vectors) {
    const auto delay = [&](double unit) {
      const MonoNanos nanos = RedeliveryDelay(v["attempt"], v["initial_ms"], v["max_ms"], unit);
      return static_cast<double>(nanos) / kNanosPerMilli;
    };
    EXPECT_DOUBLE_EQ(delay(0.0), v["least_ms"]) << v;
    EXPECT_NEAR(delay(0.999999999), v["most_ms"], 1.0) << v;
    EXPECT_LE(delay(0.999999999), v["most_ms"]) << v;
  }
}

TEST(Backoff, NeverOverflows) {
  EXPECT_GT(RedeliveryDelay(50, UINT64_MAX, UINT64_MAX, 0.999), 0);
  EXPECT_EQ(RedeliveryDelay(5, 0, 30'000, 0.5), 0);
}

TEST(Backoff, TheLastAttemptIsNotFollowedByAnother) {
  EXPECT_FALSE(AttemptsUsedUp(4, 5));
  EXPECT_TRUE(AttemptsUsedUp(5, 5));
  EXPECT_TRUE(AttemptsUsedUp(6, 5));  // the tuning was lowered
}

}  // namespace
}  // namespace spillway::failure
