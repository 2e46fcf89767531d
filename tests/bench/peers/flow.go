package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// The sender runs at most so many messages, or so many bytes, ahead of the slowest
// reader: what is measured end to end is a steady state, in which what comes in goes
// out. Spillway's broker holds its producers back by itself.
const (
	leadMessages = 200_000
	leadBytes    = 64 << 20
)

// endToEnd is the flow of messages, or what stands for it where there are none.
func (t *trial) endToEnd(ctx context.Context) (measured, error) {
	if own, ok := t.server.(interface {
		Flow(ctx context.Context, t *trial) (measured, error)
	}); ok {
		return own.Flow(ctx, t)
	}
	return t.flow(ctx)
}

// flow is a closed loop: a sender that keeps its window full, and a reader for each
// group. Rates are of what all groups received, or without any of what was
// acknowledged.
func (t *trial) flow(ctx context.Context) (measured, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := t.server.Publisher(ctx, t.topic, t.acks)
	if err != nil {
		return measured{}, err
	}
	defer p.Close()
	count := t.acks.count.Load
	var r *readers
	if len(t.topic.groups) > 0 {
		r = t.read(ctx, nil)
		defer r.all.Wait()
		defer cancel() // before the wait
		if err := t.prime(ctx, p, r); err != nil {
			return measured{}, err
		}
		count = r.count
	}
	var stop atomic.Bool
	sending := make(chan error, 1)
	go func() { sending <- t.send(ctx, p, r, &stop) }()
	t.sleep(ctx, t.warmup)
	m, before := startMeter(t.server), count()
	t.sleep(ctx, t.seconds)
	got := m.stop(count() - before)
	stop.Store(true)
	t.acks.poke()
	if err := <-sending; err != nil {
		return got, err
	}
	if err := t.settled(ctx, mostDrain, r); err != nil {
		return got, err
	}
	if r != nil {
		if err := t.finish(r); err != nil {
			return got, err
		}
	}
	if got.Records == 0 {
		return got, errors.New("nothing came in the time that was measured")
	}
	return got, nil
}

// sleep ends early when the run has failed.
func (t *trial) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	case <-t.acks.broken:
	}
}

// send until it is told to stop, within the window and the lead. A window that was
// full is a quarter empty before it goes on, so that batches stay large.
func (t *trial) send(ctx context.Context, p Publisher, r *readers, stop *atomic.Bool) error {
	window, lead := t.window, int64(t.topic.window(leadMessages, leadBytes))
	within := func(window, lead int64) bool {
		return t.sent-t.acks.count.Load() < window && (r == nil || t.sent-r.count() < lead)
	}
	for !stop.Load() {
		if !within(window, lead) {
			if err := p.Push(ctx); err != nil {
				return err
			}
			if err := t.acks.wait(ctx, func() bool {
				return stop.Load() || within(window-window/4, lead-lead/4)
			}); err != nil {
				return err
			}
			continue
		}
		if err := p.Publish(ctx, t.payloads.at(t.sent, 0)); err != nil {
			return err
		}
		t.sent++
	}
	return p.Push(ctx)
}
