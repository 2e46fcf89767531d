package main

import (
	"context"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// single sends one message at a time, on one connection: the next when the one before
// is acknowledged.
func (t *trial) single(ctx context.Context) (measured, error) {
	p, err := t.server.Publisher(ctx, t.topic, t.acks)
	if err != nil {
		return measured{}, err
	}
	defer p.Close()
	if _, err := t.oneByOne(ctx, p, t.warmup); err != nil {
		return measured{}, err
	}
	m := startMeter(t.server)
	n, err := t.oneByOne(ctx, p, t.seconds)
	return m.stop(n), err
}

func (t *trial) oneByOne(ctx context.Context, p Publisher, during time.Duration) (n int64, err error) {
	for end := time.Now().Add(during); time.Now().Before(end); n++ {
		if err := p.One(ctx, t.payloads.at(t.sent, 0)); err != nil {
			return n, err
		}
		t.sent++
	}
	return n, t.acks.err()
}

// The longest latency that is told apart.
const mostLatency = 60 * time.Second

// latency is an open loop: messages are sent at a fixed rate, whatever the system does,
// and their latency is from the moment at which they were to be sent. A system that
// falls behind cannot hide it.
func (t *trial) latency(ctx context.Context) (measured, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := t.server.Publisher(ctx, t.topic, t.acks)
	if err != nil {
		return measured{}, err
	}
	defer p.Close()
	// Microseconds, three digits.
	histogram := hdrhistogram.New(1, mostLatency.Microseconds(), 3)
	epoch := time.Now()
	var from atomic.Int64 // what was to be sent earlier does not count
	from.Store(int64(1) << 62)
	r := t.read(ctx, func(intended int64) {
		if intended >= from.Load() {
			took := max(1, (int64(time.Since(epoch))-intended)/int64(time.Microsecond))
			_ = histogram.RecordValue(min(took, mostLatency.Microseconds()))
		}
	})
	defer r.all.Wait()
	defer cancel()
	if err := t.prime(ctx, p, r); err != nil {
		return measured{}, err
	}
	begin := time.Since(epoch)
	from.Store(int64(begin + t.warmup))
	var m meter
	pace := pace{rate: t.rate}
	total := pace.before(t.warmup + t.seconds)
	for n := int64(0); n < total; {
		now := time.Since(epoch) - begin
		if m.begin.IsZero() && now >= t.warmup {
			m = startMeter(t.server)
		}
		due := min(pace.due(now), total)
		for ; n < due; n++ {
			if t.sent-t.acks.count.Load() >= t.window {
				if err := t.waitForRoom(ctx, p); err != nil {
					return measured{}, err
				}
			}
			if err := p.Publish(ctx, t.payloads.at(t.sent, int64(begin+pace.at(n)))); err != nil {
				return measured{}, err
			}
			t.sent++
		}
		if err := p.Push(ctx); err != nil {
			return measured{}, err
		}
		if err := t.acks.err(); err != nil {
			return measured{}, err
		}
		if n < total {
			sleep(pace.at(n) - (time.Since(epoch) - begin))
		}
	}
	if m.begin.IsZero() {
		m = startMeter(t.server)
	}
	if err := t.settled(ctx, mostDrain, r); err != nil {
		return measured{}, err
	}
	got := m.stop(total - pace.before(t.warmup))
	if err := t.finish(r); err != nil {
		return got, err
	}
	got.P50 = float64(histogram.ValueAtQuantile(50))
	got.P99 = float64(histogram.ValueAtQuantile(99))
	got.P999 = float64(histogram.ValueAtQuantile(99.9))
	return got, nil
}

func (t *trial) waitForRoom(ctx context.Context, p Publisher) error {
	if err := p.Push(ctx); err != nil {
		return err
	}
	return t.acks.wait(ctx, func() bool { return t.sent-t.acks.count.Load() < t.window })
}

// sleep ends within a fraction of a millisecond after it should: the runtime's timers
// may take a whole one, which would be counted as the system's latency.
func sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	timespec := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&timespec, nil) // one that is interrupted is begun again
}

// pace is a schedule of messages at a fixed rate.
type pace struct{ rate float64 }

// at is when message n is to be sent.
func (p pace) at(n int64) time.Duration {
	return time.Duration(float64(n) / p.rate * float64(time.Second))
}

// before is how many messages are to be sent within a time from the start.
func (p pace) before(end time.Duration) int64 { return int64(math.Ceil(end.Seconds() * p.rate)) }

// due is how many messages are to be sent up to this moment.
func (p pace) due(now time.Duration) int64 { return int64(now.Seconds()*p.rate) + 1 }
