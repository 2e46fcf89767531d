package spillwaytest

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

type faults struct {
	unavailable bool
	silent      bool
	badCounters bool
}

// Tap calls f with every frame that a client sends, and with its queue (empty for
// an Open), in order, before the broker handles it. f must not call the broker.
func (b *Broker) Tap(f func(queue string, frame proto.Message)) {
	b.mu.Lock()
	b.taps = append(b.taps, f)
	b.mu.Unlock()
}

// BreakStreams ends every stream of a queue (all queues if it is empty) as a
// broken connection would: without an error of the broker.
func (b *Broker) BreakStreams(queue string) {
	b.each(queue, func(s *session) { s.end(status.Error(codes.Unavailable, "the stream was broken by the test")) })
}

// EndStreams ends every stream of a queue with an error.
func (b *Broker) EndStreams(queue string, e *spillway.Error) {
	b.each(queue, func(s *session) { s.end(e) })
}

func (b *Broker) each(queue string, f func(*session)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.links {
		if queue == "" || s.q != nil && s.q.name == queue {
			f(s)
		}
	}
}

// Unavailable makes the broker refuse to open streams, or no longer.
func (b *Broker) Unavailable(on bool) { b.mu.Lock(); b.faults.unavailable = on; b.mu.Unlock() }

// Silence makes the broker send nothing on its streams, or no longer.
func (b *Broker) Silence(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults.silent = on
	for s := range b.links {
		s.poke()
	}
}

// WrongCounters makes the broker's Pongs name counters that are off by one.
func (b *Broker) WrongCounters(on bool) { b.mu.Lock(); b.faults.badCounters = on; b.mu.Unlock() }

// Drain asks every stream to move, as a broker that is about to restart does.
func (b *Broker) Drain(deadline, reconnectAfter time.Duration) {
	b.each("", func(s *session) {
		d := &pb.Drain{DeadlineMs: uint64(deadline.Milliseconds()), ReconnectAfterMs: uint64(reconnectAfter.Milliseconds())}
		if s.producer != nil {
			s.send(&pb.PublishResponse{Frame: &pb.PublishResponse_Drain{Drain: d}})
		} else {
			s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Drain{Drain: d}})
		}
	})
}

// WithholdCredit stops the grants of the named queue, naming a reason, or lets them go on.
func (b *Broker) WithholdCredit(name string, on bool, reason spillway.CreditReason) {
	b.with(name, func(q *queue) {
		q.withheld, q.reason = on, pb.CreditReason(reason)
		if !on {
			q.reason = 0
		}
		b.grant(q, true)
	})
}

// GrantExactly makes the queue grant each producer exactly this total in each
// epoch, whatever its window says, until it is called again. A total may only rise.
func (b *Broker) GrantExactly(name string, total spillway.Credit) {
	b.with(name, func(q *queue) {
		q.exact = &total
		b.grant(q, true)
	})
}

// GrantByWindow ends GrantExactly.
func (b *Broker) GrantByWindow(name string) {
	b.with(name, func(q *queue) {
		q.exact = nil
		b.grant(q, true)
	})
}

// HoldConfirms keeps confirmations back, or sends those that were kept.
func (b *Broker) HoldConfirms(name string, on bool) {
	b.with(name, func(q *queue) {
		q.holdConfirms = on
		if !on {
			for _, s := range q.producers {
				s.flushConfirms()
			}
		}
	})
}

// RefuseNext refuses the next n batches of a queue with an error.
func (b *Broker) RefuseNext(name string, n int, e *spillway.Error) {
	b.with(name, func(q *queue) { q.refusals, q.refusal = n, e })
}

// BreakAfterNext breaks the stream of the next n batches of a queue after they
// were kept, before they are confirmed.
func (b *Broker) BreakAfterNext(name string, n int) {
	b.with(name, func(q *queue) { q.breaks = n })
}

// BreakAtSettle breaks the stream of a queue's next Settle: after that was taken, or
// before, as if it had been lost on the way.
func (b *Broker) BreakAtSettle(name string, taken bool) {
	b.with(name, func(q *queue) { q.breakAtSettle, q.takeSettle = true, taken })
}

// ForgetProducers makes the queue forget what its producers sent, as a broker
// would that kept it in memory and was restarted.
func (b *Broker) ForgetProducers(name string) {
	b.with(name, func(q *queue) { q.known = map[string]*producerState{} })
}

// Revoke takes offsets from whichever member of the group holds them, and makes
// them ready for delivery again.
func (b *Broker) Revoke(name, group string, offsets spillway.OffsetRange) {
	b.with(name, func(q *queue) {
		if g := q.groups[group]; g != nil {
			for o := offsets.First; o < offsets.First+offsets.Count; o++ {
				b.revoke(q, g, o, pb.RevokeReason_REVOKE_REASON_DEADLINE)
			}
			b.pump(q)
		}
	})
}

// Drop removes the records below an offset as DROP_OLDEST does, and tells the
// groups and readers by a Gap.
func (b *Broker) Drop(name string, before uint64) {
	b.with(name, func(q *queue) {
		b.purge(q, before, pb.GapReason_GAP_REASON_DROPPED)
		b.pump(q)
	})
}

func (b *Broker) with(name string, f func(*queue)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.queues[name]; q != nil {
		f(q)
	}
}

func (b *Broker) tap(queue string, m proto.Message) {
	for _, f := range b.taps {
		f(queue, m)
	}
}
