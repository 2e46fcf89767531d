#include "clients/cpp/spillway/internal/wire.h"

#include <google/protobuf/message_lite.h>

#include <limits>

namespace spillway::client::internal {
namespace {

// Tags: field number << 3 | wire type (0 varint, 2 length-delimited).
constexpr char kPublishTag = 2 << 3 | 2;        // PublishRequest.publish
constexpr char kFirstSequenceTag = 1 << 3 | 0;  // PublishBatch.first_sequence
constexpr char kRecordsTag = 15 << 3 | 2;       // PublishBatch, Delivery .records
constexpr char kPayloadTag = 1 << 3 | 2;        // Record
constexpr char kKeyTag = 2 << 3 | 2;
constexpr char kHeadersTag = 3 << 3 | 2;
constexpr char kHeaderNameTag = 1 << 3 | 2;
constexpr char kHeaderValueTag = 2 << 3 | 2;
constexpr uint64_t kDeliveryTag = 2 << 3 | 2;  // ConsumeResponse.delivery
constexpr uint64_t kRunsTag = 1 << 3 | 2;      // Delivery.runs

uint64_t FieldBytes(uint64_t length) { return 1 + VarintSize(length) + length; }

void PutField(char tag, std::string_view value, std::string* out) {
  out->push_back(tag);
  PutVarint(out, value.size());
  out->append(value);
}

uint64_t HeaderBytes(const Header& header) {
  return (header.name.empty() ? 0 : FieldBytes(header.name.size())) +
         (header.value.empty() ? 0 : FieldBytes(header.value.size()));
}

bool ParseRun(const uint8_t* p, const uint8_t* end, FrameIndex::Run* run) {
  while (p != end) {
    uint64_t tag = 0;
    uint64_t value = 0;
    p = GetVarint(p, end, &tag);
    if (p == nullptr) return false;
    if ((tag & 7) != 0) {
      p = SkipField(tag, p, end);
      if (p == nullptr) return false;
      continue;
    }
    p = GetVarint(p, end, &value);
    if (p == nullptr) return false;
    switch (tag >> 3) {
      case 1:
        run->first_offset = value;
        break;
      case 2:
        run->count = static_cast<uint32_t>(value);
        break;
      case 3:
        run->appended_at_unix_ms = value;
        break;
      case 4:
        run->attempt = static_cast<uint32_t>(value);
        break;
      default:
        break;
    }
  }
  return true;
}

}  // namespace

void PutVarint(std::string* out, uint64_t value) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

const uint8_t* GetVarint(const uint8_t* p, const uint8_t* end, uint64_t* value) {
  uint64_t result = 0;
  for (uint32_t shift = 0; shift < 70 && p != end; shift += 7) {
    const uint64_t byte = *p++;
    result |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = result;
      return p;
    }
  }
  return nullptr;
}

const uint8_t* SkipField(uint64_t tag, const uint8_t* p, const uint8_t* end) {
  uint64_t length = 0;
  switch (tag & 7) {
    case 0:
      return GetVarint(p, end, &length);
    case 1:
      length = 8;
      break;
    case 2:
      p = GetVarint(p, end, &length);
      break;
    case 5:
      length = 4;
      break;
    default:
      return nullptr;
  }
  return p == nullptr || length > static_cast<uint64_t>(end - p) ? nullptr : p + length;
}

void AppendRecordField(const Message& message, std::string* fields) {
  const uint64_t body = EncodedBytes(message);
  // Grow by doubling: a reserve of just enough would copy at each record.
  if (fields->capacity() - fields->size() < body + 6) {
    fields->reserve(std::max<uint64_t>(2 * fields->capacity(), fields->size() + body + 6));
  }
  fields->push_back(kRecordsTag);
  PutVarint(fields, body);
  if (!message.payload.empty()) PutField(kPayloadTag, message.payload, fields);
  if (!message.key.empty()) PutField(kKeyTag, message.key, fields);
  for (const Header& header : message.headers) {
    fields->push_back(kHeadersTag);
    PutVarint(fields, HeaderBytes(header));
    if (!header.name.empty()) PutField(kHeaderNameTag, header.name, fields);
    if (!header.value.empty()) PutField(kHeaderValueTag, header.value, fields);
  }
}

grpc::ByteBuffer PublishFrame(uint64_t first_sequence, const grpc::Slice& fields) {
  std::string head;
  head.push_back(kPublishTag);
  PutVarint(&head, 1 + VarintSize(first_sequence) + fields.size());
  head.push_back(kFirstSequenceTag);
  PutVarint(&head, first_sequence);
  const grpc::Slice slices[] = {grpc::Slice(head), fields};
  return {slices, 2};
}

grpc::ByteBuffer ToFrame(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return {&slice, 1};
}

bool Flatten(const grpc::ByteBuffer& frame, grpc::Slice* out) {
  return frame.TrySingleSlice(out).ok() || frame.DumpToSingleSlice(out).ok();
}

Credit FrameIndex::Cost(uint32_t first, uint32_t n) const {
  if (first == 0 && n == records.size()) return cost;
  Credit sum{.messages = n};
  for (uint32_t i = first; i < first + n; ++i) sum.bytes += records[i].size;
  return sum;
}

bool IsDelivery(std::string_view frame) {
  return !frame.empty() && static_cast<uint8_t>(frame[0]) == kDeliveryTag;
}

bool ParseDelivery(std::string_view frame, FrameIndex* index) {
  const auto* const start = reinterpret_cast<const uint8_t*>(frame.data());
  if (frame.size() > std::numeric_limits<uint32_t>::max() || !IsDelivery(frame)) return false;
  uint64_t length = 0;
  const uint8_t* p = GetVarint(start + 1, start + frame.size(), &length);
  if (p == nullptr || length != static_cast<uint64_t>(start + frame.size() - p)) return false;
  const uint8_t* const end = p + length;
  uint64_t in_runs = 0;
  while (p != end) {
    uint64_t tag = 0;
    p = GetVarint(p, end, &tag);
    if (p == nullptr) return false;
    if (tag != kRunsTag && tag != static_cast<uint64_t>(kRecordsTag)) {
      p = SkipField(tag, p, end);
      if (p == nullptr) return false;
      continue;
    }
    p = GetVarint(p, end, &length);
    if (p == nullptr || length > static_cast<uint64_t>(end - p)) return false;
    if (tag == kRunsTag) {
      FrameIndex::Run run{.base = static_cast<uint32_t>(in_runs)};
      if (!ParseRun(p, p + length, &run)) return false;
      in_runs += run.count;
      index->records.reserve(std::min<uint64_t>(in_runs, frame.size()));
      index->runs.push_back(run);
    } else {
      index->records.push_back({static_cast<uint32_t>(p - start), static_cast<uint32_t>(length)});
      index->cost += {1, length};
    }
    p += length;
  }
  return in_runs == index->records.size() && in_runs > 0;
}

}  // namespace spillway::client::internal

namespace spillway::client {

uint64_t EncodedBytes(const Message& message) {
  uint64_t bytes = 0;
  if (!message.payload.empty()) bytes += internal::FieldBytes(message.payload.size());
  if (!message.key.empty()) bytes += internal::FieldBytes(message.key.size());
  for (const Header& header : message.headers) {
    bytes += internal::FieldBytes(internal::HeaderBytes(header));
  }
  return bytes;
}

}  // namespace spillway::client
