package spillway

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Consumer receives a queue's records as a member of a group. It is safe for
// concurrent use: several goroutines may receive and settle.
//
// It grants the broker what it has settled plus its maximum in flight, and more
// whenever half of that is used. When its stream breaks, it reopens it and states
// which deliveries it still holds, so these are not delivered again; what was
// settled and may not have arrived is settled again.
//
// Deliveries are extended automatically, half an acknowledgement deadline at a
// time: those that the application took, until MaxProcessing after it took them;
// those that wait in the client, as long as the application took or settled
// anything within MaxProcessing. So liveness comes from the stream, not from the
// handler's speed, and a handler that hangs for ever loses its deliveries.
type Consumer struct {
	c      *Client
	queue  string
	group  string
	opt    consumerOptions
	replay *replayOptions // not nil: a reader
	link   link
	heads  heads // only pools: a consumer sends whatever is due

	ctx     context.Context
	cancel  context.CancelCauseFunc
	wake    chan struct{} // the sender has something to do
	arrived chan struct{} // something for Receive: a slab, or the end
	done    chan struct{}
	start   time.Time
	clock   atomic.Uint32 // milliseconds since start, coarse
	active  atomic.Uint32 // clock when the application last took or settled

	mu        sync.Mutex
	session   string
	tuning    *pb.QueueTuning
	epoch     uint64
	up        bool
	err       error // why the consumer ended; io.EOF: as it should
	mode      GroupMode
	first     uint64 // where deliveries began, at the first open
	nextStart uint64 // reader: where to go on
	begun     bool

	// The account of the epoch: what arrived, and the limit last granted. inFlight
	// counts what is held, of whatever epoch: limit = received − inFlight + max.
	received, granted Credit
	inFlight          Credit
	maxBytes          uint64

	ready        []*slab // not taken by the application
	slabs, slabz *slab   // all with open deliveries: first, last

	acks       []wire.Range
	ackCount   int
	ackSince   time.Time
	nacks      []nack
	unanswered unanswered
	extends    []wire.Range
	extendAt   time.Time
	pongs      []*pb.Pong
	idle       bool
	lingering  bool // the sender waits, but only for more acknowledgements
	drain      *pb.Drain
	closing    bool
	closeSent  bool // on this stream
	ping       pingState
	events     []func()
	drainAt    time.Time
	handlers   map[*Delivery]*handlerContext // under way, where Run is concurrent
}

// Consumer opens a member of a group. It returns once the broker has opened the
// stream, or with the first failure, within ctx; after that ctx has no effect.
func (c *Client) Consumer(ctx context.Context, queue, group string, opts ...ConsumerOption) (*Consumer, error) {
	n := newConsumer(c, queue)
	n.group = group
	n.opt = consumerOptions{
		maxMessages: defaultMaxInFlightMessages, maxBytes: defaultMaxInFlightBytes,
		concurrency: defaultConcurrency, autoExtend: true, ackLinger: defaultAckLinger, maxProcessing: defaultMaxProcessing,
	}
	for _, o := range opts {
		o(&n.opt)
	}
	if err := n.begin(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

func newConsumer(c *Client, queue string) *Consumer {
	n := &Consumer{
		c: c, queue: queue, link: link{c: c}, start: time.Now(),
		wake: make(chan struct{}, 1), arrived: make(chan struct{}, 1), done: make(chan struct{}),
	}
	return n
}

func (n *Consumer) begin(ctx context.Context) error {
	n.maxBytes = n.opt.maxBytes
	n.ctx, n.cancel = context.WithCancelCause(n.c.ctx)
	if err := n.c.register(n); err != nil {
		n.cancel(err)
		return err
	}
	s, err := n.open(ctx)
	if err != nil {
		n.c.forget(n)
		n.cancel(err)
		return err
	}
	go n.run(s)
	return nil
}

// Session is the broker's name for the current stream, as in Admin and Explain.
func (n *Consumer) Session() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.session
}

// Mode is the mode of the group.
func (n *Consumer) Mode() GroupMode {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mode
}

// StartOffset is where deliveries began when the consumer was opened: the group's
// cursor.
func (n *Consumer) StartOffset() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.first
}

// InFlight is what this consumer holds unsettled.
func (n *Consumer) InFlight() Credit {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.inFlight
}

// Tuning is the queue's tuning as the broker last told it.
func (n *Consumer) Tuning() Tuning {
	n.mu.Lock()
	defer n.mu.Unlock()
	return tuningFrom(n.tuning)
}

// Run calls handler for each delivery, WithConcurrency at a time, until ctx ends
// or the consumer does. When the handler returns nil the delivery is acknowledged,
// otherwise it is settled with Retry and the error's text as the reason, or as
// RetryAfter, ParkIt or SkipIt say; unless the handler has settled it itself. The
// handler's context ends with ctx, and when its delivery is revoked.
//
// When ctx ends, Run waits for the handlers under way and returns nil. A delivery
// whose handler then returns ctx's error is not settled: it goes to another member,
// without a mark against it, when the consumer closes or its deadline passes. Run
// returns nil as well when the consumer is closed, and otherwise why it ended.
func (n *Consumer) Run(ctx context.Context, handler func(context.Context, *Delivery) error) error {
	work := func() error {
		for {
			s, d, err := n.take(ctx, n.opt.concurrency == 1)
			if err != nil {
				return err
			}
			if n.opt.concurrency > 1 {
				n.handle(ctx, &handlerContext{Context: ctx, d: d}, handler)
				continue
			}
			if s.contexts == nil {
				n.mu.Lock()
				s.contexts = make([]handlerContext, len(s.deliveries))
				for i := range s.contexts {
					s.contexts[i].Context, s.contexts[i].d = ctx, &s.deliveries[i]
				}
				n.mu.Unlock()
			}
			for s.next < len(s.deliveries) && ctx.Err() == nil {
				i := s.next
				s.next++
				if d := &s.deliveries[i]; n.claim(d) {
					n.handle(ctx, &s.contexts[i], handler)
				}
			}
			n.putBack(s)
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, n.opt.concurrency)
	for i := range errs {
		if i > 0 {
			wg.Go(func() { errs[i] = work() })
		}
	}
	errs[0] = work()
	wg.Wait()
	if ctx.Err() != nil || errors.Is(errs[0], io.EOF) {
		return nil
	}
	return errs[0]
}

func (n *Consumer) handle(ctx context.Context, h *handlerContext, handler func(context.Context, *Delivery) error) {
	d := h.d
	n.watchContext(h, true)
	err := handler(h, d)
	n.watchContext(h, false)
	h.end(context.Canceled)
	var how *nackError
	switch {
	case err == nil:
		d.Ack()
	case errors.As(err, &how):
		d.Nack(how.action, how.delay, how.Error())
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		// Interrupted, not failed: the record goes to another member when the
		// consumer closes, without a mark against it.
	default:
		d.Nack(Retry, 0, err.Error())
	}
}

// Deliveries yields deliveries until ctx ends, the consumer ends, or the loop is
// left. An error is yielded last, with a nil delivery; when the consumer is closed
// there is none. The application settles each delivery, in any order.
func (n *Consumer) Deliveries(ctx context.Context) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		for {
			s, _, err := n.take(ctx, true)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(nil, err)
				}
				return
			}
			for s.next < len(s.deliveries) {
				d := &s.deliveries[s.next]
				s.next++
				if n.claim(d) && !yield(d, nil) {
					n.putBack(s)
					return
				}
				if ctx.Err() != nil {
					break
				}
			}
			n.putBack(s)
		}
	}
}

// Receive returns the next delivery, within ctx. io.EOF says that the consumer is
// closed.
func (n *Consumer) Receive(ctx context.Context) (*Delivery, error) {
	_, d, err := n.take(ctx, false)
	return d, err
}

// take waits for deliveries: a whole slab, or one delivery.
func (n *Consumer) take(ctx context.Context, whole bool) (*slab, *Delivery, error) {
	for {
		if ctx.Err() != nil {
			return nil, nil, ctxErr(ctx)
		}
		n.mu.Lock()
		for len(n.ready) > 0 {
			s := n.ready[0]
			if whole {
				n.pop()
				n.again()
				n.mu.Unlock()
				return s, nil, nil
			}
			for s.next < len(s.deliveries) {
				d := &s.deliveries[s.next]
				s.next++
				if n.claim(d) {
					if s.next == len(s.deliveries) {
						n.pop()
					}
					n.again()
					n.mu.Unlock()
					return nil, d, nil
				}
			}
			n.pop()
		}
		err := n.err
		if err != nil {
			n.signal() // for the others that wait
		}
		n.mu.Unlock()
		if err != nil {
			return nil, nil, err
		}
		select {
		case <-n.arrived:
		case <-ctx.Done():
			return nil, nil, ctxErr(ctx)
		}
	}
}

func (n *Consumer) pop() {
	n.ready[0] = nil
	if n.ready = n.ready[1:]; len(n.ready) == 0 {
		n.ready = nil
	}
}

func (n *Consumer) again() {
	if len(n.ready) > 0 || n.err != nil {
		n.signal()
	}
}

func (n *Consumer) signal() {
	select {
	case n.arrived <- struct{}{}:
	default:
	}
}

// putBack returns a slab that was taken whole: what was not seen comes first
// again; what a reader has seen is consumed.
func (n *Consumer) putBack(s *slab) {
	n.mu.Lock()
	s.contexts = nil // another Run has another context
	if n.replay != nil {
		n.consumed(s)
	}
	if s.next < len(s.deliveries) {
		n.ready = append([]*slab{s}, n.ready...)
		n.signal()
	}
	n.release()
}

// claim hands a delivery to the application, unless it was revoked.
func (n *Consumer) claim(d *Delivery) bool {
	now := n.clock.Load()
	d.takenAt.Store(now)
	n.active.Store(now)
	return d.state.CompareAndSwap(buffered, taken)
}

// watchContext makes a revocation reach the handler's context, or no longer.
func (n *Consumer) watchContext(h *handlerContext, on bool) {
	if h.d.slab.contexts != nil {
		return // found there
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if on {
		if n.handlers == nil {
			n.handlers = map[*Delivery]*handlerContext{}
		}
		n.handlers[h.d] = h
	} else {
		delete(n.handlers, h.d)
	}
}

// Close stops receiving, sends the settlements that are pending, and ends the
// stream; what is not settled by then goes to other members at once. It waits
// within ctx, at most the close timeout if ctx has no deadline. It may be called again.
func (n *Consumer) Close(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, n.c.opt.closeTimeout)
		defer cancel()
	}
	n.mu.Lock()
	n.closing = true
	n.poke()
	n.mu.Unlock()
	select {
	case <-n.done:
	case <-ctx.Done():
		n.cancel(io.EOF)
		<-n.done
		return ctxErr(ctx)
	}
	return nil
}
func (n *Consumer) kind() string {
	if n.replay != nil {
		return "reader"
	}
	return "consumer"
}

func (n *Consumer) stream() Stream {
	return Stream{Queue: n.queue, Group: n.group, Kind: n.kind(), Session: n.Session()}
}

func (n *Consumer) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *Consumer) release() {
	events := n.events
	n.events = nil
	n.mu.Unlock()
	for _, e := range events {
		e()
	}
}
