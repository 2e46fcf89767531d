#include "broker/config/settings.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "toml++/toml.h"

namespace spillway::config {
namespace {

using Type = Setting::Type;

constexpr uint64_t kMaxShards = 64;

Setting Text(std::string_view name, std::string Settings::*field, std::string_view doc,
             bool reloadable = false) {
  return {.name = name,
          .type = Type::kText,
          .doc = doc,
          .reloadable = reloadable,
          .set = [field](Settings& s, const std::string& v) { s.*field = v; },
          .get = [field](const Settings& s) { return "\"" + s.*field + "\""; }};
}

Setting Number(std::string_view name, uint64_t Settings::*field, uint64_t min, uint64_t max,
               std::string_view doc) {
  return {.name = name,
          .type = Type::kNumber,
          .doc = doc,
          .min = min,
          .max = max,
          .set = [field](Settings& s, const std::string& v) { s.*field = std::stoull(v); },
          .get = [field](const Settings& s) { return std::to_string(s.*field); }};
}

Setting Switch(std::string_view name, bool Settings::*field, std::string_view doc) {
  return {.name = name,
          .type = Type::kSwitch,
          .doc = doc,
          .set = [field](Settings& s, const std::string& v) { s.*field = v == "true"; },
          .get = [field](const Settings& s) { return s.*field ? "true" : "false"; }};
}

const Setting* Find(std::string_view name) {
  for (const Setting& setting : AllSettings()) {
    if (setting.name == name) return &setting;
  }
  return nullptr;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

// The nearest of `names`, if it is near enough to be a typo.
template <typename Names>
std::string Nearest(std::string_view word, const Names& names) {
  std::string best;
  size_t distance = std::min<size_t>(4, std::max<size_t>(word.size(), 2));
  for (const auto& name : names) {
    const size_t d = EditDistance(word, name);
    if (d < distance) {
      distance = d;
      best = name;
    }
  }
  return best;
}

std::string DidYouMean(const std::string& near) {
  return near.empty() ? "" : absl::StrCat("; did you mean ", near, "?");
}

// host:port with a port that can be; a host that does not exist shows when it is bound.
bool IsAddress(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view port = address.substr(colon + 1);
  uint16_t number = 0;
  const auto [end, err] = std::from_chars(port.data(), port.data() + port.size(), number);
  return err == std::errc() && end == port.data() + port.size();
}

// Nothing if the value is fine.
std::optional<Error> Check(const Setting& setting, const std::string& value) {
  const std::string name(setting.name);
  switch (setting.type) {
    case Type::kSwitch:
      if (value == "true" || value == "false") return std::nullopt;
      return InvalidArgument(name, absl::StrCat(name, " is true or false, not \"", value, "\""));
    case Type::kNumber: {
      uint64_t number = 0;
      const auto [end, err] = std::from_chars(value.data(), value.data() + value.size(), number);
      if (err != std::errc() || end != value.data() + value.size()) {
        return InvalidArgument(name, absl::StrCat(name, " is a whole number, not \"", value, "\""));
      }
      if (number >= setting.min && number <= setting.max) return std::nullopt;
      Error error = InvalidArgument(name, absl::StrCat(name, " must be ", setting.min, " to ",
                                                       setting.max, "; it is ", number));
      error.limit = number < setting.min ? setting.min : setting.max;
      error.actual = number;
      return error;
    }
    case Type::kText:
      break;
  }
  const auto one_of = [&](const std::vector<std::string>& allowed) -> std::optional<Error> {
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return std::nullopt;
    return InvalidArgument(
        name, absl::StrCat(name, " is one of ", absl::StrJoin(allowed, ", "), "; not \"", value,
                           "\"", DidYouMean(Nearest(value, allowed))));
  };
  if (name == "log_level") return one_of({"debug", "info", "warn", "error"});
  if (name == "log_format") return one_of({"auto", "text", "json"});
  const bool may_be_empty = name == "http_listen";
  if ((name == "listen" || may_be_empty) && !IsAddress(value) && !(value.empty() && may_be_empty)) {
    return InvalidArgument(
        name, absl::StrCat(name, " is host:port, as 127.0.0.1:7420; not \"", value, "\""));
  }
  return std::nullopt;
}

std::string HostOf(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = colon == std::string::npos ? address : address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return host;
}

bool IsLoopback(const std::string& address) {
  const std::string host = HostOf(address);
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

}  // namespace

const std::vector<Setting>& AllSettings() {
  static const auto* settings = new std::vector<Setting>{
      Text("listen", &Settings::listen, "Where clients connect, host:port. Port 0: a free one."),
      Text("http_listen", &Settings::http_listen,
           "Where /metrics is served, host:port; empty: nowhere."),
      Text("data_dir", &Settings::data_dir, "The folder that holds everything that is kept."),
      Number("memory_budget_bytes", &Settings::memory_budget_bytes, 0, uint64_t{1} << 50,
             "Memory for all queues' windows together. 0: 40 % of the machine or cgroup."),
      Switch("auto_create", &Settings::auto_create,
             "Create a queue with default tuning when a stream opens it."),
      Switch("insecure", &Settings::insecure,
             "Allow an address that is not loopback, without TLS."),
      Text("log_level", &Settings::log_level, "debug, info, warn or error.", true),
      Text("log_format", &Settings::log_format, "text, json, or auto (text on a terminal)."),
      Number("drain_deadline_ms", &Settings::drain_deadline_ms, 0, 600'000,
             "How long a stop waits for what is credited."),
      Number("max_sessions", &Settings::max_sessions, 1, 1'000'000, "Streams at one time."),
      Number("max_queues", &Settings::max_queues, 1, 1'000'000, "Queues."),
      Number("max_connections", &Settings::max_connections, 1, 1'000'000,
             "Connections to the gRPC server."),
      Number("max_connections_per_address", &Settings::max_connections_per_address, 1, 1'000'000,
             "Connections of one peer address."),
      Number("max_streams_per_connection", &Settings::max_streams_per_connection, 1, 1'000'000,
             "Calls that one connection may have open."),
      Number(
          "shards", &Settings::shards, 0, kMaxShards,
          "Threads that queues are spread over. 0: half as many as there are cores, at least 1."),
      Number("busy_poll_us", &Settings::busy_poll_us, 0, 10'000,
             "How long a thread without work may poll for it before it sleeps. 0: never."),
      Text("ports_file", &Settings::ports_file,
           "Write the ports in use to this file, as JSON, once they are open."),
  };
  return *settings;
}

std::string NearestSetting(std::string_view name) {
  std::vector<std::string> names;
  for (const Setting& setting : AllSettings()) names.emplace_back(setting.name);
  return Nearest(name, names);
}

Result<Values> ReadToml(const std::string& path, Lines* lines) {
  Values values;
  std::error_code error;
  if (std::filesystem::is_directory(path, error) || !std::ifstream(path)) {
    const int why = std::filesystem::is_directory(path, error) ? EISDIR : errno;
    return InvalidArgument("config", absl::StrCat("cannot read the settings in ", path, ": ",
                                                  std::generic_category().message(why)));
  }
  try {
    const toml::table table = toml::parse_file(path);
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      const uint32_t line = key.source().begin.line;
      if (lines != nullptr) (*lines)[name] = line;
      const std::string where = absl::StrCat("file ", path, ":", line, ": ");
      if (const auto text = node.value_exact<std::string>()) {
        values[name] = *text;
      } else if (const auto number = node.value_exact<int64_t>()) {
        values[name] = std::to_string(*number);
      } else if (const auto flag = node.value_exact<bool>()) {
        values[name] = *flag ? "true" : "false";
      } else if (node.is_table()) {
        return InvalidArgument(name, absl::StrCat(where, name, " is a table; settings are at the ",
                                                  "top of the file, without tables"));
      } else {
        return InvalidArgument(
            name, absl::StrCat(where, name, " must be a text, a whole number or true/false"));
      }
    }
  } catch (const toml::parse_error& e) {
    return InvalidArgument("config", absl::StrCat("file ", path, ":", e.source().begin.line, ": ",
                                                  std::string(e.description())));
  }
  return values;
}

Values ReadEnvironment(const std::function<const char*(const char*)>& getenv) {
  Values values;
  for (const Setting& setting : AllSettings()) {
    std::string variable = "SPILLWAY_";
    for (const char c : setting.name) {
      variable.push_back(static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
    }
    if (const char* value = getenv(variable.c_str())) values[std::string(setting.name)] = value;
  }
  return values;
}

Status Apply(const Values& values, const std::function<std::string(std::string_view)>& origin,
             Loaded* loaded) {
  for (const auto& [name, value] : values) {
    const Setting* setting = Find(name);
    if (setting == nullptr) {
      return InvalidArgument(name, absl::StrCat(origin(name), ": there is no setting ", name,
                                                DidYouMean(NearestSetting(name))));
    }
    if (auto error = Check(*setting, value)) {
      error->message = absl::StrCat(origin(name), ": ", error->message);
      return *error;
    }
    setting->set(loaded->settings, value);
    loaded->origins[name] = origin(name);
  }
  return Unit{};
}

Status CheckTogether(const Settings& settings) {
  for (const auto& [name, address] :
       {std::pair<const char*, const std::string&>("listen", settings.listen),
        {"http_listen", settings.http_listen}}) {
    if (address.empty() || settings.insecure || IsLoopback(address)) continue;
    return InvalidArgument(name,
                           absl::StrCat(name, " ", address,
                                        " is not loopback, and there is no TLS: set insecure if "
                                        "the network is trusted"));
  }
  return Unit{};
}

std::string Describe(const Loaded& loaded) {
  std::ostringstream out;
  for (const Setting& setting : AllSettings()) {
    const auto it = loaded.origins.find(setting.name);
    std::string line = absl::StrCat(std::string(setting.name), " = ", setting.get(loaded.settings));
    line.resize(std::max<size_t>(line.size() + 2, 48), ' ');
    out << line << "# " << (it == loaded.origins.end() ? "default" : it->second) << "\n";
  }
  return out.str();
}

uint64_t DefaultMemoryBudgetBytes() {
  uint64_t total =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  for (const char* file :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream in(file);
    uint64_t limit = 0;
    if (in >> limit && limit > 0) total = std::min(total, limit);
  }
  return total / 100 * 40;
}

size_t Shards(const Settings& settings, size_t cores) {
  if (settings.shards != 0) return settings.shards;
  return std::clamp<size_t>(cores / 2, 1, kMaxShards);
}

}  // namespace spillway::config
