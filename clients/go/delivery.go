package spillway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Delivery is one record on its way through the application. Its slices alias the
// frame that it came in, which stays in memory while any of them is held: clone
// what is kept for long. They must not be written to.
//
// A delivery is settled once, by Ack or Nack; settling it again, or after it was
// revoked, does nothing and is no error. Deliveries of a replay need no settling.
type Delivery struct {
	// Payload is the application's data.
	Payload []byte
	// Key groups related records; empty means none.
	Key []byte
	// Headers are in the producer's order.
	Headers []Header
	// Offset is the record's place in the queue.
	Offset uint64
	// Attempt is 1 for the first delivery to the group, and 0 in a replay.
	Attempt uint32
	size    uint32

	appendedAt uint64
	slab       *slab
	state      atomic.Uint32 // written under Consumer.mu, but for buffered → taken
	takenAt    atomic.Uint32 // Consumer.clock when the application took it
}

// The states of a delivery.
const (
	buffered uint32 = iota
	taken
	settled
	revoked
)

// slab holds the deliveries of one frame. Its counters and links belong to
// Consumer.mu; next to whoever took the slab.
type slab struct {
	c          *Consumer
	prev, nxt  *slab
	deliveries []Delivery
	open       int // neither settled nor revoked
	next       int // the first that the application has not seen
	contexts   []handlerContext
}

// AppendedAt is when the record was appended, by the broker's clock.
func (d *Delivery) AppendedAt() time.Time { return time.UnixMilli(int64(d.appendedAt)) }

// Size is the record's cost in bytes of credit.
func (d *Delivery) Size() int { return int(d.size) }

// Queue is the queue that the record came from.
func (d *Delivery) Queue() string { return d.slab.c.queue }

// Revoked says that the record was taken from this consumer, because its deadline
// passed or an operator moved the group: work on it may be done again elsewhere.
func (d *Delivery) Revoked() bool { return d.state.Load() == revoked }

// Ack settles the record: it is done. It does not wait; acknowledgements are sent
// together, in ranges. It fails only if the consumer has ended.
func (d *Delivery) Ack() error { return d.slab.c.settle(d, Ack, 0, "") }

// Nack settles the record otherwise: Retry (no sooner than delay; 0 is the queue's
// own backoff), Park or Skip. reason is for people, at most 1,024 bytes. Like
// Ack, it does not wait.
func (d *Delivery) Nack(action Action, delay time.Duration, reason string) error {
	if action != Retry && action != Park && action != Skip {
		return invalid(d.Queue(), "action", "a nack is Retry, Park or Skip")
	}
	if len(reason) > limitMaxReasonBytes {
		n := limitMaxReasonBytes
		for n > 0 && !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	return d.slab.c.settle(d, action, max(delay, 0), reason)
}

// Extend makes the record's deadline start anew. Automatic extension (see
// WithAutoExtend) makes it unnecessary in most programs.
func (d *Delivery) Extend() error { return d.slab.c.extend(d) }

// Clone returns a copy of the payload that does not hold on to the frame.
func (d *Delivery) Clone() []byte { return append([]byte(nil), d.Payload...) }

// ErrRevoked is the cause of a handler's context that ended because its delivery
// was revoked.
var ErrRevoked = errors.New("spillway: the delivery was revoked")

// handlerContext is the context of a handler: that of Run, ended also when the
// delivery is revoked. It costs nothing until somebody asks for Done or Err.
type handlerContext struct {
	context.Context // of Run
	d               *Delivery
	mu              sync.Mutex
	inner           context.Context
	cancel          context.CancelCauseFunc
	ended           bool
}

func (h *handlerContext) ctx() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.inner == nil {
		h.inner, h.cancel = context.WithCancelCause(h.Context)
		if h.d.Revoked() {
			h.cancel(ErrRevoked)
		} else if h.ended {
			h.cancel(context.Canceled)
		}
	}
	return h.inner
}

// Done implements context.Context.
func (h *handlerContext) Done() <-chan struct{} { return h.ctx().Done() }

// Err implements context.Context.
func (h *handlerContext) Err() error { return h.ctx().Err() }

// Value implements context.Context.
func (h *handlerContext) Value(key any) any {
	h.mu.Lock()
	inner := h.inner
	h.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return h.Context.Value(key)
}

func (h *handlerContext) end(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	if h.cancel != nil {
		h.cancel(cause)
	}
}

// nackError is a handler's error that says how its delivery is to be settled.
type nackError struct {
	error
	action Action
	delay  time.Duration
}

func (e *nackError) Unwrap() error { return e.error }

// RetryAfter makes a handler's error a nack with Retry, no sooner than delay.
func RetryAfter(delay time.Duration, err error) error { return nackWith(err, Retry, delay) }

// ParkIt makes a handler's error a nack with Park.
func ParkIt(err error) error { return nackWith(err, Park, 0) }

// SkipIt makes a handler's error a nack with Skip.
func SkipIt(err error) error { return nackWith(err, Skip, 0) }

func nackWith(err error, a Action, delay time.Duration) error {
	if err == nil {
		err = errors.New(a.String())
	}
	return &nackError{err, a, delay}
}
