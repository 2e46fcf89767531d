#include "broker/cli/usage.h"

#include <gtest/gtest.h>

#include "broker/cli/suggest.h"

namespace spillway::cli {
namespace {

TEST(Suggest, Distance) {
  EXPECT_EQ(EditDistance("", ""), 0);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("pub", "pub"), 0);
  EXPECT_EQ(EditDistance("pub", "pubb"), 1);
  EXPECT_EQ(EditDistance("pbu", "pub"), 1);  // neighbours swapped
  EXPECT_EQ(EditDistance("sub", "pub"), 1);
}

TEST(Suggest, OnlyWhatIsNear) {
  EXPECT_EQ(Nearest("ordres", {"orders", "ordain"}), "orders");
  EXPECT_EQ(Nearest("x", {"orders"}), std::nullopt);
  EXPECT_EQ(Nearest("peeek", {}), std::nullopt);
  EXPECT_EQ(DidYouMean("pubb", {"pub"}), "; did you mean 'pub'?");
  EXPECT_EQ(DidYouMean("zzz", {"pub"}), "");
}

class UsageTest : public testing::Test {
 protected:
  UsageTest() : app("", "spillway") {
    app.add_option("--address", address);
    app.add_flag("--json", json);
    app.set_version_flag("--version", std::string("1"));
    CLI::App* queue = app.add_subcommand("queue");
    CLI::App* ls = queue->add_subcommand("ls");
    ls->alias("list");
    ls->add_option("--prefix", prefix);
    CLI::App* pub = app.add_subcommand("pub");
    pub->add_option("MESSAGE", message);
  }
  std::string Typo(const std::vector<std::string>& args) {
    return FindTypo(app, args).value_or("");
  }

  CLI::App app;
  std::string address, prefix, message;
  bool json = false;
};

TEST_F(UsageTest, GoodLinesHaveNone) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"queue", "ls"},
                                             {"queue", "list", "--prefix", "--odd"},
                                             {"--address", "queue:1", "queue", "ls", "--json"},
                                             {"queue", "ls", "--address=x"},
                                             {"pub", "quue", "-5"},
                                             {"pub", "--", "--no-such"},
                                             {"queue", "--help"},
                                             {"--version"}}) {
    EXPECT_EQ(Typo(args), "") << args[0];
  }
}

TEST_F(UsageTest, TyposAreNamedWithWhatIsNear) {
  EXPECT_EQ(Typo({"quue", "ls"}), "spillway has no command 'quue'; did you mean 'queue'?");
  EXPECT_EQ(Typo({"queue", "lsit"}), "spillway queue has no command 'lsit'; did you mean 'list'?");
  EXPECT_EQ(Typo({"--adress", "x", "queue"}),
            "spillway takes no --adress; did you mean '--address'?");
  EXPECT_EQ(Typo({"queue", "ls", "--prefx=a"}),
            "spillway queue ls takes no --prefx; did you mean '--prefix'?");
  EXPECT_EQ(Typo({"pub", "x", "--jsn"}), "spillway pub takes no --jsn; did you mean '--json'?");
}

TEST_F(UsageTest, AMissingCommandIsNamed) {
  EXPECT_EQ(Typo({"--json"}), "spillway needs a command: queue, pub");
  EXPECT_EQ(Typo({"queue"}), "spillway queue needs a command: ls");
}

TEST_F(UsageTest, FirstCommand) {
  EXPECT_EQ(FirstCommand(app, {"--address", "queue", "pub", "queue"}), "pub");
  EXPECT_EQ(FirstCommand(app, {"--json", "queue"}), "queue");
  EXPECT_EQ(FirstCommand(app, {"nope", "queue"}), "");
  EXPECT_EQ(FirstCommand(app, {}), "");
}

TEST(Usage, WantsJson) {
  EXPECT_TRUE(WantsJson({"queue", "ls", "--json"}));
  EXPECT_TRUE(WantsJson({"-o", "json"}));
  EXPECT_TRUE(WantsJson({"--output=json"}));
  EXPECT_FALSE(WantsJson({"-o", "table"}));
  EXPECT_FALSE(WantsJson({"pub", "q", "--", "--json"}));
}

}  // namespace
}  // namespace spillway::cli
