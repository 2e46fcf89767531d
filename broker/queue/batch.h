// Records that were appended together.
#pragma once

#include <memory>
#include <string>

#include "broker/base/types.h"
#include "broker/wire/batch.h"

namespace spillway::queue {

// The store's place of an entry, as the core sees it: rising, opaque.
using LogPosition = uint64_t;

// Who sent a batch; kept with it on disk, so that a restart still recognises what
// is sent again.
struct Origin {
  std::shared_ptr<const std::string> producer_id;
  uint64_t epoch = 0;
  uint64_t first_sequence = 0;
};

// One publish frame, with consecutive offsets.
struct Batch {
  Offset first = 0;
  UnixMillis appended_at = 0;
  // Body bytes of all records appended to the lane before this batch.
  uint64_t bytes_before = 0;
  LogPosition position = 0;  // in the store, once it is there
  wire::Records records;
  Origin origin;

  Offset end() const { return first + records.count(); }
};

}  // namespace spillway::queue
