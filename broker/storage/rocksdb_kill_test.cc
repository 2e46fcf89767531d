// Contract test 3: what was acknowledged survives kill -9, at both levels, for a
// killed process leaves the page cache.
#include <csignal>
#include <cstdio>
#include <map>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include "broker/base/random.h"
#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {
namespace {

constexpr const char* kChild = "broker/storage/storage_kill_child";

// Starts the child, kills it after a while, and returns by lane the highest offset
// that it said was kept.
std::map<uint32_t, Offset> RunAndKill(const std::string& folder, uint64_t seed, Random& random) {
  std::map<uint32_t, Offset> acknowledged;
  int out[2];
  if (::pipe(out) != 0) return {};
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::close(out[0]);
    ::close(out[1]);
    ::execl(kChild, kChild, folder.c_str(), std::to_string(seed).c_str(), nullptr);
    std::_Exit(127);
  }
  ::close(out[1]);
  std::FILE* lines = ::fdopen(out[0], "r");
  const uint64_t wanted = 1 + random.Below(1500);
  uint64_t seen = 0;
  char line[128];
  while (std::fgets(line, sizeof line, lines) != nullptr) {
    unsigned lane = 0;
    int level = 0;
    unsigned long long offset = 0;
    // A line that the kill cut short says nothing.
    const bool whole = line[std::strlen(line) - 1] == '\n';
    // NOLINTNEXTLINE(bugprone-unchecked-string-to-number-conversion): of our own child
    if (whole && std::sscanf(line, "%u %d %llu", &lane, &level, &offset) == 3) {
      acknowledged[lane] = offset;
    }
    if (++seen == wanted) ::kill(pid, SIGKILL);
  }
  std::fclose(lines);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "status " << status;
  return acknowledged;
}

TEST(RocksDbKill, AcknowledgedSurvives) {
  const uint64_t cycles = Amount("SPILLWAY_KILL_CYCLES", 25);
  const uint64_t seed = Amount("SPILLWAY_SEED", SystemSeed());
  SCOPED_TRACE("SPILLWAY_SEED=" + std::to_string(seed));
  Random random(seed);
  TempFolder temp;
  const std::string folder = temp.path() + "/data";
  uint64_t total = 0;
  std::map<uint32_t, Offset> kept;
  for (uint64_t cycle = 0; cycle < cycles; ++cycle) {
    for (auto [lane, offset] : RunAndKill(folder, seed + cycle, random)) {
      kept[lane] = std::max(kept[lane], offset);
    }
    RocksDbOptions options = SmallOptions(folder);
    auto opened = RocksDbStore::Open(options);
    ASSERT_TRUE(opened.store) << opened.message;
    struct Plain final : contract::Harness {
      std::unique_ptr<RocksDbStore> s;
      LogStore& store() override { return *s; }
      void Reopen() override {}
      bool Crash(Level) override { return false; }
    } h;
    h.s = std::move(opened.store);
    contract::Driver drive(h);
    for (auto [lane, offset] : kept) {
      contract::Held held = drive.Acquire({lane, 0});
      ASSERT_EQ(held.err, Err::kOk);
      ASSERT_GT(held.replayed.size(), offset) << "lane " << lane << ", cycle " << cycle;
      for (Offset i = 0; i < held.replayed.size(); ++i) {
        const Entry& e = held.replayed[i];
        ASSERT_EQ(e.base_offset, i);
        ASSERT_EQ(e.body.view(), std::string(1 + i * 37 % 3000, static_cast<char>('a' + i % 26)));
      }
    }
    total = 0;
    for (auto [lane, offset] : kept) total += offset + 1;
  }
  // A run that acknowledged next to nothing has shown nothing.
  EXPECT_GT(total, 2000u);
}

}  // namespace
}  // namespace spillway::storage
