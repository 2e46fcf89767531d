// Code generated from proto/registry.toml by tools/generate. DO NOT EDIT.

//! Names and numbers that the broker and its clients share.
#![allow(dead_code)] // the registry is whole, whatever this client uses of it

use std::time::Duration;

/// A field of `QueueTuning`. Enums are their numbers, from 1 to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunable {
    /// The name of the field.
    pub name: &'static str,
    /// The unit; empty for enums.
    pub unit: &'static str,
    /// The number of the field in `QueueTuning`.
    pub field_number: u32,
    /// The default.
    pub default: u64,
    /// The lowest value that may be asked for.
    pub min: u64,
    /// The highest value that may be asked for.
    pub max: u64,
}

/// In the order of `QueueTuning`.
pub const TUNABLES: [Tunable; 15] = [
    Tunable {
        name: "window_messages",
        unit: "messages",
        field_number: 1,
        default: 1_000_000,
        min: 1,
        max: 100_000_000,
    },
    Tunable {
        name: "window_bytes",
        unit: "bytes",
        field_number: 2,
        default: 67_108_864,
        min: 1_024,
        max: 1_099_511_627_776,
    },
    Tunable {
        name: "max_message_bytes",
        unit: "bytes",
        field_number: 3,
        default: 4_194_304,
        min: 1_024,
        max: 67_108_864,
    },
    Tunable {
        name: "durability",
        unit: "",
        field_number: 4,
        default: 3,
        min: 1,
        max: 3,
    },
    Tunable {
        name: "overflow",
        unit: "",
        field_number: 5,
        default: 1,
        min: 1,
        max: 4,
    },
    Tunable {
        name: "disk_quota_bytes",
        unit: "bytes",
        field_number: 6,
        default: 10_737_418_240,
        min: 1_024,
        max: 1_125_899_906_842_624,
    },
    Tunable {
        name: "retention",
        unit: "",
        field_number: 7,
        default: 1,
        min: 1,
        max: 2,
    },
    Tunable {
        name: "retention_age_ms",
        unit: "ms",
        field_number: 8,
        default: 86_400_000,
        min: 0,
        max: 315_360_000_000,
    },
    Tunable {
        name: "retention_bytes",
        unit: "bytes",
        field_number: 9,
        default: 10_737_418_240,
        min: 0,
        max: 1_125_899_906_842_624,
    },
    Tunable {
        name: "ack_deadline_ms",
        unit: "ms",
        field_number: 10,
        default: 30_000,
        min: 100,
        max: 43_200_000,
    },
    Tunable {
        name: "max_attempts",
        unit: "attempts",
        field_number: 11,
        default: 5,
        min: 1,
        max: 1_000,
    },
    Tunable {
        name: "backoff_initial_ms",
        unit: "ms",
        field_number: 12,
        default: 200,
        min: 1,
        max: 3_600_000,
    },
    Tunable {
        name: "backoff_max_ms",
        unit: "ms",
        field_number: 13,
        default: 30_000,
        min: 1,
        max: 86_400_000,
    },
    Tunable {
        name: "max_in_flight_messages",
        unit: "messages",
        field_number: 14,
        default: 100_000,
        min: 1,
        max: 10_000_000,
    },
    Tunable {
        name: "max_in_flight_bytes",
        unit: "bytes",
        field_number: 15,
        default: 67_108_864,
        min: 1_024,
        max: 1_099_511_627_776,
    },
];

/// The protocol that this version speaks.
pub const LIMIT_PROTOCOL_VERSION: u64 = 1;
/// Names of queues, groups and producers: `[A-Za-z0-9._-]`, no leading dot.
pub const LIMIT_MAX_NAME_BYTES: u64 = 255;
/// How a client names itself in Open.
pub const LIMIT_MAX_CLIENT_BYTES: u64 = 255;
/// The largest Publish frame; a single record may exceed it, up to max_message_bytes.
pub const LIMIT_MAX_BATCH_BYTES: u64 = 1_048_576;
/// Records in a Publish frame.
pub const LIMIT_MAX_BATCH_RECORDS: u64 = 10_000;
/// A record's key.
pub const LIMIT_MAX_KEY_BYTES: u64 = 1_024;
/// Headers of a record.
pub const LIMIT_MAX_HEADERS: u64 = 64;
/// All encoded headers of a record together.
pub const LIMIT_MAX_HEADERS_BYTES: u64 = 16_384;
/// A header's name: valid UTF-8, not empty.
pub const LIMIT_MAX_HEADER_NAME_BYTES: u64 = 255;
/// Why a record is retried or parked, for people.
pub const LIMIT_MAX_REASON_BYTES: u64 = 1_024;
/// Ranges of offsets that a resuming consumer may state.
pub const LIMIT_MAX_HELD_RANGES: u64 = 10_000;
/// Ranges that a consumer has settled and keeps until a Pong says that the broker took them; past it the oldest are forgotten.
pub const LIMIT_MAX_UNANSWERED_SETTLE_RANGES: u64 = 4_096;
/// Entries of one page of a list, records of one Peek.
pub const LIMIT_MAX_PAGE_SIZE: u64 = 1_000;
/// Records of one Peek that names no number.
pub const LIMIT_DEFAULT_PEEK_MESSAGES: u64 = 10;
/// Records of one page of ListParked that names no number.
pub const LIMIT_DEFAULT_PARKED_PAGE_SIZE: u64 = 100;
/// Bytes of one Peek; at least one record always comes.
pub const LIMIT_MAX_PEEK_BYTES: u64 = 1_048_576;
/// The interval of Watch where none is named.
pub const LIMIT_DEFAULT_WATCH_INTERVAL_MS: u64 = 1_000;
/// The shortest interval of Watch.
pub const LIMIT_MIN_WATCH_INTERVAL_MS: u64 = 100;
/// The longest interval of Watch.
pub const LIMIT_MAX_WATCH_INTERVAL_MS: u64 = 60_000;
/// A stream that has sent no Open after this is closed with TIMED_OUT.
pub const LIMIT_OPEN_TIMEOUT_MS: u64 = 5_000;
/// How often a side sends Ping when it has sent nothing else; told in Opened.
pub const LIMIT_HEARTBEAT_MS: u64 = 5_000;
/// After this silence the other side is taken for dead; told in Opened.
pub const LIMIT_DEAD_AFTER_MS: u64 = 15_000;
/// How long a draining broker waits for what is credited.
pub const LIMIT_DRAIN_DEADLINE_MS: u64 = 20_000;
/// Streams of one broker.
pub const LIMIT_MAX_SESSIONS: u64 = 20_000;
/// Queues of one broker.
pub const LIMIT_MAX_QUEUES: u64 = 10_000;

/// Where the broker listens.
pub const DEFAULT_ADDRESS: &str = "localhost:7420";
/// How long one attempt to connect may take.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_millis(5_000);
/// The lowest value of the option.
pub const MIN_CONNECT_TIMEOUT: Duration = Duration::from_millis(1);
/// HTTP/2 keepalive: silence before a ping, with or without calls.
pub const DEFAULT_KEEPALIVE_TIME: Duration = Duration::from_millis(20_000);
/// The lowest value of the option.
pub const MIN_KEEPALIVE_TIME: Duration = Duration::from_millis(10_000);
/// HTTP/2 keepalive: how long to wait for the answer.
pub const DEFAULT_KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(10_000);
/// The lowest value of the option.
pub const MIN_KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(1);
/// Silence before a Ping in the stream, until Opened says otherwise.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_millis(5_000);
/// The lowest value of the option.
pub const MIN_HEARTBEAT: Duration = Duration::from_millis(100);
/// Silence after which the broker is taken for dead, until Opened says otherwise.
pub const DEFAULT_DEAD_AFTER: Duration = Duration::from_millis(15_000);
/// The lowest value of the option.
pub const MIN_DEAD_AFTER: Duration = Duration::from_millis(200);
/// The first reconnect waits up to this; each further one up to twice as long, with full jitter.
pub const DEFAULT_RECONNECT_BASE: Duration = Duration::from_millis(100);
/// The lowest value of the option.
pub const MIN_RECONNECT_BASE: Duration = Duration::from_millis(1);
/// The longest wait before a reconnect.
pub const DEFAULT_RECONNECT_MAX: Duration = Duration::from_millis(20_000);
/// The lowest value of the option.
pub const MIN_RECONNECT_MAX: Duration = Duration::from_millis(1);
/// After this long in good health the waits start from the base again.
pub const DEFAULT_RECONNECT_RESET_AFTER: Duration = Duration::from_millis(30_000);
/// The lowest value of the option.
pub const MIN_RECONNECT_RESET_AFTER: Duration = Duration::from_millis(0);
/// Retries that a client may make beyond its successes; one budget for all its calls.
pub const DEFAULT_RETRY_BUDGET_TOKENS: u64 = 10;
/// The lowest value of the option.
pub const MIN_RETRY_BUDGET_TOKENS: u64 = 1;
/// What each success gives back to the retry budget.
pub const DEFAULT_RETRY_BUDGET_PER_SUCCESS: f64 = 0.1;
/// The lowest value of the option.
pub const MIN_RETRY_BUDGET_PER_SUCCESS: f64 = 0.0;
/// The highest value of the option.
pub const MAX_RETRY_BUDGET_PER_SUCCESS: f64 = 1.0;
/// A batch is sent when it reaches this; the broker's max_batch_bytes caps it.
pub const DEFAULT_BATCH_BYTES: u64 = 1_048_576;
/// The lowest value of the option.
pub const MIN_BATCH_BYTES: u64 = 1;
/// The highest value of the option.
pub const MAX_BATCH_BYTES: u64 = 1_048_576;
/// A batch is sent when it reaches this; the broker's max_batch_records caps it.
pub const DEFAULT_BATCH_RECORDS: u64 = 10_000;
/// The lowest value of the option.
pub const MIN_BATCH_RECORDS: u64 = 1;
/// The highest value of the option.
pub const MAX_BATCH_RECORDS: u64 = 10_000;
/// How long a record waits for company. 0: a stream with a write outstanding batches by itself.
pub const DEFAULT_LINGER: Duration = Duration::from_millis(0);
/// The lowest value of the option.
pub const MIN_LINGER: Duration = Duration::from_millis(0);
/// The highest value of the option.
pub const MAX_LINGER: Duration = Duration::from_millis(60_000);
/// Records that a consumer or reader may hold unsettled.
pub const DEFAULT_MAX_IN_FLIGHT_MESSAGES: u64 = 1_000;
/// The lowest value of the option.
pub const MIN_MAX_IN_FLIGHT_MESSAGES: u64 = 1;
/// Bytes that a consumer or reader may hold unsettled.
pub const DEFAULT_MAX_IN_FLIGHT_BYTES: u64 = 16_777_216;
/// The lowest value of the option.
pub const MIN_MAX_IN_FLIGHT_BYTES: u64 = 1;
/// How long a delivery's deadline is extended automatically after the application took it.
pub const DEFAULT_MAX_PROCESSING: Duration = Duration::from_millis(300_000);
/// The lowest value of the option.
pub const MIN_MAX_PROCESSING: Duration = Duration::from_millis(0);
/// How long acknowledgements gather while credit is left and other deliveries are in work.
pub const DEFAULT_ACK_LINGER: Duration = Duration::from_millis(1);
/// The lowest value of the option.
pub const MIN_ACK_LINGER: Duration = Duration::from_millis(0);
/// The highest value of the option.
pub const MAX_ACK_LINGER: Duration = Duration::from_millis(1_000);
/// Records that a replay may hold that the application has not seen.
pub const DEFAULT_REPLAY_MESSAGES: u64 = 100_000;
/// The lowest value of the option.
pub const MIN_REPLAY_MESSAGES: u64 = 1;
/// Handlers that a consumer's loop runs at a time.
pub const DEFAULT_CONCURRENCY: u64 = 1;
/// The lowest value of the option.
pub const MIN_CONCURRENCY: u64 = 1;
/// How long closing waits for confirmations and settles.
pub const DEFAULT_CLOSE_TIMEOUT: Duration = Duration::from_millis(20_000);
/// The lowest value of the option.
pub const MIN_CLOSE_TIMEOUT: Duration = Duration::from_millis(0);

/// Address of the broker, host:port.
pub const ENV_ADDRESS: &str = "SPILLWAY_ADDRESS";
/// PEM file of certificate authorities; turns TLS on.
pub const ENV_CA_FILE: &str = "SPILLWAY_CA_FILE";
/// File that holds the token; read again when it changes.
pub const ENV_TOKEN_FILE: &str = "SPILLWAY_TOKEN_FILE";

/// A value of `ErrorKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorKindInfo {
    /// The number in the protocol.
    pub number: i32,
    /// The name in the protocol, without its prefix.
    pub name: &'static str,
    /// The gRPC status code that goes with it.
    pub grpc_code: i32,
    /// Whether the client repeats or reconnects by itself.
    pub retryable: bool,
    /// What it means.
    pub doc: &'static str,
}

/// In the order of `ErrorKind`, without UNSPECIFIED.
pub const ERROR_KINDS: [ErrorKindInfo; 23] = [
    ErrorKindInfo {
        number: 1,
        name: "INVALID_ARGUMENT",
        grpc_code: 3,
        retryable: false,
        doc: "A field is malformed or out of range; `field` names it.",
    },
    ErrorKindInfo {
        number: 2,
        name: "TOO_LARGE",
        grpc_code: 3,
        retryable: false,
        doc: "More bytes, records or headers than `limit` allows.",
    },
    ErrorKindInfo {
        number: 3,
        name: "NOT_FOUND",
        grpc_code: 5,
        retryable: false,
        doc: "No such queue, group or session.",
    },
    ErrorKindInfo {
        number: 4,
        name: "ALREADY_EXISTS",
        grpc_code: 6,
        retryable: false,
        doc: "The queue exists already.",
    },
    ErrorKindInfo {
        number: 5,
        name: "REVISION_MISMATCH",
        grpc_code: 10,
        retryable: false,
        doc: "The queue changed since the revision that the caller expected; get it again.",
    },
    ErrorKindInfo {
        number: 6,
        name: "QUEUE_FULL",
        grpc_code: 8,
        retryable: false,
        doc: "The queue is full and its policy is to refuse.",
    },
    ErrorKindInfo {
        number: 7,
        name: "LIMIT_REACHED",
        grpc_code: 8,
        retryable: true,
        doc: "A bounded resource of the broker is used up; `limit` says where.",
    },
    ErrorKindInfo {
        number: 8,
        name: "CREDIT_EXCEEDED",
        grpc_code: 9,
        retryable: false,
        doc: "A frame held more than the credit allowed; the stream ends.",
    },
    ErrorKindInfo {
        number: 9,
        name: "CREDIT_REGRESSED",
        grpc_code: 9,
        retryable: false,
        doc: "A total of credit fell within an epoch; the stream ends.",
    },
    ErrorKindInfo {
        number: 10,
        name: "COUNTER_MISMATCH",
        grpc_code: 9,
        retryable: false,
        doc: "The two sides' counters differ beyond what is in flight; the stream ends.",
    },
    ErrorKindInfo {
        number: 11,
        name: "SEQUENCE_GAP",
        grpc_code: 9,
        retryable: false,
        doc: "A sequence was skipped; the stream ends.",
    },
    ErrorKindInfo {
        number: 12,
        name: "FENCED",
        grpc_code: 10,
        retryable: false,
        doc: "A newer stream took over this producer id, or the frame names another epoch.",
    },
    ErrorKindInfo {
        number: 13,
        name: "OUT_OF_RANGE",
        grpc_code: 11,
        retryable: false,
        doc: "The offset lies below the head or above the tail, which the error names.",
    },
    ErrorKindInfo {
        number: 14,
        name: "PROTOCOL",
        grpc_code: 9,
        retryable: false,
        doc: "A frame that the stream's state does not allow.",
    },
    ErrorKindInfo {
        number: 15,
        name: "TIMED_OUT",
        grpc_code: 4,
        retryable: true,
        doc: "Nothing arrived in time.",
    },
    ErrorKindInfo {
        number: 16,
        name: "SLOW_READER",
        grpc_code: 8,
        retryable: true,
        doc: "The peer does not read what it asked for; the stream ends.",
    },
    ErrorKindInfo {
        number: 17,
        name: "EXCLUSIVE",
        grpc_code: 9,
        retryable: false,
        doc: "The group is EXCLUSIVE and has a member.",
    },
    ErrorKindInfo {
        number: 18,
        name: "UNAVAILABLE",
        grpc_code: 14,
        retryable: true,
        doc: "The broker is draining or not ready; try again.",
    },
    ErrorKindInfo {
        number: 19,
        name: "STORE_FAILED",
        grpc_code: 14,
        retryable: true,
        doc: "The store failed; the queue refuses to serve until the broker is restarted.",
    },
    ErrorKindInfo {
        number: 20,
        name: "CORRUPT",
        grpc_code: 15,
        retryable: false,
        doc: "Stored data does not match its checksum.",
    },
    ErrorKindInfo {
        number: 21,
        name: "CLOSED",
        grpc_code: 1,
        retryable: false,
        doc: "The queue was deleted, or an operator closed the session.",
    },
    ErrorKindInfo {
        number: 22,
        name: "UNSUPPORTED",
        grpc_code: 12,
        retryable: false,
        doc: "The client speaks a protocol that the broker does not.",
    },
    ErrorKindInfo {
        number: 23,
        name: "INTERNAL",
        grpc_code: 13,
        retryable: false,
        doc: "A defect of the broker.",
    },
];

/// Records that a producer handed over and that were confirmed or failed.
pub const METRIC_MESSAGING_CLIENT_SENT_MESSAGES: &str = "messaging.client.sent.messages";
/// Records delivered to the application.
pub const METRIC_MESSAGING_CLIENT_CONSUMED_MESSAGES: &str = "messaging.client.consumed.messages";
/// Seconds from publish to confirmation, and of each settle.
pub const METRIC_MESSAGING_CLIENT_OPERATION_DURATION: &str = "messaging.client.operation.duration";
/// Seconds from delivery to settle, as the application took them.
pub const METRIC_MESSAGING_PROCESS_DURATION: &str = "messaging.process.duration";
/// Seconds that a producer waited for credit, by the reason of the broker's last grant.
pub const METRIC_SPILLWAY_CLIENT_CREDIT_WAIT_DURATION: &str =
    "spillway.client.credit.wait.duration";
/// Streams that were opened again after a break.
pub const METRIC_SPILLWAY_CLIENT_RECONNECTS: &str = "spillway.client.reconnects";
