package spillway

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/mem"
	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Consumer receives a queue's records as a member of a group. It is safe for
// concurrent use: several goroutines may receive and settle.
//
// It grants the broker what it has settled plus its maximum in flight, and more
// whenever half of that is used. When its stream breaks, it reopens it and states
// which deliveries it still holds, so these are not delivered again.
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

	acks      []wire.Range
	ackCount  int
	ackSince  time.Time
	nacks     []nack
	extends   []wire.Range
	extendAt  time.Time
	pongs     []*pb.Pong
	idle      bool
	lingering bool // the sender waits, but only for more acknowledgements
	drain     *pb.Drain
	closing   bool
	ping      pingState
	events    []func()
	drainAt   time.Time
	handlers  map[*Delivery]*handlerContext // under way, where Run is concurrent
}

type nack struct {
	action Action
	delay  time.Duration
	reason string
	ranges []wire.Range
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
	n.heads.written = n.poke
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

// ---- Settling -------------------------------------------------------------

func (n *Consumer) settle(d *Delivery, action Action, delay time.Duration, reason string) error {
	if n.replay != nil {
		return nil
	}
	n.mu.Lock()
	if s := d.state.Load(); s == settled || s == revoked {
		n.mu.Unlock()
		return nil
	}
	if n.err != nil {
		err := n.err
		n.mu.Unlock()
		if errors.Is(err, io.EOF) {
			return &Error{Kind: KindClosed, Queue: n.queue, Message: "the consumer is closed"}
		}
		return err
	}
	d.state.Store(settled)
	n.active.Store(n.clock.Load())
	n.leave(d)
	if action == Ack {
		n.acks = addOffset(n.acks, d.Offset)
		n.ackCount++
		if n.ackCount == 1 {
			n.ackSince = time.Now()
		}
		if n.idle && (n.ackCount == 1 || n.lingering && n.ackUrgent()) {
			n.poke()
		}
	} else {
		n.addNack(d.Offset, action, delay, reason)
		if n.idle {
			n.poke()
		}
	}
	n.mu.Unlock()
	return nil
}

// ackUrgent says that gathering longer would hold somebody up.
func (n *Consumer) ackUrgent() bool {
	return n.inFlight.Messages == 0 || uint64(n.ackCount) >= n.opt.maxMessages/8 || n.closing || n.drain != nil ||
		n.inFlight.Messages+uint64(n.ackCount) >= n.opt.maxMessages || n.grantDue()
}

func (n *Consumer) addNack(offset uint64, action Action, delay time.Duration, reason string) {
	for i := range n.nacks {
		k := &n.nacks[i]
		if k.action == action && k.delay == delay && k.reason == reason {
			k.ranges = addOffset(k.ranges, offset)
			return
		}
	}
	n.nacks = append(n.nacks, nack{action, delay, reason, []wire.Range{{First: offset, Count: 1}}})
}

func addOffset(ranges []wire.Range, offset uint64) []wire.Range {
	if l := len(ranges); l > 0 && ranges[l-1].End() == offset {
		ranges[l-1].Count++
		return ranges
	}
	return append(ranges, wire.Range{First: offset, Count: 1})
}

// normalize sorts ranges and joins those that touch.
func normalize(ranges []wire.Range) []wire.Range {
	sorted := true
	for i := 1; i < len(ranges); i++ {
		if ranges[i].First <= ranges[i-1].End() {
			sorted = false
			break
		}
	}
	if sorted {
		return ranges
	}
	slices.SortFunc(ranges, func(a, b wire.Range) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
	out := ranges[:1]
	for _, r := range ranges[1:] {
		last := &out[len(out)-1]
		if r.First <= last.End() {
			if r.End() > last.End() {
				last.Count = r.End() - last.First
			}
		} else {
			out = append(out, r)
		}
	}
	return out
}

// leave takes a delivery out of what is in flight. REQUIRES: mu.
func (n *Consumer) leave(d *Delivery) {
	n.inFlight.Messages--
	n.inFlight.Bytes -= uint64(d.size)
	s := d.slab
	if s.open--; s.open == 0 {
		n.unlink(s)
	}
}

func (n *Consumer) track(s *slab) {
	s.prev = n.slabz
	if n.slabz != nil {
		n.slabz.nxt = s
	} else {
		n.slabs = s
	}
	n.slabz = s
}

func (n *Consumer) unlink(s *slab) {
	if s.prev != nil {
		s.prev.nxt = s.nxt
	} else {
		n.slabs = s.nxt
	}
	if s.nxt != nil {
		s.nxt.prev = s.prev
	} else {
		n.slabz = s.prev
	}
	s.prev, s.nxt = nil, nil
}

// consumed takes out of flight what a reader's loop has seen of a slab.
func (n *Consumer) consumed(s *slab) {
	for i := range s.deliveries[:s.next] {
		d := &s.deliveries[i]
		if st := d.state.Load(); st != settled && st != revoked {
			d.state.Store(settled)
			n.leave(d)
		}
	}
	if n.idle && n.grantDue() {
		n.poke()
	}
}

func (n *Consumer) extend(d *Delivery) error {
	if n.replay != nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := d.state.Load(); s == settled || s == revoked {
		return nil
	}
	if n.err != nil {
		return n.err
	}
	n.extends = addOffset(n.extends, d.Offset)
	d.takenAt.Store(n.tick())
	if n.idle {
		n.poke()
	}
	return nil
}

func (n *Consumer) tick() uint32 {
	now := uint32(time.Since(n.start).Milliseconds())
	n.clock.Store(now)
	return now
}

// autoExtend notes what is to be extended now. REQUIRES: mu.
func (n *Consumer) autoExtend() {
	now := n.tick()
	bound := uint32(min(n.opt.maxProcessing.Milliseconds(), 1<<31))
	waiting := now-n.active.Load() <= bound
	for s := n.slabs; s != nil; s = s.nxt {
		for i := range s.deliveries {
			d := &s.deliveries[i]
			switch d.state.Load() {
			case buffered:
				if waiting {
					n.extends = addOffset(n.extends, d.Offset)
				}
			case taken:
				if now-d.takenAt.Load() <= bound {
					n.extends = addOffset(n.extends, d.Offset)
				}
			}
		}
	}
}

// held are the offsets that this consumer answers for: what is open, and what was
// settled but not sent. REQUIRES: mu.
func (n *Consumer) held() []wire.Range {
	var out []wire.Range
	for s := n.slabs; s != nil; s = s.nxt {
		for i := range s.deliveries {
			if d := &s.deliveries[i]; d.state.Load() <= taken {
				out = addOffset(out, d.Offset)
			}
		}
	}
	out = append(out, n.acks...)
	for _, k := range n.nacks {
		out = append(out, k.ranges...)
	}
	return normalize(out)
}

// ---- Granting -------------------------------------------------------------

// wanted is the limit that the account allows now.
func (n *Consumer) wanted() Credit {
	return Credit{
		n.received.Messages + sub(n.opt.maxMessages, n.inFlight.Messages),
		n.received.Bytes + sub(n.maxBytes, n.inFlight.Bytes),
	}
}

func sub(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// grantDue says that the limit should rise: half of it is used, or nothing is left
// to settle, or the largest message would not fit. REQUIRES: mu.
func (n *Consumer) grantDue() bool {
	if n.closing || n.drain != nil {
		return false
	}
	w := n.wanted()
	dm, db := sub(w.Messages, n.granted.Messages), sub(w.Bytes, n.granted.Bytes)
	if dm == 0 && db == 0 {
		return false
	}
	return dm >= max(n.opt.maxMessages/2, 1) || db >= max(n.maxBytes/2, 1) || n.inFlight.Messages == 0 ||
		(db >= n.maxBytes/16 && sub(n.granted.Bytes, n.received.Bytes) < n.tuning.GetMaxMessageBytes())
}

// ---- The stream's life ----------------------------------------------------

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

func (n *Consumer) openFrame() *pb.ConsumeOpen {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.received = Credit{}
	n.granted = n.wanted()
	o := &pb.ConsumeOpen{Protocol: 1, Queue: n.queue, Client: n.c.name, Limit: n.granted.proto()}
	if r := n.replay; r != nil {
		t := &pb.ReaderTarget{Start: r.start, Stop: r.stop, RateMessagesPerSecond: r.rate}
		if n.begun {
			t.Start = FromOffset(n.nextStart).p
		}
		o.Target = &pb.ConsumeOpen_Reader{Reader: t}
		return o
	}
	t := &pb.GroupTarget{Group: n.group, Mode: pb.GroupMode(n.opt.mode), Start: n.opt.start}
	held := n.held()
	for _, r := range held[:min(len(held), limitMaxHeldRanges)] {
		t.Held = append(t.Held, &pb.OffsetRange{FirstOffset: r.First, Count: r.Count})
	}
	if len(held) > limitMaxHeldRanges {
		var beyond []*pb.OffsetRange
		for _, r := range held[limitMaxHeldRanges:] {
			beyond = append(beyond, &pb.OffsetRange{FirstOffset: r.First, Count: r.Count})
		}
		n.revoke(beyond, RevokedStale) // they go to others: do not settle them
		n.granted = n.wanted()
		o.Limit = n.granted.proto()
	}
	o.Target = &pb.ConsumeOpen_Group{Group: t}
	return o
}

func (n *Consumer) open(ctx context.Context) (*stream, error) {
	s, err := n.c.openStream(n.ctx, consumeDesc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.cancel(&Error{Kind: KindTimedOut, Queue: n.queue, Message: "the stream did not open in time", cause: ctxErr(ctx)})
	})
	fail := func(err error) (*stream, error) {
		stop()
		err = s.end(err)
		s.cancel(err)
		if errors.Is(err, io.EOF) {
			err = &Error{Kind: KindUnavailable, Queue: n.queue, Message: "the stream ended before it was open"}
		}
		return nil, err
	}
	err = s.SendMsg(&pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Open{Open: n.openFrame()}})
	if err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	var in pb.ConsumeResponse
	if err := s.RecvMsg(&in); err != nil {
		return fail(err)
	}
	if !stop() {
		return fail(context.Cause(s.ctx))
	}
	o := in.GetOpened()
	if o == nil {
		return fail(&Error{Kind: KindProtocol, Queue: n.queue, Message: "the first frame was not Opened"})
	}
	if o.GetProtocol() > 1 {
		return fail(&Error{Kind: KindUnsupported, Queue: n.queue, Limit: 1, Actual: uint64(o.GetProtocol())})
	}
	s.heartbeat = millis(o.GetHeartbeatMs(), n.c.opt.heartbeat)
	s.deadAfter = millis(o.GetDeadAfterMs(), n.c.opt.deadAfter)
	n.adopt(o)
	return s, nil
}

func (n *Consumer) adopt(o *pb.ConsumeOpened) {
	n.mu.Lock()
	defer n.release()
	resumed := n.session != ""
	n.session, n.epoch, n.mode = o.GetSession(), o.GetEpoch(), GroupMode(o.GetMode())
	n.retune(o.GetTuning())
	if !n.begun {
		n.begun = true
		n.first, n.nextStart = o.GetStartOffset(), o.GetStartOffset()
		if r := n.replay; r != nil && r.stop.GetTail() {
			r.stop = &pb.Stop{Position: &pb.Stop_Offset{Offset: o.GetTailOffset()}}
		}
	}
	n.drain, n.pongs, n.extends = nil, nil, nil
	n.ping.outstanding = false
	n.up = true
	if hook := n.c.hooks.Opened; hook != nil {
		n.events = append(n.events, func() { hook(n.stream(), resumed) })
	}
}

func (n *Consumer) retune(t *pb.QueueTuning) {
	n.tuning = t
	n.maxBytes = max(n.opt.maxBytes, t.GetMaxMessageBytes())
	n.extendAt = time.Now().Add(n.extendEvery())
}

func (n *Consumer) extendEvery() time.Duration {
	return millis(max(n.tuning.GetAckDeadlineMs(), 1), 0) / 2
}

func (n *Consumer) run(s *stream) {
	defer close(n.done)
	defer n.c.forget(n)
	for {
		n.link.opened()
		err := n.serve(s)
		for {
			n.mu.Lock()
			n.up = false
			drain := n.drain
			n.drain = nil
			closing, ended := n.closing, n.err != nil
			n.mu.Unlock()
			var e *Error
			exclusive := errors.As(err, &e) && e.Kind == KindExclusive // our old stream, not yet taken for dead
			switch {
			case ended:
				n.finish(nil)
				return
			case (closing || n.ctx.Err() != nil) && n.replay != nil:
				n.finish(errClientClosed) // not at its stop: say so
				return
			case closing || n.ctx.Err() != nil:
				n.finish(io.EOF)
				return
			case err != nil && !retryable(err) && !exclusive:
				n.finish(err)
				return
			}
			delay := n.link.delay(err)
			if drain != nil {
				delay = millis(drain.GetReconnectAfterMs(), 0)
				n.link.attempt = 0
			}
			n.c.log.Info("reopening a stream", "kind", n.kind(), "queue", n.queue, "group", n.group, "delay", delay, "reason", err)
			if hook := n.c.hooks.Broken; hook != nil {
				hook(n.stream(), err, delay)
			}
			if err = n.pause(delay); err != nil {
				continue
			}
			n.c.kick()
			if err = n.c.awaitReady(n.ctx, n.link.patience()); err != nil {
				continue
			}
			if s, err = n.open(n.ctx); err == nil {
				break
			}
		}
	}
}

// pause sleeps, but not beyond a Close.
func (n *Consumer) pause(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		n.mu.Lock()
		closing := n.closing
		n.mu.Unlock()
		if closing {
			return io.EOF
		}
		select {
		case <-t.C:
			return nil
		case <-n.wake:
		case <-n.ctx.Done():
			return context.Cause(n.ctx)
		}
	}
}

// finish ends the consumer with err, or as it has ended already.
func (n *Consumer) finish(err error) {
	n.mu.Lock()
	if n.err == nil {
		n.err = err
	}
	err = n.err
	n.cancel(err)
	if !errors.Is(err, io.EOF) && !errors.Is(n.c.ctx.Err(), context.Canceled) && err != error(errClientClosed) {
		n.c.log.Error("a stream ended", "kind", n.kind(), "queue", n.queue, "group", n.group, "error", err)
		if hook := n.c.hooks.Failed; hook != nil {
			n.events = append(n.events, func() { hook(n.stream(), err) })
		}
	}
	if n.replay == nil { // what was not taken is no longer ours
		n.ready = nil
	}
	n.signal()
	n.release()
}

func (n *Consumer) serve(s *stream) error {
	received := make(chan error, 1)
	s.watch()
	go func() {
		err := n.receive(s)
		s.cancel(err)
		received <- err
	}()
	n.send(s)
	err := <-received
	s.unwatch()
	s.cancel(err)
	return err
}

func (n *Consumer) receive(s *stream) error {
	var in wire.In
	var f wire.ConsumeFrame
	for {
		if err := s.RecvMsg(&in); err != nil {
			if err = s.end(err); errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		s.heard()
		if err := f.Decode(in.Data); err != nil {
			return &Error{Kind: KindProtocol, Queue: n.queue, Message: "a frame could not be decoded", cause: err}
		}
		var sl *slab
		if f.IsDelivery {
			var err error
			if sl, err = n.decode(&f); err != nil {
				return err
			}
		}
		n.mu.Lock()
		var err error
		if sl != nil {
			err = n.deliver(s, sl, &f)
		} else if f.Cold != nil {
			err = n.handleFrame(s, f.Cold)
		}
		if n.idle && (len(n.pongs) > 0 || n.grantDue()) {
			n.poke()
		}
		n.release()
		if err != nil {
			return err
		}
	}
}

// decode makes a slab of a delivery; everything aliases the frame.
func (n *Consumer) decode(f *wire.ConsumeFrame) (*slab, error) {
	sl := &slab{c: n, deliveries: make([]Delivery, len(f.Records)), open: len(f.Records)}
	var arena []Header
	i := 0
	for _, run := range f.Runs {
		for k := range uint64(run.Count) {
			d := &sl.deliveries[i]
			var rec wire.Record
			if !wire.DecodeRecord(f.Records[i], &rec, &arena) {
				return nil, &Error{Kind: KindProtocol, Queue: n.queue, Message: "a record could not be decoded"}
			}
			d.Payload, d.Key, d.Headers, d.size = rec.Payload, rec.Key, rec.Headers, uint32(rec.Size)
			d.Offset, d.Attempt, d.appendedAt, d.slab = run.First+k, run.Attempt, run.AppendedAt, sl
			i++
		}
	}
	return sl, nil
}

func (n *Consumer) deliver(_ *stream, sl *slab, f *wire.ConsumeFrame) error {
	count := uint64(len(sl.deliveries))
	if count == 0 {
		return nil
	}
	if !n.received.fits(n.granted, count, f.Bytes) {
		return &Error{Kind: KindCreditExceeded, Queue: n.queue, Limit: n.granted.Messages,
			Actual: n.received.Messages + count, Message: "the broker delivered more than it was granted"}
	}
	n.tick()
	if n.inFlight.Messages == 0 {
		n.active.Store(n.clock.Load())
	}
	n.received.Messages += count
	n.received.Bytes += f.Bytes
	n.inFlight.Messages += count
	n.inFlight.Bytes += f.Bytes
	n.track(sl)
	n.ready = append(n.ready, sl)
	n.nextStart = sl.deliveries[count-1].Offset + 1
	n.signal()
	if hook := n.c.hooks.Received; hook != nil {
		b := f.Bytes
		n.events = append(n.events, func() { hook(n.stream(), int(count), int(b)) })
	}
	return nil
}

func (n *Consumer) handleFrame(s *stream, m *pb.ConsumeResponse) error {
	switch f := m.GetFrame().(type) {
	case *pb.ConsumeResponse_Revoke:
		n.revoke(f.Revoke.GetRanges(), RevokeReason(f.Revoke.GetReason()))
	case *pb.ConsumeResponse_Gap:
		ranges, reason := rangesFrom(f.Gap.GetRanges()), GapReason(f.Gap.GetReason())
		for _, r := range ranges {
			n.nextStart = max(n.nextStart, r.First+r.Count)
		}
		n.c.log.Warn("records are gone", "queue", n.queue, "group", n.group, "ranges", ranges, "reason", reason)
		if hook := n.c.hooks.Gap; hook != nil {
			n.events = append(n.events, func() { hook(n.stream(), ranges, reason) })
		}
	case *pb.ConsumeResponse_End:
		n.err = io.EOF
		n.signal()
	case *pb.ConsumeResponse_Tuning:
		n.retune(f.Tuning.GetTuning())
	case *pb.ConsumeResponse_Drain:
		if n.drain != nil {
			return nil
		}
		n.drain = f.Drain
		deadline := millis(f.Drain.GetDeadlineMs(), limitDrainDeadlineMs*time.Millisecond)
		s.expire(deadline, &Error{Kind: KindUnavailable, Queue: n.queue, Message: "the drain's deadline passed"})
		// Keep settling here for half of the time; then move on with what is held.
		s.after(deadline/2, n.poke)
		n.drainAt = time.Now().Add(deadline / 2)
		n.poke()
		if hook := n.c.hooks.Draining; hook != nil {
			n.events = append(n.events, func() { hook(n.stream(), deadline) })
		}
	case *pb.ConsumeResponse_Ping:
		if got := creditFrom(f.Ping.GetSent()); f.Ping.GetEpoch() == n.epoch && got != n.received {
			return n.mismatch(n.received, got)
		}
		n.pongs = append(n.pongs, &pb.Pong{Id: f.Ping.GetId(), Epoch: n.epoch,
			Received: n.received.proto(), Limit: n.granted.proto()})
	case *pb.ConsumeResponse_Pong:
		if !n.ping.outstanding || f.Pong.GetId() != n.ping.id {
			return nil
		}
		n.ping.outstanding = false
		// A consumer sends no credit-bearing frames: the broker has received none,
		// and has granted nothing.
		if got := creditFrom(f.Pong.GetReceived()); got != (Credit{}) {
			return n.mismatch(Credit{}, got)
		}
	}
	return nil
}

func (n *Consumer) mismatch(ours, theirs Credit) error {
	err := mismatch(n.queue, ours, theirs)
	if hook := n.c.hooks.CounterMismatch; hook != nil {
		n.events = append(n.events, func() { hook(n.stream(), err) })
	}
	return err
}

// revoke takes offsets away from the application. REQUIRES: mu.
func (n *Consumer) revoke(ranges []*pb.OffsetRange, reason RevokeReason) {
	contains := func(o uint64) bool {
		for _, r := range ranges {
			if o >= r.GetFirstOffset() && o-r.GetFirstOffset() < r.GetCount() {
				return true
			}
		}
		return false
	}
	hit := 0
	for s := n.slabs; s != nil; {
		next := s.nxt
		for i := range s.deliveries {
			d := &s.deliveries[i]
			if st := d.state.Load(); st > taken || !contains(d.Offset) {
				continue
			}
			d.state.Store(revoked)
			n.leave(d)
			hit++
			if s.contexts != nil {
				h := &s.contexts[i]
				n.events = append(n.events, func() { h.end(ErrRevoked) })
			} else if h := n.handlers[d]; h != nil {
				n.events = append(n.events, func() { h.end(ErrRevoked) })
			}
		}
		s = next
	}
	if hit > 0 || reason != RevokedStale {
		n.c.log.Warn("deliveries were revoked", "queue", n.queue, "group", n.group, "held", hit, "reason", reason)
	}
	if hook := n.c.hooks.Revoked; hook != nil {
		out := rangesFrom(ranges)
		n.events = append(n.events, func() { hook(n.stream(), out, reason) })
	}
}

// ---- The sender -----------------------------------------------------------

func (n *Consumer) send(s *stream) {
	timer := time.NewTimer(s.heartbeat)
	defer timer.Stop()
	pinged := time.Now()
	closed := false
	for {
		n.mu.Lock()
		out, wait := n.due(&closed, &pinged, s.heartbeat)
		if out == nil {
			n.idle = true
			n.release()
			timer.Reset(wait)
			select {
			case <-n.wake:
			case <-timer.C:
			case <-s.ctx.Done():
			}
			n.mu.Lock()
			n.idle, n.lingering = false, false
			n.mu.Unlock()
			if s.ctx.Err() != nil {
				return
			}
			continue
		}
		n.release()
		if err := s.SendMsg(out); err != nil {
			if !errors.Is(err, io.EOF) {
				s.cancel(fromStatus(err, nil))
			}
			<-s.ctx.Done()
			return
		}
	}
}

// rangesPerFrame keeps a Settle within a few tens of KiB.
const rangesPerFrame = 4096

// due returns the next frame to send, or how long to wait for one.
func (n *Consumer) due(closed *bool, pinged *time.Time, heartbeat time.Duration) (any, time.Duration) {
	if len(n.pongs) > 0 {
		m := &pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Pong{Pong: n.pongs[0]}}
		n.pongs = n.pongs[1:]
		return m, 0
	}
	now := time.Now()
	wait := heartbeat - now.Sub(*pinged)
	if !*closed {
		if out, linger := n.dueSettles(now); out != nil {
			return out, 0
		} else if linger > 0 {
			wait = min(wait, linger)
		}
		if n.grantDue() {
			n.granted = n.wanted()
			b := n.heads.Get(0)
			*b = wire.AppendConsumerGrant(*b, n.epoch, n.granted.Messages, n.granted.Bytes)
			return n.frame(b), 0
		}
		if n.replay == nil && n.opt.autoExtend {
			if d := n.extendAt.Sub(now); d > 0 {
				wait = min(wait, d)
			} else {
				n.extendAt = now.Add(n.extendEvery())
				n.autoExtend()
				wait = min(wait, n.extendEvery())
			}
		}
		if len(n.extends) > 0 {
			r := normalize(n.extends)
			k := min(len(r), rangesPerFrame)
			m := &pb.Extend{}
			for _, r := range r[:k] {
				m.Ranges = append(m.Ranges, &pb.OffsetRange{FirstOffset: r.First, Count: r.Count})
			}
			n.extends = r[k:]
			return &pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Extend{Extend: m}}, 0
		}
		moving := n.drain != nil && (n.inFlight.Messages == 0 || n.replay != nil || !now.Before(n.drainAt))
		if n.closing || moving {
			*closed = true
			return &pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Close{Close: &pb.Close{}}}, 0
		}
	}
	if wait <= 0 {
		// Also while other frames flow: it compares the counters under load.
		*pinged = now
		n.ping.id++
		n.ping.outstanding = true
		return &pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Ping{Ping: &pb.Ping{
			Id: n.ping.id, Epoch: n.epoch, Sent: &pb.Credit{}, LimitSeen: &pb.Credit{},
		}}}, 0
	}
	return nil, wait
}

func (n *Consumer) dueSettles(now time.Time) (out *wire.Out, linger time.Duration) {
	if len(n.nacks) > 0 {
		k := &n.nacks[0]
		r := normalize(k.ranges)
		c := min(len(r), rangesPerFrame)
		out = n.settleFrame(r[:c], k.action, k.delay, k.reason)
		if k.ranges = r[c:]; len(k.ranges) == 0 {
			n.nacks = n.nacks[1:]
		}
		return out, 0
	}
	if len(n.acks) == 0 {
		return nil, 0
	}
	if !n.ackUrgent() {
		if l := n.ackSince.Add(n.opt.ackLinger).Sub(now); l > 0 {
			n.lingering = true
			return nil, l
		}
	}
	r := normalize(n.acks)
	c := min(len(r), rangesPerFrame)
	out = n.settleFrame(r[:c], Ack, 0, "")
	if c == len(r) {
		n.acks, n.ackCount = n.acks[:0], 0
	} else {
		n.acks = append(n.acks[:0], r[c:]...)
		n.ackCount = len(n.acks)
	}
	return out, 0
}

func (n *Consumer) settleFrame(ranges []wire.Range, action Action, delay time.Duration, reason string) *wire.Out {
	b := n.heads.Get(0)
	ms := uint64((delay + time.Millisecond - 1) / time.Millisecond)
	*b = wire.AppendSettle(*b, ranges, pb.SettleAction(action), ms, reason)
	if hook := n.c.hooks.Settled; hook != nil {
		var records int
		for _, r := range ranges {
			records += int(r.Count)
		}
		n.events = append(n.events, func() { hook(n.stream(), records, len(ranges)) })
	}
	return n.frame(b)
}

func (n *Consumer) frame(b *[]byte) *wire.Out {
	return &wire.Out{Buffers: mem.BufferSlice{n.heads.wrap(b)}}
}

// ---- Replay ---------------------------------------------------------------

// Replay yields the kept records of a queue from a Position (FromOffset, FromTime,
// Earliest, Latest, Last; default Earliest) up to a stop (UntilOffset, UntilTime,
// UntilTail; default none), without any effect on groups. It ends without an error
// at the stop; any other end is yielded last, with a nil delivery: ctx's end, or
// ErrOutOfRange when the start is not kept. Broken streams go on where they were.
// A replay uses no goroutine once its loop is left.
func (c *Client) Replay(ctx context.Context, queue string, opts ...ReplayOption) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		n := newConsumer(c, queue)
		n.replay = &replayOptions{maxMessages: defaultReplayMessages, maxBytes: defaultMaxInFlightBytes}
		for _, o := range opts {
			o.replay(n.replay)
		}
		n.opt = consumerOptions{maxMessages: n.replay.maxMessages, maxBytes: n.replay.maxBytes}
		if err := n.begin(ctx); err != nil {
			yield(nil, err)
			return
		}
		defer func() {
			n.cancel(io.EOF)
			<-n.done
		}()
		n.Deliveries(ctx)(yield)
	}
}
