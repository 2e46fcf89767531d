// What the machine does by itself.
//
//   raw_machine fdatasync --folder F  4 KiB appended and flushed, one after another
//   raw_machine log --folder F        what comes at 150 MB/s, appended and flushed; how
//                                     late it is. With --remove, all but the last logs
//                                     are deleted meanwhile, as a store must.
//   raw_machine write --folder F      1 MiB writes in sequence, flushed at the end
//   raw_machine memcpy                64 MiB, too much for any cache
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "clients/cpp/bench/load.h"
#include "tests/bench/limits/frames.h"

namespace spillway::bench {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;
// About half of what Spillway carries at SYNCED on two cores, in records of 1 KiB.
constexpr uint64_t kLogBytesPerMs = 150'000;
// As the broker's log: a file for each memtable, of which few are kept.
constexpr uint64_t kLogFileBytes = uint64_t{32} << 20;
constexpr size_t kLogFiles = 6;

class File {
 public:
  explicit File(const std::string& folder, const std::string& name = "raw")
      : path_(folder + "/" + name) {
    fd_ = open(path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  }
  ~File() {
    if (fd_ < 0) return;
    close(fd_);
    unlink(path_.c_str());
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool Append(const std::string& bytes) const {
    return write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  }
  bool Sync() const { return fdatasync(fd_) == 0; }

 private:
  const std::string path_;
  int fd_ = -1;
};

double Seconds(uint64_t since) { return static_cast<double>(MonotonicNanos() - since) / 1e9; }

int Fdatasync(const std::string& folder, double seconds) {
  const File file(folder);
  const std::string block = HalfRandom(4096, 1);
  Histogram latency;
  const uint64_t begin = MonotonicNanos();
  while (Seconds(begin) < seconds) {
    const uint64_t from = MonotonicNanos();
    if (!file.Append(block) || !file.Sync()) return Fail("cannot write in " + folder);
    latency.Add(MonotonicNanos() - from);
  }
  nlohmann::json result = QuantilesJson(latency);
  result["count"] = latency.count();
  result["seconds"] = Seconds(begin);
  return PrintResult(result);
}

int Log(const std::string& folder, double seconds, bool remove) {
  const std::string block = HalfRandom(kLogBytesPerMs, 1);
  Histogram latency;
  std::deque<File> files;
  uint64_t bytes = kLogFileBytes;  // of the last one
  const auto begin = std::chrono::steady_clock::now();
  const auto at = [&](uint64_t ms) { return begin + std::chrono::milliseconds(ms); };
  const auto total = static_cast<uint64_t>(seconds * 1e3);
  for (uint64_t done = 0; done < total;) {
    std::this_thread::sleep_until(at(done));
    if (bytes >= kLogFileBytes) {
      files.emplace_back(folder, "log-" + std::to_string(done));
      bytes = 0;
      if (remove && files.size() > kLogFiles) files.pop_front();
    }
    // All that has come by now shares a flush.
    const auto waited = std::chrono::steady_clock::now() - begin;
    const auto come = static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(waited).count());
    uint64_t next = done;
    do {
      if (!files.back().Append(block)) return Fail("cannot write in " + folder);
      bytes += block.size();
    } while (++next <= std::min(come, total - 1) && bytes < kLogFileBytes);
    if (!files.back().Sync()) return Fail("cannot write in " + folder);
    const auto end = std::chrono::steady_clock::now();
    for (; done < next; ++done) {
      latency.Add(static_cast<uint64_t>(std::chrono::nanoseconds(end - at(done)).count()));
    }
  }
  nlohmann::json result = QuantilesJson(latency);
  result["count"] = latency.count();
  result["seconds"] = seconds;
  return PrintResult(result);
}

int Write(const std::string& folder, double seconds) {
  const File file(folder);
  const std::string block = HalfRandom(1 << 20, 1);
  uint64_t bytes = 0;
  const uint64_t begin = MonotonicNanos();
  while (Seconds(begin) < seconds && bytes < kMaxFileBytes) {
    if (!file.Append(block)) return Fail("cannot write in " + folder);
    bytes += block.size();
  }
  if (!file.Sync()) return Fail("cannot write in " + folder);
  return PrintResult({{"bytes", bytes}, {"seconds", Seconds(begin)}});
}

int Memcpy(double seconds) {
  std::vector<char> from(64 << 20, 'f');
  std::vector<char> to(from.size(), 't');
  uint64_t bytes = 0;
  const uint64_t begin = MonotonicNanos();
  while (Seconds(begin) < seconds) {
    std::memcpy(to.data(), from.data(), from.size());
    from[bytes % from.size()] = to[(bytes + 1) % to.size()];  // so that no copy is left out
    bytes += from.size();
  }
  return PrintResult({{"bytes", bytes}, {"seconds", Seconds(begin)}});
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  std::string what;
  std::string folder = ".";
  double seconds = 1;
  bool remove = false;
  CLI::App app{"What the machine does by itself"};
  app.add_option("WHAT", what)
      ->required()
      ->check(CLI::IsMember({"fdatasync", "log", "write", "memcpy"}));
  app.add_option("--folder", folder, "On the disk that is asked");
  app.add_option("--seconds", seconds);
  app.add_flag("--remove", remove, "Logs that are full, while others are written");
  CLI11_PARSE(app, argc, argv);
  if (what == "fdatasync") return spillway::bench::Fdatasync(folder, seconds);
  if (what == "log") return spillway::bench::Log(folder, seconds, remove);
  if (what == "write") return spillway::bench::Write(folder, seconds);
  return spillway::bench::Memcpy(seconds);
}
