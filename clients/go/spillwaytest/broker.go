// Package spillwaytest holds a broker in memory for tests: the protocol of
// Spillway with its credit, sequences, groups, retries and replays, and switches
// that make it misbehave.
//
//	broker := spillwaytest.New(t)
//	client, err := spillway.Dial(ctx, broker.Address())
//
// It keeps nothing, is not quick, and simplifies where a client cannot tell: every
// record stays until it is purged, and SPILL never blocks.
package spillwaytest

import (
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Broker is a broker in memory. Its methods are safe for concurrent use.
type Broker struct {
	pb.UnimplementedBrokerServer
	pb.UnimplementedAdminServer

	listener net.Listener
	server   *grpc.Server
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu      sync.Mutex
	queues  map[string]*queue
	links   map[*session]struct{}
	names   int
	faults  faults
	options options
	taps    []func(queue string, frame proto.Message)
}

type options struct {
	heartbeat, deadAfter time.Duration
	batchBytes           uint64
	batchRecords         uint32
}

type faults struct {
	unavailable bool
	silent      bool
	badCounters bool
}

// Option is an option of Start and New.
type Option func(*options)

// WithHeartbeat sets what Opened says about heartbeats. Default 5 s and 15 s.
func WithHeartbeat(every, deadAfter time.Duration) Option {
	return func(o *options) { o.heartbeat, o.deadAfter = every, deadAfter }
}

// WithMaxBatch sets the largest Publish frame. Default 1 MiB and 10,000 records.
func WithMaxBatch(bytes, records int) Option {
	return func(o *options) { o.batchBytes, o.batchRecords = uint64(bytes), uint32(records) }
}

// TB is the part of testing.TB that New needs.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// New starts a broker that ends with the test.
func New(t TB, opts ...Option) *Broker {
	t.Helper()
	b, err := Start(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// Start starts a broker on a free port of the loopback interface.
func Start(opts ...Option) (*Broker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Broker{
		listener: l, stop: make(chan struct{}), queues: map[string]*queue{}, links: map[*session]struct{}{},
		options: options{heartbeat: 5 * time.Second, deadAfter: 15 * time.Second, batchBytes: 1 << 20, batchRecords: 10_000},
		server: grpc.NewServer(grpc.MaxRecvMsgSize(256<<20), grpc.MaxSendMsgSize(256<<20),
			grpc.WaitForHandlers(true)),
	}
	for _, o := range opts {
		o(&b.options)
	}
	pb.RegisterBrokerServer(b.server, b)
	pb.RegisterAdminServer(b.server, b)
	b.stopped.Go(func() { b.server.Serve(l) })
	b.stopped.Go(b.tick)
	return b, nil
}

// Address is what Dial takes.
func (b *Broker) Address() string { return b.listener.Addr().String() }

// Close ends the broker and every stream.
func (b *Broker) Close() {
	b.mu.Lock()
	select {
	case <-b.stop:
		b.mu.Unlock()
		return
	default:
	}
	close(b.stop)
	for s := range b.links {
		s.end(refusal(spillway.KindUnavailable, "", "the broker ends"))
	}
	b.mu.Unlock()
	b.server.Stop()
	b.stopped.Wait()
}

// ---- Faults ---------------------------------------------------------------

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

// ---- Sessions -------------------------------------------------------------

// session is one stream. Its fields belong to Broker.mu.
type session struct {
	b      *Broker
	q      *queue
	id     string
	client string
	opened time.Time
	epoch  uint64

	out   []proto.Message
	wake  chan struct{}
	ended bool
	err   error // nil: OK

	// A producer.
	producer        *producerState
	limit, returned spillway.Credit
	received        spillway.Credit
	waiting         spillway.Credit
	next            uint64
	held            []*pb.Confirm_Run
	lastGrant       *pb.Grant

	// A consumer or reader.
	group         *group
	reader        *reader
	granted, sent spillway.Credit
	inFlight      spillway.Credit
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) send(m proto.Message) {
	s.out = append(s.out, m)
	s.poke()
}

// end ends the stream after what is queued, with err (nil: OK).
func (s *session) end(err error) {
	if !s.ended {
		s.ended, s.err = true, err
		s.poke()
	}
}

// serve writes what is queued until the session ends. recv handles what arrives.
func (b *Broker) serve(st grpc.ServerStream, s *session, recv func() error) error {
	ctx := st.Context()
	var reading sync.WaitGroup
	gone := make(chan struct{})
	reading.Go(func() {
		defer close(gone)
		for recv() == nil {
		}
	})
	defer func() {
		b.mu.Lock()
		b.leave(s)
		b.mu.Unlock()
	}()
	for {
		b.mu.Lock()
		var batch []proto.Message
		ended, err := s.ended, s.err
		if !b.faults.silent || ended {
			batch, s.out = s.out, nil
		}
		b.mu.Unlock()
		var clean bool
		var se *spillway.Error
		clean = err == nil || errors.As(err, &se)
		if !ended || clean {
			for _, m := range batch {
				if err := st.SendMsg(m); err != nil {
					return err
				}
			}
		}
		if ended {
			return finish(st, err)
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-gone:
			b.mu.Lock()
			if !s.ended { // half-closed, or broken
				gone = nil
			}
			b.mu.Unlock()
		}
	}
}

func finish(st grpc.ServerStream, err error) error {
	var e *spillway.Error
	if errors.As(err, &e) {
		st.SetTrailer(trailer(e))
		return status.Error(code(e), e.Message)
	}
	return err
}

func trailer(e *spillway.Error) metadata.MD {
	v, _ := proto.Marshal(errorProto(e))
	return metadata.Pairs("spillway-error-bin", string(v))
}

func errorProto(e *spillway.Error) *pb.Error {
	return &pb.Error{Kind: pb.ErrorKind(e.Kind), Message: e.Message, Queue: e.Queue, Field: e.Field,
		Limit: e.Limit, Actual: e.Actual, RetryAfterMs: uint64(e.RetryAfter.Milliseconds()),
		HeadOffset: e.HeadOffset, TailOffset: e.TailOffset}
}

var statusCodes = map[spillway.Kind]codes.Code{
	spillway.KindInvalidArgument: codes.InvalidArgument, spillway.KindTooLarge: codes.InvalidArgument,
	spillway.KindNotFound: codes.NotFound, spillway.KindAlreadyExists: codes.AlreadyExists,
	spillway.KindRevisionMismatch: codes.Aborted, spillway.KindQueueFull: codes.ResourceExhausted,
	spillway.KindLimitReached: codes.ResourceExhausted, spillway.KindCreditExceeded: codes.FailedPrecondition,
	spillway.KindCreditRegressed: codes.FailedPrecondition, spillway.KindCounterMismatch: codes.FailedPrecondition,
	spillway.KindSequenceGap: codes.FailedPrecondition, spillway.KindFenced: codes.Aborted,
	spillway.KindOutOfRange: codes.OutOfRange, spillway.KindProtocol: codes.FailedPrecondition,
	spillway.KindTimedOut: codes.DeadlineExceeded, spillway.KindSlowReader: codes.ResourceExhausted,
	spillway.KindExclusive: codes.FailedPrecondition, spillway.KindUnavailable: codes.Unavailable,
	spillway.KindStoreFailed: codes.Unavailable, spillway.KindCorrupt: codes.DataLoss,
	spillway.KindClosed: codes.Canceled, spillway.KindUnsupported: codes.Unimplemented,
}

func code(e *spillway.Error) codes.Code {
	if c, ok := statusCodes[e.Kind]; ok {
		return c
	}
	return codes.Internal
}

func refusal(kind spillway.Kind, queue, message string) *spillway.Error {
	return &spillway.Error{Kind: kind, Queue: queue, Message: message}
}

// begin makes a session of an Open. REQUIRES: mu.
func (b *Broker) begin(queue, client string) (*session, error) {
	if b.faults.unavailable {
		return nil, refusal(spillway.KindUnavailable, queue, "not ready")
	}
	if !validName(queue) {
		return nil, &spillway.Error{Kind: spillway.KindInvalidArgument, Field: "queue", Message: "not a name"}
	}
	q := b.queues[queue]
	if q == nil {
		return nil, refusal(spillway.KindNotFound, queue, "no such queue")
	}
	b.names++
	return &session{b: b, q: q, id: b.name("session"), client: client, opened: time.Now(), wake: make(chan struct{}, 1)}, nil
}

func (b *Broker) tap(queue string, m proto.Message) {
	for _, f := range b.taps {
		f(queue, m)
	}
}

// leave takes back what a session held. REQUIRES: mu.
func (b *Broker) leave(s *session) {
	s.ended = true
	delete(b.links, s)
	q := s.q
	if q == nil {
		return
	}
	q.producers = without(q.producers, s)
	q.consumers = without(q.consumers, s)
	if s.producer != nil && s.producer.session == s {
		s.producer.session = nil
	}
	if g := s.group; g != nil {
		g.members = without(g.members, s)
		for o, f := range g.inFlight {
			if f.member == s {
				delete(g.inFlight, o)
				g.ready[o] = f.attempt
			}
		}
	}
	if b.queues[q.name] == q {
		b.pump(q)
		b.grant(q, false)
	}
}

func without(in []*session, s *session) []*session {
	out := in[:0:0]
	for _, x := range in {
		if x != s {
			out = append(out, x)
		}
	}
	return out
}

// tick drives what time changes: deadlines, retry delays, rates.
func (b *Broker) tick() {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-b.stop:
			return
		case now := <-t.C:
			b.mu.Lock()
			for _, q := range b.queues {
				for _, g := range q.groups {
					for o, f := range g.inFlight {
						if now.After(f.deadline) {
							b.revoke(q, g, o, pb.RevokeReason_REVOKE_REASON_DEADLINE)
						}
					}
					for o, r := range g.retrying {
						if now.After(r.at) {
							delete(g.retrying, o)
							g.ready[o] = r.attempt
						}
					}
				}
				b.pump(q)
			}
			b.mu.Unlock()
		}
	}
}
