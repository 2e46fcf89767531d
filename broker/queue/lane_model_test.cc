// A lane, driven at random, against a model of it; and the model's own test: every
// planted fault must be found. A failure names its seed: --gtest_filter picks the
// test, SPILLWAY_SEED=<n> the seed, SPILLWAY_SEEDS=<n> how many.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "broker/queue/model/driver.h"

namespace spillway::queue::model {
namespace {

constexpr int kOperations = 300;
#ifdef NDEBUG
constexpr uint64_t kSeeds = 2'000;
#else
constexpr uint64_t kSeeds = 400;  // sanitizers are slow
#endif

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST(LaneModel, HoldsItsPromises) {
  const uint64_t first = FromEnvironment("SPILLWAY_SEED", 1);
  const uint64_t seeds = FromEnvironment("SPILLWAY_SEEDS", kSeeds);
  Counts sum;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    const RunResult result = RunModel(seed, kOperations);
    ASSERT_EQ(result.failure, "") << "seed " << seed;
    sum += result.counts;
  }
  // Floors: a run in which little happens proves nothing.
  if (seeds < 100) return;
  EXPECT_GE(sum.acked, 100 * seeds);
  EXPECT_GE(sum.delivered, 100 * seeds);
  EXPECT_GE(sum.redelivered, 10 * seeds);
  EXPECT_GE(sum.read_by_readers, 10 * seeds);
  EXPECT_GE(sum.disk_reads, seeds);
  EXPECT_GE(sum.evicted, 10 * seeds);
  EXPECT_GE(sum.crashes, seeds / 2);
  EXPECT_GE(sum.trims, seeds / 2);
  EXPECT_GE(sum.reclaimed, seeds);
  EXPECT_GE(sum.revoked, seeds);
  EXPECT_GE(sum.lost_gaps, seeds / 10);
  EXPECT_GE(sum.removal_gaps, seeds / 10);
  EXPECT_GE(sum.parked, seeds / 10);
}

TEST(LaneModel, RunsTheSameAgain) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const RunResult once = RunModel(seed, kOperations);
    const RunResult again = RunModel(seed, kOperations);
    EXPECT_EQ(once.history, again.history) << "seed " << seed;
    EXPECT_NE(once.history, RunModel(seed + 1, kOperations).history);
  }
}

class PlantedFault : public ::testing::TestWithParam<Fault> {};

TEST_P(PlantedFault, IsFound) {
  constexpr uint64_t kMaxSeeds = 300;
  for (uint64_t seed = 1; seed <= kMaxSeeds; ++seed) {
    const RunResult result = RunModel(seed, kOperations, GetParam());
    if (result.failure.empty()) continue;
    RecordProperty("found_by_seed", std::to_string(seed));
    RecordProperty("as", result.failure);
    return;
  }
  FAIL() << FaultName(GetParam()) << " was not found by " << kMaxSeeds << " seeds";
}

INSTANTIATE_TEST_SUITE_P(All, PlantedFault, ::testing::ValuesIn(kFaults),
                         [](const auto& info) { return std::string(FaultName(info.param)); });

}  // namespace
}  // namespace spillway::queue::model
