#include "broker/cli/format.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace spillway::cli {
namespace {

std::string Format(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// One decimal where it says something: "64", "1.5".
std::string Short(double value) {
  return std::abs(value - std::round(value)) < 0.05 || value >= 100 ? Format("%.0f", value)
                                                                    : Format("%.1f", value);
}

// How many columns a text takes: code points, without styles.
size_t Width(std::string_view text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {
      while (i < text.size() && text[i] != 'm') ++i;
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
      ++width;
    }
  }
  return width;
}

// Length of the UTF-8 sequence at the front; 0 if it is none.
size_t Utf8Length(std::string_view s) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = at(0);
  const size_t n = lead < 0x80   ? 1
                   : lead < 0xc2 ? 0
                   : lead < 0xe0 ? 2
                   : lead < 0xf0 ? 3
                   : lead < 0xf5 ? 4
                                 : 0;
  if (n == 0 || n > s.size()) return 0;
  for (size_t i = 1; i < n; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  if ((lead == 0xe0 && at(1) < 0xa0) || (lead == 0xed && at(1) > 0x9f) ||
      (lead == 0xf0 && at(1) < 0x90) || (lead == 0xf4 && at(1) > 0x8f)) {
    return 0;
  }
  return n;
}

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return Short(value) + " " + kUnits[unit];
}

std::string HumanCount(uint64_t count) {
  std::string text = std::to_string(count);
  for (int i = static_cast<int>(text.size()) - 3; i > 0; i -= 3) {
    text.insert(static_cast<size_t>(i), ",");
  }
  return text;
}

std::string CountOf(uint64_t count, const std::string& noun) {
  return HumanCount(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string ShortCount(double count) {
  static constexpr const char* kUnits[] = {"", "k", "M", "G", "T"};
  size_t unit = 0;
  while (count >= 1000 && unit + 1 < std::size(kUnits)) {
    count /= 1000;
    ++unit;
  }
  return (unit == 0 && count >= 10 ? Format("%.0f", count) : Short(count)) + kUnits[unit];
}

std::string HumanDuration(uint64_t ms) {
  const double value = static_cast<double>(ms);
  if (ms < 1000) return std::to_string(ms) + " ms";
  if (ms < 120'000) return Short(value / 1000) + " s";
  if (ms < 7'200'000) return Short(value / 60e3) + " min";
  if (ms < 172'800'000) return Short(value / 3600e3) + " h";
  return Short(value / 86400e3) + " d";
}

std::string Rfc3339(uint64_t unix_ms) {
  using std::chrono::days;
  using std::chrono::milliseconds;
  const std::chrono::sys_time<milliseconds> time{milliseconds(unix_ms)};
  const auto date = std::chrono::floor<days>(time);
  const std::chrono::year_month_day ymd(date);
  const std::chrono::hh_mm_ss clock(time - date);
  char text[64];
  std::snprintf(
      text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(ymd.year()),
      static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()),
      static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return text;
}

bool IsUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t n = Utf8Length(bytes);
    if (n == 0) return false;
    bytes.remove_prefix(n);
  }
  return true;
}

std::string Printable(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const size_t n = Utf8Length(bytes);
    const auto c = static_cast<unsigned char>(bytes[0]);
    // C1 controls (U+0080 to U+009F) can drive a terminal, too.
    const bool c1 = n == 2 && c == 0xc2 && static_cast<unsigned char>(bytes[1]) < 0xa0;
    if (n > 1 && !c1) {
      out.append(bytes.substr(0, n));
      bytes.remove_prefix(n);
      continue;
    }
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (n == 0 || c < 0x20 || c >= 0x7f) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", c);
      out += hex;
    } else {
      out.push_back(static_cast<char>(c));
    }
    bytes.remove_prefix(1);
  }
  return out;
}

bool StdoutIsTerminal() {
  static const bool terminal = isatty(STDOUT_FILENO) == 1;
  return terminal;
}

bool UseColor() {
  static const bool color = [] {
    const char* no_color = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe)
    return StdoutIsTerminal() && (no_color == nullptr || *no_color == '\0');
  }();
  return color;
}

std::string Styled(Style style, std::string_view text) {
  if (!UseColor()) return std::string(text);
  static constexpr const char* kCodes[] = {"\033[1m", "\033[2m", "\033[31m", "\033[33m",
                                           "\033[32m"};
  return kCodes[static_cast<size_t>(style)] + std::string(text) + "\033[0m";
}

std::string Fit(std::string_view line, size_t columns) {
  std::string out;
  size_t width = 0;
  bool styled = false;
  size_t i = 0;
  while (i < line.size()) {
    size_t end = i + 1;
    if (line[i] == '\033') {
      end = std::min(line.size(), line.find('m', i)) + 1;
      styled = true;
    } else {
      while (end < line.size() && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) ++end;
      if (++width > columns) break;
    }
    out.append(line.substr(i, end - i));
    i = end;
  }
  if (styled && i < line.size()) out += "\033[0m";
  return out;
}

std::string Table::Render() const {
  std::vector<size_t> widths;
  widths.reserve(columns_.size());
  for (const Column& column : columns_) widths.push_back(Width(column.name));
  for (const std::vector<std::string>& row : rows_) {
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells, bool bold) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) text += "  ";
      const std::string pad(widths[i] - Width(cells[i]), ' ');
      text += columns_[i].align == Align::kRight ? pad + cells[i] : cells[i] + pad;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += (bold ? Styled(Style::kBold, text) : text) + "\n";
  };
  std::vector<std::string> names;
  names.reserve(columns_.size());
  for (const Column& column : columns_) names.push_back(column.name);
  line(names, true);
  for (const std::vector<std::string>& row : rows_) line(row, false);
  return out;
}

}  // namespace spillway::cli
