#include "broker/cli/format.h"

#include <gtest/gtest.h>

#include <string>

namespace spillway::cli {
namespace {

using namespace std::string_literals;

TEST(Format, Bytes) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1024), "1 KiB");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(64 << 20), "64 MiB");
  EXPECT_EQ(HumanBytes(UINT64_MAX), "16384 PiB");
}

TEST(Format, Counts) {
  EXPECT_EQ(HumanCount(0), "0");
  EXPECT_EQ(HumanCount(999), "999");
  EXPECT_EQ(HumanCount(1000), "1,000");
  EXPECT_EQ(HumanCount(1234567), "1,234,567");
  EXPECT_EQ(CountOf(1, "record"), "1 record");
  EXPECT_EQ(CountOf(1000, "record"), "1,000 records");
  EXPECT_EQ(ShortCount(0), "0");
  EXPECT_EQ(ShortCount(12.4), "12");
  EXPECT_EQ(ShortCount(1.5), "1.5");
  EXPECT_EQ(ShortCount(310'000), "310k");
  EXPECT_EQ(ShortCount(2'400'000), "2.4M");
}

TEST(Format, Durations) {
  EXPECT_EQ(HumanDuration(0), "0 ms");
  EXPECT_EQ(HumanDuration(999), "999 ms");
  EXPECT_EQ(HumanDuration(1500), "1.5 s");
  EXPECT_EQ(HumanDuration(600'000), "10 min");
  EXPECT_EQ(HumanDuration(86'400'000), "24 h");
  EXPECT_EQ(HumanDuration(604'800'000), "7 d");
}

TEST(Format, Times) {
  EXPECT_EQ(Rfc3339(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(Rfc3339(1769860800250), "2026-01-31T12:00:00.250Z");
}

TEST(Format, Utf8) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("zażółć \0 x"s));
  EXPECT_TRUE(IsUtf8("\xf0\x9f\x8c\x8a"));
  for (const std::string bad : {"\xff", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                                "\xf4\x90\x80\x80", "\xe2\x82", "a\x80"}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

// A payload must not be able to move the cursor or change colours.
TEST(Format, PrintableEscapesWhatDrives) {
  EXPECT_EQ(Printable("plain é"), "plain é");
  EXPECT_EQ(Printable("a\nb\tc\r"), "a\\nb\\tc\\r");
  EXPECT_EQ(Printable("\033[31mred"), "\\x1b[31mred");
  EXPECT_EQ(Printable("\xff\x00"s), "\\xff\\x00");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");  // CSI as one character
  EXPECT_EQ(Printable("\x7f"), "\\x7f");
}

TEST(Format, TableAligns) {
  Table table({{"NAME"}, {"N", Table::Align::kRight}});
  EXPECT_TRUE(table.empty());
  table.Add({"żaba", "7"});
  table.Add({"x", "1,000"});
  EXPECT_EQ(table.Render(),
            "NAME      N\n"
            "żaba      7\n"
            "x     1,000\n");
}

TEST(Format, FitCutsByColumns) {
  EXPECT_EQ(Fit("abc", 3), "abc");
  EXPECT_EQ(Fit("abcd", 3), "abc");
  EXPECT_EQ(Fit("żółw", 2), "żó");
  EXPECT_EQ(Fit("\033[31mred\033[0m", 3), "\033[31mred\033[0m");
  EXPECT_EQ(Fit("\033[31mred\033[0m", 2), "\033[31mre\033[0m");
  EXPECT_EQ(Fit("", 0), "");
}

// Tests do not run on a terminal.
TEST(Format, NoColoursWhenPiped) { EXPECT_EQ(Styled(Style::kRed, "x"), "x"); }

}  // namespace
}  // namespace spillway::cli
