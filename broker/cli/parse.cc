#include "broker/cli/parse.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
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

// Days from 1970-01-01 to a date of the Gregorian calendar.
int64_t DaysFromCivil(int64_t y, int64_t m, int64_t d) {
  using std::chrono::day;
  using std::chrono::month;
  using std::chrono::year;
  return std::chrono::sys_days(year(static_cast<int>(y)) / month(static_cast<unsigned>(m)) /
                               day(static_cast<unsigned>(d)))
      .time_since_epoch()
      .count();
}

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
  std::string digits(text);
  std::erase(digits, ',');
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
  const std::string copy(text);
  int y = 0;
  int mo = 0;
  int d = 0;
  int h = 0;
  int mi = 0;
  double s = 0;
  int used = 0;
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2d%n", &y, &mo, &d, &used) != 3)
    return Bad(text, kWanted);
  std::string_view rest = std::string_view(copy).substr(static_cast<size_t>(used));
  int64_t zone_minutes = 0;
  if (!rest.empty() && (rest[0] == 'T' || rest[0] == 't' || rest[0] == ' ')) {
    if (std::sscanf(rest.data() + 1, "%2d:%2d:%lf%n", &h, &mi, &s, &used) != 3) {
      return Bad(text, kWanted);
    }
    rest.remove_prefix(1 + static_cast<size_t>(used));
    if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) {
      int zh = 0;
      int zm = 0;
      if (std::sscanf(rest.data() + 1, "%2d:%2d%n", &zh, &zm, &used) != 2)
        return Bad(text, kWanted);
      zone_minutes = (rest[0] == '-' ? -1 : 1) * (zh * 60 + zm);
      rest.remove_prefix(1 + static_cast<size_t>(used));
    } else if (!rest.empty() && (rest[0] == 'Z' || rest[0] == 'z')) {
      rest.remove_prefix(1);
    }
  }
  if (!rest.empty() || mo < 1 || mo > 12 || d < 1 || d > 31 || h < 0 || h > 23 || mi < 0 ||
      mi > 59 || s < 0 || s >= 61 || y < 1970) {
    return Bad(text, kWanted);
  }
  const int64_t minutes = (DaysFromCivil(y, mo, d) * 24 + h) * 60 + mi - zone_minutes;
  return static_cast<uint64_t>(minutes * 60'000 + std::llround(s * 1000));
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
  if (!second.ok() || *second == 0) return Bad(text, kWanted);
  if (text[mark] == '+') return client::OffsetRange{*first, *second};
  if (*second < *first) return Bad(text, kWanted);
  return client::OffsetRange{*first, *second - *first + 1};
}

uint64_t NowUnixMs() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

}  // namespace spillway::cli
