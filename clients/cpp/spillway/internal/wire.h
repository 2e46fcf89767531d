// Protobuf's encoding by hand, where a generated message would copy payloads.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "clients/cpp/spillway/credit.h"
#include "clients/cpp/spillway/message.h"

namespace spillway::client {

struct EncodedBatchAccess {
  static const grpc::Slice& Fields(const EncodedBatch& batch) { return batch.fields_; }
  static const std::shared_ptr<const std::vector<uint32_t>>& Ends(const EncodedBatch& batch) {
    return batch.ends_;
  }
};

namespace internal {

constexpr uint32_t VarintSize(uint64_t value) {
  return (static_cast<uint32_t>(std::bit_width(value | 1)) * 9 + 64) / 64;
}
// Appends `value` to `out`.
void PutVarint(std::string* out, uint64_t value);
// Reads a varint; nullptr if it is cut or too long.
const uint8_t* GetVarint(const uint8_t* p, const uint8_t* end, uint64_t* value);
// Skips a field's value by the wire type of its tag; nullptr if it is malformed.
const uint8_t* SkipField(uint64_t tag, const uint8_t* p, const uint8_t* end);

// Appends the `records` field (tag, length, body) of one message.
void AppendRecordField(const Message& message, std::string* fields);

// A PublishRequest{publish} around encoded fields, which are not copied.
grpc::ByteBuffer PublishFrame(uint64_t first_sequence, const grpc::Slice& fields);

// A frame that holds one encoded message.
grpc::ByteBuffer ToFrame(const google::protobuf::MessageLite& message);
// The frame's bytes in one piece; copied only if they came in several.
bool Flatten(const grpc::ByteBuffer& frame, grpc::Slice* out);
inline std::string_view View(const grpc::Slice& slice) {
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

// Where the records of a frame lie, and what they cost.
struct FrameIndex {
  struct Run {
    uint64_t first_offset = 0;
    uint32_t count = 0;
    uint64_t appended_at_unix_ms = 0;
    uint32_t attempt = 0;
    // Index of its first record in the frame.
    uint32_t base = 0;
  };
  struct Span {
    uint32_t begin = 0;
    uint32_t size = 0;
  };
  std::vector<Run> runs;
  std::vector<Span> records;
  Credit cost;

  // What records [first, first + n) of the frame cost.
  Credit Cost(uint32_t first, uint32_t n) const;
};

// Whether a ConsumeResponse holds a delivery.
bool IsDelivery(std::string_view frame);
// Reads a ConsumeResponse{delivery}; false if it is malformed or if its runs do
// not add up to its records.
bool ParseDelivery(std::string_view frame, FrameIndex* index);

}  // namespace internal
}  // namespace spillway::client
