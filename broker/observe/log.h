// Structured logs: one line an event, text for people or JSON for programs.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace spillway::observe {

enum class Severity : uint8_t { kDebug, kInfo, kWarn, kError };

using Value = std::variant<std::string, int64_t, uint64_t, bool>;
using Fields = std::initializer_list<std::pair<const char*, Value>>;

// `json`: one object a line on standard error. Call once, before any log.
void StartLogging(Severity lowest, bool json);
void SetSeverity(Severity lowest);

// `event` names the kind of line in a few fixed words; what varies goes into
// `fields`. At most 10 lines of a kind are written per second; the next one says
// how many were left out. Thread-safe.
void Log(Severity severity, std::string_view event, Fields fields = {});

}  // namespace spillway::observe
