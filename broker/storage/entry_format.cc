#include "broker/storage/entry_format.h"

#include "broker/storage/coding.h"
#include "broker/storage/crc32c.h"

namespace spillway::storage {
namespace {

constexpr char kEntryVersion = 1;
constexpr char kLaneRecordVersion = 1;
constexpr size_t kCrcAt = 4;
constexpr size_t kLaneRecordBytes = 1 + 4 * 8 + 4;

uint32_t HeaderCrc(std::string_view key, const char* header) {
  uint32_t crc = Crc32c(key);
  crc = Crc32c({header, kCrcAt}, crc);
  return Crc32c({header + kCrcAt + 4, kEntryHeaderBytes - kCrcAt - 4}, crc);
}

std::string LanePrefixed(char tag, LaneId lane) {
  std::string key(9, tag);
  PutBig32(key.data() + 1, lane.queue);
  PutBig32(key.data() + 5, lane.partition);
  return key;
}

}  // namespace

EntryKey::EntryKey(LaneId lane, Position position) {
  PutBig32(bytes.data(), lane.queue);
  PutBig32(bytes.data() + 4, lane.partition);
  PutBig64(bytes.data() + 8, position);
}

LaneId LaneOfKey(std::string_view key) { return {GetBig32(key.data()), GetBig32(key.data() + 4)}; }
Position PositionOfKey(std::string_view key) { return GetBig64(key.data() + 8); }

EncodedHeader EncodeHeader(const EntryKey& key, const EntryHeader& header, const Record& record) {
  EncodedHeader out{};
  char* p = out.data();
  p[0] = kEntryVersion;
  p[1] = static_cast<char>(header.kind);
  PutFixed(p + 8, header.epoch);
  PutFixed(p + 16, header.previous);
  PutFixed(p + 24, header.base_offset);
  PutFixed(p + 32, header.count);
  uint32_t crc = HeaderCrc(key.view(), p);
  for (const wire::Slice& part : record.parts) {
    if (part.length > 0) crc = Crc32c(part.view(), crc);
  }
  PutFixed(p + kCrcAt, crc);
  return out;
}

std::optional<DecodedEntry> DecodeEntry(std::string_view key, std::string_view value) {
  if (key.size() != 16 || value.size() < kEntryHeaderBytes) return std::nullopt;
  const char* p = value.data();
  const std::string_view body = value.substr(kEntryHeaderBytes);
  if (p[0] != kEntryVersion) return std::nullopt;
  if (Crc32c(body, HeaderCrc(key, p)) != GetFixed<uint32_t>(p + kCrcAt)) return std::nullopt;
  const auto kind = static_cast<Kind>(p[1]);
  if (kind != Kind::kData && kind != Kind::kControl && kind != Kind::kSnapshot) {
    return std::nullopt;
  }
  return DecodedEntry{.header = {.kind = kind,
                                 .epoch = GetFixed<uint64_t>(p + 8),
                                 .previous = GetFixed<uint64_t>(p + 16),
                                 .base_offset = GetFixed<uint64_t>(p + 24),
                                 .count = GetFixed<uint32_t>(p + 32)},
                      .body = body};
}

std::string EncodeLaneRecord(const LaneRecord& record) {
  std::string out(kLaneRecordBytes, '\0');
  char* p = out.data();
  p[0] = kLaneRecordVersion;
  PutFixed(p + 1, record.fence_epoch);
  PutFixed(p + 9, record.fence_position);
  PutFixed(p + 17, record.trimmed);
  PutFixed(p + 25, record.snapshot);
  PutFixed(p + 33, Crc32c({p, 33}));
  return out;
}

std::optional<LaneRecord> DecodeLaneRecord(std::string_view value) {
  if (value.size() != kLaneRecordBytes || value[0] != kLaneRecordVersion) return std::nullopt;
  const char* p = value.data();
  if (Crc32c({p, 33}) != GetFixed<uint32_t>(p + 33)) return std::nullopt;
  return LaneRecord{.fence_epoch = GetFixed<uint64_t>(p + 1),
                    .fence_position = GetFixed<uint64_t>(p + 9),
                    .trimmed = GetFixed<uint64_t>(p + 17),
                    .snapshot = GetFixed<uint64_t>(p + 25)};
}

std::string EpochKey() { return "E"; }
std::string LaneKey(LaneId lane) { return LanePrefixed('L', lane); }
std::string FenceKey(LaneId lane, Position position) {
  std::string key = LanePrefixed('F', lane);
  key.resize(17);
  PutBig64(key.data() + 9, position);
  return key;
}

std::string EncodeEpoch(Epoch epoch) {
  std::string out(12, '\0');
  PutFixed(out.data(), epoch);
  PutFixed(out.data() + 8, Crc32c({out.data(), 8}));
  return out;
}
std::optional<Epoch> DecodeEpoch(std::string_view value) {
  if (value.size() != 12 || Crc32c(value.substr(0, 8)) != GetFixed<uint32_t>(value.data() + 8)) {
    return std::nullopt;
  }
  return GetFixed<uint64_t>(value.data());
}

}  // namespace spillway::storage
