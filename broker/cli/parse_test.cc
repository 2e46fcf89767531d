#include "broker/cli/parse.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace spillway::cli {
namespace {

constexpr uint64_t kNow = 1'800'000'000'000;

// The value, or nothing for an error, so that tests read as tables.
template <typename T>
std::optional<T> Value(const Result<T>& result) {
  if (!result.ok()) {
    EXPECT_EQ(result.error().kind, client::ErrorKind::kInvalidArgument);
    EXPECT_FALSE(result.error().message.empty());
    return std::nullopt;
  }
  return *result;
}
std::optional<uint64_t> Size(const char* text) { return Value(ParseSize(text)); }
std::optional<uint64_t> Duration(const char* text) { return Value(ParseDuration(text)); }
std::optional<uint64_t> Count(const char* text) { return Value(ParseCount(text)); }
std::optional<uint64_t> Time(const char* text) { return Value(ParseTime(text, kNow)); }

TEST(Parse, Sizes) {
  EXPECT_EQ(Size("4096"), 4096);
  EXPECT_EQ(Size("0"), 0);
  EXPECT_EQ(Size("64KiB"), 64 << 10);
  EXPECT_EQ(Size("64MiB"), 64 << 20);
  EXPECT_EQ(Size("1.5 GiB"), 3ull << 29);
  EXPECT_EQ(Size("64m"), 64 << 20);
  EXPECT_EQ(Size("10MB"), 10'000'000);
  EXPECT_EQ(Size("1pib"), 1ull << 50);
  for (const char* bad : {"", "MiB", "12x", "-1", "1e3", "1..5", "1 2", "99999PiB", "0x10"}) {
    EXPECT_EQ(Size(bad), std::nullopt) << bad;
  }
}

TEST(Parse, Durations) {
  EXPECT_EQ(Duration("250ms"), 250);
  EXPECT_EQ(Duration("30s"), 30'000);
  EXPECT_EQ(Duration("10m"), 600'000);
  EXPECT_EQ(Duration("10min"), 600'000);
  EXPECT_EQ(Duration("24h"), 86'400'000);
  EXPECT_EQ(Duration("7d"), 604'800'000);
  EXPECT_EQ(Duration("1h30m"), 5'400'000);
  EXPECT_EQ(Duration("1.5s"), 1500);
  EXPECT_EQ(Duration("0"), 0);
  // A bare number is refused: seconds or milliseconds?
  for (const char* bad : {"", "5", "s", "5x", "1h-5m", "5 s 3", "1e9d", "99999999999d"}) {
    EXPECT_EQ(Duration(bad), std::nullopt) << bad;
  }
}

TEST(Parse, Counts) {
  EXPECT_EQ(Count("0"), 0);
  EXPECT_EQ(Count("1000000"), 1'000'000);
  EXPECT_EQ(Count("1,000,000"), 1'000'000);
  EXPECT_EQ(Count("18446744073709551615"), UINT64_MAX);
  for (const char* bad : {"", ",", "1,5", "1,0000", "1000,000", ",100", "1,000,", "-1", "+1", "1.0",
                          "1k", "18446744073709551616", " 1"}) {
    EXPECT_EQ(Count(bad), std::nullopt) << bad;
  }
}

TEST(Parse, Times) {
  EXPECT_EQ(Time("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(Time("2026-01-31T12:00:00Z"), 1769860800000);
  EXPECT_EQ(Time("2026-01-31t12:00:00z"), 1769860800000);
  EXPECT_EQ(Time("2026-01-31 12:00:00"), 1769860800000);
  EXPECT_EQ(Time("2026-01-31T12:00:00.25Z"), 1769860800250);
  EXPECT_EQ(Time("2026-01-31T12:00:00.123456789Z"), 1769860800123);
  EXPECT_EQ(Time("2026-01-31T14:00:00+02:00"), 1769860800000);
  EXPECT_EQ(Time("2026-01-31T06:30:00-05:30"), 1769860800000);
  EXPECT_EQ(Time("2026-01-31"), 1769817600000);
  EXPECT_EQ(Time("2024-02-29"), 1709164800000);
  EXPECT_EQ(Time("now"), kNow);
  EXPECT_EQ(Time("-10m"), kNow - 600'000);
  EXPECT_EQ(Time("-0"), kNow);
  for (const char* bad : {"",
                          "-",
                          "-5",
                          "tomorrow",
                          "2026-02-29",
                          "2026-13-01",
                          "2026-00-10",
                          "2026-01-31T",
                          "2026-01-31T24:00:00Z",
                          "2026-01-31T12:60:00Z",
                          "2026-01-31T12:00:61Z",
                          "2026-01-31T12:00Z",
                          "2026-01-31T12:00:00.Z",
                          "2026-01-31T12:00:nanZ",
                          "2026-01-31T12:00:00Zz",
                          "2026-01-31T12:00:00+2",
                          "1970-01-01T00:00:00+05:00",
                          "26-01-31",
                          "2026-1-1",
                          "-99999d"}) {
    EXPECT_EQ(Time(bad), std::nullopt) << bad;
  }
}

TEST(Parse, PlacesToBegin) {
  using Kind = client::Start::Kind;
  const auto start = [](const char* text) {
    const auto place = ParseStart(text, kNow);
    return place.ok() ? std::pair(place->kind, place->value) : std::pair(Kind::kDefault, 0ul);
  };
  EXPECT_EQ(start("earliest"), std::pair(Kind::kEarliest, 0ul));
  EXPECT_EQ(start("latest"), std::pair(Kind::kLatest, 0ul));
  EXPECT_EQ(start("42"), std::pair(Kind::kOffset, 42ul));
  EXPECT_EQ(start("last:7"), std::pair(Kind::kLast, 7ul));
  EXPECT_EQ(start("-1h"), std::pair(Kind::kTime, kNow - 3'600'000));
  EXPECT_EQ(start("1970-01-02"), std::pair(Kind::kTime, 86'400'000ul));
  for (const char* bad : {"", "first", "last:", "last:x", "4 2", "99999999999999999999"}) {
    EXPECT_EQ(start(bad).first, Kind::kDefault) << bad;
  }
}

TEST(Parse, PlacesToEnd) {
  using Kind = client::Stop::Kind;
  EXPECT_EQ(ParseStop("tail", kNow)->kind, Kind::kTail);
  EXPECT_EQ(ParseStop("never", kNow)->kind, Kind::kNever);
  EXPECT_EQ(ParseStop("42", kNow)->kind, Kind::kOffset);
  EXPECT_EQ(ParseStop("42", kNow)->value, 42);
  EXPECT_EQ(ParseStop("-1h", kNow)->kind, Kind::kTime);
  EXPECT_FALSE(ParseStop("latest", kNow).ok());
}

TEST(Parse, Ranges) {
  const auto range = [](const char* text) {
    const auto r = ParseRange(text);
    return r.ok() ? std::pair(r->first_offset, r->count) : std::pair(0ul, 0ul);
  };
  EXPECT_EQ(range("5"), std::pair(5ul, 1ul));
  EXPECT_EQ(range("5-9"), std::pair(5ul, 5ul));
  EXPECT_EQ(range("5+3"), std::pair(5ul, 3ul));
  EXPECT_EQ(range("0-0"), std::pair(0ul, 1ul));
  for (const char* bad :
       {"", "-", "9-5", "5+0", "5-", "a", "5+18446744073709551615", "0-18446744073709551615"}) {
    EXPECT_EQ(range(bad).second, 0) << bad;
  }
}

TEST(Parse, ErrorsQuoteWhatWasGiven) {
  EXPECT_EQ(ParseSize("12x").error().message,
            "'12x' is not a size; write it like 4096, 64KiB or 1.5GiB");
}

}  // namespace
}  // namespace spillway::cli
