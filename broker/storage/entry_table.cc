#include "broker/storage/entry_table.h"

#include <algorithm>
#include <limits>

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/sst_file_manager.h>
#include <rocksdb/table.h>

#include "third_party/rocksdb/open.h"

namespace spillway::storage {
namespace {

constexpr size_t kSmallWriteBufferBytes = size_t{4} << 20;
// Full memtables before writes wait: one is flushed while the next one fills, and a third
// one is for a disk that takes half a second for a sync now and then. Large ones,
// so that most of what drains is trimmed in the memtable that it is in, and several that
// are written as one (min_write_buffer_number_to_merge) would be no better: of those, a
// flush that CompactRange waits for may never begin, since one under way takes the
// request with it, and what is left is too little.
constexpr int kMostMemtables = 3;
// A small one may have to wait for the flush of a large one.
constexpr int kMostSmallMemtables = 4;
// Where flushes or compactions are behind, writes are slowed to this at first, and
// further if that is not enough. RocksDB begins at 16 MiB a second, for all queues.
constexpr uint64_t kSlowedBytesPerSecond = uint64_t{512} << 20;
constexpr size_t kBlockCacheBytes = size_t{8} << 20;
// A log is removed in pieces, by a thread that does nothing else: where the file system
// discards what is freed, one of 64 MiB at once keeps every sync waiting for 20 to 40 ms.
// Faster than anything writes, or they would pile up.
constexpr int64_t kDeleteBytesPerSecond = int64_t{1} << 30;
constexpr uint64_t kDeleteAtOnceBytes = uint64_t{4} << 20;
constexpr uint64_t kReclaimAtLeastBytes = uint64_t{1} << 20;
constexpr size_t kBlockBytes = size_t{64} << 10;
// Reads come in pieces of a mebibyte, each with an iterator of its own: a fixed
// readahead would read most bytes several times over. RocksDB's own begins with the
// third block of a piece; the kernel's sees that the pieces follow one another.
constexpr size_t kMaxReadaheadBytes = size_t{256} << 10;

rocksdb::Slice AsSlice(std::string_view s) { return {s.data(), s.size()}; }

rocksdb::DBOptions DbOptions(const EntryTable::Options& o) {
  rocksdb::DBOptions db;
  db.env = o.env;
  db.create_if_missing = o.create;
  db.create_missing_column_families = o.create;
  db.paranoid_checks = true;
  // A torn tail is normal after a crash; the high-water mark tells it from a tail
  // that was cut. The default mode would drop synced entries without a word.
  db.wal_recovery_mode = o.stop_at_damage ? rocksdb::WALRecoveryMode::kPointInTimeRecovery
                                          : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  db.max_total_wal_size = o.max_total_wal_bytes;
  db.max_open_files = o.max_open_files;
  // 7.8.3: more than one flush thread is a known defect.
  db.max_background_flushes = 1;
  db.max_background_compactions = 1;
  db.max_subcompactions = 1;
  // One thread writes.
  db.allow_concurrent_memtable_write = false;
  db.enable_write_thread_adaptive_yield = false;
  // A background error is for good: the store is poisoned, nothing is retried.
  db.max_bgerror_resume_count = 0;
  // Written back as it comes, not all at once: a log is synced when its memtable is
  // flushed, and 64 MiB of it then keep the disk from all others for 40 ms.
  db.bytes_per_sync = uint64_t{1} << 20;
  // The next log would be begun by a wait of up to 14 ms for its 70 MiB.
  db.allow_fallocate = false;
  // What is read back is read in sequence: the kernel may read ahead.
  db.advise_random_on_open = false;
  db.wal_bytes_per_sync = uint64_t{1} << 20;
  db.delayed_write_rate = kSlowedBytesPerSecond;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  db.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  db.keep_log_file_num = 4;
  db.max_log_file_size = size_t{4} << 20;
  db.wal_filter = o.wal_filter;
  db.listeners = o.listeners;
  db.sst_file_manager.reset(rocksdb::NewSstFileManager(
      o.env, o.env->GetFileSystem(), nullptr, "", kDeleteBytesPerSecond, true, nullptr,
      std::numeric_limits<double>::max(), kDeleteAtOnceBytes));
  return db;
}

rocksdb::ColumnFamilyOptions FamilyOptions(size_t write_buffer_bytes, size_t file_bytes,
                                           const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions cf;
  cf.write_buffer_size = write_buffer_bytes;
  cf.compression = rocksdb::kNoCompression;
  cf.level0_file_num_compaction_trigger = 8;
  cf.level0_slowdown_writes_trigger = 32;
  cf.level0_stop_writes_trigger = 48;
  cf.target_file_size_base = std::max<size_t>(file_bytes, size_t{1} << 20);
  cf.max_bytes_for_level_base = uint64_t{16} * cf.target_file_size_base;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.block_size = kBlockBytes;
  table.initial_auto_readahead_size = kBlockBytes;
  table.max_auto_readahead_size = kMaxReadaheadBytes;
  table.format_version = 5;
  cf.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return cf;
}

rocksdb::ReadOptions ScanOptions() {
  rocksdb::ReadOptions r;
  r.fill_cache = false;
  r.verify_checksums = true;
  r.total_order_seek = true;
  return r;
}

}  // namespace

rocksdb::Status EntryTable::Open(const std::string& path, const Options& options,
                                 std::unique_ptr<EntryTable>* table) {
  auto cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  auto data = FamilyOptions(options.write_buffer_bytes, options.write_buffer_bytes / 2, cache);
  data.max_write_buffer_number = kMostMemtables;
  auto small = FamilyOptions(kSmallWriteBufferBytes, kSmallWriteBufferBytes, cache);
  small.max_write_buffer_number = kMostSmallMemtables;
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {
      {rocksdb::kDefaultColumnFamilyName, small},
      {"data", data},
      {"control", small},
  };
  std::unique_ptr<EntryTable> t(new EntryTable);
  rocksdb::Status s =
      third_party::OpenDb(DbOptions(options), path, families, &t->handles_, &t->db_);
  if (!s.ok()) return s;
  t->meta_ = t->handles_[0];
  t->data_ = t->handles_[1];
  t->control_ = t->handles_[2];
  *table = std::move(t);
  return s;
}

EntryTable::~EntryTable() {
  if (!db_) return;
  for (auto* h : handles_) db_->DestroyColumnFamilyHandle(h);
  db_->Close();
}

void EntryTable::Put(rocksdb::WriteBatch& batch, const EntryKey& key, const EncodedHeader& header,
                     const Record& record) const {
  // The parts go into the batch one by one: no copy to put them together.
  const rocksdb::Slice key_slice = AsSlice(key.view());
  rocksdb::Slice values[4];
  int n = 0;
  values[n++] = rocksdb::Slice(header.data(), header.size());
  for (const wire::Slice& part : record.parts) {
    if (part.length > 0) values[n++] = AsSlice(part.view());
  }
  batch.Put(handle(FamilyOf(record.kind)), rocksdb::SliceParts(&key_slice, 1),
            rocksdb::SliceParts(values, n));
}

void EntryTable::Delete(rocksdb::WriteBatch& batch, Family family, LaneId lane, Position from,
                        Position upto) const {
  if (from >= upto) return;
  const EntryKey begin(lane, from), end(lane, upto);
  batch.DeleteRange(handle(family), AsSlice(begin.view()), AsSlice(end.view()));
}

void EntryTable::PutMeta(rocksdb::WriteBatch& batch, const std::string& key,
                         const std::string& value) const {
  batch.Put(meta_, key, value);
}
void EntryTable::DeleteMeta(rocksdb::WriteBatch& batch, const std::string& key) const {
  batch.Delete(meta_, key);
}

rocksdb::Status EntryTable::Write(rocksdb::WriteBatch& batch, bool sync) {
  rocksdb::WriteOptions options;
  options.sync = sync;
  return db_->Write(options, &batch);
}
rocksdb::Status EntryTable::Sync() { return db_->SyncWAL(); }

bool EntryTable::stalled() const {
  using Properties = rocksdb::DB::Properties;
  uint64_t stopped = 0, delayed_to = 0;
  return !db_->GetIntProperty(Properties::kIsWriteStopped, &stopped) || stopped != 0 ||
         !db_->GetIntProperty(Properties::kActualDelayedWriteRate, &delayed_to) || delayed_to != 0;
}

std::unique_ptr<EntryCursor> EntryTable::Scan(Family family, LaneId lane, Position from,
                                              Position upto) const {
  std::unique_ptr<EntryCursor> cursor(new EntryCursor(EntryKey(lane, upto)));
  cursor->upper_slice_ = AsSlice(cursor->upper_.view());
  rocksdb::ReadOptions options = ScanOptions();
  options.iterate_upper_bound = &cursor->upper_slice_;
  cursor->iterator_.reset(db_->NewIterator(options, handle(family)));
  const EntryKey begin(lane, from);
  cursor->iterator_->Seek(AsSlice(begin.view()));
  return cursor;
}

rocksdb::Status EntryTable::Last(Family family, LaneId lane, Position* position) const {
  const EntryKey first(lane, 0), end(lane, UINT64_MAX);
  const rocksdb::Slice lower = AsSlice(first.view());
  rocksdb::ReadOptions options = ScanOptions();
  options.iterate_lower_bound = &lower;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, handle(family)));
  it->SeekForPrev(AsSlice(end.view()));
  *position = it->Valid() ? PositionOfKey({it->key().data(), it->key().size()}) : 0;
  return it->status();
}

rocksdb::Status EntryTable::GetMeta(const std::string& key,
                                    std::optional<std::string>* value) const {
  std::string found;
  rocksdb::Status s = db_->Get(rocksdb::ReadOptions(), meta_, key, &found);
  if (s.IsNotFound()) {
    value->reset();
    return rocksdb::Status::OK();
  }
  if (s.ok()) *value = std::move(found);
  return s;
}

rocksdb::Status EntryTable::ScanMeta(const std::string& prefix,
                                     std::vector<std::pair<std::string, std::string>>* out) const {
  rocksdb::ReadOptions options;
  options.total_order_seek = true;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, meta_));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    out->emplace_back(it->key().ToString(), it->value().ToString());
  }
  return it->status();
}

uint64_t EntryTable::BytesBelow(LaneId lane, Position upto, bool in_files) const {
  const EntryKey begin(lane, 0), end(lane, upto);
  const rocksdb::Range range(AsSlice(begin.view()), AsSlice(end.view()));
  rocksdb::SizeApproximationOptions sizes;
  sizes.include_files = in_files;
  sizes.include_memtables = !in_files;
  uint64_t bytes = 0;
  // Nothing is known of what cannot be looked at.
  db_->GetApproximateSizes(sizes, data_, &range, 1, &bytes).PermitUncheckedError();
  return bytes;
}

uint64_t EntryTable::FileBytesBelow(LaneId lane, Position upto) const {
  return BytesBelow(lane, upto, true);
}
uint64_t EntryTable::MemtableBytesBelow(LaneId lane, Position upto) const {
  return BytesBelow(lane, upto, false);
}

rocksdb::Status EntryTable::Reclaim(LaneId lane, Position upto) {
  const EntryKey begin(lane, 0), end(lane, upto);
  const rocksdb::Slice b = AsSlice(begin.view()), e = AsSlice(end.view());
  // What lies wholly in files of level 1 and below goes at once; the rest by a
  // compaction of just this range.
  rocksdb::Status s = rocksdb::DeleteFilesInRange(db_.get(), data_, &b, &e, false);
  if (!s.ok() || FileBytesBelow(lane, upto) < kReclaimAtLeastBytes) return s;
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.allow_write_stall = false;
  return db_->CompactRange(options, data_, &b, &e);
}

uint64_t EntryTable::disk_bytes() const {
  uint64_t total = 0;
  for (auto* h : handles_) {
    uint64_t n = 0;
    if (db_->GetIntProperty(h, rocksdb::DB::Properties::kTotalSstFilesSize, &n)) total += n;
    if (db_->GetIntProperty(h, rocksdb::DB::Properties::kSizeAllMemTables, &n)) total += n;
  }
  return total;
}

}  // namespace spillway::storage
