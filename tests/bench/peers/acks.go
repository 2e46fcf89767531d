package main

import (
	"context"
	"sync"
	"sync/atomic"
)

// acks counts acknowledgements, holds back a sender whose window is full, and keeps
// the first failure. A client calls done and failed from any goroutine.
type acks struct {
	count   atomic.Int64
	waiting atomic.Bool
	wake    chan struct{}
	once    sync.Once
	cause   error
	broken  chan struct{} // closed with the first failure
}

func newAcks() *acks {
	return &acks{wake: make(chan struct{}, 1), broken: make(chan struct{})}
}

func (a *acks) done(n int) {
	a.count.Add(int64(n))
	a.poke()
}

func (a *acks) failed(err error) {
	a.once.Do(func() {
		a.cause = err
		close(a.broken)
	})
}

func (a *acks) err() error {
	select {
	case <-a.broken:
		return a.cause
	default:
		return nil
	}
}

// poke lets a sender that waits look again.
func (a *acks) poke() {
	if a.waiting.Load() {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// wait returns once ready does. Whoever makes it ready calls poke.
func (a *acks) wait(ctx context.Context, ready func() bool) error {
	for !ready() {
		a.waiting.Store(true)
		if ready() { // since the one who made it so saw nobody wait
			break
		}
		select {
		case <-a.wake:
		case <-a.broken:
			return a.cause
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	a.waiting.Store(false)
	return a.err()
}
