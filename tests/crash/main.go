// Crash kills the real broker under load, again and again, and then checks what
// it kept: every acknowledged record is in the log once, at the offset that was
// confirmed, byte for byte; the group got every one of them; offsets are dense.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/tests/spillwayd"
)

func main() {
	cycles := flag.Int("cycles", 50, "how often the broker is killed, in all")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the moments of the kills")
	flag.Parse()
	fmt.Printf("crash: seed %d\n", *seed)
	passed, failed := 0, 0
	for i, durability := range []spillway.Durability{spillway.Synced, spillway.Persisted} {
		n := *cycles * 3 / 5
		if durability == spillway.Persisted {
			n = *cycles - *cycles*3/5
		}
		if err := run(durability, n, *seed+uint64(i)); err != nil {
			fmt.Printf("crash: %v: FAILED: %v\n", durability, err)
			failed++
			continue
		}
		passed++
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

const (
	queue       = "ledger"
	group       = "auditor"
	payloadSize = 200
	// Fewer acknowledged records than this in a cycle, on average, prove nothing.
	leastPerCycle = 50
)

// payload makes the record of a sequence: its number, and bytes that follow from it.
func payload(sequence uint64) []byte {
	p := make([]byte, payloadSize)
	binary.LittleEndian.PutUint64(p, sequence)
	r := rand.New(rand.NewPCG(sequence, 1))
	for i := 8; i < len(p); i++ {
		p[i] = byte(r.Uint32())
	}
	return p
}

func check(p []byte) (uint64, error) {
	if len(p) != payloadSize {
		return 0, fmt.Errorf("a payload of %d bytes", len(p))
	}
	sequence := binary.LittleEndian.Uint64(p)
	h, want := fnv.New64a(), fnv.New64a()
	h.Write(p)
	want.Write(payload(sequence))
	if h.Sum64() != want.Sum64() {
		return 0, fmt.Errorf("the payload of record %d is damaged", sequence)
	}
	return sequence, nil
}

type acknowledged struct {
	mu      sync.Mutex
	offsets map[uint64]uint64 // sequence → offset
}

func run(durability spillway.Durability, cycles int, seed uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second+time.Duration(cycles)*5*time.Second)
	defer cancel()
	random := rand.New(rand.NewPCG(seed, 7))
	broker, err := spillwayd.Start()
	if err != nil {
		return err
	}
	defer broker.Remove()
	client, err := spillway.Dial(ctx, broker.Address(), spillway.WithReconnect(10*time.Millisecond, 200*time.Millisecond, time.Second),
		spillway.WithRetryBudget(1e6, 1))
	if err != nil {
		return err
	}
	defer client.Close(context.Background())
	if _, err := client.Admin().CreateQueue(ctx, queue, spillway.SetDurability(durability),
		spillway.SetRetention(spillway.Limits), spillway.SetWindowBytes(1<<20),
		spillway.SetMaxMessageBytes(64<<10)); err != nil {
		return err
	}

	load, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	acked := &acknowledged{offsets: map[uint64]uint64{}}
	var confirmed atomic.Int64
	sent := make(chan result, 1)
	go func() { sent <- produce(ctx, load, client, acked, &confirmed) }()
	got := &delivered{seen: map[uint64]uint64{}}
	taken := make(chan error, 1)
	take, stopTake := context.WithCancel(ctx)
	defer stopTake()
	go func() { taken <- consume(take, client, got) }()

	var recoveries []time.Duration
	for cycle := range cycles {
		// Some progress first, then a moment that nobody chose.
		before := confirmed.Load()
		if err := await(ctx, func() bool { return confirmed.Load() > before }); err != nil {
			return fmt.Errorf("cycle %d: no record was confirmed after the restart: %w\n%s", cycle, err, broker.Log())
		}
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		broker.Kill()
		down := time.Now()
		if err := broker.Restart(); err != nil {
			return fmt.Errorf("cycle %d: %w", cycle, err)
		}
		recoveries = append(recoveries, time.Since(down))
	}
	before := confirmed.Load()
	if err := await(ctx, func() bool { return confirmed.Load() > before }); err != nil {
		return fmt.Errorf("after the last restart: %w\n%s", err, broker.Log())
	}
	stopLoad()
	r := <-sent
	if r.err != nil {
		return fmt.Errorf("producer: %w", r.err)
	}
	if int(r.count) < cycles*leastPerCycle {
		return fmt.Errorf("only %d records in %d cycles: the run proves nothing", r.count, cycles)
	}
	if err := await(ctx, func() bool { return got.count() == int(r.count) }); err != nil {
		return fmt.Errorf("the group got %d of %d records: %w", got.count(), r.count, err)
	}
	stopTake()
	if err := <-taken; err != nil {
		return fmt.Errorf("consumer: %w", err)
	}

	// The log: every record once, in order, where the confirmation said.
	next := uint64(0)
	for d, err := range client.Replay(ctx, queue, spillway.Earliest(), spillway.UntilTail()) {
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		sequence, err := check(d.Payload)
		if err != nil {
			return fmt.Errorf("offset %d: %w", d.Offset, err)
		}
		if d.Offset != next || sequence != next {
			return fmt.Errorf("offset %d holds record %d, expected %d at %d", d.Offset, sequence, next, next)
		}
		if acked.offsets[sequence] != d.Offset {
			return fmt.Errorf("record %d was confirmed at %d and is at %d", sequence, acked.offsets[sequence], d.Offset)
		}
		if got.seen[sequence] != d.Offset {
			return fmt.Errorf("record %d was delivered as offset %d, is at %d", sequence, got.seen[sequence], d.Offset)
		}
		next++
	}
	if next != r.count {
		return fmt.Errorf("%d records were acknowledged, %d are kept", r.count, next)
	}
	sort.Slice(recoveries, func(i, j int) bool { return recoveries[i] < recoveries[j] })
	fmt.Printf("crash: %v: %d kills, %d acknowledged, 0 lost, %d redeliveries, recovery p50 %v, worst %v\n",
		durability, cycles, r.count, got.repeated, recoveries[len(recoveries)/2].Round(time.Millisecond),
		recoveries[len(recoveries)-1].Round(time.Millisecond))
	return nil
}

type result struct {
	count uint64
	err   error
}

// produce publishes until `load` ends, then waits for every confirmation.
func produce(ctx, load context.Context, c *spillway.Client, acked *acknowledged, confirmed *atomic.Int64) result {
	p, err := c.Producer(ctx, queue)
	if err != nil {
		return result{0, err}
	}
	type sent struct {
		sequence uint64
		future   spillway.Future
	}
	futures := make(chan sent, 4096)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for s := range futures {
			offset, err := s.future.Wait(ctx)
			if err != nil {
				failed <- fmt.Errorf("record %d: %w", s.sequence, err)
				return
			}
			acked.mu.Lock()
			acked.offsets[s.sequence] = offset
			acked.mu.Unlock()
			confirmed.Add(1)
		}
	}()
	sequence := uint64(0)
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for load.Err() == nil {
		select {
		case <-pace.C:
		case err := <-failed:
			return result{sequence, err}
		}
		for range 5 {
			f, err := p.PublishAsync(ctx, spillway.Message{Payload: payload(sequence)})
			if err != nil {
				close(futures)
				return result{sequence, err}
			}
			futures <- sent{sequence, f}
			sequence++
		}
	}
	close(futures)
	if err := <-failed; err != nil {
		return result{sequence, err}
	}
	return result{sequence, p.Close(ctx)}
}

type delivered struct {
	mu       sync.Mutex
	seen     map[uint64]uint64 // sequence → offset
	repeated int
}

func (d *delivered) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.seen)
}

func consume(ctx context.Context, c *spillway.Client, got *delivered) error {
	consumer, err := c.Consumer(ctx, queue, group, spillway.WithMaxInFlight(500))
	if err != nil {
		return err
	}
	for d, err := range consumer.Deliveries(ctx) {
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		sequence, err := check(d.Payload)
		if err != nil {
			return fmt.Errorf("offset %d: %w", d.Offset, err)
		}
		got.mu.Lock()
		if offset, again := got.seen[sequence]; again {
			got.repeated++
			if offset != d.Offset {
				err = fmt.Errorf("record %d came as offset %d and as %d", sequence, offset, d.Offset)
			}
		}
		got.seen[sequence] = d.Offset
		got.mu.Unlock()
		if err != nil {
			return err
		}
		if err := d.Ack(); err != nil && !errors.Is(err, spillway.ErrClosed) {
			return err
		}
	}
	return nil
}

func await(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return errors.New("nothing happened in 30 s")
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
