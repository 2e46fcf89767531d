// Settings of the process: file, then environment, then flags.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/error.h"

namespace spillway::config {

// What spillwayd runs with. docs/configuration.md explains each.
struct Settings {
  std::string listen = "127.0.0.1:7420";
  std::string http_listen = "127.0.0.1:7421";  // empty: none
  std::string data_dir = "spillway-data";
  uint64_t memory_budget_bytes = 0;  // 0: 40 % of the machine or cgroup
  bool auto_create = false;
  bool insecure = false;
  std::string log_level = "info";
  std::string log_format = "auto";  // text on a terminal, else json
  uint64_t drain_deadline_ms = 20'000;
  uint64_t max_sessions = 20'000;
  uint64_t max_queues = 10'000;
  uint64_t max_connections = 10'000;
  uint64_t max_connections_per_address = 5'000;
  uint64_t max_streams_per_connection = 1'024;
  uint64_t shards = 0;  // 0: by the number of cores, see Shards
  uint64_t busy_poll_us = 100;
  std::string ports_file;
};

// One setting: its name is the key in the file, the flag with dashes, and the
// variable SPILLWAY_ in capitals.
struct Setting {
  enum class Type : uint8_t { kText, kNumber, kSwitch };
  std::string_view name;
  Type type = Type::kText;
  std::string_view doc;
  uint64_t min = 0;
  uint64_t max = UINT64_MAX;
  bool reloadable = false;
  std::function<void(Settings&, const std::string&)> set;  // a value that was checked
  std::function<std::string(const Settings&)> get;
};
const std::vector<Setting>& AllSettings();

// Settings and where each came from ("default", "file spillway.toml:3",
// "SPILLWAY_LISTEN", "--listen").
struct Loaded {
  Settings settings;
  std::map<std::string, std::string, std::less<>> origins;
};

// Values by name, as they were written.
using Values = std::map<std::string, std::string, std::less<>>;

// Where a file says it, by name.
using Lines = std::map<std::string, uint32_t, std::less<>>;

// INVALID_ARGUMENT names the file, the line and the key. `lines` may be nullptr.
Result<Values> ReadToml(const std::string& path, Lines* lines);
// The setting that a misspelt one may mean, or "".
std::string NearestSetting(std::string_view name);
Values ReadEnvironment(const std::function<const char*(const char*)>& getenv);

// Lays `values` over what is loaded.
Status Apply(const Values& values, const std::function<std::string(std::string_view)>& origin,
             Loaded* loaded);

// Relations between settings: a non-loopback address needs `insecure`.
Status CheckTogether(const Settings& settings);

// "key = value   # origin" for every setting.
std::string Describe(const Loaded& loaded);

// 40 % of the cgroup's limit, or of the machine's memory.
uint64_t DefaultMemoryBudgetBytes();
// `shards`; if it is 0, half of the cores, and at least one: the others are for what all
// shards share (commits, flushes) and for what else runs on the machine.
size_t Shards(const Settings& settings, size_t cores);

}  // namespace spillway::config
