package spillway

import (
	"context"
	"log/slog"
	"net"
	"time"

	pb "spillway.dev/clients/go/spillwaypb"
)

type dialOptions struct {
	log    *slog.Logger
	hooks  Hooks
	name   string
	dialer func(context.Context, string) (net.Conn, error)

	connectTimeout, keepaliveTime, keepaliveTimeout time.Duration
	heartbeat, deadAfter                            time.Duration
	reconnectBase, reconnectMax, resetAfter         time.Duration
	budget, budgetGain                              float64
	closeTimeout                                    time.Duration
}

func defaultDialOptions() dialOptions {
	return dialOptions{
		log:            slog.New(slog.DiscardHandler),
		connectTimeout: defaultConnectTimeout,
		keepaliveTime:  defaultKeepaliveTime, keepaliveTimeout: defaultKeepaliveTimeout,
		heartbeat: defaultHeartbeat, deadAfter: defaultDeadAfter,
		reconnectBase: defaultReconnectBase, reconnectMax: defaultReconnectMax,
		resetAfter: defaultReconnectResetAfter,
		budget:     defaultRetryBudgetTokens, budgetGain: defaultRetryBudgetPerSuccess,
		closeTimeout: defaultCloseTimeout,
	}
}

// DialOption is an option of Dial.
type DialOption func(*dialOptions)

// WithLogger makes the client log reconnects, refusals and revocations. Default:
// nothing is logged.
func WithLogger(log *slog.Logger) DialOption { return func(o *dialOptions) { o.log = log } }

// WithHooks sets the hooks.
func WithHooks(h Hooks) DialOption { return func(o *dialOptions) { o.hooks = h } }

// WithClientName is shown to operators beside each session: program and version,
// at most 200 bytes.
func WithClientName(name string) DialOption { return func(o *dialOptions) { o.name = name } }

// WithDialer makes the connections instead of TCP; for tests and proxies.
func WithDialer(dial func(ctx context.Context, address string) (net.Conn, error)) DialOption {
	return func(o *dialOptions) { o.dialer = dial }
}

// WithConnectTimeout bounds one attempt to connect. Default 5 s.
func WithConnectTimeout(d time.Duration) DialOption {
	return func(o *dialOptions) { o.connectTimeout = max(d, minConnectTimeout) }
}

// WithKeepalive sets HTTP/2 keepalive: the silence before a ping (at least 10 s),
// and how long to wait for its answer. Default 20 s and 10 s.
func WithKeepalive(every, timeout time.Duration) DialOption {
	return func(o *dialOptions) {
		o.keepaliveTime, o.keepaliveTimeout = max(every, minKeepaliveTime), max(timeout, minKeepaliveTimeout)
	}
}

// WithHeartbeat sets what holds for a broker that names no heartbeat of its own:
// the silence before a Ping, and that after which it is taken for dead. Default
// 5 s and 15 s.
func WithHeartbeat(every, deadAfter time.Duration) DialOption {
	return func(o *dialOptions) {
		o.heartbeat, o.deadAfter = max(every, minHeartbeat), max(deadAfter, minDeadAfter)
	}
}

// WithReconnect sets the schedule of reconnects: the first waits up to base, each
// further one up to twice as long, at most longest, with full jitter; after
// resetAfter in good health it starts again from base. Default 100 ms, 20 s, 30 s.
func WithReconnect(base, longest, resetAfter time.Duration) DialOption {
	return func(o *dialOptions) {
		o.reconnectBase, o.reconnectMax = max(base, minReconnectBase), max(longest, minReconnectMax)
		o.resetAfter = max(resetAfter, minReconnectResetAfter)
	}
}

// WithRetryBudget bounds the reconnects of all streams together: so many, and
// perSuccess more for each stream that opened; beyond it reconnects are not given
// up but go at the slowest pace. Default 10 and 0.1.
func WithRetryBudget(tokens, perSuccess float64) DialOption {
	return func(o *dialOptions) {
		o.budget = max(tokens, minRetryBudgetTokens)
		o.budgetGain = min(max(perSuccess, minRetryBudgetPerSuccess), maxRetryBudgetPerSuccess)
	}
}

// WithCloseTimeout bounds a Close whose context has no deadline. Default 20 s.
func WithCloseTimeout(d time.Duration) DialOption {
	return func(o *dialOptions) { o.closeTimeout = max(d, minCloseTimeout) }
}

type producerOptions struct {
	id           string
	durability   Durability
	linger       time.Duration
	batchBytes   int
	batchRecords int
}

// ProducerOption is an option of Client.Producer.
type ProducerOption func(*producerOptions)

// WithProducerID names the producer, so that what an earlier process of the same
// name sent is recognised: sequences continue where the broker has them. Only one
// producer of a name can be open; a newer one fences the older (ErrFenced).
// Default: the broker makes a name, which the producer keeps when it resumes.
func WithProducerID(id string) ProducerOption { return func(o *producerOptions) { o.id = id } }

// WithDurability refuses to publish to a queue whose confirmations promise less
// than this; durability itself is a tunable of the queue. Default: any.
func WithDurability(d Durability) ProducerOption {
	return func(o *producerOptions) { o.durability = d }
}

// WithLinger lets a batch that is not full wait this long for more records.
// Default 0: a batch is what arrived while the write before it was under way.
func WithLinger(d time.Duration) ProducerOption {
	return func(o *producerOptions) { o.linger = min(max(d, minLinger), maxLinger) }
}

// WithBatchBytes sends a batch when it has so many encoded bytes; what the broker
// allows caps it, and a single larger record goes alone. Default 1 MiB.
func WithBatchBytes(n int) ProducerOption {
	return func(o *producerOptions) { o.batchBytes = min(max(n, minBatchBytes), maxBatchBytes) }
}

// WithBatchRecords sends a batch when it has so many records; what the broker
// allows caps it. Default 10,000.
func WithBatchRecords(n int) ProducerOption {
	return func(o *producerOptions) { o.batchRecords = min(max(n, minBatchRecords), maxBatchRecords) }
}

type consumerOptions struct {
	maxMessages   uint64
	maxBytes      uint64
	mode          GroupMode
	start         *pb.Start
	concurrency   int
	autoExtend    bool
	maxProcessing time.Duration
	ackLinger     time.Duration
}

// ConsumerOption is an option of Client.Consumer.
type ConsumerOption func(*consumerOptions)

// WithMaxInFlight bounds the deliveries that are with this consumer, unsettled.
// Default 1,000; an operator may clamp it.
func WithMaxInFlight(messages int) ConsumerOption {
	return func(o *consumerOptions) { o.maxMessages = uint64(max(messages, 1)) }
}

// WithMaxInFlightBytes bounds the same in bytes (lengths of encoded records). It
// is raised to the queue's largest message where it is less. Default 16 MiB.
func WithMaxInFlightBytes(bytes int) ConsumerOption {
	return func(o *consumerOptions) { o.maxBytes = uint64(max(bytes, 1)) }
}

// WithMode sets the mode of a group that does not exist yet, and requires it of
// one that has members. Default: the group as it is, or Shared.
func WithMode(m GroupMode) ConsumerOption { return func(o *consumerOptions) { o.mode = m } }

// WithStart says where a group that does not exist yet begins. Default: Earliest.
func WithStart(p Position) ConsumerOption { return func(o *consumerOptions) { o.start = p.p } }

// WithConcurrency lets Run call the handler for so many deliveries at a time.
// Default 1: in order of arrival.
func WithConcurrency(n int) ConsumerOption {
	return func(o *consumerOptions) { o.concurrency = max(n, 1) }
}

// WithAutoExtend switches the automatic extension of deliveries on or off; see
// Consumer. Default: on.
func WithAutoExtend(on bool) ConsumerOption { return func(o *consumerOptions) { o.autoExtend = on } }

// WithMaxProcessing bounds how long a delivery is extended automatically after
// the application took it. Default 5 minutes.
func WithMaxProcessing(d time.Duration) ConsumerOption {
	return func(o *consumerOptions) { o.maxProcessing = d }
}

// WithAckLinger lets acknowledgements gather for this long while credit is left
// and other deliveries are in work. Default 1 ms; 0 sends each at once.
func WithAckLinger(d time.Duration) ConsumerOption {
	return func(o *consumerOptions) { o.ackLinger = min(max(d, minAckLinger), maxAckLinger) }
}

type replayOptions struct {
	start       *pb.Start
	stop        *pb.Stop
	rate        uint64
	maxMessages uint64
	maxBytes    uint64
}

// ReplayOption is an option of Client.Replay; a Position is one.
type ReplayOption interface{ replay(*replayOptions) }

type replayOption func(*replayOptions)

func (f replayOption) replay(o *replayOptions) { f(o) }

// Rate bounds a replay to so many messages per second. Default 0: as fast as it
// is read.
func Rate(messagesPerSecond uint64) ReplayOption {
	return replayOption(func(o *replayOptions) { o.rate = messagesPerSecond })
}

// ReplayWindow bounds what a replay holds that the loop has not seen yet.
// Default 100,000 messages and 16 MiB.
func ReplayWindow(messages, bytes int) ReplayOption {
	return replayOption(func(o *replayOptions) {
		o.maxMessages, o.maxBytes = uint64(max(messages, 1)), uint64(max(bytes, 1))
	})
}
