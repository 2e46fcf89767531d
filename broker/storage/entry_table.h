// The entries of all lanes in RocksDB: the only file, with its source, that knows
// how they lie there. Today one column family for data, one for control entries
// and snapshots, and RocksDB's default one for `meta`; rolling segments would
// replace this class and nothing else.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include "broker/storage/entry_format.h"

namespace spillway::storage {

// Data is trimmed by itself; control entries and snapshots go when a later
// snapshot replaces them, so they lie apart.
enum class Family : uint8_t { kData, kControl };
inline Family FamilyOf(Kind kind) { return kind == Kind::kData ? Family::kData : Family::kControl; }

// Walks the entries of one family of a lane in order.
// Thread-safety: one thread at a time.
class EntryCursor {
 public:
  bool Valid() const { return iterator_->Valid(); }
  void Next() { iterator_->Next(); }
  Position position() const { return PositionOfKey(key()); }
  std::string_view key() const { return View(iterator_->key()); }
  std::string_view value() const { return View(iterator_->value()); }
  rocksdb::Status status() const { return iterator_->status(); }

 private:
  friend class EntryTable;
  explicit EntryCursor(const EntryKey& upper) : upper_(upper) {}
  static std::string_view View(const rocksdb::Slice& s) { return {s.data(), s.size()}; }
  const EntryKey upper_;
  rocksdb::Slice upper_slice_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

// Thread-safety: batches are written by one thread at a time; the rest is
// thread-safe.
class EntryTable {
 public:
  struct Options {
    // Only for a new folder: a database that lost its CURRENT must not be made anew.
    bool create = false;
    // Take the log up to its first damage, rather than refuse a damage that is not
    // at its end. Only where that was never synced.
    bool stop_at_damage = false;
    // Of records, before they are flushed; up to 7/4 of it while they are.
    size_t write_buffer_bytes = size_t{128} << 20;
    uint64_t max_total_wal_bytes = uint64_t{256} << 20;
    int max_open_files = 512;
    // Sees the log's records while it is recovered; may be null.
    rocksdb::WalFilter* wal_filter = nullptr;
    std::vector<std::shared_ptr<rocksdb::EventListener>> listeners;
    rocksdb::Env* env = rocksdb::Env::Default();
  };
  static rocksdb::Status Open(const std::string& path, const Options& options,
                              std::unique_ptr<EntryTable>* table);
  ~EntryTable();
  EntryTable(const EntryTable&) = delete;
  EntryTable& operator=(const EntryTable&) = delete;

  void Put(rocksdb::WriteBatch& batch, const EntryKey& key, const EncodedHeader& header,
           const Record& record) const;
  // Deletes the entries from <= position < upto.
  void Delete(rocksdb::WriteBatch& batch, Family family, LaneId lane, Position from,
              Position upto) const;
  void PutMeta(rocksdb::WriteBatch& batch, const std::string& key, const std::string& value) const;
  void DeleteMeta(rocksdb::WriteBatch& batch, const std::string& key) const;
  // After any failure the log's end is not known: write no more.
  rocksdb::Status Write(rocksdb::WriteBatch& batch, bool sync);
  rocksdb::Status Sync();
  // RocksDB delays or stops writes now. Asked, since its events of that are told by the
  // threads that come upon it and may overtake each other.
  bool stalled() const;
  // Rises with every write; what was written before a completed sync is durable
  // up to the number read before that sync.
  uint64_t latest_sequence() const { return db_->GetLatestSequenceNumber(); }

  // The entries from <= position < upto.
  std::unique_ptr<EntryCursor> Scan(Family family, LaneId lane, Position from, Position upto) const;
  // The position of the lane's last entry, 0 if it has none.
  rocksdb::Status Last(Family family, LaneId lane, Position* position) const;
  rocksdb::Status GetMeta(const std::string& key, std::optional<std::string>* value) const;
  rocksdb::Status ScanMeta(const std::string& prefix,
                           std::vector<std::pair<std::string, std::string>>* out) const;

  // About how much of a lane's data below `upto` lies in files, or has yet to be
  // flushed, deleted or not.
  uint64_t FileBytesBelow(LaneId lane, Position upto) const;
  uint64_t MemtableBytesBelow(LaneId lane, Position upto) const;
  // Gives the space of a lane's data below `upto` back to the file system.
  // REQUIRES: it was deleted before. Slow: not on the commit thread.
  rocksdb::Status Reclaim(LaneId lane, Position upto);
  // Interrupts Reclaim, for good.
  void StopReclaim() { db_->DisableManualCompaction(); }
  // Bytes on disk, and an estimate of what is not yet flushed.
  uint64_t disk_bytes() const;

 private:
  EntryTable() = default;
  uint64_t BytesBelow(LaneId lane, Position upto, bool in_files) const;
  rocksdb::ColumnFamilyHandle* handle(Family family) const {
    return family == Family::kData ? data_ : control_;
  }
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  rocksdb::ColumnFamilyHandle* meta_ = nullptr;
  rocksdb::ColumnFamilyHandle* data_ = nullptr;
  rocksdb::ColumnFamilyHandle* control_ = nullptr;
};

}  // namespace spillway::storage
