package spillway

import (
	"context"
	"sync"
	"time"

	"spillway.dev/clients/go/internal/wire"
)

// How a producer takes records: within credit, in order of arrival.

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
	if p.up && p.waiters.front == nil && p.reserved.fits(p.allowed(), 1, uint64(size)) {
		return p.accept(m, size), true, nil
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
	p.stir()
	p.release()
	select {
	case <-w.ready:
	case <-ctx.Done():
		p.mu.Lock()
		if w.queued {
			p.waiters.remove(w)
			w.err = ctxErr(ctx)
			p.admit() // what waits behind a large record may fit
			p.stir()
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
		} else if p.reserved.fits(p.allowed(), 1, uint64(w.size)) {
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
