package main

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// How long a backlog may take to be read.
const mostBacklog = 10 * time.Minute

// drain reads a backlog as a group that acknowledges, from its first message to its
// last.
func (t *trial) drain(ctx context.Context, count int64) (measured, error) {
	if t.program != "" {
		return t.native(ctx, "drain", "--count", fmt.Sprint(count))
	}
	m := startMeter(t.server)
	var first, last time.Time
	err := t.readBacklog(ctx, func(n int64) {
		if n == 1 {
			first = time.Now()
		}
		if n == count {
			last = time.Now()
		}
	})
	got := m.stop(count)
	got.Seconds = last.Sub(first).Seconds()
	return got, err
}

// readBacklog reads all that was sent; `each` is told how many have come.
func (t *trial) readBacklog(ctx context.Context, each func(n int64)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var n int64
	r := t.read(ctx, func(int64) {
		n++
		each(n)
	})
	defer r.all.Wait()
	defer cancel()
	if err := t.settled(ctx, mostBacklog, r); err != nil {
		return err
	}
	return t.finish(r)
}

// allocations of the client for a message: of publishing, then of consuming. What is
// in the first quarter does not count: pools fill.
func (t *trial) allocations(ctx context.Context, _ int64) (measured, error) {
	count := int64(t.topic.window(replayMessages, replayBytes))
	skipped := count / 4
	if err := t.fill(ctx, skipped); err != nil {
		return measured{}, err
	}
	m, begin := startMeter(t.server), mallocs()
	if err := t.fill(ctx, count); err != nil {
		return measured{}, err
	}
	published := mallocs() - begin
	got := m.stop(count - skipped)
	var consumed uint64
	err := t.readBacklog(ctx, func(n int64) {
		switch n {
		case skipped:
			begin = mallocs()
		case count:
			consumed = mallocs() - begin
		}
	})
	per := func(n uint64) float64 { return float64(n) / float64(count-skipped) }
	got.Values = []float64{per(published), per(consumed)}
	return got, err
}

// mallocs of this process so far.
func mallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}
