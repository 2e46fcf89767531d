// Records, as an application gives and gets them.
#pragma once

#include <grpcpp/support/slice.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clients/cpp/spillway/credit.h"

namespace spillway::client {

struct Header {
  // Valid UTF-8, 1 to 255 bytes.
  std::string_view name;
  std::string_view value;
};

// A message to publish. Only views: what they show must live until the call that
// takes the message returns.
struct Message {
  std::string_view payload;
  // Groups related records; empty: none. At most 1,024 bytes.
  std::string_view key = {};
  // At most 64, and 16 KiB together; order and repetition are kept.
  std::span<const Header> headers = {};
};

// The credit that a message costs in bytes: the length of its encoded Record.
uint64_t EncodedBytes(const Message& message);

// Records that are encoded already: made once, published any number of times
// without being copied. Immutable; copies share the bytes.
class EncodedBatch {
 public:
  EncodedBatch() = default;
  uint32_t size() const { return ends_ == nullptr ? 0 : static_cast<uint32_t>(ends_->size()); }
  bool empty() const { return size() == 0; }
  // What the whole batch costs.
  Credit cost() const { return cost_; }

 private:
  friend class BatchBuilder;
  friend struct EncodedBatchAccess;
  // `records` fields of a PublishBatch, back to back; where each ends; where each
  // body begins follows from its own length.
  grpc::Slice fields_;
  std::shared_ptr<const std::vector<uint32_t>> ends_;
  Credit cost_;
};

// Collects messages into an EncodedBatch. Not thread-safe.
class BatchBuilder {
 public:
  void Add(const Message& message);
  uint32_t size() const { return static_cast<uint32_t>(ends_.size()); }
  // Encoded bytes so far, tags and lengths included.
  uint64_t frame_bytes() const { return fields_.size(); }
  // What was added; the builder is empty again.
  EncodedBatch Build();

 private:
  std::string fields_;
  std::vector<uint32_t> ends_;
  Credit cost_;
};

// One received record: a view into a DeliveryBatch, valid as long as that is.
class RecordView {
 public:
  RecordView(uint64_t offset, uint64_t appended_at_unix_ms, uint32_t attempt,
             std::string_view encoded);

  uint64_t offset() const { return offset_; }
  // When the broker appended it, in milliseconds since the Unix epoch.
  uint64_t appended_at_unix_ms() const { return appended_at_unix_ms_; }
  // Which delivery to the group this is: 1 is the first. 0 for readers.
  uint32_t attempt() const { return attempt_; }
  std::string_view payload() const { return payload_; }
  std::string_view key() const { return key_; }
  // In order, with repetitions. Decoded at each call.
  std::vector<Header> headers() const;
  // The encoded Record, unknown fields included; its length is its credit.
  std::string_view encoded() const { return encoded_; }

 private:
  uint64_t offset_;
  uint64_t appended_at_unix_ms_;
  uint32_t attempt_;
  std::string_view encoded_;
  std::string_view payload_;
  std::string_view key_;
};

}  // namespace spillway::client
