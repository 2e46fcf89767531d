// Appends as fast as it can, says on standard output what was acknowledged, and
// waits to be killed. Usage: storage_kill_child <folder> <seed>
//
// Lines: "<lane> <level> <offset>\n", each in one write.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>
#include <thread>

#include <unistd.h>

#include "broker/base/random.h"
#include "broker/storage/rocksdb_store.h"

namespace spillway::storage {
namespace {

struct Lane {
  uint32_t id = 0;
  std::unique_ptr<Owner> owner;
  Offset next = 0;
  Position trim_at = 0;
};

void Acquire(LogStore& store, Lane& lane) {
  std::promise<void> acquired;
  store.Acquire(
      {lane.id, 0},
      [&lane](const Entry& e) {
        lane.next = e.base_offset + 1;
        return true;
      },
      [&](Err err, std::unique_ptr<Owner> owner) {
        if (err != Err::kOk) std::_Exit(3);
        lane.owner = std::move(owner);
        acquired.set_value();
      });
  acquired.get_future().wait();
}

int Run(const std::string& folder, uint64_t seed) {
  auto opened = RocksDbStore::Open({.path = folder,
                                    .write_buffer_bytes = size_t{1} << 20,
                                    .max_total_wal_bytes = uint64_t{4} << 20,
                                    .max_pending_bytes = size_t{1} << 20,
                                    .disk_floor_bytes = 0,
                                    .reserve_bytes = 0});
  if (!opened.store) {
    std::fprintf(stderr, "%s\n", opened.message.c_str());
    return 2;
  }
  Random random(seed);
  Lane lanes[4];
  for (uint32_t i = 0; i < 4; ++i) {
    lanes[i].id = i;
    Acquire(*opened.store, lanes[i]);
  }
  for (;;) {
    Lane& lane = lanes[random.Below(4)];
    const Level level = random.Below(2) == 0 ? Level::kFsync : Level::kProcess;
    const Offset offset = lane.next;
    // The body can be told from the offset, so that the reader can check it.
    const std::string body(1 + offset * 37 % 3000, static_cast<char>('a' + offset % 26));
    Record r;
    r.base_offset = offset;
    r.count = 1;
    r.parts[0] = {wire::Buffer::Copy(body), 0, static_cast<uint32_t>(body.size())};
    const uint32_t id = lane.id;
    const Err err = lane.owner->Append(r, level, [id, level, offset](Err err, Position) {
      if (err != Err::kOk) std::_Exit(4);
      char line[64];
      const int n = std::snprintf(line, sizeof line, "%u %d %llu\n", id, static_cast<int>(level),
                                  static_cast<unsigned long long>(offset));
      if (::write(STDOUT_FILENO, line, static_cast<size_t>(n)) != n) std::_Exit(5);
    });
    if (err == Err::kOk) {
      ++lane.next;
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
}

}  // namespace
}  // namespace spillway::storage

int main(int argc, char** argv) {
  if (argc != 3) return 1;
  return spillway::storage::Run(argv[1], std::strtoull(argv[2], nullptr, 10));
}
