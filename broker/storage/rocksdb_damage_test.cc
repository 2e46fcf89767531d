// Contract test 19: bits that flip and files that are cut, of every kind that lies
// in the data folder. Each is detected or harmless; none loses an entry silently.
#include <fstream>
#include <map>

#include "broker/storage/file_util.h"
#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {
namespace {

constexpr int kLanes = 3;

// What each lane holds: the bodies in order of what can be read.
using Contents = std::map<uint32_t, std::vector<std::string>>;

std::string Body(uint32_t lane, int i) {
  return std::to_string(lane) + ":" + std::to_string(i) +
         std::string(static_cast<size_t>(i * 131 % 9000), static_cast<char>('a' + i % 26));
}

// Everything that the folder holds, or that it is damaged.
struct Outcome {
  bool detected = false;
  std::string how;
  Contents contents;
};

Outcome Look(const RocksDbOptions& options) {
  auto opened = RocksDbStore::Open(options);
  if (!opened.store) {
    return {.detected = true, .how = std::string(OpenErrName(opened.err)) + ": " + opened.message};
  }
  struct Plain final : contract::Harness {
    std::unique_ptr<RocksDbStore> s;
    LogStore& store() override { return *s; }
    void Reopen() override {}
    bool Crash(Level) override { return false; }
  } h;
  h.s = std::move(opened.store);
  contract::Driver drive(h);
  Outcome out;
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    contract::Held held = drive.Acquire({lane, 0});
    if (held.err != Err::kOk) return {.detected = true, .how = std::string(ErrName(held.err))};
    for (const Entry& e : held.replayed) out.contents[lane].emplace_back(e.body.view());
    out.contents[lane].push_back("| read:");
    for (Position from = 0;;) {
      contract::Page page = drive.Read({lane, 0}, from, 100'000);
      if (page.err == Err::kTrimmed && page.next > from) {
        from = page.next;
        continue;
      }
      if (page.err != Err::kOk) return {.detected = true, .how = std::string(ErrName(page.err))};
      if (page.entries.empty()) break;
      for (const Entry& e : page.entries) out.contents[lane].emplace_back(e.body.view());
      from = page.next;
    }
  }
  return out;
}

void Write(RocksDbHarness& h, int from, int upto) {
  contract::Driver drive(h);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    contract::Held held = drive.Acquire({lane, 0});
    ASSERT_EQ(held.err, Err::kOk);
    for (int i = from; i < upto; ++i) {
      const Level level = i % 3 == 0 ? Level::kFsync : Level::kProcess;
      const auto c = drive.Append(*held.owner, contract::MakeRecord(Body(lane, i)), level);
      ASSERT_EQ(c.err, Err::kOk);
      if (lane == 1 && i % 50 == 25) {
        const auto s = drive.Append(
            *held.owner, contract::MakeRecord("state " + std::to_string(i), 0, Kind::kSnapshot));
        ASSERT_EQ(s.err, Err::kOk);
        ASSERT_EQ(drive.Trim(*held.owner, c.position).err, Err::kOk);
      }
    }
  }
}

std::string Kind_(const std::string& path) {
  std::string name = std::filesystem::path(path).filename().string();
  if (name.ends_with(".log")) return "WAL";
  if (name.ends_with(".sst")) return "SST";
  if (name.starts_with("MANIFEST")) return "MANIFEST";
  return name;
}

TEST(RocksDbDamage, IsDetectedOrHarmless) {
  const uint64_t cases = Amount("SPILLWAY_DAMAGE_CASES", 200);
  const uint64_t seed = Amount("SPILLWAY_SEED", 1);
  SCOPED_TRACE("SPILLWAY_SEED=" + std::to_string(seed));
  RocksDbHarness h({}, seed);
  Random& random = h.random();
  // Several opens, flushed files of each family, logs that are not empty.
  Write(h, 0, 150);
  h.Reopen();
  Write(h, 150, 260);
  h.Reopen();
  Write(h, 260, 330);
  h.CopyAfterCrash(Level::kProcess);
  const std::string image = h.copy();
  h.Close();

  RocksDbOptions options = h.options();
  options.path = image + "-work";
  const auto restore = [&] {
    std::filesystem::remove_all(options.path);
    std::filesystem::copy(image, options.path, std::filesystem::copy_options::recursive);
  };
  restore();
  const Outcome whole = Look(options);
  ASSERT_FALSE(whole.detected) << whole.how;

  std::map<std::string, std::vector<std::string>> files;
  for (const auto& f : std::filesystem::recursive_directory_iterator(image)) {
    const std::string kind = Kind_(f.path().string());
    if (!f.is_regular_file() || kind == "reserve" || kind == "LOCK" || f.file_size() == 0) continue;
    if (kind.starts_with("LOG") || kind.starts_with("OPTIONS") || kind == "IDENTITY") continue;
    files[kind].push_back(f.path().string().substr(image.size()));
  }
  for (const char* kind : {"WAL", "SST", "MANIFEST", "CURRENT", "mark", "FORMAT"}) {
    ASSERT_FALSE(files[kind].empty()) << kind;
  }
  // Most cases where most bytes are.
  const std::vector<std::string> kinds = {"WAL",      "WAL",  "WAL",     "SST",
                                          "SST",      "SST",  "SST",     "MANIFEST",
                                          "MANIFEST", "mark", "CURRENT", "FORMAT"};
  std::map<std::string, int> detected, harmless;
  for (uint64_t i = 0; i < cases; ++i) {
    restore();
    const std::string& kind = kinds[i % kinds.size()];
    const auto& of_kind = files[kind];
    const std::string file = options.path + of_kind[random.Below(of_kind.size())];
    std::string bytes = *ReadWholeFile(file);
    std::string what = "case " + std::to_string(i) + ": " + file;
    switch (random.Below(3)) {
      case 0: {
        const uint64_t at = random.Below(bytes.size());
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.Below(8)));
        what += ", bit flipped at " + std::to_string(at);
        break;
      }
      case 1:
        bytes.resize(random.Below(bytes.size()));
        what += ", cut to " + std::to_string(bytes.size());
        break;
      default: {
        const uint64_t at = random.Below(bytes.size());
        const uint64_t n = std::min<uint64_t>(bytes.size() - at, 1 + random.Below(512));
        std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(at), n, '\0');
        what += ", zeros at " + std::to_string(at);
        break;
      }
    }
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    const Outcome outcome = Look(options);
    if (outcome.detected) {
      ++detected[kind];
      continue;
    }
    ++harmless[kind];
    EXPECT_TRUE(outcome.contents == whole.contents) << "a silent loss: " << what;
  }
  for (const auto& [kind, n] : files) {
    std::printf("%-9s %3d detected, %3d harmless\n", kind.c_str(), detected[kind], harmless[kind]);
  }
  // A test in which nothing is detected has damaged nothing.
  EXPECT_GT(detected["WAL"], 20);
  EXPECT_GT(detected["SST"], 20);
}

}  // namespace
}  // namespace spillway::storage
