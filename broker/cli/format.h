// Text for people: numbers, times, tables, colours.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spillway::cli {

// "64 MiB", "1.5 GiB", "900 B".
std::string HumanBytes(uint64_t bytes);
// "1,000,000".
std::string HumanCount(uint64_t count);
// "1 record", "1,000 records".
std::string CountOf(uint64_t count, const std::string& noun);
// "2.4M", "310k", "12": three digits at most, for narrow columns.
std::string ShortCount(double count);
// "30 s", "24 h", "1.5 s", "250 ms".
std::string HumanDuration(uint64_t ms);
// "2026-01-31T12:00:00.000Z".
std::string Rfc3339(uint64_t unix_ms);
// Control characters as \n, \t, \xNN, so that a payload cannot draw on a terminal.
// Bytes that are not UTF-8 are escaped, too.
std::string Printable(std::string_view bytes);
bool IsUtf8(std::string_view bytes);

// Whether to use colours on stdout: a terminal, and no NO_COLOR.
bool UseColor();
bool StdoutIsTerminal();
enum class Style : uint8_t { kBold, kDim, kRed, kYellow, kGreen };
// `text` in that style, if colours are used.
std::string Styled(Style style, std::string_view text);

// The line cut to that many columns; styles take none, and end with it.
std::string Fit(std::string_view line, size_t columns);

// A table with aligned columns; numbers to the right.
class Table {
 public:
  enum class Align : uint8_t { kLeft, kRight };
  struct Column {
    std::string name;
    Align align = Align::kLeft;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // REQUIRES: as many cells as columns.
  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  // Lines, each with its newline.
  std::string Render() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace spillway::cli
