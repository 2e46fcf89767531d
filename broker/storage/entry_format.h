// The bytes that the embedded store keeps: docs/on_disk_format.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "broker/base/types.h"
#include "broker/storage/log_store.h"

namespace spillway::storage {

// BE32 queue | BE32 partition | BE64 position: the entries of a lane lie together,
// in order.
struct EntryKey {
  EntryKey(LaneId lane, Position position);
  std::array<char, 16> bytes;
  std::string_view view() const { return {bytes.data(), bytes.size()}; }
};
// REQUIRES: key.size() == 16.
LaneId LaneOfKey(std::string_view key);
Position PositionOfKey(std::string_view key);

// What precedes an entry's body in its value.
struct EntryHeader {
  Kind kind = Kind::kData;
  Epoch epoch = 0;
  // The entry of the same column family before this one in the lane, 0 if none.
  // A reader that goes from one entry to the next knows by it that none is
  // missing in between.
  Position previous = 0;
  Offset base_offset = 0;
  uint32_t count = 0;
};
constexpr size_t kEntryHeaderBytes = 36;
using EncodedHeader = std::array<char, kEntryHeaderBytes>;

// The header of an entry whose body is `record`'s parts; its checksum covers the
// key, the header and the body, so that a value under a wrong key is found too.
EncodedHeader EncodeHeader(const EntryKey& key, const EntryHeader& header, const Record& record);

// The header and the body of a value, or nothing if a byte of it or of its key is
// not what was written.
struct DecodedEntry {
  EntryHeader header;
  std::string_view body;
};
std::optional<DecodedEntry> DecodeEntry(std::string_view key, std::string_view value);

// What `meta` keeps of a lane.
struct LaneRecord {
  Epoch fence_epoch = 0;
  Position fence_position = 0;  // positions go on after it even when all is trimmed
  Position trimmed = 0;         // entries below are gone, or going
  Position snapshot = 0;        // of the last snapshot; 0: none
};
std::string EncodeLaneRecord(const LaneRecord& record);
std::optional<LaneRecord> DecodeLaneRecord(std::string_view value);

// Keys of `meta`.
std::string EpochKey();
std::string LaneKey(LaneId lane);
std::string FenceKey(LaneId lane, Position position);

std::string EncodeEpoch(Epoch epoch);
std::optional<Epoch> DecodeEpoch(std::string_view value);

}  // namespace spillway::storage
