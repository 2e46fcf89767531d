package main

import (
	"context"
	"fmt"
	"time"
)

// What is kept for a replay, and how often it is read at most.
const (
	replayMessages = 2_000_000
	replayBytes    = 256 << 20
	mostReplays    = 20
)

// replay reads all that is kept once to have it in the page cache, and then again and
// again for the time of a run. A reading counts from its first message on: opening a
// reader is not what is measured.
func (t *trial) replay(ctx context.Context, count int64) (measured, error) {
	if t.program != "" {
		return t.native(ctx, "replay", "--count", fmt.Sprint(count))
	}
	l := newLedger(t.topic.size)
	var out measured
	for i := range mostReplays + 1 {
		got, err := t.replayOnce(ctx, l, count)
		if err != nil {
			return out, err
		}
		if i == 0 {
			continue
		}
		out = out.plus(got)
		if out.Seconds >= t.seconds.Seconds() {
			break
		}
	}
	return out, nil
}

func (t *trial) fill(ctx context.Context, count int64) error {
	p, err := t.server.Publisher(ctx, t.topic, t.acks)
	if err != nil {
		return err
	}
	defer p.Close()
	for t.sent < count {
		if t.sent-t.acks.count.Load() >= t.window {
			if err := p.Push(ctx); err != nil {
				return err
			}
			if err := t.acks.wait(ctx, func() bool {
				return t.sent-t.acks.count.Load() < t.window-t.window/4
			}); err != nil {
				return err
			}
		}
		if err := p.Publish(ctx, t.payloads.at(t.sent, 0)); err != nil {
			return err
		}
		t.sent++
	}
	if err := p.Push(ctx); err != nil {
		return err
	}
	return t.settled(ctx, mostDrain, nil)
}

// replayOnce reads all, and says how long that took from the first message on.
func (t *trial) replayOnce(ctx context.Context, l *ledger, count int64) (measured, error) {
	l.reset()
	m := startMeter(t.server)
	ctx, cancel := context.WithTimeout(ctx, mostDrain)
	defer cancel()
	var first, last time.Time
	var n int64
	err := t.server.Replay(ctx, t.topic, func(payload []byte) bool {
		if n == 0 {
			first = time.Now()
		}
		l.take(payload)
		if n++; n >= count {
			last = time.Now()
			return false
		}
		return true
	})
	if err == nil && n < count {
		err = fmt.Errorf("%d messages were replayed of %d within %v", n, count, mostDrain)
	}
	if err != nil {
		return measured{}, err
	}
	got := m.stop(count)
	got.Seconds = last.Sub(first).Seconds()
	return got, l.check(count)
}
