// The broker's process: settings, store, runtime, service, and how they end.
//
// Exit codes: 0 a clean stop; 1 it could not start or had to give up; 2 wrong
// settings or flags.
#include <malloc.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "broker/base/clock.h"
#include "broker/base/random.h"
#include "broker/base/version.h"
#include "broker/config/settings.h"
#include "broker/observe/log.h"
#include "broker/observe/metrics.h"
#include "broker/runtime/broker.h"
#include "broker/service/server.h"
#include "broker/storage/disk_space.h"
#include "broker/storage/rocksdb_store.h"

namespace spillway {
namespace {

using observe::Log;
using observe::Severity;

constexpr size_t kLargestRecordBytes = (size_t{64} << 20) + (size_t{64} << 10);

Severity SeverityOf(const std::string& level) {
  if (level == "debug") return Severity::kDebug;
  if (level == "warn") return Severity::kWarn;
  if (level == "error") return Severity::kError;
  return Severity::kInfo;
}

int WrongSettings(const Error& error) {
  std::cerr << "spillwayd: " << error.message << "\n";
  return 2;
}

// Flags that were given, by the setting's name.
struct Flags {
  std::string config;
  bool check_config = false;
  config::Values values;
};

std::string FlagOf(std::string_view name) {
  std::string flag = "--" + std::string(name);
  for (char& c : flag) {
    if (c == '_') c = '-';
  }
  return flag;
}

// Defaults, then the file, then the environment, then the flags.
Result<config::Loaded> Load(const Flags& flags) {
  config::Loaded loaded;
  std::string path = flags.config;
  if (path.empty()) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread
    if (const char* from = std::getenv("SPILLWAY_CONFIG")) path = from;
  }
  if (!path.empty()) {
    config::Lines lines;
    auto file = config::ReadToml(path, &lines);
    if (!file) return file.error();
    auto applied = config::Apply(
        *file,
        [&](std::string_view name) {
          return "file " + path + ":" + std::to_string(lines.find(name)->second);
        },
        &loaded);
    if (!applied) return applied.error();
  }
  auto environment = config::Apply(
      // NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread
      config::ReadEnvironment([](const char* name) -> const char* { return std::getenv(name); }),
      [](std::string_view name) {
        std::string variable = "SPILLWAY_" + std::string(name);
        for (char& c : variable) c = static_cast<char>(std::toupper(c));
        return variable;
      },
      &loaded);
  if (!environment) return environment.error();
  auto applied = config::Apply(flags.values, FlagOf, &loaded);
  if (!applied) return applied.error();
  auto together = config::CheckTogether(loaded.settings);
  if (!together) return together.error();
  return loaded;
}

void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    Log(Severity::kWarn, "cannot raise the limit of open files");
  }
}

// Atomically, so that a reader never sees half of it.
bool WritePorts(const std::string& path, int port, int http_port) {
  const std::string draft = path + ".new";
  {
    std::ofstream out(draft);
    out << "{\"port\": " << port << ", \"http_port\": " << http_port << "}\n";
    if (!out) return false;
  }
  std::error_code error;
  std::filesystem::rename(draft, path, error);
  return !error;
}

sigset_t Signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

class Daemon {
 public:
  Daemon(Flags flags, config::Loaded loaded)
      : flags_(std::move(flags)), loaded_(std::move(loaded)) {}

  int Run() {
    // Before any thread, so that only the loop below sees them.
    const sigset_t set = Signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signals_ = signalfd(-1, &set, SFD_CLOEXEC);
    RaiseFileLimit();
    if (const int code = Start(); code != 0) return code;
    return Loop();
  }

 private:
  const config::Settings& settings() const { return loaded_.settings; }
  MonoNanos LongestPoll() const {
    return static_cast<MonoNanos>(settings().busy_poll_us) * (kNanosPerMilli / 1000);
  }

  int Start() {
    storage::RocksDbOptions store_options;
    store_options.path = settings().data_dir;
    store_options.max_record_bytes = kLargestRecordBytes;
    store_options.max_pending_bytes = 2 * kLargestRecordBytes;
    store_options.longest_poll = LongestPoll();
    store_options.on_damage = [](const std::string& what) {
      Log(Severity::kError, "data is damaged", {{"message", what}});
    };
    auto opened = storage::RocksDbStore::Open(store_options);
    if (!opened.store) {
      Log(Severity::kError, "cannot open the data folder",
          {{"data_dir", settings().data_dir},
           {"reason", std::string(storage::OpenErrName(opened.err))},
           {"message", opened.message}});
      return 1;
    }
    store_ = std::move(opened.store);

    service::ServerOptions server_options;
    server_options.accept = {.listen = settings().listen,
                             .max_connections = settings().max_connections,
                             .max_connections_per_address = settings().max_connections_per_address};
    server_options.max_streams_per_connection =
        static_cast<int>(settings().max_streams_per_connection);
    server_options.longest_poll = LongestPoll();
    server_options.shards = config::Shards(settings(), std::thread::hardware_concurrency());
    server_options.max_streams = static_cast<uint32_t>(settings().max_sessions);
    auto server = service::Server::Create(server_options, &clock_);
    if (!server) {
      Log(Severity::kError, "cannot listen", {{"message", server.error().message}});
      return 1;
    }
    server_ = std::move(*server);
    if (!settings().http_listen.empty()) {
      if (auto served = metrics_.Serve(settings().http_listen); !served) {
        Log(Severity::kError, "cannot serve metrics", {{"message", served.error().message}});
        return 1;
      }
    }

    runtime::BrokerOptions options;
    options.store = store_.get();
    options.memory_budget_bytes = settings().memory_budget_bytes != 0
                                      ? settings().memory_budget_bytes
                                      : config::DefaultMemoryBudgetBytes();
    options.auto_create = settings().auto_create;
    options.drain_deadline_ms = settings().drain_deadline_ms;
    options.max_sessions = static_cast<uint32_t>(settings().max_sessions);
    options.max_queues = static_cast<uint32_t>(settings().max_queues);
    options.seed = SystemSeed();
    options.disk_space = [path = settings().data_dir]() -> std::pair<uint64_t, uint64_t> {
      const auto space = storage::GetDiskSpace(path);
      if (!space) return {UINT64_MAX, UINT64_MAX};
      return {space->free_bytes, space->total_bytes};
    };
    options.connections = [server = server_.get()] { return server->connections(); };
    const uint64_t budget = options.memory_budget_bytes;
    brokers_ = runtime::Broker::CreateShards(
        std::move(options), server_options.shards,
        [server = server_.get()](size_t shard) { server->Wake(shard); });
    server_->Every(1'000 * kNanosPerMilli,
                   [this](runtime::Broker* broker, const Now&) { MakeMetrics(broker); });
    std::vector<runtime::Broker*> shards;
    shards.reserve(brokers_.size());
    for (const auto& broker : brokers_) shards.push_back(broker.get());
    server_->Start(shards);
    if (auto failed = AwaitReady()) {
      Log(Severity::kError, "cannot restore the queues", {{"message", failed->message}});
      return 1;
    }
    if (!settings().ports_file.empty() &&
        !WritePorts(settings().ports_file, server_->port(), metrics_.port())) {
      Log(Severity::kError, "cannot write the ports", {{"ports_file", settings().ports_file}});
      return 1;
    }
    Log(Severity::kInfo, "started",
        {{"version", std::string(kVersion)},
         {"listen", settings().listen},
         {"port", static_cast<int64_t>(server_->port())},
         {"http_port", static_cast<int64_t>(metrics_.port())},
         {"data_dir", settings().data_dir},
         {"shards", static_cast<int64_t>(server_options.shards)},
         {"memory_budget_bytes", budget}});
    return 0;
  }

  // The answers come on this thread, the first shard's, in later batches.
  void MakeMetrics(runtime::Broker* broker) {
    broker->Snapshot({}, [this, broker](const Result<runtime::pb::WatchResponse>& snapshot) {
      if (!snapshot) return;
      broker->Observe([this, snapshot](const Result<runtime::Broker::Observed>& observed) {
        observe::ServiceStats service;
        const auto errors = server_->errors();
        std::copy(errors.begin(), errors.end(), service.errors.begin());
        service.connections = server_->connections();
        service.loop = server_->rounds();
        metrics_.Update(*snapshot, *observed, service);
      });
    });
  }

  // Until the queues are restored, or cannot be. Clients may connect meanwhile and
  // are told to try again.
  std::optional<Error> AwaitReady() {
    while (true) {
      std::promise<std::pair<bool, std::optional<Error>>> asked;
      server_->OnShard([&asked](runtime::Broker* broker) {
        asked.set_value({broker->ready(), broker->failure()});
      });
      const auto [ready, failure] = asked.get_future().get();
      if (failure) return failure;
      if (ready) return std::nullopt;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  // Waits for signals; a drain ends through drained_.
  int Loop() {
    bool draining = false;
    MonoNanos give_up_at = 0;
    while (true) {
      pollfd fd{.fd = signals_, .events = POLLIN, .revents = 0};
      // The drain's end is not a signal, so look for it in between.
      const int n = poll(&fd, 1, draining ? 10 : -1);
      if (draining) {
        const std::lock_guard lock(mutex_);
        if (drained_ || SteadyNanos() >= give_up_at) break;
      }
      if (n <= 0) continue;
      signalfd_siginfo info{};
      if (read(signals_, &info, sizeof info) != sizeof info) continue;
      if (info.ssi_signo == SIGHUP) {
        Reload();
        continue;
      }
      if (draining) {
        Log(Severity::kWarn, "stopping at once");
        std::_Exit(1);
      }
      draining = true;
      give_up_at =
          SteadyNanos() + static_cast<MonoNanos>(settings().drain_deadline_ms) * kNanosPerMilli;
      Log(Severity::kInfo, "draining", {{"deadline_ms", settings().drain_deadline_ms}});
      server_->Drain([this] {
        const std::lock_guard lock(mutex_);
        drained_ = true;
      });
    }
    bool clean = false;
    {
      const std::lock_guard lock(mutex_);
      clean = drained_;
    }
    server_->Stop();
    brokers_.clear();
    store_.reset();
    Log(Severity::kInfo, "stopped", {{"clean", clean}});
    // All that is ours has ended; the threads that serve metrics have nothing to save
    // and would take two seconds to notice.
    std::_Exit(0);
  }

  void Reload() {
    auto loaded = Load(flags_);
    if (!loaded) {
      Log(Severity::kError, "settings not reloaded", {{"message", loaded.error().message}});
      return;
    }
    for (const config::Setting& setting : config::AllSettings()) {
      if (setting.get(loaded->settings) == setting.get(loaded_.settings)) continue;
      Log(setting.reloadable ? Severity::kInfo : Severity::kWarn,
          setting.reloadable ? "setting reloaded" : "setting needs a restart",
          {{"name", std::string(setting.name)}, {"value", setting.get(loaded->settings)}});
    }
    loaded_.settings.log_level = loaded->settings.log_level;
    observe::SetSeverity(SeverityOf(loaded_.settings.log_level));
  }

  const Flags flags_;
  config::Loaded loaded_;
  int signals_ = -1;
  RealClock clock_;
  observe::Metrics metrics_;
  // Destroyed in the opposite order: brokers before store, as both require.
  std::unique_ptr<storage::RocksDbStore> store_;
  std::unique_ptr<service::Server> server_;
  std::vector<std::unique_ptr<runtime::Broker>> brokers_;  // one for each shard
  std::mutex mutex_;
  bool drained_ = false;  // guarded by mutex_
};

// Tells what misspelt flags may mean.
void SuggestFlags(const CLI::App& app, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    name.resize(std::min(name.size(), name.find('=')));
    if (name.rfind("--", 0) != 0 || app.get_option_no_throw(name) != nullptr) continue;
    std::replace(name.begin(), name.end(), '-', '_');
    const std::string near = config::NearestSetting(name.substr(2));
    if (!near.empty()) std::cerr << "Did you mean " << FlagOf(near) << "?\n";
  }
}

// Frames of a mebibyte come and go: by default glibc gives the memory of each back to
// the kernel, and each of the next one's pages is a fault and is cleared again.
void KeepFreedMemory() {
  // NOLINTBEGIN(concurrency-mt-unsafe): before any thread
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest that it takes
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_TOP_PAD, 1 << 20);
  // NOLINTEND(concurrency-mt-unsafe)
}

int Main(int argc, char** argv) {
  KeepFreedMemory();
  CLI::App app{"spillwayd: the Spillway message broker"};
  app.set_version_flag("--version", kVersion);
  Flags flags;
  app.add_option("--config", flags.config, "TOML file with settings");
  app.add_flag("--check-config", flags.check_config,
               "Print every setting and where it came from, then exit");
  std::map<std::string, bool> switches;
  for (const config::Setting& setting : config::AllSettings()) {
    const std::string name(setting.name);
    if (setting.type == config::Setting::Type::kSwitch) {
      app.add_flag_function(
          FlagOf(name), [&flags, name](int64_t) { flags.values[name] = "true"; },
          std::string(setting.doc));
    } else {
      app.add_option_function<std::string>(
          FlagOf(name), [&flags, name](const std::string& value) { flags.values[name] = value; },
          std::string(setting.doc));
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    app.exit(e);
    SuggestFlags(app, argc, argv);
    return 2;
  }
  auto loaded = Load(flags);
  if (!loaded) return WrongSettings(loaded.error());
  if (flags.check_config) {
    std::cout << config::Describe(*loaded);
    return 0;
  }
  const auto& format = loaded->settings.log_format;
  observe::StartLogging(SeverityOf(loaded->settings.log_level),
                        format == "json" || (format == "auto" && isatty(STDERR_FILENO) == 0));
  return Daemon(std::move(flags), std::move(*loaded)).Run();
}

}  // namespace
}  // namespace spillway

int main(int argc, char** argv) {
  // Debian's Abseil looks for cycles at each lock of gRPC's, as in a debug build.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return spillway::Main(argc, argv);
}
