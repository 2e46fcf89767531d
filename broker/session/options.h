// The numbers that bound a stream; defaults are the registry's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "broker/base/registry.gen.h"
#include "broker/base/types.h"
#include "broker/wire/publish_scan.h"

namespace spillway::session {

struct SessionOptions {
  MonoNanos open_timeout = registry::limit::kOpenTimeoutMs * kNanosPerMilli;
  MonoNanos heartbeat = registry::limit::kHeartbeatMs * kNanosPerMilli;
  MonoNanos dead_after = registry::limit::kDeadAfterMs * kNanosPerMilli;
  // A write that has not gone out after this: the peer does not read.
  MonoNanos slow_reader_after = 10'000 * kNanosPerMilli;
  // Deliveries stop while this much waits for the transport.
  size_t outbound_target_bytes = 512 << 10;
  // More than this waits: the peer asks faster than it reads, and is cut off.
  size_t outbound_max_bytes = 4 << 20;
  // Deliveries that wait are joined into frames of about this size.
  size_t delivery_frame_bytes = 256 << 10;
  // The largest Publish frame, unless it holds a single record.
  uint64_t max_batch_bytes = registry::limit::kMaxBatchBytes;
  // Offset ranges in one Settle or Extend.
  uint32_t max_ranges = 10'000;
  wire::RecordLimits records;
};

}  // namespace spillway::session
