package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// readers consume a topic, a group each, until they are stopped.
type readers struct {
	ledgers []*ledger
	stop    context.CancelFunc
	all     sync.WaitGroup
}

// read starts them. `each` is told the intended time of each message of the first group.
func (t *trial) read(ctx context.Context, each func(intended int64)) *readers {
	ctx, stop := context.WithCancel(ctx)
	r := &readers{stop: stop}
	for i, group := range t.topic.groups {
		l := newLedger(t.topic.size)
		r.ledgers = append(r.ledgers, l)
		take := func(payload []byte) {
			l.take(payload)
			t.acks.poke()
		}
		if i == 0 && each != nil {
			take = func(payload []byte) { each(l.take(payload)) }
		}
		r.all.Go(func() {
			if err := t.server.Consume(ctx, t.topic, group, take); err != nil && ctx.Err() == nil {
				t.acks.failed(fmt.Errorf("consuming: %w", err))
			}
		})
	}
	return r
}

// count of messages that all groups have.
func (r *readers) count() int64 {
	least := r.ledgers[0].count.Load()
	for _, l := range r.ledgers[1:] {
		least = min(least, l.count.Load())
	}
	return least
}

// prime sends the first message, and waits until all readers have it: from then on
// they are at work.
func (t *trial) prime(ctx context.Context, p Publisher, r *readers) error {
	if err := p.Publish(ctx, t.payloads.at(0, 0)); err != nil {
		return err
	}
	t.sent = 1
	if err := p.Push(ctx); err != nil {
		return err
	}
	return t.settled(ctx, mostOpen, r)
}

// settled waits until all that was sent is acknowledged and delivered.
func (t *trial) settled(ctx context.Context, within time.Duration, r *readers) error {
	deadline := time.Now().Add(within)
	for {
		acked, received := t.acks.count.Load(), t.sent
		if r != nil {
			received = r.count()
		}
		if acked >= t.sent && received >= t.sent {
			return nil
		}
		if err := t.acks.err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("of %d messages %d were acknowledged and %d delivered within %v",
				t.sent, acked, received, within)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// finish ends the readers, and checks that each message came to each once.
func (t *trial) finish(r *readers) error {
	// What would come twice has a moment to do so.
	time.Sleep(50 * time.Millisecond)
	r.stop()
	r.all.Wait()
	if err := t.acks.err(); err != nil {
		return err
	}
	if acked := t.acks.count.Load(); acked != t.sent {
		return fmt.Errorf("%d messages were acknowledged of %d", acked, t.sent)
	}
	var errs []error
	for i, l := range r.ledgers {
		if err := l.check(t.sent); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.topic.groups[i], err))
		}
	}
	return errors.Join(errs...)
}
