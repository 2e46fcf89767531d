#include "broker/cli/tuning_flags.h"

#include <gtest/gtest.h>

#include "broker/base/registry.gen.h"

namespace spillway::cli {
namespace {

client::Result<v1::QueueTuning> Parse(std::vector<std::string> args) {
  CLI::App app;
  TuningFlags flags;
  flags.Add(&app);
  std::reverse(args.begin(), args.end());  // as CLI11 wants them
  app.parse(args);
  return flags.Get();
}

TEST(TuningFlags, NamesHaveNoUnits) {
  EXPECT_EQ(FlagOf("window_bytes"), "--window-bytes");
  EXPECT_EQ(FlagOf("retention_age_ms"), "--retention-age");
}

TEST(TuningFlags, HumanUnits) {
  const auto tuning = Parse({"--window-bytes", "64MiB", "--retention-age", "7d", "--durability",
                             "persisted", "--overflow", "drop-oldest", "--max-attempts", "1,000"});
  ASSERT_TRUE(tuning.ok()) << tuning.error().message;
  EXPECT_EQ(tuning->window_bytes(), 64 << 20);
  EXPECT_EQ(tuning->retention_age_ms(), 604'800'000);
  EXPECT_EQ(tuning->durability(), v1::DURABILITY_PERSISTED);
  EXPECT_EQ(tuning->overflow(), v1::OVERFLOW_POLICY_DROP_OLDEST);
  EXPECT_EQ(tuning->max_attempts(), 1000);
  EXPECT_FALSE(tuning->has_window_messages());  // what was not given is not sent
}

// One flag for each tunable, which takes its least, default and greatest value as
// they are shown to people.
TEST(TuningFlags, EveryTunableTakesItsBounds) {
  for (const registry::Tunable& tunable : registry::kTunables) {
    const std::string flag = FlagOf(tunable.name);
    const auto values = ValuesOf(tunable.name);
    if (!values.empty()) {
      for (const std::string& value : values) {
        const auto tuning = Parse({flag, value});
        ASSERT_TRUE(tuning.ok()) << flag << " " << value;
        EXPECT_NE(ShowTunable(*tuning, tunable.name), "");
      }
      EXPECT_FALSE(Parse({flag, "nonsense"}).ok());
      continue;
    }
    const std::string unit = tunable.unit == "ms" ? "ms" : "";
    EXPECT_TRUE(Parse({flag, std::to_string(tunable.min) + unit}).ok()) << flag;
    EXPECT_TRUE(Parse({flag, std::to_string(tunable.default_value) + unit}).ok()) << flag;
    EXPECT_TRUE(Parse({flag, std::to_string(tunable.max) + unit}).ok()) << flag;
    const auto high = Parse({flag, std::to_string(tunable.max + 1) + unit});
    ASSERT_FALSE(high.ok()) << flag;
    EXPECT_EQ(high.error().field, "tuning." + std::string(tunable.name));
    EXPECT_EQ(high.error().limit, tunable.max);
    EXPECT_EQ(high.error().actual, tunable.max + 1);
    if (tunable.min > 0) {
      EXPECT_FALSE(Parse({flag, std::to_string(tunable.min - 1) + unit}).ok()) << flag;
    }
  }
}

TEST(TuningFlags, WrongValuesSayWhatIsRight) {
  EXPECT_EQ(Parse({"--durability", "persistd"}).error().message,
            "--durability: 'persistd' is none of MEMORY, PERSISTED, SYNCED; did you mean "
            "'PERSISTED'?");
  EXPECT_EQ(Parse({"--window-bytes", "12x"}).error().message,
            "--window-bytes: '12x' is not a size; write it like 4096, 64KiB or 1.5GiB");
  EXPECT_EQ(Parse({"--window-bytes", "1"}).error().message,
            "--window-bytes may be 1 KiB to 1 TiB, not 1 B");
}

TEST(TuningFlags, UnknownTunable) {
  v1::QueueTuning tuning;
  EXPECT_FALSE(SetTunable("window", "1", &tuning).ok());
  EXPECT_EQ(ShowTunable(tuning, "window"), "");
  EXPECT_TRUE(ValuesOf("window_bytes").empty());
}

}  // namespace
}  // namespace spillway::cli
