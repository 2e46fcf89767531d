// A queue's tunables as the core reads them: all set, all within range.
#pragma once

#include <cstdint>

#include "broker/base/types.h"

namespace spillway::queue {

enum class Overflow : uint8_t { kSpill = 1, kBlock = 2, kReject = 3, kDropOldest = 4 };
enum class Retention : uint8_t { kUntilSettled = 1, kLimits = 2 };
enum class GroupMode : uint8_t { kShared = 1, kExclusive = 2 };

// The fields, units and numbers of spillway.v1.QueueTuning. The defaults and
// ranges are those of proto/registry.toml, checked where requests are read
// (runtime/tuning_codec).
struct Tuning {
  uint64_t window_messages = 0;
  uint64_t window_bytes = 0;
  uint64_t max_message_bytes = 0;
  Durability durability = Durability::kSynced;
  Overflow overflow = Overflow::kSpill;
  uint64_t disk_quota_bytes = 0;
  Retention retention = Retention::kUntilSettled;
  uint64_t retention_age_ms = 0;
  uint64_t retention_bytes = 0;
  uint64_t ack_deadline_ms = 0;
  uint32_t max_attempts = 0;
  uint64_t backoff_initial_ms = 0;
  uint64_t backoff_max_ms = 0;
  uint64_t max_in_flight_messages = 0;
  uint64_t max_in_flight_bytes = 0;
};

}  // namespace spillway::queue
