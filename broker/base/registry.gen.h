// Code generated from proto/registry.toml by tools/generate. DO NOT EDIT.
//
// Names and numbers that the broker and its clients share; docs/registry.md
// explains each.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace spillway::registry {

// A field of QueueTuning. Enums are their numbers, from 1 to `max`.
struct Tunable {
  std::string_view name;
  std::string_view unit;  // empty for enums
  int field_number = 0;   // in QueueTuning
  uint64_t default_value = 0;
  uint64_t min = 0;
  uint64_t max = 0;
  std::string_view doc;
};

namespace tuning {
inline constexpr Tunable kWindowMessages = {
    "window_messages",
    "messages",
    1,
    1000000u,
    1u,
    100000000u,
    "Records that may be resident or promised to producers."};
inline constexpr Tunable kWindowBytes = {"window_bytes",
                                         "bytes",
                                         2,
                                         67108864u,
                                         1024u,
                                         1099511627776u,
                                         "Bytes that may be resident or promised to producers."};
inline constexpr Tunable kMaxMessageBytes = {
    "max_message_bytes", "bytes", 3, 4194304u, 1024u, 67108864u, "The largest encoded record."};
inline constexpr Tunable kDurability = {
    "durability", "", 4, 3u, 1u, 3u, "What a confirmation means."};
inline constexpr Tunable kOverflow = {
    "overflow", "", 5, 1u, 1u, 4u, "What happens when the window is full."};
inline constexpr Tunable kDiskQuotaBytes = {
    "disk_quota_bytes",
    "bytes",
    6,
    10737418240u,
    1024u,
    1125899906842624u,
    "The most bytes that unsettled records may take on disk under SPILL; then the queue blocks."};
inline constexpr Tunable kRetention = {
    "retention", "", 7, 1u, 1u, 2u, "When records may be removed."};
inline constexpr Tunable kRetentionAgeMs = {"retention_age_ms",
                                            "ms",
                                            8,
                                            86400000u,
                                            0u,
                                            315360000000u,
                                            "With LIMITS: records older than this are removed."};
inline constexpr Tunable kRetentionBytes = {
    "retention_bytes",
    "bytes",
    9,
    10737418240u,
    0u,
    1125899906842624u,
    "With LIMITS: the oldest records are removed beyond this."};
inline constexpr Tunable kAckDeadlineMs = {
    "ack_deadline_ms",
    "ms",
    10,
    30000u,
    100u,
    43200000u,
    "After this without settle or extend, a record goes to another member."};
inline constexpr Tunable kMaxAttempts = {"max_attempts",
                                         "attempts",
                                         11,
                                         5u,
                                         1u,
                                         1000u,
                                         "Deliveries to a group before a record is parked."};
inline constexpr Tunable kBackoffInitialMs = {
    "backoff_initial_ms",
    "ms",
    12,
    200u,
    1u,
    3600000u,
    "The delay before the second attempt; it doubles with each further one and varies by a fifth "
    "either way."};
inline constexpr Tunable kBackoffMaxMs = {
    "backoff_max_ms", "ms", 13, 30000u, 1u, 86400000u, "The longest delay between attempts."};
inline constexpr Tunable kMaxInFlightMessages = {
    "max_in_flight_messages",
    "messages",
    14,
    100000u,
    1u,
    10000000u,
    "The operator's clamp on the records that one consumer may have in flight."};
inline constexpr Tunable kMaxInFlightBytes = {
    "max_in_flight_bytes",
    "bytes",
    15,
    67108864u,
    1024u,
    1099511627776u,
    "The operator's clamp on the bytes that one consumer may have in flight."};
}  // namespace tuning

// In the order of QueueTuning.
inline constexpr std::array<Tunable, 15> kTunables = {
    tuning::kWindowMessages,   tuning::kWindowBytes,
    tuning::kMaxMessageBytes,  tuning::kDurability,
    tuning::kOverflow,         tuning::kDiskQuotaBytes,
    tuning::kRetention,        tuning::kRetentionAgeMs,
    tuning::kRetentionBytes,   tuning::kAckDeadlineMs,
    tuning::kMaxAttempts,      tuning::kBackoffInitialMs,
    tuning::kBackoffMaxMs,     tuning::kMaxInFlightMessages,
    tuning::kMaxInFlightBytes,
};

// `low` must not exceed `high`.
struct Relation {
  std::string_view low;
  std::string_view high;
  std::string_view doc;
};

inline constexpr std::array<Relation, 3> kRelations = {{
    {"max_message_bytes", "window_bytes", "A grant must be able to grow to one largest message."},
    {"max_message_bytes", "max_in_flight_bytes",
     "A consumer must be able to receive one largest message."},
    {"backoff_initial_ms", "backoff_max_ms", "Delays grow from the first to the longest."},
}};

// Fixed bounds.
namespace limit {
// The protocol that this version speaks.
inline constexpr uint64_t kProtocolVersion = 1u;
// Names of queues, groups and producers: `[A-Za-z0-9._-]`, no leading dot.
inline constexpr uint64_t kMaxNameBytes = 255u;
// How a client names itself in Open.
inline constexpr uint64_t kMaxClientBytes = 255u;
// The largest Publish frame; a single record may exceed it, up to max_message_bytes.
inline constexpr uint64_t kMaxBatchBytes = 1048576u;
// Records in a Publish frame.
inline constexpr uint64_t kMaxBatchRecords = 10000u;
// A record's key.
inline constexpr uint64_t kMaxKeyBytes = 1024u;
// Headers of a record.
inline constexpr uint64_t kMaxHeaders = 64u;
// All encoded headers of a record together.
inline constexpr uint64_t kMaxHeadersBytes = 16384u;
// A header's name: valid UTF-8, not empty.
inline constexpr uint64_t kMaxHeaderNameBytes = 255u;
// Why a record is retried or parked, for people.
inline constexpr uint64_t kMaxReasonBytes = 1024u;
// Ranges of offsets that a resuming consumer may state.
inline constexpr uint64_t kMaxHeldRanges = 10000u;
// Ranges that a consumer has settled and keeps until a Pong says that the broker took them; past it
// the oldest are forgotten.
inline constexpr uint64_t kMaxUnansweredSettleRanges = 4096u;
// Entries of one page of a list, records of one Peek.
inline constexpr uint64_t kMaxPageSize = 1000u;
// Records of one Peek that names no number.
inline constexpr uint64_t kDefaultPeekMessages = 10u;
// Records of one page of ListParked that names no number.
inline constexpr uint64_t kDefaultParkedPageSize = 100u;
// Bytes of one Peek; at least one record always comes.
inline constexpr uint64_t kMaxPeekBytes = 1048576u;
// The interval of Watch where none is named.
inline constexpr uint64_t kDefaultWatchIntervalMs = 1000u;
// The shortest interval of Watch.
inline constexpr uint64_t kMinWatchIntervalMs = 100u;
// The longest interval of Watch.
inline constexpr uint64_t kMaxWatchIntervalMs = 60000u;
// A stream that has sent no Open after this is closed with TIMED_OUT.
inline constexpr uint64_t kOpenTimeoutMs = 5000u;
// How often a side sends Ping when it has sent nothing else; told in Opened.
inline constexpr uint64_t kHeartbeatMs = 5000u;
// After this silence the other side is taken for dead; told in Opened.
inline constexpr uint64_t kDeadAfterMs = 15000u;
// How long a draining broker waits for what is credited.
inline constexpr uint64_t kDrainDeadlineMs = 20000u;
// Streams of one broker.
inline constexpr uint64_t kMaxSessions = 20000u;
// Queues of one broker.
inline constexpr uint64_t kMaxQueues = 10000u;
}  // namespace limit

// Defaults and ranges of client options.
namespace option {
// Where the broker listens.
inline constexpr std::string_view kAddress = "localhost:7420";
// How long one attempt to connect may take.
inline constexpr uint64_t kConnectTimeoutMs = 5000;
inline constexpr uint64_t kConnectTimeoutMsMin = 1;
// HTTP/2 keepalive: silence before a ping, with or without calls.
inline constexpr uint64_t kKeepaliveTimeMs = 20000;
inline constexpr uint64_t kKeepaliveTimeMsMin = 10000;
// HTTP/2 keepalive: how long to wait for the answer.
inline constexpr uint64_t kKeepaliveTimeoutMs = 10000;
inline constexpr uint64_t kKeepaliveTimeoutMsMin = 1;
// Silence before a Ping in the stream, until Opened says otherwise.
inline constexpr uint64_t kHeartbeatMs = 5000;
inline constexpr uint64_t kHeartbeatMsMin = 100;
// Silence after which the broker is taken for dead, until Opened says otherwise.
inline constexpr uint64_t kDeadAfterMs = 15000;
inline constexpr uint64_t kDeadAfterMsMin = 200;
// The first reconnect waits up to this; each further one up to twice as long, with full jitter.
inline constexpr uint64_t kReconnectBaseMs = 100;
inline constexpr uint64_t kReconnectBaseMsMin = 1;
// The longest wait before a reconnect.
inline constexpr uint64_t kReconnectMaxMs = 20000;
inline constexpr uint64_t kReconnectMaxMsMin = 1;
// After this long in good health the waits start from the base again.
inline constexpr uint64_t kReconnectResetAfterMs = 30000;
inline constexpr uint64_t kReconnectResetAfterMsMin = 0;
// Retries that a client may make beyond its successes; one budget for all its calls.
inline constexpr uint64_t kRetryBudgetTokens = 10;
inline constexpr uint64_t kRetryBudgetTokensMin = 1;
// What each success gives back to the retry budget.
inline constexpr double kRetryBudgetPerSuccess = 0.1;
inline constexpr double kRetryBudgetPerSuccessMin = 0.0;
inline constexpr double kRetryBudgetPerSuccessMax = 1.0;
// A batch is sent when it reaches this; the broker's max_batch_bytes caps it.
inline constexpr uint64_t kBatchBytes = 1048576;
inline constexpr uint64_t kBatchBytesMin = 1;
inline constexpr uint64_t kBatchBytesMax = 1048576;
// A batch is sent when it reaches this; the broker's max_batch_records caps it.
inline constexpr uint64_t kBatchRecords = 10000;
inline constexpr uint64_t kBatchRecordsMin = 1;
inline constexpr uint64_t kBatchRecordsMax = 10000;
// How long a record waits for company. 0: a stream with a write outstanding batches by itself.
inline constexpr uint64_t kLingerMs = 0;
inline constexpr uint64_t kLingerMsMin = 0;
inline constexpr uint64_t kLingerMsMax = 60000;
// Records that a consumer or reader may hold unsettled.
inline constexpr uint64_t kMaxInFlightMessages = 1000;
inline constexpr uint64_t kMaxInFlightMessagesMin = 1;
// Bytes that a consumer or reader may hold unsettled.
inline constexpr uint64_t kMaxInFlightBytes = 16777216;
inline constexpr uint64_t kMaxInFlightBytesMin = 1;
// How long a delivery's deadline is extended automatically after the application took it.
inline constexpr uint64_t kMaxProcessingMs = 300000;
inline constexpr uint64_t kMaxProcessingMsMin = 0;
// How long acknowledgements gather while credit is left and other deliveries are in work.
inline constexpr uint64_t kAckLingerMs = 1;
inline constexpr uint64_t kAckLingerMsMin = 0;
inline constexpr uint64_t kAckLingerMsMax = 1000;
// Records that a replay may hold that the application has not seen.
inline constexpr uint64_t kReplayMessages = 100000;
inline constexpr uint64_t kReplayMessagesMin = 1;
// Handlers that a consumer's loop runs at a time.
inline constexpr uint64_t kConcurrency = 1;
inline constexpr uint64_t kConcurrencyMin = 1;
// How long closing waits for confirmations and settles.
inline constexpr uint64_t kCloseTimeoutMs = 20000;
inline constexpr uint64_t kCloseTimeoutMsMin = 0;
}  // namespace option

// Environment variables.
namespace env {
// Address of the broker, host:port.
inline constexpr std::string_view kAddress = "SPILLWAY_ADDRESS";
// PEM file of certificate authorities; turns TLS on.
inline constexpr std::string_view kCaFile = "SPILLWAY_CA_FILE";
// File that holds the token; read again when it changes.
inline constexpr std::string_view kTokenFile = "SPILLWAY_TOKEN_FILE";
}  // namespace env

// A value of ErrorKind.
struct ErrorKindInfo {
  int number = 0;
  std::string_view name;
  int grpc_code = 0;
  bool retryable = false;  // a client repeats or reconnects by itself
  std::string_view doc;
};

// In the order of ErrorKind, without UNSPECIFIED.
inline constexpr std::array<ErrorKindInfo, 23> kErrorKinds = {{
    {1, "INVALID_ARGUMENT", 3, false, "A field is malformed or out of range; `field` names it."},
    {2, "TOO_LARGE", 3, false, "More bytes, records or headers than `limit` allows."},
    {3, "NOT_FOUND", 5, false, "No such queue, group or session."},
    {4, "ALREADY_EXISTS", 6, false, "The queue exists already."},
    {5, "REVISION_MISMATCH", 10, false,
     "The queue changed since the revision that the caller expected; get it again."},
    {6, "QUEUE_FULL", 8, false, "The queue is full and its policy is to refuse."},
    {7, "LIMIT_REACHED", 8, true,
     "A bounded resource of the broker is used up; `limit` says where."},
    {8, "CREDIT_EXCEEDED", 9, false, "A frame held more than the credit allowed; the stream ends."},
    {9, "CREDIT_REGRESSED", 9, false, "A total of credit fell within an epoch; the stream ends."},
    {10, "COUNTER_MISMATCH", 9, false,
     "The two sides' counters differ beyond what is in flight; the stream ends."},
    {11, "SEQUENCE_GAP", 9, false, "A sequence was skipped; the stream ends."},
    {12, "FENCED", 10, false,
     "A newer stream took over this producer id, or the frame names another epoch."},
    {13, "OUT_OF_RANGE", 11, false,
     "The offset lies below the head or above the tail, which the error names."},
    {14, "PROTOCOL", 9, false, "A frame that the stream's state does not allow."},
    {15, "TIMED_OUT", 4, true, "Nothing arrived in time."},
    {16, "SLOW_READER", 8, true, "The peer does not read what it asked for; the stream ends."},
    {17, "EXCLUSIVE", 9, false, "The group is EXCLUSIVE and has a member."},
    {18, "UNAVAILABLE", 14, true, "The broker is draining or not ready; try again."},
    {19, "STORE_FAILED", 14, true,
     "The store failed; the queue refuses to serve until the broker is restarted."},
    {20, "CORRUPT", 15, false, "Stored data does not match its checksum."},
    {21, "CLOSED", 1, false, "The queue was deleted, or an operator closed the session."},
    {22, "UNSUPPORTED", 12, false, "The client speaks a protocol that the broker does not."},
    {23, "INTERNAL", 13, false, "A defect of the broker."},
}};

enum class MetricKind : uint8_t { kCounter, kGauge, kHistogram };

// A metric of the broker.
struct Metric {
  std::string_view name;
  MetricKind kind = MetricKind::kGauge;
  std::array<std::string_view, 4> labels;  // unused ones are empty
  std::string_view help;
};

namespace metric {
inline constexpr Metric kQueueDepthMessages = {
    "spillway_queue_depth_messages",
    MetricKind::kGauge,
    {"queue"},
    "Records from the lowest unsettled one to the tail."};
inline constexpr Metric kQueueDepthBytes = {"spillway_queue_depth_bytes",
                                            MetricKind::kGauge,
                                            {"queue"},
                                            "Bytes from the lowest unsettled record to the tail."};
inline constexpr Metric kQueueOccupancyRatio = {
    "spillway_queue_occupancy_ratio",
    MetricKind::kGauge,
    {"queue", "tier"},
    "What is used of the window (tier memory) and of the disk quota (tier disk)."};
inline constexpr Metric kQueueOldestAgeSeconds = {
    "spillway_queue_oldest_age_seconds",
    MetricKind::kGauge,
    {"queue"},
    "Age of the oldest record that some group has not settled."};
inline constexpr Metric kPublishedMessagesTotal = {
    "spillway_published_messages_total", MetricKind::kCounter, {"queue"}, "Records appended."};
inline constexpr Metric kPublishedBytesTotal = {"spillway_published_bytes_total",
                                                MetricKind::kCounter,
                                                {"queue"},
                                                "Bytes of the records appended."};
inline constexpr Metric kDeliveredMessagesTotal = {"spillway_delivered_messages_total",
                                                   MetricKind::kCounter,
                                                   {"queue"},
                                                   "Records delivered, redeliveries included."};
inline constexpr Metric kDeliveredBytesTotal = {"spillway_delivered_bytes_total",
                                                MetricKind::kCounter,
                                                {"queue"},
                                                "Bytes of the records delivered."};
inline constexpr Metric kSettledMessagesTotal = {"spillway_settled_messages_total",
                                                 MetricKind::kCounter,
                                                 {"queue"},
                                                 "Records settled by groups."};
inline constexpr Metric kRedeliveredMessagesTotal = {"spillway_redelivered_messages_total",
                                                     MetricKind::kCounter,
                                                     {"queue"},
                                                     "Deliveries that were not the first attempt."};
inline constexpr Metric kDuplicatesTotal = {"spillway_duplicates_total",
                                            MetricKind::kCounter,
                                            {"queue"},
                                            "Records that were sent again and recognised."};
inline constexpr Metric kDroppedMessagesTotal = {"spillway_dropped_messages_total",
                                                 MetricKind::kCounter,
                                                 {"queue"},
                                                 "Records removed by DROP_OLDEST."};
inline constexpr Metric kParkedMessages = {
    "spillway_parked_messages", MetricKind::kGauge, {"queue"}, "Records that groups have parked."};
inline constexpr Metric kSpillMessagesTotal = {
    "spillway_spill_messages_total",
    MetricKind::kCounter,
    {"queue"},
    "Records that left memory for the disk because the window was full."};
inline constexpr Metric kSpillBytesTotal = {
    "spillway_spill_bytes_total",
    MetricKind::kCounter,
    {"queue"},
    "Bytes that left memory for the disk because the window was full."};
inline constexpr Metric kUnspillMessagesTotal = {"spillway_unspill_messages_total",
                                                 MetricKind::kCounter,
                                                 {"queue"},
                                                 "Records read back from the disk."};
inline constexpr Metric kCreditsAvailable = {
    "spillway_credits_available",
    MetricKind::kGauge,
    {"queue", "side", "unit"},
    "Unspent credit that producers hold (side producer), and that consumers gave (side consumer)."};
inline constexpr Metric kBackpressureSignalsTotal = {
    "spillway_backpressure_signals_total",
    MetricKind::kCounter,
    {"reason"},
    "Times that producers began to wait, by CreditReason."};
inline constexpr Metric kWalSyncDurationSeconds = {"spillway_wal_sync_duration_seconds",
                                                   MetricKind::kHistogram,
                                                   {},
                                                   "Time of one flush of the log to the device."};
inline constexpr Metric kCommitRecords = {
    "spillway_commit_records", MetricKind::kHistogram, {}, "Records written by one group commit."};
inline constexpr Metric kDeliveryLatencySeconds = {
    "spillway_delivery_latency_seconds",
    MetricKind::kHistogram,
    {"queue"},
    "From the arrival of a record to its first delivery."};
inline constexpr Metric kMemoryBytes = {"spillway_memory_bytes",
                                        MetricKind::kGauge,
                                        {"pool"},
                                        "Memory by pool, as the budget counts it."};
inline constexpr Metric kMemoryBudgetBytes = {
    "spillway_memory_budget_bytes", MetricKind::kGauge, {}, "The process's memory budget."};
inline constexpr Metric kDiskFreeBytes = {
    "spillway_disk_free_bytes", MetricKind::kGauge, {}, "Free space of the store's disk."};
inline constexpr Metric kStoreBytes = {
    "spillway_store_bytes", MetricKind::kGauge, {}, "What the store takes on disk."};
inline constexpr Metric kSessions = {
    "spillway_sessions", MetricKind::kGauge, {"kind"}, "Open streams, by SessionKind."};
inline constexpr Metric kConnections = {
    "spillway_connections", MetricKind::kGauge, {}, "Open connections."};
inline constexpr Metric kErrorsTotal = {"spillway_errors_total",
                                        MetricKind::kCounter,
                                        {"kind"},
                                        "Refusals and ended streams, by ErrorKind."};
inline constexpr Metric kLoopLagSeconds = {"spillway_loop_lag_seconds",
                                           MetricKind::kHistogram,
                                           {},
                                           "How late the shard thread was for its deadlines."};
inline constexpr Metric kDraining = {
    "spillway_draining", MetricKind::kGauge, {}, "1 while the broker drains."};
inline constexpr Metric kBuildInfo = {
    "spillway_build_info", MetricKind::kGauge, {"version"}, "Always 1."};
}  // namespace metric

}  // namespace spillway::registry
