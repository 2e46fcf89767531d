package spillway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Producer publishes to one queue within the credit that the broker grants. It is
// safe for concurrent use.
//
// A publish waits for credit, in order of arrival, is then given a sequence, and
// is kept until the broker confirms or refuses it. When the stream breaks, the
// producer reopens it and sends what is unconfirmed again; the broker recognises
// it, so each publish is kept once and confirmed once.
type Producer struct {
	c     *Client
	queue string
	opt   producerOptions
	link  link

	ctx    context.Context // ends when the producer is given up
	cancel context.CancelCauseFunc
	wake   chan struct{} // the sender has something to do
	done   chan struct{} // closed when the goroutines have ended

	mu      sync.Mutex
	id      string
	session string
	tuning  *pb.QueueTuning
	maxSize uint64 // of one encoded record
	limits  batchLimits

	// The account of the epoch. reserved is what was accepted from the
	// application, sent or not; sent ≤ limit always, reserved may pass the limit
	// only by what an earlier epoch left unconfirmed.
	epoch                 uint64
	limit, reserved, sent Credit
	up                    bool // records are accepted
	reason                CreditReason
	reasonSince           time.Time
	windowUsed, window    uint64

	// q holds the unconfirmed batches in order of sequence; the last may still be
	// filled. q[:unsent] were handed to the transport in this epoch, and
	// partSent records of q[unsent].
	q        []*batch
	unsent   int
	partSent int
	next     uint64 // sequence of the next record
	resumeAt uint64 // the broker's next sequence at the last open
	unacked  int    // records not resolved

	waiters      waiterList
	blockedSince time.Time
	demanded     demand

	idle     bool // the sender waits for wake
	pong     *pb.Pong
	drain    *pb.Drain
	closing  bool
	flushing int
	err      error // why the producer ended
	ping     pingState
	heads    *heads   // of this stream: what a broken one never wrote must not count
	told     bool     // the Blocked hook was called
	events   []func() // hooks to be called once mu is free
}

type batchLimits struct{ bytes, records int }

type demand struct {
	waiting Credit
	next    uint64
	sent    bool
}

// pingState compares counters: what was in the last Ping and is not answered yet.
type pingState struct {
	id          uint64
	outstanding bool
	sent, seen  Credit
}

// waiter is a publish that waits for credit.
type waiter struct {
	m          Message
	size       int
	future     Future
	err        error
	ready      chan struct{}
	queued     bool
	prev, next *waiter
}

type waiterList struct {
	front, back *waiter
	total       Credit
}

var waiterPool = sync.Pool{New: func() any { return &waiter{ready: make(chan struct{}, 1)} }}

func (l *waiterList) push(w *waiter) {
	w.queued, w.prev, w.next = true, l.back, nil
	if l.back != nil {
		l.back.next = w
	} else {
		l.front = w
	}
	l.back = w
	l.total.Messages++
	l.total.Bytes += uint64(w.size)
}

func (l *waiterList) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.front = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.back = w.prev
	}
	w.queued, w.prev, w.next = false, nil, nil
	l.total.Messages--
	l.total.Bytes -= uint64(w.size)
}

// Producer opens a producer of a queue. It returns once the broker has opened the
// stream, or with the first failure, within ctx; after that ctx has no effect.
func (c *Client) Producer(ctx context.Context, queue string, opts ...ProducerOption) (*Producer, error) {
	p := &Producer{
		c: c, queue: queue, link: link{c: c},
		opt:  producerOptions{linger: defaultLinger, batchBytes: defaultBatchBytes, batchRecords: defaultBatchRecords},
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	for _, o := range opts {
		o(&p.opt)
	}
	p.id = p.opt.id
	p.ctx, p.cancel = context.WithCancelCause(c.ctx)
	if err := c.register(p); err != nil {
		p.cancel(err)
		return nil, err
	}
	s, err := p.open(ctx)
	if err != nil {
		c.forget(p)
		p.cancel(err)
		return nil, err
	}
	go p.run(s)
	return p, nil
}

// ID is the producer's name at the broker: that of WithProducerID, or the one
// that the broker made.
func (p *Producer) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id
}

// Session is the broker's name for the current stream, as in Admin and Explain.
func (p *Producer) Session() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session
}

// Tuning is the queue's tuning as the broker last told it.
func (p *Producer) Tuning() Tuning {
	p.mu.Lock()
	defer p.mu.Unlock()
	return tuningFrom(p.tuning)
}

// Publish waits for credit and then for the confirmation, and returns the
// record's offset. If ctx ends while it waits for credit, nothing was sent; if it
// ends later, the outcome is unknown and the record may be kept.
func (p *Producer) Publish(ctx context.Context, m Message) (uint64, error) {
	f, err := p.PublishAsync(ctx, m)
	if err != nil {
		return 0, err
	}
	return f.Wait(ctx)
}

// PublishAsync waits for credit only. If it fails, nothing was sent.
func (p *Producer) PublishAsync(ctx context.Context, m Message) (Future, error) {
	size, err := p.check(&m)
	if err != nil {
		return Future{}, err
	}
	p.mu.Lock()
	if f, ok, err := p.tryLocked(&m, size); ok || err != nil {
		p.mu.Unlock()
		return f, err
	}
	return p.wait(ctx, m, size)
}

// TryPublish never waits: without credit for the record at this moment it returns
// ErrNoCredit, or ErrQueueFull where that is the queue's policy.
func (p *Producer) TryPublish(m Message) (Future, error) {
	size, err := p.check(&m)
	if err != nil {
		return Future{}, err
	}
	p.mu.Lock()
	f, ok, err := p.tryLocked(&m, size)
	p.mu.Unlock()
	if err == nil && !ok {
		err = ErrNoCredit
	}
	return f, err
}

// Credit is what may be sent at this moment without waiting, and whether a stream
// is open at all.
func (p *Producer) Credit() (Credit, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.up || p.waiters.front != nil {
		return Credit{}, p.up
	}
	return p.free(), true
}

func (p *Producer) free() Credit {
	var c Credit
	if p.limit.Messages > p.reserved.Messages {
		c.Messages = p.limit.Messages - p.reserved.Messages
	}
	if p.limit.Bytes > p.reserved.Bytes {
		c.Bytes = p.limit.Bytes - p.reserved.Bytes
	}
	return c
}

// Blocked says whether a publish waits for credit, and why.
func (p *Producer) Blocked() (Blocked, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blockedLocked(), p.waiters.front != nil
}

func (p *Producer) blockedLocked() Blocked {
	return Blocked{
		Reason: p.reason, ReasonSince: p.reasonSince, Since: p.blockedSince,
		Waiting: p.waiters.total, WindowUsed: p.windowUsed, Window: p.window,
		Reconnecting: !p.up,
	}
}

// Flush waits until every record that was accepted before is confirmed or
// refused, within ctx. It returns an error only if ctx ends or the producer has
// ended; what became of the records, their futures tell.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	if len(p.q) == 0 {
		err := p.err
		p.mu.Unlock()
		return err
	}
	last := p.q[len(p.q)-1]
	p.flushing++
	p.poke()
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.flushing--
		p.mu.Unlock()
	}()
	select {
	case <-last.done:
	case <-ctx.Done():
		return ctxErr(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Close sends what was accepted, waits for its confirmation and ends the stream.
// Publishes that wait for credit fail with ErrClosed. If ctx ends before (or after
// the close timeout, if it has no deadline), what is unconfirmed fails with ErrClosed, its
// outcome unknown, and Close says how many those are.
func (p *Producer) Close(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.c.opt.closeTimeout)
		defer cancel()
	}
	p.mu.Lock()
	p.closing = true
	p.failWaiters(p.closedError())
	p.poke()
	p.mu.Unlock()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.cancel(p.closedError())
		<-p.done
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unacked > 0 {
		return &Error{Kind: KindClosed, Queue: p.queue, Actual: uint64(p.unacked),
			Message: fmt.Sprintf("closed with %d records unconfirmed", p.unacked), cause: p.err}
	}
	return nil
}

func (p *Producer) closedError() *Error {
	return &Error{Kind: KindClosed, Queue: p.queue, Message: "the producer is closed"}
}

// check refuses what the broker would end the stream for.
func (p *Producer) check(m *Message) (int, error) {
	if len(m.Key) > limitMaxKeyBytes {
		return 0, &Error{Kind: KindTooLarge, Queue: p.queue, Field: "key", Limit: limitMaxKeyBytes, Actual: uint64(len(m.Key))}
	}
	if len(m.Headers) > 0 {
		if err := p.checkHeaders(m.Headers); err != nil {
			return 0, err
		}
	}
	return m.Size(), nil
}

func (p *Producer) checkHeaders(headers []Header) error {
	if len(headers) > limitMaxHeaders {
		return &Error{Kind: KindTooLarge, Queue: p.queue, Field: "headers", Limit: limitMaxHeaders, Actual: uint64(len(headers))}
	}
	total := 0
	for i := range headers {
		h := &headers[i]
		total += len(h.Name) + len(h.Value)
		if n := len(h.Name); n == 0 || n > limitMaxHeaderNameBytes {
			return &Error{Kind: KindInvalidArgument, Queue: p.queue, Field: "headers.name",
				Message: "a header's name has 1 to 255 bytes", Limit: limitMaxHeaderNameBytes, Actual: uint64(n)}
		}
		if !utf8.ValidString(h.Name) {
			return invalid(p.queue, "headers.name", "a header's name is valid UTF-8")
		}
	}
	if total > limitMaxHeadersBytes {
		return &Error{Kind: KindTooLarge, Queue: p.queue, Field: "headers", Limit: limitMaxHeadersBytes, Actual: uint64(total)}
	}
	return nil
}

// tryLocked accepts the record if it has credit and nobody waits before it.
func (p *Producer) tryLocked(m *Message, size int) (Future, bool, error) {
	switch {
	case p.err != nil:
		return Future{}, false, p.err
	case p.closing:
		return Future{}, false, p.closedError()
	case uint64(size) > p.maxSize:
		return Future{}, false, &Error{Kind: KindTooLarge, Queue: p.queue, Field: "record",
			Message: "larger than the queue's max_message_bytes", Limit: p.maxSize, Actual: uint64(size)}
	}
	if p.up && p.waiters.front == nil && p.reserved.fits(p.limit, 1, uint64(size)) {
		f := p.accept(m, size)
		if p.idle {
			p.poke()
		}
		return f, true, nil
	}
	if p.up && p.reason == ReasonFullReject {
		return Future{}, false, p.fullError()
	}
	return Future{}, false, nil
}

func (p *Producer) fullError() error {
	return &Error{Kind: KindQueueFull, Queue: p.queue, Limit: p.window, Actual: p.windowUsed,
		Message: "the queue is full and refuses instead of waiting"}
}

// accept gives the record its sequence. REQUIRES: mu, and credit for it.
func (p *Producer) accept(m *Message, size int) Future {
	p.reserved.Messages++
	p.reserved.Bytes += uint64(size)
	var b *batch
	if n := len(p.q); n > 0 && !p.q[n-1].sealed {
		b = p.q[n-1]
		if b.count >= p.limits.records || b.encoded+wire.EmbeddedSize(size)+wire.PublishHeadMax > p.limits.bytes {
			b.seal()
			b = nil
		}
	}
	if b == nil {
		b = newBatch(p.next)
		p.q = append(p.q, b)
	}
	b.add(m, size)
	p.next++
	p.unacked++
	return Future{b, b.count - 1}
}

// wait queues the record until credit admits it. REQUIRES: mu; releases it.
func (p *Producer) wait(ctx context.Context, m Message, size int) (Future, error) {
	if err := ctx.Err(); err != nil {
		p.mu.Unlock()
		return Future{}, ctxErr(ctx)
	}
	w := waiterPool.Get().(*waiter)
	w.m, w.size, w.future, w.err = m, size, Future{}, nil
	first := p.waiters.front == nil
	p.waiters.push(w)
	if first {
		p.blockedSince = time.Now()
	}
	p.tellBlocked()
	if p.idle {
		p.poke()
	}
	p.release()
	select {
	case <-w.ready:
	case <-ctx.Done():
		p.mu.Lock()
		if w.queued {
			p.waiters.remove(w)
			w.err = ctxErr(ctx)
			p.admit() // what waits behind a large record may fit
			if p.idle {
				p.poke()
			}
		} else {
			<-w.ready
		}
		p.release()
	}
	f, err := w.future, w.err
	w.m, w.future, w.err = Message{}, Future{}, nil
	waiterPool.Put(w)
	return f, err
}

// admit accepts waiting records as far as credit goes. REQUIRES: mu.
func (p *Producer) admit() {
	had := !p.blockedSince.IsZero()
	for w := p.waiters.front; w != nil && p.up; w = p.waiters.front {
		if uint64(w.size) > p.maxSize {
			w.err = &Error{Kind: KindTooLarge, Queue: p.queue, Field: "record",
				Message: "larger than the queue's max_message_bytes", Limit: p.maxSize, Actual: uint64(w.size)}
		} else if p.reserved.fits(p.limit, 1, uint64(w.size)) {
			w.future = p.accept(&w.m, w.size)
		} else if p.reason == ReasonFullReject {
			w.err = p.fullError()
		} else {
			break
		}
		p.waiters.remove(w)
		w.ready <- struct{}{}
	}
	if had && p.waiters.front == nil {
		p.unblocked()
	}
}

// tellBlocked calls the hook once for each time of waiting; not for the moment
// between a stream's opening and its first grant.
func (p *Producer) tellBlocked() {
	hook := p.c.hooks.Blocked
	if hook == nil || p.told || p.waiters.front == nil || p.up && p.limit == (Credit{}) && p.reason == ReasonNone {
		return
	}
	p.told = true
	b := p.blockedLocked()
	p.events = append(p.events, func() { hook(p.stream(), b) })
}

func (p *Producer) unblocked() {
	if hook := p.c.hooks.Unblocked; hook != nil && (p.told || p.c.hooks.Blocked == nil) {
		waited := time.Since(p.blockedSince)
		p.events = append(p.events, func() { hook(p.stream(), waited) })
	}
	p.blockedSince, p.told = time.Time{}, false
}

func (p *Producer) failWaiters(err error) {
	for w := p.waiters.front; w != nil; w = p.waiters.front {
		p.waiters.remove(w)
		w.err = err
		w.ready <- struct{}{}
	}
	if !p.blockedSince.IsZero() {
		p.unblocked()
	}
}

func (p *Producer) stream() Stream {
	return Stream{Queue: p.queue, Kind: "producer", Session: p.Session()}
}

// poke wakes the sender.
func (p *Producer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// release unlocks mu and calls the hooks that became due under it.
func (p *Producer) release() {
	events := p.events
	p.events = nil
	p.mu.Unlock()
	for _, e := range events {
		e()
	}
}

// ---- The stream's life ----------------------------------------------------

// open makes a stream and takes over its account. ctx bounds the opening only.
func (p *Producer) open(ctx context.Context) (*stream, error) {
	s, err := p.c.openStream(p.ctx, publishDesc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.cancel(&Error{Kind: KindTimedOut, Queue: p.queue, Message: "the stream did not open in time", cause: ctxErr(ctx)})
	})
	fail := func(err error) (*stream, error) {
		stop()
		err = s.end(err)
		s.cancel(err)
		if errors.Is(err, io.EOF) {
			err = &Error{Kind: KindUnavailable, Queue: p.queue, Message: "the stream ended before it was open"}
		}
		return nil, err
	}
	p.mu.Lock()
	id, resume := p.id, p.next-uint64(p.pendingCount())
	p.mu.Unlock()
	if err := s.SendMsg(&pb.PublishRequest{Frame: &pb.PublishRequest_Open{Open: &pb.PublishOpen{
		Protocol: 1, Queue: p.queue, ProducerId: id, Client: p.c.name, ResumeSequence: resume,
	}}}); err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	var in pb.PublishResponse
	if err := s.RecvMsg(&in); err != nil {
		return fail(err)
	}
	if !stop() {
		return fail(context.Cause(s.ctx))
	}
	o := in.GetOpened()
	if o == nil {
		return fail(&Error{Kind: KindProtocol, Queue: p.queue, Message: "the first frame was not Opened"})
	}
	if o.GetProtocol() > 1 {
		return fail(&Error{Kind: KindUnsupported, Queue: p.queue, Limit: 1, Actual: uint64(o.GetProtocol())})
	}
	if d := Durability(o.GetTuning().GetDurability()); d < p.opt.durability {
		return fail(p.weaker(d))
	}
	if err := p.adopt(o); err != nil {
		return fail(err)
	}
	s.heartbeat = millis(o.GetHeartbeatMs(), p.c.opt.heartbeat)
	s.deadAfter = millis(o.GetDeadAfterMs(), p.c.opt.deadAfter)
	return s, nil
}

func (p *Producer) weaker(d Durability) error {
	return &Error{Kind: KindInvalidArgument, Queue: p.queue, Field: "tuning.durability",
		Message: fmt.Sprintf("the queue promises %v, the producer wants %v", d, p.opt.durability)}
}

// adopt begins the epoch of a new stream with what is unconfirmed.
func (p *Producer) adopt(o *pb.PublishOpened) error {
	p.mu.Lock()
	defer p.release()
	resumed := p.session != ""
	next := o.GetNextSequence()
	if !resumed {
		p.next = next
	}
	lowest := p.next - uint64(p.pendingCount())
	switch {
	case next > p.next:
		return &Error{Kind: KindFenced, Queue: p.queue, Limit: p.next, Actual: next,
			Message: "another producer of the same name published meanwhile"}
	case next < lowest:
		// The broker forgot records that it had confirmed (a queue in memory). It
		// knows nothing from `next` on, so what is unconfirmed takes those sequences.
		p.c.log.Warn("the broker lost confirmed sequences; renumbering", "queue", p.queue,
			"producer", p.id, "expected", lowest, "next", next)
		for _, b := range p.q {
			b.first -= lowest - next
		}
		p.next -= lowest - next
	}
	p.id, p.session, p.epoch, p.resumeAt = o.GetProducerId(), o.GetSession(), o.GetEpoch(), next
	p.limits = batchLimits{p.opt.batchBytes, p.opt.batchRecords}
	if n := o.GetMaxBatchBytes(); n > 0 && n < uint64(p.limits.bytes) {
		p.limits.bytes = int(n)
	}
	if n := o.GetMaxBatchRecords(); n > 0 && n < uint32(p.limits.records) {
		p.limits.records = int(n)
	}
	p.retune(o.GetTuning())
	p.limit, p.sent, p.reserved = Credit{}, Credit{}, Credit{}
	for _, b := range p.q {
		if b.sent {
			b.seal()
		}
		p.reserved.Messages += uint64(b.count)
		p.reserved.Bytes += b.bytes
	}
	p.unsent, p.partSent = 0, 0
	p.reason, p.demanded, p.drain, p.pong = ReasonNone, demand{}, nil, nil
	p.ping.outstanding = false
	p.heads = &heads{written: p.poke}
	p.up = true
	if hook := p.c.hooks.Opened; hook != nil {
		p.events = append(p.events, func() { hook(p.stream(), resumed) })
	}
	return nil
}

func (p *Producer) pendingCount() int {
	n := 0
	for _, b := range p.q {
		n += b.count
	}
	return n
}

func (p *Producer) retune(t *pb.QueueTuning) {
	p.tuning = t
	p.maxSize = t.GetMaxMessageBytes()
	if p.maxSize == 0 {
		p.maxSize = tunableDefault("max_message_bytes")
	}
}

// run serves streams one after the other until the producer ends.
func (p *Producer) run(s *stream) {
	defer close(p.done)
	defer p.c.forget(p)
	for {
		p.link.opened()
		err := p.serve(s)
		for {
			p.mu.Lock()
			p.up = false
			drain := p.drain
			p.drain = nil
			finished := p.closing && len(p.q) == 0
			p.release()
			switch {
			case finished && (err == nil || retryable(err)):
				p.finish(p.closedError(), false)
				return
			case p.ctx.Err() != nil:
				p.finish(context.Cause(p.ctx), false)
				return
			case err != nil && !retryable(err):
				p.finish(err, true)
				return
			}
			delay := p.link.delay(err)
			if drain != nil {
				delay = millis(drain.GetReconnectAfterMs(), 0)
				p.link.attempt = 0
			}
			p.c.log.Info("reopening a producer's stream", "queue", p.queue, "delay", delay, "reason", err)
			if hook := p.c.hooks.Broken; hook != nil {
				hook(p.stream(), err, delay)
			}
			if err = sleep(p.ctx, delay); err != nil {
				continue
			}
			p.c.kick()
			if err = p.c.awaitReady(p.ctx, p.link.patience()); err != nil {
				continue
			}
			if s, err = p.open(p.ctx); err == nil {
				break
			}
		}
	}
}

// finish ends the producer with err; what is unconfirmed fails with it.
func (p *Producer) finish(err error, failed bool) {
	p.cancel(err)
	p.mu.Lock()
	p.err, p.up = err, false
	p.failWaiters(err)
	for _, b := range p.q {
		b.resolveRest(0, b.count, UnknownOffset, err)
		b.finish()
	}
	p.q = nil
	if failed {
		p.c.log.Error("a producer ended", "queue", p.queue, "error", err)
		if hook := p.c.hooks.Failed; hook != nil {
			p.events = append(p.events, func() { hook(p.stream(), err) })
		}
	}
	p.release()
}

// serve sends and receives until the stream ends: nil when it ended with OK.
func (p *Producer) serve(s *stream) error {
	received := make(chan error, 1)
	s.watch()
	go func() {
		err := p.receive(s)
		s.cancel(err)
		received <- err
	}()
	p.send(s)
	err := <-received
	s.unwatch()
	s.cancel(err)
	return err
}

// receive handles frames until the stream ends.
func (p *Producer) receive(s *stream) error {
	in := wire.In{Reuse: true}
	var f wire.PublishFrame
	for {
		if err := s.RecvMsg(&in); err != nil {
			if err = s.end(err); errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		s.heard()
		if err := f.Decode(in.Data); err != nil {
			return &Error{Kind: KindProtocol, Queue: p.queue, Message: "a frame could not be decoded", cause: err}
		}
		p.mu.Lock()
		err := p.handle(s, &f)
		if p.idle {
			p.poke()
		}
		p.release()
		if err != nil {
			return err
		}
	}
}

func (p *Producer) handle(s *stream, f *wire.PublishFrame) error {
	switch {
	case f.IsConfirm:
		for _, r := range f.Runs {
			offset := r.Offset
			if r.OffsetUnknown {
				offset = UnknownOffset
			}
			if err := p.resolve(r.First, r.Count, offset, r.Duplicate, nil); err != nil {
				return err
			}
		}
		if f.IsGrant {
			return p.granted(f.Grant)
		}
		return nil
	case f.IsGrant:
		return p.granted(f.Grant)
	}
	switch f := f.Cold.GetFrame().(type) {
	case *pb.PublishResponse_Refuse:
		err := errorFromProto(f.Refuse.GetError())
		if err.Queue == "" {
			err.Queue = p.queue
		}
		return p.resolve(f.Refuse.GetFirstSequence(), f.Refuse.GetCount(), UnknownOffset, false, err)
	case *pb.PublishResponse_Tuning:
		p.retune(f.Tuning.GetTuning())
		if d := Durability(p.tuning.GetDurability()); d < p.opt.durability {
			return p.weaker(d)
		}
		p.admit()
	case *pb.PublishResponse_Drain:
		p.startDrain(s, f.Drain)
	case *pb.PublishResponse_Ping:
		p.pong = &pb.Pong{Id: f.Ping.GetId(), Epoch: p.epoch, Received: &pb.Credit{}, Limit: &pb.Credit{}}
		if c := f.Ping.GetSent(); c.GetMessages() != 0 || c.GetBytes() != 0 {
			return p.mismatch(Credit{}, creditFrom(c))
		}
	case *pb.PublishResponse_Pong:
		if !p.ping.outstanding || f.Pong.GetId() != p.ping.id {
			return nil
		}
		p.ping.outstanding = false
		if got := creditFrom(f.Pong.GetReceived()); got != p.ping.sent {
			return p.mismatch(p.ping.sent, got)
		}
		if l := creditFrom(f.Pong.GetLimit()); l.Messages < p.ping.seen.Messages || l.Bytes < p.ping.seen.Bytes {
			return p.mismatch(p.ping.seen, l)
		}
	}
	return nil // a frame of a newer protocol
}

func (p *Producer) mismatch(ours, theirs Credit) error {
	err := mismatch(p.queue, ours, theirs)
	if hook := p.c.hooks.CounterMismatch; hook != nil {
		p.events = append(p.events, func() { hook(p.stream(), err) })
	}
	return err
}

func mismatch(queue string, ours, theirs Credit) *Error {
	e := &Error{Kind: KindCounterMismatch, Queue: queue, Field: "messages", Limit: ours.Messages, Actual: theirs.Messages}
	if ours.Messages == theirs.Messages {
		e.Field, e.Limit, e.Actual = "bytes", ours.Bytes, theirs.Bytes
	}
	e.Message = "the two sides' counters differ"
	return e
}

func (p *Producer) granted(g wire.Grant) error {
	if g.Epoch != p.epoch {
		return &Error{Kind: KindFenced, Queue: p.queue, Field: "grant.epoch", Limit: p.epoch, Actual: g.Epoch,
			Message: "a grant of another epoch"}
	}
	if g.Messages < p.limit.Messages || g.Bytes < p.limit.Bytes {
		return &Error{Kind: KindCreditRegressed, Queue: p.queue, Limit: p.limit.Messages, Actual: g.Messages,
			Message: "a total of credit fell"}
	}
	raised := g.Messages > p.limit.Messages || g.Bytes > p.limit.Bytes
	p.limit = Credit{g.Messages, g.Bytes}
	p.reason = CreditReason(g.Reason)
	p.reasonSince = time.Time{}
	if p.reason != ReasonNone {
		p.reasonSince = time.Now().Add(-millis(g.ReasonAgeMs, 0))
	}
	p.windowUsed, p.window = g.WindowUsed, g.WindowBytes
	if p.drain == nil {
		p.admit()
	}
	p.tellBlocked()
	if raised {
		p.demanded.sent = false // say again what still waits
	}
	return nil
}

// startDrain stops accepting records; the sender finishes what was accepted, then
// closes the stream, and a new one takes over.
func (p *Producer) startDrain(s *stream, d *pb.Drain) {
	if p.drain != nil {
		return
	}
	p.drain, p.up = d, false
	deadline := millis(d.GetDeadlineMs(), limitDrainDeadlineMs*time.Millisecond)
	s.expire(deadline, &Error{Kind: KindUnavailable, Queue: p.queue, Message: "the drain's deadline passed"})
	if hook := p.c.hooks.Draining; hook != nil {
		p.events = append(p.events, func() { hook(p.stream(), deadline) })
	}
}

// resolve notes what became of sequences, and lets go of what is complete.
func (p *Producer) resolve(first, count, offset uint64, duplicate bool, refusal error) error {
	end := first + count
	if end < first || end > p.next || (count > 0 && end > p.sentThrough()) {
		return &Error{Kind: KindProtocol, Queue: p.queue, Limit: p.next, Actual: end,
			Message: "a confirmation of sequences that were not sent"}
	}
	lo, hi := 0, len(p.q) // the first batch that ends after `first`
	for lo < hi {
		mid := (lo + hi) / 2
		if p.q[mid].end() <= first {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for ; lo < len(p.q) && first < end; lo++ {
		b := p.q[lo]
		if b.first > first { // resolved before
			if offset != UnknownOffset {
				offset += min(b.first, end) - first
			}
			first = min(b.first, end)
		}
		n := min(end, b.end()) - first
		if n == 0 {
			break
		}
		fresh := b.resolve(int(first-b.first), int(n), offset, refusal)
		p.unacked -= fresh
		first += n
		if offset != UnknownOffset {
			offset += n
		}
		if fresh > 0 {
			p.tell(b, fresh, duplicate, refusal)
		}
	}
	done := 0
	for done < p.unsent && p.q[done].resolved == p.q[done].count {
		p.q[done].finish()
		p.q[done] = nil
		done++
	}
	if done > 0 {
		p.q = p.q[done:]
		p.unsent -= done
		if len(p.q) == 0 {
			p.q = nil
		}
	}
	return nil
}

// sentThrough is the sequence after the last that was handed to the transport.
func (p *Producer) sentThrough() uint64 {
	if p.unsent < len(p.q) {
		return p.q[p.unsent].first + uint64(p.partSent)
	}
	return p.next
}

func (p *Producer) tell(b *batch, n int, duplicate bool, refusal error) {
	if refusal != nil {
		if hook := p.c.hooks.Refused; hook != nil {
			p.events = append(p.events, func() { hook(p.stream(), n, refusal) })
		}
		return
	}
	if hook := p.c.hooks.Confirmed; hook != nil {
		elapsed := time.Since(b.since)
		p.events = append(p.events, func() { hook(p.stream(), n, duplicate, elapsed) })
	}
}

// ---- The sender -----------------------------------------------------------

// A batch that is not full goes out at once while few batches are unconfirmed and
// no write is under way; beyond that it grows until a confirmation or a write ends,
// or until it is worth a frame of its own. So frames are small at rest and large
// under load, without a timer.
const (
	smallBatches  = 4
	worthSending  = 128 << 10
	maxQueuedData = 2 // frames handed to the transport and not written yet
)

// send sends what is due until the stream's context ends.
func (p *Producer) send(s *stream) {
	timer := time.NewTimer(s.heartbeat)
	defer timer.Stop()
	pinged := time.Now()
	closed := false
	for {
		p.mu.Lock()
		out, wait := p.due(&closed, &pinged, s.heartbeat)
		if out == nil {
			p.idle = true
			p.release()
			timer.Reset(wait)
			select {
			case <-p.wake:
			case <-timer.C:
			case <-s.ctx.Done():
				p.mu.Lock()
				p.idle = false
				p.mu.Unlock()
				return
			}
			p.mu.Lock()
			p.idle = false
			p.mu.Unlock()
			continue
		}
		p.release()
		if err := s.SendMsg(out); err != nil {
			// io.EOF: the receiver learns why. Anything else is the client's own defect.
			if !errors.Is(err, io.EOF) {
				s.cancel(fromStatus(err, nil))
			}
			<-s.ctx.Done()
			return
		}
	}
}

// due returns the next frame to send, or how long to wait for one.
func (p *Producer) due(closed *bool, pinged *time.Time, heartbeat time.Duration) (any, time.Duration) {
	if p.pong != nil {
		m := &pb.PublishRequest{Frame: &pb.PublishRequest_Pong{Pong: p.pong}}
		p.pong = nil
		return m, 0
	}
	now := time.Now()
	wait := heartbeat - now.Sub(*pinged)
	if !*closed {
		out, next, linger := p.nextBatch(now)
		if out != nil {
			return out, 0
		}
		if m := p.demand(next); m != nil {
			return m, 0
		}
		if (p.closing || p.drain != nil) && p.unsent == len(p.q) {
			*closed = true
			return &pb.PublishRequest{Frame: &pb.PublishRequest_Close{Close: &pb.Close{}}}, 0
		}
		if linger > 0 {
			wait = min(wait, linger)
		}
	}
	if wait <= 0 {
		// Also while other frames flow: it compares the counters under load.
		*pinged = now
		p.ping.id++
		p.ping.outstanding, p.ping.sent, p.ping.seen = true, p.sent, p.limit
		return &pb.PublishRequest{Frame: &pb.PublishRequest_Ping{Ping: &pb.Ping{
			Id: p.ping.id, Epoch: p.epoch, Sent: p.sent.proto(), LimitSeen: p.limit.proto(),
		}}}, 0
	}
	return nil, wait
}

// nextBatch returns the next frame of records; or, if the front waits for credit,
// the length of its next record; or how long the batch may still grow.
func (p *Producer) nextBatch(now time.Time) (out *wire.Out, next uint64, linger time.Duration) {
	if p.unsent >= len(p.q) {
		return nil, 0, 0
	}
	b := p.q[p.unsent]
	if !b.sealed {
		if p.heads.writing.Load() >= maxQueuedData && b.encoded < worthSending {
			return nil, 0, 0
		}
		hurry := p.closing || p.drain != nil || p.flushing > 0 || p.waiters.front != nil
		if !hurry && b.encoded < worthSending {
			if p.unsent >= smallBatches {
				return nil, 0, 0
			}
			if l := p.opt.linger - now.Sub(b.since); l > 0 {
				return nil, 0, l
			}
		}
		if !p.sent.fits(p.limit, uint64(b.count), b.bytes) && !b.sent && p.limit == (Credit{}) {
			return nil, 0, 0 // resumed: it may still grow until the first grant
		}
		b.seal()
	}
	from, to := p.partSent, b.count
	if start := b.first + uint64(from); start < p.resumeAt && p.resumeAt < b.end() {
		to = int(p.resumeAt - b.first) // never straddle what the broker has
	}
	if from == 0 && to == b.count && p.sent.fits(p.limit, uint64(b.count), b.bytes) {
		out = &wire.Out{Buffers: make([]mem.Buffer, 1, 1+len(b.chunks))}
		head := p.heads.Get(0)
		*head = wire.AppendPublishHead(*head, b.first, b.encoded)
		out.Buffers[0] = p.heads.wrap(head)
		for _, c := range b.chunks {
			c.Ref()
			out.Buffers = append(out.Buffers, c)
		}
		p.account(b, b.count, b.bytes)
		p.unsent++
		return out, 0, 0
	}
	left := Credit{p.limit.Messages - p.sent.Messages, p.limit.Bytes - p.sent.Bytes}
	n, next := b.fitting(from, to, left)
	if n == 0 {
		return nil, next, 0
	}
	body, cost := b.piece(from, from+n)
	head := p.heads.Get(0)
	*head = wire.AppendPublishHead(*head, b.first+uint64(from), len(body))
	out = &wire.Out{Buffers: []mem.Buffer{p.heads.wrap(head), mem.SliceBuffer(body)}}
	p.account(b, n, cost)
	if p.partSent += n; p.partSent == b.count {
		p.unsent++
		p.partSent = 0
	}
	return out, 0, 0
}

func (p *Producer) account(b *batch, n int, cost uint64) {
	p.sent.Messages += uint64(n)
	p.sent.Bytes += cost
	b.sent = true
	if hook := p.c.hooks.Sent; hook != nil {
		p.events = append(p.events, func() { hook(p.stream(), n, int(cost)) })
	}
}

// demand says what waits beyond the credit, when that changed enough to matter.
func (p *Producer) demand(next uint64) *pb.PublishRequest {
	var d demand
	if p.reserved.Messages > p.sent.Messages { // of an earlier epoch, beyond the limit
		d.waiting.Messages = p.reserved.Messages - p.sent.Messages
		d.waiting.Bytes = p.reserved.Bytes - p.sent.Bytes
		if next == 0 {
			d.waiting = Credit{} // it waits for the transport, not for credit
		}
	}
	d.next = next
	if w := p.waiters.front; w != nil {
		d.waiting.Messages += p.waiters.total.Messages
		d.waiting.Bytes += p.waiters.total.Bytes
		if d.next == 0 {
			d.next = uint64(w.size)
		}
	}
	was := p.demanded
	switch {
	case d.waiting == Credit{}:
		if was.waiting == (Credit{}) {
			return nil
		}
	case was.sent && d.next <= was.next && d.waiting.Messages < 2*was.waiting.Messages &&
		d.waiting.Bytes < 2*was.waiting.Bytes:
		return nil
	}
	d.sent = true
	p.demanded = d
	return &pb.PublishRequest{Frame: &pb.PublishRequest_Demand{Demand: &pb.Demand{
		Waiting: d.waiting.proto(), NextRecordBytes: d.next,
	}}}
}
