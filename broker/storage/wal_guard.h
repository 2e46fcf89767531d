// Watches RocksDB read its write-ahead logs and finds what is missing in between.
//
// The recovery mode that tolerates a torn tail does so at the end of every log,
// not only of the last one: entries cut from an older log would vanish though a
// newer one goes on. Each record carries its first sequence number and how many
// it holds, so the records must join without a gap.
//
// After a power failure a gap can be what was never synced; then the replay stops
// there, and the high-water mark decides whether that is enough.
#pragma once

#include <map>
#include <set>
#include <string>

#include <rocksdb/wal_filter.h>

namespace spillway::storage {

// Thread-safety: one open at a time.
class WalGuard final : public rocksdb::WalFilter {
 public:
  // Looks at the logs before they are opened.
  WalGuard(const std::string& db_folder, bool stop_at_gap);
  const char* Name() const override { return "spillway.WalGuard"; }
  void ColumnFamilyLogNumberMap(const std::map<uint32_t, uint64_t>& log_number_of_family,
                                const std::map<std::string, uint32_t>& family_id) override;
  WalProcessingOption LogRecordFound(unsigned long long log_number, const std::string& file_name,
                                     const rocksdb::WriteBatch& batch,
                                     rocksdb::WriteBatch* new_batch, bool* changed) override;

  // Where the logs do not join; empty if they do. To be asked after the open.
  const std::string& gap() const { return gap_; }

 private:
  std::string FindGap(uint64_t log, uint64_t sequence) const;

  const bool stop_at_gap_;
  std::map<uint64_t, std::string> logs_;  // what lies in the folder: paths by number
  std::set<uint64_t> seen_;               // those of which a record was read
  std::string gap_;
  uint64_t needed_from_ = 0;    // logs below hold nothing that is needed
  uint64_t next_sequence_ = 0;  // 0: none seen
};

}  // namespace spillway::storage
