// Reads a PublishRequest frame without decoding its records.
#pragma once

#include <cstdint>
#include <string_view>

#include "broker/base/error.h"
#include "broker/wire/batch.h"
#include "broker/wire/buffer.h"

namespace spillway::wire {

// Bounds that hold for every record, whatever the queue.
struct RecordLimits {
  uint32_t max_batch_records = 10'000;
  uint32_t max_key_bytes = 1'024;
  uint32_t max_headers = 64;
  uint32_t max_headers_bytes = 16 << 10;
  uint32_t max_header_name_bytes = 255;
};

struct PublishFrame {
  uint64_t first_sequence = 0;
  uint32_t partition = 0;
  Records records;
};

// Whether the frame's oneof is `publish` (by its first tag); others are small
// and are decoded by protobuf.
bool IsPublish(std::string_view frame);

// Scans a whole PublishRequest{publish} that was copied into `frame`. Checks the
// structure of each record (wire types, lengths, header names in UTF-8, the
// limits) so that no consumer ever meets one that it cannot decode; unknown
// fields within records are kept. The result shares `frame`'s memory. Errors:
// INVALID_ARGUMENT or TOO_LARGE that name the field
// ("publish.records[3].headers"). Nothing is taken on error.
Result<PublishFrame> ScanPublish(const Buffer& frame, const RecordLimits& limits);

// The same for the encoded `records` fields alone, as stored; used when a stored
// batch is read back. `count` must match.
Result<Records> ScanStored(const Buffer& buffer, uint32_t begin, uint32_t length, uint32_t count);

}  // namespace spillway::wire
