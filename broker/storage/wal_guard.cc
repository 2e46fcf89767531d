#include "broker/storage/wal_guard.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

#include <fcntl.h>

#include <rocksdb/write_batch.h>

#include "broker/storage/coding.h"
#include "broker/storage/file_util.h"

namespace spillway::storage {
namespace {

// Of RocksDB's log format: blocks of 32 KiB, in them pieces of records, each behind
// its checksum, length and type; a block's last bytes that no header fits into are
// left out. Whether the first record's pieces are all there; not whether they are
// what was written.
bool HoldsARecord(const std::string& path) {
  constexpr uint64_t kBlockBytes = 32 << 10;
  constexpr size_t kHeaderBytes = 7;
  enum : uint8_t { kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (error || !fd.valid()) return false;
  for (uint64_t at = 0; at + kHeaderBytes <= size;) {
    if (kBlockBytes - at % kBlockBytes < kHeaderBytes) {
      at += kBlockBytes - at % kBlockBytes;
      continue;
    }
    std::array<char, kHeaderBytes> header;
    if (!ReadAt(fd.get(), header.data(), header.size(), at)) return false;
    at += kHeaderBytes + GetFixed<uint16_t>(header.data() + 4);
    const auto type = static_cast<uint8_t>(header[6]);
    if (at > size || type < kFull || type > kLast) return false;
    if (type == kFull || type == kLast) return true;
  }
  return false;
}

}  // namespace

WalGuard::WalGuard(const std::string& db_folder, bool stop_at_gap) : stop_at_gap_(stop_at_gap) {
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(db_folder, error)) {
    const std::string name = file.path().filename().string();
    uint64_t number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    if (parsed.ec == std::errc() && std::string_view(parsed.ptr) == ".log") {
      logs_.emplace(number, file.path().string());
    }
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
  if (seen_.empty()) needed_from_ = log_number;  // what is before has been looked at
  next_sequence_ = sequence + static_cast<uint64_t>(batch.Count());
  seen_.insert(log_number);
  return WalProcessingOption::kContinueProcessing;
}

std::string WalGuard::FindGap(uint64_t log, uint64_t sequence) const {
  if (next_sequence_ != 0 && sequence != next_sequence_) {
    return "goes on at write " + std::to_string(sequence) + " instead of " +
           std::to_string(next_sequence_);
  }
  // RocksDB begins a new log only when the one before holds something. One that does
  // and was passed over before the first is done with, and was not deleted yet.
  for (const auto& [before, path] : logs_) {
    if (before >= log) break;
    if (before < needed_from_ || seen_.contains(before)) continue;
    if (seen_.empty() && HoldsARecord(path)) continue;
    return "goes on though log " + std::to_string(before) + " before it holds nothing";
  }
  return "";
}

}  // namespace spillway::storage
