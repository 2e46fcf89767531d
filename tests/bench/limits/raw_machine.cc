// What the machine does by itself.
//
//   raw_machine fdatasync --folder F  4 KiB appended and flushed, one after another
//   raw_machine write --folder F     1 MiB writes in sequence, flushed at the end
//   raw_machine memcpy                64 MiB, too much for any cache
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "clients/cpp/bench/load.h"
#include "tests/bench/limits/frames.h"

namespace spillway::bench {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

class File {
 public:
  explicit File(const std::string& folder) : path_(folder + "/raw") {
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
  CLI::App app{"What the machine does by itself"};
  app.add_option("WHAT", what)->required()->check(CLI::IsMember({"fdatasync", "write", "memcpy"}));
  app.add_option("--folder", folder, "On the disk that is asked");
  app.add_option("--seconds", seconds);
  CLI11_PARSE(app, argc, argv);
  if (what == "fdatasync") return spillway::bench::Fdatasync(folder, seconds);
  if (what == "write") return spillway::bench::Write(folder, seconds);
  return spillway::bench::Memcpy(seconds);
}
