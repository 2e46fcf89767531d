#include "broker/storage/wal_guard.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include <rocksdb/write_batch.h>

#include "broker/storage/coding.h"

namespace spillway::storage {

WalGuard::WalGuard(const std::string& db_folder, bool stop_at_gap) : stop_at_gap_(stop_at_gap) {
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(db_folder, error)) {
    const std::string name = file.path().filename().string();
    uint64_t number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    if (parsed.ec == std::errc() && std::string_view(parsed.ptr) == ".log") logs_.insert(number);
  }
}

void WalGuard::ColumnFamilyLogNumberMap(const std::map<uint32_t, uint64_t>& log_number_of_family,
                                        const std::map<std::string, uint32_t>&) {
  needed_from_ = UINT64_MAX;
  for (const auto& [family, log] : log_number_of_family) {
    needed_from_ = std::min(needed_from_, log);
  }
}

rocksdb::WalFilter::WalProcessingOption WalGuard::LogRecordFound(unsigned long long log_number,
                                                                 const std::string& file_name,
                                                                 const rocksdb::WriteBatch& batch,
                                                                 rocksdb::WriteBatch*,
                                                                 bool* changed) {
  *changed = false;
  // A batch begins with its first sequence number.
  const auto sequence = GetFixed<uint64_t>(batch.Data().data());
  if (gap_.empty()) {
    gap_ = FindGap(log_number, sequence);
    if (!gap_.empty()) gap_ = file_name + ": " + gap_;
  }
  // Without leave to stop read on: the verdict is asked for before anything is
  // served.
  if (!gap_.empty() && stop_at_gap_) return WalProcessingOption::kStopReplay;
  next_sequence_ = sequence + static_cast<uint64_t>(batch.Count());
  seen_.insert(log_number);
  return WalProcessingOption::kContinueProcessing;
}

std::string WalGuard::FindGap(uint64_t log, uint64_t sequence) const {
  if (next_sequence_ != 0 && sequence != next_sequence_) {
    return "goes on at write " + std::to_string(sequence) + " instead of " +
           std::to_string(next_sequence_);
  }
  // RocksDB begins a new log only when the one before holds something.
  for (const uint64_t before : logs_) {
    if (before >= log) break;
    if (before >= needed_from_ && !seen_.contains(before)) {
      return "goes on though log " + std::to_string(before) + " before it holds nothing";
    }
  }
  return "";
}

}  // namespace spillway::storage
