package spillway

import "time"

// Stream names one stream in a hook.
type Stream struct {
	// Queue is the stream's queue.
	Queue string
	// Group is the consumer's group; empty for producers and replays.
	Group string
	// Kind is "producer", "consumer" or "reader".
	Kind string
	// Session is the broker's name for the stream, as in Admin and Explain; empty
	// while there is none.
	Session string
}

// Hooks are called at what metrics are made of; any may be nil. They are called
// once for a frame, never for a message, from the client's own goroutines and
// never under a lock: they must not block, and may call the client.
type Hooks struct {
	// Opened: a stream is open; resumed says that it is not the first.
	Opened func(s Stream, resumed bool)
	// Broken: a stream ended with err and is opened again after delay.
	Broken func(s Stream, err error, delay time.Duration)
	// Failed: a stream ended for good.
	Failed func(s Stream, err error)
	// Draining: the broker asked the stream to move.
	Draining func(s Stream, deadline time.Duration)
	// Sent: a frame of records was handed to the transport. bytes is their cost.
	Sent func(s Stream, records, bytes int)
	// Confirmed: records are kept. elapsed is the time since the oldest of the
	// batch was accepted by Publish.
	Confirmed func(s Stream, records int, duplicate bool, elapsed time.Duration)
	// Refused: records were not taken.
	Refused func(s Stream, records int, err error)
	// Blocked: a publish waits for credit, and none did before.
	Blocked func(s Stream, b Blocked)
	// Unblocked: no publish waits for credit any more.
	Unblocked func(s Stream, waited time.Duration)
	// Received: a frame of records arrived. bytes is their cost.
	Received func(s Stream, records, bytes int)
	// Settled: records were settled, in so many ranges.
	Settled func(s Stream, records, ranges int)
	// Revoked: offsets are no longer held by this consumer.
	Revoked func(s Stream, ranges []OffsetRange, reason RevokeReason)
	// Gap: offsets that will not come.
	Gap func(s Stream, ranges []OffsetRange, reason GapReason)
	// CounterMismatch: the two sides' counters of credit differ; the stream ends.
	CounterMismatch func(s Stream, err error)
}
