// The stores: batches appended until the last is confirmed, and read back.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "broker/storage/memory_store.h"
#include "broker/storage/rocksdb_store.h"
#include "tests/bench/micro/shapes.h"

namespace spillway::bench {
namespace {

using storage::Err;
using storage::Level;
using storage::Position;

constexpr LaneId kLane{.queue = 1, .partition = 0};
// What is on its way at once: a window of it, or one batch if that is larger.
constexpr int64_t kInFlightBytes = int64_t{4} << 20;
// Removed behind the appends, so that no run fills disk or memory.
constexpr int64_t kKeptBytes = int64_t{64} << 20;
constexpr size_t kPageBytes = size_t{1} << 20;

void Check(Err err) {
  if (err != Err::kOk) throw std::runtime_error(std::string(storage::ErrName(err)));
}

// What a store calls back. Shared with the callback, which may still be in Set when Get
// has returned.
template <typename T>
class Reply {
 public:
  void Set(T value) const { promise_->set_value(std::move(value)); }
  T Get() const { return promise_->get_future().get(); }

 private:
  std::shared_ptr<std::promise<T>> promise_ = std::make_shared<std::promise<T>>();
};

// RocksDB in a folder that goes with it.
class RocksDb {
 public:
  RocksDb() {
    std::string name = std::filesystem::temp_directory_path() / "spillway-micro-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder " + name);
    folder_ = name;
    auto opened = storage::RocksDbStore::Open({.path = folder_ / "data"});
    if (opened.store == nullptr) throw std::runtime_error(opened.message);
    store_ = std::move(opened.store);
  }
  RocksDb(const RocksDb&) = delete;
  RocksDb& operator=(const RocksDb&) = delete;
  ~RocksDb() {
    store_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  storage::LogStore& store() { return *store_; }

 private:
  std::filesystem::path folder_;
  std::unique_ptr<storage::RocksDbStore> store_;
};

class Memory {
 public:
  storage::LogStore& store() { return store_; }

 private:
  storage::MemoryStore store_{{.manual = false}};
};

std::shared_ptr<storage::Owner> Acquire(storage::LogStore& store) {
  const Reply<std::shared_ptr<storage::Owner>> owned;
  store.Acquire(
      kLane, [](const storage::Entry&) { return true; },
      [owned](Err, std::unique_ptr<storage::Owner> owner) { owned.Set(std::move(owner)); });
  auto owner = owned.Get();
  if (owner == nullptr) throw std::runtime_error("the lane was not acquired");
  return owner;
}

// Appends `batches` of `records`; returns where the last lies, once it is confirmed.
Position Append(storage::Owner& owner, const wire::Records& records, int64_t batches, Level level,
                Offset* next) {
  storage::Record record;
  record.count = records.count();
  record.parts[0] = records.FieldsSlice(0, records.count());
  for (int64_t i = 1; i < batches; ++i) {
    record.base_offset = std::exchange(*next, *next + record.count);
    Check(owner.Append(record, level, [](Err, Position) {}));
  }
  record.base_offset = std::exchange(*next, *next + record.count);
  // They complete in the order of their appends.
  const Reply<std::pair<Err, Position>> last;
  Check(owner.Append(record, level, [last](Err err, Position at) { last.Set({err, at}); }));
  const auto [err, position] = last.Get();
  Check(err);
  return position;
}

int64_t BatchBytes(const benchmark::State& state) { return state.range(0) * state.range(1); }

template <typename Store, Level level>
void AppendAndConfirm(benchmark::State& state) {
  Store where;
  const auto owner = Acquire(where.store());
  const wire::Records records = RecordsOf(state);
  const int64_t batches = std::max<int64_t>(1, kInFlightBytes / BatchBytes(state));
  Offset next = 0;
  int64_t kept = 0;
  for ([[maybe_unused]] auto _ : state) {
    const Position last = Append(*owner, records, batches, level, &next);
    kept += batches * BatchBytes(state);
    if (kept >= kKeptBytes) {
      owner->Trim(last, [](Err, Position) {});
      kept = 0;
    }
  }
  CountRecordsAndBytes(state, batches);
}
BENCHMARK_TEMPLATE(AppendAndConfirm, RocksDb, Level::kProcess)
    ->Apply(Shapes)
    ->MeasureProcessCPUTime()
    ->UseRealTime();
BENCHMARK_TEMPLATE(AppendAndConfirm, RocksDb, Level::kFsync)
    ->Apply(Shapes)
    ->MeasureProcessCPUTime()
    ->UseRealTime();
BENCHMARK_TEMPLATE(AppendAndConfirm, Memory, Level::kProcess)
    ->Apply(Shapes)
    ->MeasureProcessCPUTime()
    ->UseRealTime();

struct Page {
  int64_t entries = 0;
  Position next = 0;
};

Page Read(storage::LogStore& store, Position from) {
  const Reply<std::pair<Err, Page>> done;
  store.Read(kLane, from, kPageBytes,
             [done](Err err, const std::vector<storage::Entry>& entries, Position next) {
               done.Set({err, {static_cast<int64_t>(entries.size()), next}});
             });
  const auto [err, page] = done.Get();
  Check(err);
  return page;
}

// Pages of a lane from its start to its end, again and again.
template <typename Store>
void ReadBack(benchmark::State& state) {
  Store where;
  const auto owner = Acquire(where.store());
  const wire::Records records = RecordsOf(state);
  Offset tail = 0;
  for (int64_t bytes = 0; bytes < kKeptBytes; bytes += BatchBytes(state)) {
    Append(*owner, records, 1, Level::kProcess, &tail);
  }
  Position from = 0;
  int64_t entries = 0;
  for ([[maybe_unused]] auto _ : state) {
    const Page page = Read(where.store(), from);
    entries += page.entries;
    from = page.next == from ? 0 : page.next;
  }
  state.SetItemsProcessed(entries * state.range(1));
  state.SetBytesProcessed(entries * BatchBytes(state));
}
BENCHMARK_TEMPLATE(ReadBack, RocksDb)->Apply(Shapes)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK_TEMPLATE(ReadBack, Memory)->Apply(Shapes)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
}  // namespace spillway::bench
