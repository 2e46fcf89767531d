package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/tests/bench/proc"
	"spillway.dev/tests/spillwayd"
)

// How long a load may take that fills or empties a big backlog.
const longLoad = 15 * time.Minute

// served is a broker of a step's own, on an empty folder.
type served struct {
	*spillwayd.Broker
	scale *scale
}

// serve starts a broker, and removes it when `run` is done.
func (s *scale) serve(ctx context.Context, args []string, run func(b *served) error) error {
	broker, err := spillwayd.Start(args...)
	if err != nil {
		return err
	}
	b := &served{broker, s}
	defer func() {
		b.Kill()
		b.Remove()
	}()
	err = run(b)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; the broker's last words: %s", err, lastLine(b.Log()))
	}
	return err
}

func (b *served) process() proc.Process { return proc.Process(b.PID()) }

// create queues of these names, many at a time.
func (b *served) create(ctx context.Context, names []string, tuning ...spillway.TuningOption) error {
	client, err := spillway.Dial(ctx, b.Address())
	if err != nil {
		return err
	}
	defer client.Close(ctx)
	const creators = 16
	var all sync.WaitGroup
	failures := make([]error, creators)
	for c := range creators {
		all.Go(func() {
			for i := c; i < len(names) && failures[c] == nil; i += creators {
				_, failures[c] = client.Admin().CreateQueue(ctx, names[i], tuning...)
			}
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

// load runs the load program of `core` on a queue, and says what it cost the broker.
func (b *served) load(ctx context.Context, queue string, args ...string) (result, sample, error) {
	return costOf(b.process(), func() (result, error) {
		got, err := lines[result](ctx, nil, longLoad, b.scale.binary("core/load"),
			append([]string{"--address", b.Address(), "--queue", queue}, args...)...)
		return only(got, err)
	})
}

// fill a queue with so many bytes of payloads, by a load of `core`; returns the records.
func (b *served) fill(ctx context.Context, queue, mode string, bytes int) (count int, filled sample, err error) {
	count = bytes / medium.bytes / medium.batch * medium.batch
	r, filled, err := b.load(ctx, queue, append(medium.flags(), "--mode", mode, "--count", strconv.Itoa(count))...)
	if err == nil && int(r.Total) != count {
		err = fmt.Errorf("%d records were kept of %d", int(r.Total), count)
	}
	return count, filled, err
}

// manyResult is the line of the programs `many` and `relay_many_load`.
type manyResult struct {
	result
	CPU float64 `json:"cpu_seconds"`
}

// spreadOver is how a load goes over queues and connections.
type spreadOver struct{ queues, pairs, connections int }

func (o spreadOver) names() []string {
	out := make([]string, o.queues)
	for i := range out {
		out[i] = "q" + strconv.Itoa(i)
	}
	return out
}

// many measures one load that is spread so; the queues must exist.
func (b *served) many(ctx context.Context, over spreadOver, shape shape) (sample, error) {
	return b.scale.spread(ctx, "scale/many", b.process(), b.Address(), over, shape)
}

// spread measures one load of a process by a program that spreads it so.
func (s *scale) spread(ctx context.Context, program string, p proc.Process, address string,
	over spreadOver, shape shape) (sample, error) {
	p.ForgetPeak()
	got, err := lines[manyResult](ctx, nil, 4*time.Minute, s.binary(program), append(shape.flags(),
		"--address", address, "--pid", strconv.Itoa(int(p)), "--queues", strconv.Itoa(over.queues),
		"--pairs", strconv.Itoa(over.pairs), "--connections", strconv.Itoa(over.connections),
		"--warmup", seconds(s.sizes.warmup), "--seconds", seconds(s.sizes.rate))...)
	r, err := only(got, err)
	if err != nil {
		return sample{}, err
	}
	_, peak := p.RSSBytes()
	return sample{value: r.rate(), cpu: r.CPU * 1e6 / r.Records, rss: peak}, nil
}

// only is the one line that a program printed.
func only[T any](got []T, err error) (T, error) {
	var none T
	switch {
	case err != nil:
		return none, err
	case len(got) != 1:
		return none, fmt.Errorf("a program printed %d lines, not one", len(got))
	default:
		return got[0], nil
	}
}

// quieten waits until the broker has done what it still does behind a load, such as
// RocksDB's compactions.
func (b *served) quieten(ctx context.Context) error {
	const (
		looks = 500 * time.Millisecond
		idle  = 0.05 // cores
	)
	tick := time.NewTicker(looks)
	defer tick.Stop()
	before := b.process().CPUSeconds()
	for range 240 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := b.process().CPUSeconds()
		if now-before < idle*looks.Seconds() {
			return nil
		}
		before = now
	}
	return errors.New("the broker did not become idle within two minutes")
}
