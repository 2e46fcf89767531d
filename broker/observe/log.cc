#include "broker/observe/log.h"

#include <chrono>
#include <map>
#include <memory>
#include <mutex>

#include "nlohmann/json.hpp"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace spillway::observe {
namespace {

constexpr uint64_t kLinesPerSecond = 10;

struct State {
  std::shared_ptr<spdlog::logger> logger;
  bool json = false;
  std::mutex mutex;
  struct Kind {
    int64_t second = 0;
    uint64_t lines = 0;
    uint64_t left_out = 0;
  };
  std::map<std::string, Kind, std::less<>> kinds;  // guarded by mutex
};

State& GetState() {
  static auto* state = new State;
  return *state;
}

spdlog::level::level_enum Level(Severity severity) {
  switch (severity) {
    case Severity::kDebug:
      return spdlog::level::debug;
    case Severity::kInfo:
      return spdlog::level::info;
    case Severity::kWarn:
      return spdlog::level::warn;
    case Severity::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// Whether the line may be written, and how many of its kind were left out before.
std::pair<bool, uint64_t> Admit(std::string_view event) {
  const int64_t second = std::chrono::duration_cast<std::chrono::seconds>(
                             std::chrono::steady_clock::now().time_since_epoch())
                             .count();
  State& state = GetState();
  const std::lock_guard lock(state.mutex);
  auto it = state.kinds.find(event);
  if (it == state.kinds.end()) it = state.kinds.emplace(std::string(event), State::Kind{}).first;
  State::Kind& kind = it->second;
  if (kind.second != second) {
    kind.second = second;
    kind.lines = 0;
  }
  if (kind.lines >= kLinesPerSecond) {
    ++kind.left_out;
    return {false, 0};
  }
  ++kind.lines;
  return {true, std::exchange(kind.left_out, 0)};
}

}  // namespace

void StartLogging(Severity lowest, bool json) {
  State& state = GetState();
  state.logger = spdlog::stderr_logger_mt("spillway");
  state.json = json;
  state.logger->set_pattern(json ? "%v" : "%Y-%m-%dT%H:%M:%S.%e%z %^%-5l%$ %v");
  state.logger->flush_on(spdlog::level::info);
  SetSeverity(lowest);
}

void SetSeverity(Severity lowest) {
  if (auto& logger = GetState().logger) logger->set_level(Level(lowest));
}

void Log(Severity severity, std::string_view event, Fields fields) {
  State& state = GetState();
  if (!state.logger || !state.logger->should_log(Level(severity))) return;
  const auto [admitted, left_out] = Admit(event);
  if (!admitted) return;
  if (state.json) {
    nlohmann::ordered_json line;
    line["time_unix_ms"] = std::chrono::duration_cast<std::chrono::milliseconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
    const auto level = spdlog::level::to_string_view(Level(severity));
    line["level"] = std::string(level.data(), level.size());
    line["event"] = event;
    for (const auto& [name, value] : fields) {
      std::visit([&, key = name](const auto& v) { line[key] = v; }, value);
    }
    if (left_out > 0) line["left_out"] = left_out;
    // Bytes that are not UTF-8 (a peer's name for itself) must not end the process.
    state.logger->log(Level(severity), "{}",
                      line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  std::string line(event);
  for (const auto& [name, value] : fields) {
    line += "  ";
    line += name;
    line += '=';
    std::visit(
        [&](const auto& v) {
          if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>) {
            line += v;
          } else if constexpr (std::is_same_v<std::decay_t<decltype(v)>, bool>) {
            line += v ? "true" : "false";
          } else {
            line += std::to_string(v);
          }
        },
        value);
  }
  if (left_out > 0) line += "  left_out=" + std::to_string(left_out);
  state.logger->log(Level(severity), "{}", line);
}

}  // namespace spillway::observe
