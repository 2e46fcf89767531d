// How a batch of records lies in a data entry of the log.
//
//   version    1 byte   (1)
//   id_length  1 byte   producer id, 0 to 255 bytes
//   reserved   2 bytes  (0)
//   count      4 bytes  records, little endian like all that follows
//   appended   8 bytes  milliseconds since the Unix epoch
//   body_bytes 8 bytes  encoded records without tags and lengths
//   epoch      8 bytes  of the producer's stream
//   sequence   8 bytes  of the first record
//   id         id_length bytes
//   fields     the rest: `records` fields as they came (see broker.proto)
//
// The store adds its own header with kind, epoch and checksum.
#pragma once

#include <string_view>

#include "broker/base/error.h"
#include "broker/queue/batch.h"
#include "broker/storage/log_store.h"

namespace spillway::runtime {

// The entry to append for a batch; shares the batch's bytes.
storage::Record EncodeBatch(const queue::Batch& batch);

// What recovery needs of an entry, without looking at the records.
struct StoredBatchHeader {
  uint32_t count = 0;
  UnixMillis appended_at = 0;
  uint64_t body_bytes = 0;
  uint64_t epoch = 0;
  uint64_t first_sequence = 0;
  std::string_view producer_id;  // within the entry's body
  uint32_t fields_begin = 0;
};
// CORRUPT if the body cannot be one.
Result<StoredBatchHeader> DecodeBatchHeader(std::string_view body);

// The batch of an entry that was read back, without its origin.
Result<queue::Batch> DecodeBatch(const storage::Entry& entry);

}  // namespace spillway::runtime
