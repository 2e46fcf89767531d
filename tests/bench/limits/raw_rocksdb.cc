// RocksDB with the entries that the broker writes and nothing around it: no lanes,
// no checksums of ours, no completions. The options are those that the broker's own
// store has written into its folder, so that the two cannot drift apart.
//
//   raw_rocksdb --options-of DATA/db --folder TMP --mode kept     what is written stays
//   raw_rocksdb --options-of DATA/db --folder TMP --mode drained  deleted soon after
//   raw_rocksdb --options-of DATA/db --folder TMP --mode scan     read again
#include <rocksdb/db.h>
#include <rocksdb/utilities/options_util.h>
#include <rocksdb/write_batch.h>

#include <CLI/CLI.hpp>
#include <array>
#include <memory>
#include <vector>

#include "clients/cpp/bench/load.h"
#include "tests/bench/limits/frames.h"
#include "third_party/rocksdb/open.h"

namespace spillway::bench {
namespace {

constexpr size_t kHeaderBytes = 36;  // of an entry: docs/on_disk_format.md
// One write carries what is there at full speed. More brings no more.
constexpr size_t kWriteBytes = size_t{1} << 20;
// What is deleted lies this far behind, as what is settled does.
constexpr uint64_t kBehindBytes = uint64_t{8} << 20;
// More than the broker's window, so that reads come from files, too.
constexpr uint64_t kScanBytes = uint64_t{192} << 20;

struct Options {
  std::string options_of;
  std::string folder;
  std::string mode = "kept";
  Shape shape;
  bool sync = false;
  double seconds = 1;
};

std::array<char, 16> Key(uint64_t position) {
  std::array<char, 16> key{};
  key[3] = 1;
  for (size_t i = 0; i < 8; ++i) key[15 - i] = static_cast<char>(position >> (8 * i));
  return key;
}
rocksdb::Slice AsSlice(const std::array<char, 16>& key) { return {key.data(), key.size()}; }

class Table {
 public:
  ~Table() {
    for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  }

  rocksdb::Status Open(const Options& options) {
    rocksdb::DBOptions db_options;
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    rocksdb::Status s = rocksdb::LoadLatestOptions(rocksdb::ConfigOptions(), options.options_of,
                                                   &db_options, &families);
    if (!s.ok()) return s;
    db_options.create_if_missing = true;
    db_options.create_missing_column_families = true;
    s = third_party::OpenDb(db_options, options.folder, families, &handles_, &db_);
    for (size_t i = 0; i < families.size() && i < handles_.size(); ++i) {
      if (families[i].name == "data") data_ = handles_[i];
    }
    return s.ok() && data_ == nullptr ? rocksdb::Status::NotFound("column family data") : s;
  }

  void Put(rocksdb::WriteBatch& batch, const std::string& value) {
    const auto key = Key(next_++);
    (void)batch.Put(data_, AsSlice(key), value);
  }
  void DeleteBelow(rocksdb::WriteBatch& batch, uint64_t upto) {
    const auto from = Key(deleted_);
    const auto end = Key(upto);
    (void)batch.DeleteRange(data_, AsSlice(from), AsSlice(end));
    deleted_ = upto;
  }
  rocksdb::Status Write(rocksdb::WriteBatch& batch, bool sync) {
    rocksdb::WriteOptions options;
    options.sync = sync;
    return db_->Write(options, &batch);
  }
  rocksdb::Status Flush() { return db_->Flush(rocksdb::FlushOptions(), data_); }
  std::unique_ptr<rocksdb::Iterator> Scan() {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    options.readahead_size = size_t{2} << 20;
    return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator(options, data_));
  }
  uint64_t next() const { return next_; }
  uint64_t deleted() const { return deleted_; }

 private:
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  rocksdb::ColumnFamilyHandle* data_ = nullptr;
  uint64_t next_ = 1;
  uint64_t deleted_ = 0;
};

nlohmann::json Rate(uint64_t entries, const Shape& shape, uint64_t nanos) {
  return {{"records", entries * shape.batch}, {"seconds", static_cast<double>(nanos) / 1e9}};
}

int Run(const Options& options) {
  Table table;
  rocksdb::Status s = table.Open(options);
  if (!s.ok()) return Fail("RocksDB: " + s.ToString());
  const std::string value(PublishFrame(options.shape) + std::string(kHeaderBytes, 'h'));
  const uint64_t per_write = std::max<uint64_t>(1, kWriteBytes / value.size());
  const uint64_t behind = std::max<uint64_t>(per_write, kBehindBytes / value.size());
  const bool scan = options.mode == "scan";
  const auto length = static_cast<uint64_t>(options.seconds * 1e9);
  rocksdb::WriteBatch batch;
  const uint64_t begin = MonotonicNanos();
  uint64_t now = begin;
  while (scan ? table.next() * value.size() < kScanBytes : now - begin < length) {
    batch.Clear();
    for (uint64_t i = 0; i < per_write; ++i) table.Put(batch, value);
    if (options.mode == "drained" && table.next() - table.deleted() >= 2 * behind) {
      table.DeleteBelow(batch, table.next() - behind);
    }
    s = table.Write(batch, options.sync);
    if (!s.ok()) return Fail("RocksDB: " + s.ToString());
    now = MonotonicNanos();
  }
  if (!scan) return PrintResult(Rate(table.next() - 1, options.shape, now - begin));

  // Out of the memtables, where a scan would not touch the bytes.
  s = table.Flush();
  if (!s.ok()) return Fail("RocksDB: " + s.ToString());
  // The first pass brings the files into the page cache.
  uint64_t best = UINT64_MAX;
  uint64_t entries = 0;
  for (int pass = 0; pass < 2; ++pass) {
    const uint64_t from = MonotonicNanos();
    uint64_t bytes = 0;
    entries = 0;
    const auto it = table.Scan();
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      ++entries;
      bytes += it->value().size();
    }
    if (!it->status().ok() || bytes == 0) return Fail("RocksDB: " + it->status().ToString());
    best = std::min(best, MonotonicNanos() - from);
  }
  return PrintResult(Rate(entries, options.shape, best));
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  spillway::bench::Options options;
  CLI::App app{"RocksDB by itself"};
  app.add_option("--options-of", options.options_of, "The database whose options are used")
      ->required();
  app.add_option("--folder", options.folder, "For the data; not to exist yet")->required();
  app.add_option("--mode", options.mode)->check(CLI::IsMember({"kept", "drained", "scan"}));
  app.add_option("--size", options.shape.record_bytes, "Bytes of a payload");
  app.add_option("--batch", options.shape.batch, "Records of an entry");
  app.add_flag("--sync", options.sync, "Flush the log to the device with each write");
  app.add_option("--seconds", options.seconds);
  CLI11_PARSE(app, argc, argv);
  return spillway::bench::Run(options);
}
