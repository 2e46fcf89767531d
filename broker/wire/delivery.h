// A delivery before it is a frame: runs of offsets, and the records' bytes by
// reference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "broker/base/types.h"
#include "broker/wire/buffer.h"

namespace spillway::wire {

struct DeliveryRun {
  Offset first = 0;
  uint32_t count = 0;
  UnixMillis appended_at = 0;
  uint32_t attempt = 0;  // 0 for readers
};

struct Delivery {
  uint32_t partition = 0;
  absl::InlinedVector<DeliveryRun, 4> runs;
  // Encoded `records` fields, in the order of the runs.
  absl::InlinedVector<Slice, 4> fields;
  // What it costs of the consumer's credit.
  Credit cost;
};

// The bytes of a ConsumeResponse{delivery} that precede delivery.fields; the
// frame is this header followed by the fields as they are.
std::string EncodeDeliveryHeader(const Delivery& delivery);

}  // namespace spillway::wire
