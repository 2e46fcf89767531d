package spillway

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

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

	// Held from the making of a frame until the transport has it, so that frames go
	// out in order; before mu.
	sending sync.Mutex

	mu      sync.Mutex
	current *stream // that is served
	id      string
	session string
	tuning  *pb.QueueTuning
	maxSize uint64 // of one encoded record
	limits  batchLimits

	// The account of the epoch. reserved is what was accepted from the
	// application, sent or not; returned is what was given back of the limit.
	// sent ≤ limit − returned always, reserved may pass that only by what an
	// earlier epoch left unconfirmed.
	epoch                           uint64
	limit, returned, reserved, sent Credit
	up                              bool // records are accepted
	reason                          CreditReason
	reasonSince                     time.Time
	windowUsed, window              uint64

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

// demand is what the broker knows to wait here: what was stated, less what it has
// granted since. It keeps the same account, so what was met needs no word.
type demand struct {
	waiting Credit
	next    uint64
}

// pingState compares counters: what was in the last Ping and is not answered yet.
type pingState struct {
	id          uint64
	outstanding bool
	sent, seen  Credit
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
	f, ok, err := p.tryLocked(&m, size)
	if ok {
		p.sendAccepted()
		return f, nil
	}
	if err != nil {
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
	if ok {
		p.sendAccepted()
		return f, nil
	}
	p.mu.Unlock()
	if err == nil {
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

// allowed is what may have been sent in this epoch. REQUIRES: mu.
func (p *Producer) allowed() Credit { return p.limit.minus(p.returned) }

// free is what may still be accepted from the application. REQUIRES: mu.
func (p *Producer) free() Credit { return p.allowed().minus(p.reserved) }

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
		total += wire.HeaderSize(h)
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
