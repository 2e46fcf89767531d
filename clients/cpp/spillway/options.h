// Options of the client. Defaults are those of docs/registry.md, the same in every
// language; times are in milliseconds where the name says so.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "broker/base/registry.gen.h"
#include "clients/cpp/spillway/credit.h"
#include "clients/cpp/spillway/error.h"
#include "clients/cpp/spillway/range.h"

namespace spillway::client {

namespace defaults = registry::option;
using std::chrono::milliseconds;

// How long a call may wait. The default is for ever.
using Timeout = milliseconds;
inline constexpr Timeout kForever = milliseconds::max();

struct ClientOptions {
  // host:port. Empty: SPILLWAY_ADDRESS, or localhost:7420.
  std::string address;
  // PEM file of certificate authorities; turns TLS on. Empty: SPILLWAY_CA_FILE.
  std::string ca_file;
  // How the program names itself to operators.
  std::string name = "cpp";
  // How long one attempt to connect may take.
  milliseconds connect_timeout{defaults::kConnectTimeoutMs};
  // Whether opening a producer or consumer fails at the first failed attempt,
  // instead of trying again until connect_timeout.
  bool fail_fast = false;
  milliseconds keepalive_time{defaults::kKeepaliveTimeMs};
  milliseconds keepalive_timeout{defaults::kKeepaliveTimeoutMs};
  // Until Opened says otherwise.
  milliseconds heartbeat{defaults::kHeartbeatMs};
  milliseconds dead_after{defaults::kDeadAfterMs};
  // Reconnects: the first waits up to `base`, each further one up to twice as
  // long, with full jitter; from the base again after `reset_after` in good health.
  milliseconds reconnect_base{defaults::kReconnectBaseMs};
  milliseconds reconnect_max{defaults::kReconnectMaxMs};
  milliseconds reconnect_reset_after{defaults::kReconnectResetAfterMs};
  // Retries beyond successes, for all calls of the client. When they are used up
  // a reconnect waits between half of `reconnect_max` and all of it.
  double retry_budget_tokens = defaults::kRetryBudgetTokens;
  double retry_budget_per_success = defaults::kRetryBudgetPerSuccess;
};

struct ProducerOptions {
  std::string queue;
  // Names the producer across connections and processes. Empty: one is made up.
  // Two live producers with the same id fence each other.
  std::string producer_id;
  // A batch is sent when it reaches this; the broker's bounds cap it.
  uint64_t batch_bytes = defaults::kBatchBytes;
  uint32_t batch_records = defaults::kBatchRecords;
  // How long a record waits for company. 0: a stream with a write outstanding
  // batches by itself.
  milliseconds linger{defaults::kLingerMs};
};

// How the members of a group share its records; numbers of spillway.v1.GroupMode.
enum class GroupMode : uint8_t { kUnspecified = 0, kShared = 1, kExclusive = 2 };

// A place to begin. Default: earliest.
struct Start {
  enum class Kind : uint8_t { kDefault, kOffset, kTime, kEarliest, kLatest, kLast };
  Kind kind = Kind::kDefault;
  uint64_t value = 0;  // offset, Unix time in ms, or number of records

  static Start AtOffset(uint64_t offset) { return {Kind::kOffset, offset}; }
  static Start AtUnixMs(uint64_t time) { return {Kind::kTime, time}; }
  static Start Earliest() { return {Kind::kEarliest, 0}; }
  static Start Latest() { return {Kind::kLatest, 0}; }
  static Start Last(uint64_t records) { return {Kind::kLast, records}; }
};

// A place to end, exclusive. Default: never.
struct Stop {
  enum class Kind : uint8_t { kNever, kOffset, kTime, kTail };
  Kind kind = Kind::kNever;
  uint64_t value = 0;

  static Stop AtOffset(uint64_t offset) { return {Kind::kOffset, offset}; }
  static Stop AtUnixMs(uint64_t time) { return {Kind::kTime, time}; }
  // Where the tail is when the reader opens.
  static Stop AtTail() { return {Kind::kTail, 0}; }
};

// The numbers of spillway.v1.RevokeReason and GapReason.
enum class RevokeReason : uint8_t { kUnspecified, kDeadline, kStale, kSeek, kGone };
enum class GapReason : uint8_t { kUnspecified, kDropped, kRetention, kPurged, kLost };

class DeliveryBatch;

// What consumers and readers share.
struct ReceiveOptions {
  std::string queue;
  // What may be held at once. The bytes are raised to one largest message.
  uint64_t max_in_flight_messages = defaults::kMaxInFlightMessages;
  uint64_t max_in_flight_bytes = defaults::kMaxInFlightBytes;
  // How many are wanted in all; the broker sends no more. 0: any number.
  uint64_t max_messages = 0;
  // If set, batches go here on the I/O thread instead of to Next(): no hand-over
  // between threads, so do not block in it.
  std::function<void(DeliveryBatch)> on_batch;
  // Records that were taken back, and offsets that will not come; on the I/O thread.
  std::function<void(const std::vector<OffsetRange>&, RevokeReason)> on_revoke;
  std::function<void(const std::vector<OffsetRange>&, GapReason)> on_gap;
};

struct ConsumerOptions : ReceiveOptions {
  std::string group;
  // kUnspecified joins the group as it is, or creates it SHARED.
  GroupMode mode = GroupMode::kUnspecified;
  // Where a group that does not exist yet begins.
  Start start;
};

struct ReaderOptions : ReceiveOptions {
  Start start;
  Stop stop;
  // At most this many messages per second; 0: as fast as credit allows.
  uint64_t rate_messages_per_second = 0;
};

}  // namespace spillway::client
