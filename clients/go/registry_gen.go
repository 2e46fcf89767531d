// Code generated from proto/registry.toml by tools/generate. DO NOT EDIT.

package spillway

import "time"

// tunable is a field of QueueTuning. Enums are their numbers, from 1 to max.
type tunable struct {
	name        string
	unit        string // empty for enums
	fieldNumber int32  // in QueueTuning
	def         uint64
	min         uint64
	max         uint64
}

// tunables are in the order of QueueTuning.
var tunables = []tunable{
	{name: "window_messages", unit: "messages", fieldNumber: 1, def: 1000000, min: 1, max: 100000000},
	{name: "window_bytes", unit: "bytes", fieldNumber: 2, def: 67108864, min: 1024, max: 1099511627776},
	{name: "max_message_bytes", unit: "bytes", fieldNumber: 3, def: 4194304, min: 1024, max: 67108864},
	{name: "durability", unit: "", fieldNumber: 4, def: 3, min: 1, max: 3},
	{name: "overflow", unit: "", fieldNumber: 5, def: 1, min: 1, max: 4},
	{name: "disk_quota_bytes", unit: "bytes", fieldNumber: 6, def: 10737418240, min: 1024, max: 1125899906842624},
	{name: "retention", unit: "", fieldNumber: 7, def: 1, min: 1, max: 2},
	{name: "retention_age_ms", unit: "ms", fieldNumber: 8, def: 86400000, min: 0, max: 315360000000},
	{name: "retention_bytes", unit: "bytes", fieldNumber: 9, def: 10737418240, min: 0, max: 1125899906842624},
	{name: "ack_deadline_ms", unit: "ms", fieldNumber: 10, def: 30000, min: 100, max: 43200000},
	{name: "max_attempts", unit: "attempts", fieldNumber: 11, def: 5, min: 1, max: 1000},
	{name: "backoff_initial_ms", unit: "ms", fieldNumber: 12, def: 200, min: 1, max: 3600000},
	{name: "backoff_max_ms", unit: "ms", fieldNumber: 13, def: 30000, min: 1, max: 86400000},
	{name: "max_in_flight_messages", unit: "messages", fieldNumber: 14, def: 100000, min: 1, max: 10000000},
	{name: "max_in_flight_bytes", unit: "bytes", fieldNumber: 15, def: 67108864, min: 1024, max: 1099511627776},
}

// Fixed bounds.
const (
	// The protocol that this version speaks.
	limitProtocolVersion = 1
	// Names of queues, groups and producers: `[A-Za-z0-9._-]`, no leading dot.
	limitMaxNameBytes = 255
	// How a client names itself in Open.
	limitMaxClientBytes = 255
	// The largest Publish frame; a single record may exceed it, up to max_message_bytes.
	limitMaxBatchBytes = 1048576
	// Records in a Publish frame.
	limitMaxBatchRecords = 10000
	// A record's key.
	limitMaxKeyBytes = 1024
	// Headers of a record.
	limitMaxHeaders = 64
	// All encoded headers of a record together.
	limitMaxHeadersBytes = 16384
	// A header's name: valid UTF-8, not empty.
	limitMaxHeaderNameBytes = 255
	// Why a record is retried or parked, for people.
	limitMaxReasonBytes = 1024
	// Ranges of offsets that a resuming consumer may state.
	limitMaxHeldRanges = 10000
	// Ranges that a consumer has settled and keeps until a Pong says that the broker took them; past it the oldest are forgotten.
	limitMaxUnansweredSettleRanges = 4096
	// Entries of one page of a list, records of one Peek.
	limitMaxPageSize = 1000
	// Records of one Peek that names no number.
	limitDefaultPeekMessages = 10
	// Records of one page of ListParked that names no number.
	limitDefaultParkedPageSize = 100
	// Bytes of one Peek; at least one record always comes.
	limitMaxPeekBytes = 1048576
	// The interval of Watch where none is named.
	limitDefaultWatchIntervalMs = 1000
	// The shortest interval of Watch.
	limitMinWatchIntervalMs = 100
	// The longest interval of Watch.
	limitMaxWatchIntervalMs = 60000
	// A stream that has sent no Open after this is closed with TIMED_OUT.
	limitOpenTimeoutMs = 5000
	// How often a side sends Ping when it has sent nothing else; told in Opened.
	limitHeartbeatMs = 5000
	// After this silence the other side is taken for dead; told in Opened.
	limitDeadAfterMs = 15000
	// How long a draining broker waits for what is credited.
	limitDrainDeadlineMs = 20000
	// Streams of one broker.
	limitMaxSessions = 20000
	// Queues of one broker.
	limitMaxQueues = 10000
)

// Defaults and ranges of options.
const (
	// Where the broker listens.
	defaultAddress = "localhost:7420"
	// How long one attempt to connect may take.
	defaultConnectTimeout = 5000 * time.Millisecond
	minConnectTimeout     = 1 * time.Millisecond
	// HTTP/2 keepalive: silence before a ping, with or without calls.
	defaultKeepaliveTime = 20000 * time.Millisecond
	minKeepaliveTime     = 10000 * time.Millisecond
	// HTTP/2 keepalive: how long to wait for the answer.
	defaultKeepaliveTimeout = 10000 * time.Millisecond
	minKeepaliveTimeout     = 1 * time.Millisecond
	// Silence before a Ping in the stream, until Opened says otherwise.
	defaultHeartbeat = 5000 * time.Millisecond
	minHeartbeat     = 100 * time.Millisecond
	// Silence after which the broker is taken for dead, until Opened says otherwise.
	defaultDeadAfter = 15000 * time.Millisecond
	minDeadAfter     = 200 * time.Millisecond
	// The first reconnect waits up to this; each further one up to twice as long, with full jitter.
	defaultReconnectBase = 100 * time.Millisecond
	minReconnectBase     = 1 * time.Millisecond
	// The longest wait before a reconnect.
	defaultReconnectMax = 20000 * time.Millisecond
	minReconnectMax     = 1 * time.Millisecond
	// After this long in good health the waits start from the base again.
	defaultReconnectResetAfter = 30000 * time.Millisecond
	minReconnectResetAfter     = 0 * time.Millisecond
	// Retries that a client may make beyond its successes; one budget for all its calls.
	defaultRetryBudgetTokens = 10
	minRetryBudgetTokens     = 1
	// What each success gives back to the retry budget.
	defaultRetryBudgetPerSuccess = 0.1
	minRetryBudgetPerSuccess     = 0.0
	maxRetryBudgetPerSuccess     = 1.0
	// A batch is sent when it reaches this; the broker's max_batch_bytes caps it.
	defaultBatchBytes = 1048576
	minBatchBytes     = 1
	maxBatchBytes     = 1048576
	// A batch is sent when it reaches this; the broker's max_batch_records caps it.
	defaultBatchRecords = 10000
	minBatchRecords     = 1
	maxBatchRecords     = 10000
	// How long a record waits for company. 0: a stream with a write outstanding batches by itself.
	defaultLinger = 0 * time.Millisecond
	minLinger     = 0 * time.Millisecond
	maxLinger     = 60000 * time.Millisecond
	// Records that a consumer or reader may hold unsettled.
	defaultMaxInFlightMessages = 1000
	minMaxInFlightMessages     = 1
	// Bytes that a consumer or reader may hold unsettled.
	defaultMaxInFlightBytes = 16777216
	minMaxInFlightBytes     = 1
	// How long a delivery's deadline is extended automatically after the application took it.
	defaultMaxProcessing = 300000 * time.Millisecond
	minMaxProcessing     = 0 * time.Millisecond
	// How long acknowledgements gather while credit is left and other deliveries are in work.
	defaultAckLinger = 1 * time.Millisecond
	minAckLinger     = 0 * time.Millisecond
	maxAckLinger     = 1000 * time.Millisecond
	// Records that a replay may hold that the application has not seen.
	defaultReplayMessages = 100000
	minReplayMessages     = 1
	// Handlers that a consumer's loop runs at a time.
	defaultConcurrency = 1
	minConcurrency     = 1
	// How long closing waits for confirmations and settles.
	defaultCloseTimeout = 20000 * time.Millisecond
	minCloseTimeout     = 0 * time.Millisecond
)

// Environment variables.
const (
	// Address of the broker, host:port.
	envAddress = "SPILLWAY_ADDRESS"
	// PEM file of certificate authorities; turns TLS on.
	envCaFile = "SPILLWAY_CA_FILE"
	// File that holds the token; read again when it changes.
	envTokenFile = "SPILLWAY_TOKEN_FILE"
)

// errorKindInfo is a value of ErrorKind.
type errorKindInfo struct {
	name      string
	grpcCode  uint32
	retryable bool // the client repeats or reconnects by itself
	doc       string
}

// errorKindInfos is indexed by the number of the ErrorKind; 0 is UNSPECIFIED.
var errorKindInfos = [...]errorKindInfo{
	1:  {name: "INVALID_ARGUMENT", grpcCode: 3, retryable: false, doc: "A field is malformed or out of range; `field` names it."},
	2:  {name: "TOO_LARGE", grpcCode: 3, retryable: false, doc: "More bytes, records or headers than `limit` allows."},
	3:  {name: "NOT_FOUND", grpcCode: 5, retryable: false, doc: "No such queue, group or session."},
	4:  {name: "ALREADY_EXISTS", grpcCode: 6, retryable: false, doc: "The queue exists already."},
	5:  {name: "REVISION_MISMATCH", grpcCode: 10, retryable: false, doc: "The queue changed since the revision that the caller expected; get it again."},
	6:  {name: "QUEUE_FULL", grpcCode: 8, retryable: false, doc: "The queue is full and its policy is to refuse."},
	7:  {name: "LIMIT_REACHED", grpcCode: 8, retryable: true, doc: "A bounded resource of the broker is used up; `limit` says where."},
	8:  {name: "CREDIT_EXCEEDED", grpcCode: 9, retryable: false, doc: "A frame held more than the credit allowed; the stream ends."},
	9:  {name: "CREDIT_REGRESSED", grpcCode: 9, retryable: false, doc: "A total of credit fell within an epoch; the stream ends."},
	10: {name: "COUNTER_MISMATCH", grpcCode: 9, retryable: false, doc: "The two sides' counters differ beyond what is in flight; the stream ends."},
	11: {name: "SEQUENCE_GAP", grpcCode: 9, retryable: false, doc: "A sequence was skipped; the stream ends."},
	12: {name: "FENCED", grpcCode: 10, retryable: false, doc: "A newer stream took over this producer id, or the frame names another epoch."},
	13: {name: "OUT_OF_RANGE", grpcCode: 11, retryable: false, doc: "The offset lies below the head or above the tail, which the error names."},
	14: {name: "PROTOCOL", grpcCode: 9, retryable: false, doc: "A frame that the stream's state does not allow."},
	15: {name: "TIMED_OUT", grpcCode: 4, retryable: true, doc: "Nothing arrived in time."},
	16: {name: "SLOW_READER", grpcCode: 8, retryable: true, doc: "The peer does not read what it asked for; the stream ends."},
	17: {name: "EXCLUSIVE", grpcCode: 9, retryable: false, doc: "The group is EXCLUSIVE and has a member."},
	18: {name: "UNAVAILABLE", grpcCode: 14, retryable: true, doc: "The broker is draining or not ready; try again."},
	19: {name: "STORE_FAILED", grpcCode: 14, retryable: true, doc: "The store failed; the queue refuses to serve until the broker is restarted."},
	20: {name: "CORRUPT", grpcCode: 15, retryable: false, doc: "Stored data does not match its checksum."},
	21: {name: "CLOSED", grpcCode: 1, retryable: false, doc: "The queue was deleted, or an operator closed the session."},
	22: {name: "UNSUPPORTED", grpcCode: 12, retryable: false, doc: "The client speaks a protocol that the broker does not."},
	23: {name: "INTERNAL", grpcCode: 13, retryable: false, doc: "A defect of the broker."},
}

// Names of metrics.
const (
	// Records that a producer handed over and that were confirmed or failed.
	metricMessagingClientSentMessages = "messaging.client.sent.messages"
	// Records delivered to the application.
	metricMessagingClientConsumedMessages = "messaging.client.consumed.messages"
	// Seconds from publish to confirmation, and of each settle.
	metricMessagingClientOperationDuration = "messaging.client.operation.duration"
	// Seconds from delivery to settle, as the application took them.
	metricMessagingProcessDuration = "messaging.process.duration"
	// Seconds that a producer waited for credit, by the reason of the broker's last grant.
	metricSpillwayClientCreditWaitDuration = "spillway.client.credit.wait.duration"
	// Streams that were opened again after a break.
	metricSpillwayClientReconnects = "spillway.client.reconnects"
)
