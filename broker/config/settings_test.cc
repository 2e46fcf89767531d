#include "broker/config/settings.h"

#include <gtest/gtest.h>

#include <fstream>

namespace spillway::config {
namespace {

std::string FromTest(std::string_view) { return "test"; }

TEST(SettingsTest, LaterSourcesWinAndAreNamed) {
  Loaded loaded;
  ASSERT_TRUE(Apply(
                  {{"listen", "127.0.0.1:1"}, {"max_queues", "7"}},
                  [](std::string_view) { return "file a.toml"; }, &loaded)
                  .ok());
  ASSERT_TRUE(
      Apply(
          {{"listen", "127.0.0.1:2"}}, [](std::string_view) { return "SPILLWAY_LISTEN"; }, &loaded)
          .ok());
  EXPECT_EQ(loaded.settings.listen, "127.0.0.1:2");
  EXPECT_EQ(loaded.settings.max_queues, 7u);
  const std::string text = Describe(loaded);
  EXPECT_NE(text.find("listen = \"127.0.0.1:2\""), std::string::npos);
  EXPECT_NE(text.find("# SPILLWAY_LISTEN"), std::string::npos);
  EXPECT_NE(text.find("# file a.toml"), std::string::npos);
  EXPECT_NE(text.find("# default"), std::string::npos);
}

TEST(SettingsTest, UnknownKeysNameTheNearest) {
  Loaded loaded;
  const Status status = Apply({{"lisen", "x"}}, FromTest, &loaded);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().field, "lisen");
  EXPECT_NE(status.error().message.find("did you mean listen?"), std::string::npos);
  EXPECT_EQ(NearestSetting("max_queue"), "max_queues");
  EXPECT_EQ(NearestSetting("zzz"), "");
}

TEST(SettingsTest, ImpossibleValuesNameTheSettingAndTheRange) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  for (const auto& [name, value] : Pairs{{"max_queues", "0"},
                                         {"max_sessions", "-1"},
                                         {"auto_create", "yes"},
                                         {"log_level", "loud"},
                                         {"listen", "localhost"},
                                         {"listen", "127.0.0.1:65536"},
                                         {"listen", ""},
                                         {"http_listen", ":7421"},
                                         {"drain_deadline_ms", "600001"},
                                         {"shards", "65"}}) {
    Loaded loaded;
    const Status status = Apply({{name, value}}, FromTest, &loaded);
    ASSERT_FALSE(status.ok()) << name;
    EXPECT_EQ(status.error().field, name);
    EXPECT_EQ(status.error().kind, ErrorKind::kInvalidArgument);
  }
}

TEST(SettingsTest, HalfOfTheCoresAreShardsUnlessSaid) {
  Settings settings;
  EXPECT_EQ(Shards(settings, 0), 1u);  // not known
  EXPECT_EQ(Shards(settings, 2), 1u);
  EXPECT_EQ(Shards(settings, 3), 1u);
  EXPECT_EQ(Shards(settings, 8), 4u);
  EXPECT_EQ(Shards(settings, 256), 64u);
  settings.shards = 3;
  EXPECT_EQ(Shards(settings, 8), 3u);
}

TEST(SettingsTest, OpenAddressesNeedAWord) {
  Settings settings;
  EXPECT_TRUE(CheckTogether(settings).ok());
  settings.listen = "[::1]:0";
  EXPECT_TRUE(CheckTogether(settings).ok());
  settings.listen = "0.0.0.0:7420";
  ASSERT_FALSE(CheckTogether(settings).ok());
  EXPECT_EQ(CheckTogether(settings).error().field, "listen");
  settings.insecure = true;
  EXPECT_TRUE(CheckTogether(settings).ok());
}

TEST(SettingsTest, RefusesFilesThatCannotBeRead) {
  for (const std::string& path : {testing::TempDir(), testing::TempDir() + "/none.toml"}) {
    const auto values = ReadToml(path, nullptr);
    ASSERT_FALSE(values.ok());
    EXPECT_NE(values.error().message.find("cannot read the settings in " + path),
              std::string::npos);
  }
}

TEST(SettingsTest, ReadsTomlAndRefusesWhatIsNone) {
  const std::string path = testing::TempDir() + "/settings.toml";
  std::ofstream(path) << "listen = \"127.0.0.1:9\"\nauto_create = true\nmax_queues = 5\n";
  Lines lines;
  const auto values = ReadToml(path, &lines);
  EXPECT_EQ(lines.at("max_queues"), 3u);
  ASSERT_TRUE(values.ok()) << values.error().message;
  EXPECT_EQ(values.value().at("auto_create"), "true");
  EXPECT_EQ(values.value().at("max_queues"), "5");
  std::ofstream(path) << "listen = [1]\n";
  EXPECT_FALSE(ReadToml(path, nullptr).ok());
  std::ofstream(path) << "listen = \n";
  const auto broken = ReadToml(path, nullptr);
  ASSERT_FALSE(broken.ok());
  EXPECT_NE(broken.error().message.find("settings.toml:1:"), std::string::npos)
      << broken.error().message;
}

TEST(SettingsTest, TheEnvironmentIsReadByName) {
  const Values values = ReadEnvironment([](const char* name) -> const char* {
    return std::string_view(name) == "SPILLWAY_DATA_DIR" ? "/somewhere" : nullptr;
  });
  ASSERT_EQ(values.size(), 1u);
  EXPECT_EQ(values.at("data_dir"), "/somewhere");
}

}  // namespace
}  // namespace spillway::config
