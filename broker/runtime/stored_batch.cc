#include "broker/runtime/stored_batch.h"

#include <cstring>

#include "absl/base/internal/endian.h"
#include "broker/wire/publish_scan.h"

namespace spillway::runtime {
namespace {

namespace le = absl::little_endian;

constexpr uint8_t kVersion = 1;
constexpr uint32_t kFixedBytes = 40;

Error Corrupt(const char* what) {
  return {.kind = ErrorKind::kCorrupt,
          .message = std::string("a stored batch is damaged: ") + what};
}

}  // namespace

storage::Record EncodeBatch(const queue::Batch& batch) {
  const std::string_view id =
      batch.origin.producer_id ? std::string_view(*batch.origin.producer_id) : "";
  const auto length = static_cast<uint32_t>(kFixedBytes + id.size());
  wire::Buffer header = wire::Buffer::Allocate(length);
  char* p = header.mutable_data();
  p[0] = kVersion;
  p[1] = static_cast<char>(id.size());
  le::Store16(p + 2, 0);
  le::Store32(p + 4, batch.records.count());
  le::Store64(p + 8, batch.appended_at);
  le::Store64(p + 16, batch.records.Cost().bytes);
  le::Store64(p + 24, batch.origin.epoch);
  le::Store64(p + 32, batch.origin.first_sequence);
  std::memcpy(p + kFixedBytes, id.data(), id.size());

  storage::Record record;
  record.kind = storage::Kind::kData;
  record.base_offset = batch.first;
  record.count = batch.records.count();
  record.parts[0] = wire::Slice{std::move(header), 0, length};
  record.parts[1] = batch.records.FieldsSlice(0, batch.records.count());
  return record;
}

Result<StoredBatchHeader> DecodeBatchHeader(std::string_view body) {
  if (body.size() < kFixedBytes) return Corrupt("too short");
  const char* p = body.data();
  if (p[0] != kVersion) return Corrupt("unknown version");
  StoredBatchHeader header;
  const auto id_length = static_cast<uint8_t>(p[1]);
  if (body.size() < kFixedBytes + id_length) return Corrupt("too short for its producer id");
  header.count = le::Load32(p + 4);
  header.appended_at = le::Load64(p + 8);
  header.body_bytes = le::Load64(p + 16);
  header.epoch = le::Load64(p + 24);
  header.first_sequence = le::Load64(p + 32);
  header.producer_id = body.substr(kFixedBytes, id_length);
  header.fields_begin = kFixedBytes + id_length;
  return header;
}

Result<queue::Batch> DecodeBatch(const storage::Entry& entry) {
  auto header = DecodeBatchHeader(entry.body.view());
  if (!header) return header.error();
  if (header->count != entry.count) return Corrupt("record count differs");
  const auto length = static_cast<uint32_t>(entry.body.size() - header->fields_begin);
  auto records = wire::ScanStored(entry.body, header->fields_begin, length, header->count);
  if (!records) return records.error();
  queue::Batch batch;
  batch.first = entry.base_offset;
  batch.appended_at = header->appended_at;
  batch.records = std::move(*records);
  if (batch.records.Cost().bytes != header->body_bytes) return Corrupt("record bytes differ");
  return batch;
}

}  // namespace spillway::runtime
