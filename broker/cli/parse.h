// Values of the command line: sizes, durations, times, places in a queue.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "clients/cpp/spillway/error.h"
#include "clients/cpp/spillway/options.h"

namespace spillway::cli {

using client::Result;

// "4096", "64KiB", "1.5 GiB", "10MB"; K, M, G, T, P alone are binary.
Result<uint64_t> ParseSize(std::string_view text);
// "250ms", "30s", "10m", "24h", "7d", "1h30m"; in milliseconds. A bare number is
// refused, except 0.
Result<uint64_t> ParseDuration(std::string_view text);
// "1000000" or "1,000,000".
Result<uint64_t> ParseCount(std::string_view text);
// "2026-01-31T12:00:00Z" (fraction and offset allowed; without a zone: UTC),
// "now", or relative: "-10m". In milliseconds since the Unix epoch.
Result<uint64_t> ParseTime(std::string_view text, uint64_t now_unix_ms);
// An offset, a time, "earliest", "latest" or "last:N".
Result<client::Start> ParseStart(std::string_view text, uint64_t now_unix_ms);
// An offset, a time, "tail" or "never".
Result<client::Stop> ParseStop(std::string_view text, uint64_t now_unix_ms);
// "5", "5-9" or "5+3": offsets 5; 5 to 9; 5, 6, 7.
Result<client::OffsetRange> ParseRange(std::string_view text);

uint64_t NowUnixMs();

}  // namespace spillway::cli
