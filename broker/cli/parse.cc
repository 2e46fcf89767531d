#include "broker/cli/parse.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

namespace spillway::cli {
namespace {

using client::Error;
using client::ErrorKind;
using client::Start;
using client::Stop;

Error Bad(std::string_view text, const char* wanted) {
  return {.kind = ErrorKind::kInvalidArgument,
          .message = "'" + std::string(text) + "' is not " + wanted};
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// Splits "1.5GiB" into 1.5 and "gib"; nothing if there is no number in front.
std::optional<std::pair<double, std::string>> NumberAndUnit(std::string_view text) {
  size_t digits = 0;
  while (digits < text.size() &&
         (std::isdigit(static_cast<unsigned char>(text[digits])) != 0 || text[digits] == '.')) {
    ++digits;
  }
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, number);
  if (digits == 0 || error != std::errc() || end != text.data() + digits) return std::nullopt;
  std::string_view unit = text.substr(digits);
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  return std::pair(number, Lower(unit));
}

bool IsWholeNumber(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

// Reads a time from the left.
struct Scanner {
  std::string_view rest;

  // One of these characters.
  bool Take(std::string_view any) {
    if (rest.empty() || any.find(rest.front()) == std::string_view::npos) return false;
    rest.remove_prefix(1);
    return true;
  }
  // Exactly so many digits.
  bool Number(size_t digits, int* out) {
    const std::string_view text = rest.substr(0, digits);
    if (text.size() != digits || !IsWholeNumber(text)) return false;
    std::from_chars(text.data(), text.data() + text.size(), *out);
    rest.remove_prefix(digits);
    return true;
  }
  // 12:00:00 or 12:00:00.123; second 60 is a leap second's.
  bool TimeOfDay(int64_t* ms) {
    int h = 0;
    int m = 0;
    int s = 0;
    if (!Number(2, &h) || !Take(":") || !Number(2, &m) || !Take(":") || !Number(2, &s)) {
      return false;
    }
    *ms = ((h * 60 + m) * 60 + s) * int64_t{1000};
    if (Take(".")) {
      int digit = 0;
      int digits = 0;
      for (int64_t unit = 100; Number(1, &digit); unit /= 10, ++digits) *ms += digit * unit;
      if (digits == 0) return false;
    }
    return h < 24 && m < 60 && s < 61;
  }
  // +02:00, -05:30, or nothing.
  bool Zone(int64_t* ms) {
    if (rest.empty()) return true;
    const int sign = rest.front() == '-' ? -1 : 1;
    int h = 0;
    int m = 0;
    if (!Take("+-") || !Number(2, &h) || !Take(":") || !Number(2, &m)) return false;
    *ms = sign * (h * 60 + m) * int64_t{60'000};
    return h < 24 && m < 60;
  }
};

}  // namespace

Result<uint64_t> ParseSize(std::string_view text) {
  constexpr char kWanted[] = "a size; write it like 4096, 64KiB or 1.5GiB";
  const auto parts = NumberAndUnit(text);
  if (!parts) return Bad(text, kWanted);
  static constexpr std::pair<const char*, double> kUnits[] = {
      {"", 1},         {"b", 1},        {"k", 0x1p10},   {"kib", 0x1p10}, {"m", 0x1p20},
      {"mib", 0x1p20}, {"g", 0x1p30},   {"gib", 0x1p30}, {"t", 0x1p40},   {"tib", 0x1p40},
      {"p", 0x1p50},   {"pib", 0x1p50}, {"kb", 1e3},     {"mb", 1e6},     {"gb", 1e9},
      {"tb", 1e12},    {"pb", 1e15}};
  for (const auto& [unit, factor] : kUnits) {
    if (parts->second != unit) continue;
    const double bytes = parts->first * factor;
    if (bytes > 1e18) break;
    return static_cast<uint64_t>(std::llround(bytes));
  }
  return Bad(text, kWanted);
}

Result<uint64_t> ParseDuration(std::string_view text) {
  constexpr char kWanted[] = "a duration; write it like 250ms, 30s, 10m, 24h or 7d";
  if (text == "0") return uint64_t{0};
  double total = 0;
  std::string_view rest = text;
  if (rest.empty()) return Bad(text, kWanted);
  while (!rest.empty()) {
    size_t n = 0;
    while (n < rest.size() &&
           (std::isdigit(static_cast<unsigned char>(rest[n])) != 0 || rest[n] == '.')) {
      ++n;
    }
    size_t end = n;
    while (end < rest.size() && std::isalpha(static_cast<unsigned char>(rest[end])) != 0) ++end;
    const auto parts = NumberAndUnit(rest.substr(0, end));
    if (!parts) return Bad(text, kWanted);
    const std::string& unit = parts->second;
    double factor = 0;
    if (unit == "ms") factor = 1;
    if (unit == "s") factor = 1000;
    if (unit == "m" || unit == "min") factor = 60e3;
    if (unit == "h") factor = 3600e3;
    if (unit == "d") factor = 86400e3;
    if (factor == 0) return Bad(text, kWanted);
    total += parts->first * factor;
    rest.remove_prefix(end);
  }
  if (total > 1e15) return Bad(text, kWanted);
  return static_cast<uint64_t>(std::llround(total));
}

Result<uint64_t> ParseCount(std::string_view text) {
  std::string digits;
  std::string_view rest = text;
  // Commas only where HumanCount puts them, so that 1,5 is not taken for 15.
  if (const size_t comma = rest.find(','); comma != std::string_view::npos) {
    bool good = comma >= 1 && comma <= 3;
    digits = rest.substr(0, comma);
    for (rest.remove_prefix(comma); good && !rest.empty(); rest.remove_prefix(4)) {
      good = rest.size() >= 4 && rest.front() == ',' && rest.substr(1, 3).find(',') == rest.npos;
      if (!good) break;
      digits += rest.substr(1, 3);
    }
    if (!good) return Bad(text, "a whole number");
  } else {
    digits = text;
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || digits.empty() || end != digits.data() + digits.size()) {
    return Bad(text, "a whole number");
  }
  return value;
}

Result<uint64_t> ParseTime(std::string_view text, uint64_t now_unix_ms) {
  constexpr char kWanted[] = "a time; write it like 2026-01-31T12:00:00Z, -10m or now";
  if (text == "now") return now_unix_ms;
  if (!text.empty() && text.front() == '-') {
    const Result<uint64_t> ago = ParseDuration(text.substr(1));
    if (!ago.ok() || *ago > now_unix_ms) return Bad(text, kWanted);
    return now_unix_ms - *ago;
  }
  Scanner in{text};
  int y = 0;
  int mo = 0;
  int d = 0;
  int64_t ms = 0;  // of the day
  int64_t zone_ms = 0;
  bool good =
      in.Number(4, &y) && in.Take("-") && in.Number(2, &mo) && in.Take("-") && in.Number(2, &d);
  if (good && in.Take("Tt ")) {
    good = in.TimeOfDay(&ms) && (in.Take("Zz") || in.Zone(&zone_ms));
  }
  const std::chrono::year_month_day date{std::chrono::year(y),
                                         std::chrono::month(static_cast<unsigned>(mo)),
                                         std::chrono::day(static_cast<unsigned>(d))};
  if (!good || !in.rest.empty() || !date.ok()) return Bad(text, kWanted);
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const int64_t unix_ms = days * 86'400'000 + ms - zone_ms;
  if (unix_ms < 0) return Bad(text, "a time since 1970");
  return static_cast<uint64_t>(unix_ms);
}

Result<Start> ParseStart(std::string_view text, uint64_t now_unix_ms) {
  if (text == "earliest") return Start::Earliest();
  if (text == "latest") return Start::Latest();
  if (text.starts_with("last:")) {
    const Result<uint64_t> n = ParseCount(text.substr(5));
    if (n.ok()) return Start::Last(*n);
  }
  if (IsWholeNumber(text)) {
    const Result<uint64_t> offset = ParseCount(text);
    if (offset.ok()) return Start::AtOffset(*offset);
  }
  const Result<uint64_t> time = ParseTime(text, now_unix_ms);
  if (time.ok()) return Start::AtUnixMs(*time);
  return Bad(text,
             "a place to begin: an offset, a time (2026-01-31T12:00:00Z, -10m), earliest, "
             "latest or last:N");
}

Result<Stop> ParseStop(std::string_view text, uint64_t now_unix_ms) {
  if (text == "tail") return Stop::AtTail();
  if (text == "never") return Stop{};
  if (IsWholeNumber(text)) {
    const Result<uint64_t> offset = ParseCount(text);
    if (offset.ok()) return Stop::AtOffset(*offset);
  }
  const Result<uint64_t> time = ParseTime(text, now_unix_ms);
  if (time.ok()) return Stop::AtUnixMs(*time);
  return Bad(text, "a place to end: an offset, a time (2026-01-31T12:00:00Z, -10m), tail or never");
}

Result<client::OffsetRange> ParseRange(std::string_view text) {
  constexpr char kWanted[] = "a range of offsets; write 5, 5-9 or 5+3";
  const size_t mark = text.find_first_of("-+");
  const Result<uint64_t> first = ParseCount(text.substr(0, mark));
  if (!first.ok()) return Bad(text, kWanted);
  if (mark == std::string_view::npos) return client::OffsetRange{*first, 1};
  const Result<uint64_t> second = ParseCount(text.substr(mark + 1));
  if (!second.ok()) return Bad(text, kWanted);
  if (text[mark] == '+') {
    if (*second == 0 || *second > UINT64_MAX - *first) return Bad(text, kWanted);
    return client::OffsetRange{*first, *second};
  }
  if (*second < *first || *second == UINT64_MAX) return Bad(text, kWanted);
  return client::OffsetRange{*first, *second - *first + 1};
}

uint64_t NowUnixMs() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

}  // namespace spillway::cli
