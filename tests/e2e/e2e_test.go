//go:build e2e

// Package e2e drives the real broker through the Go client: every durability with
// every overflow policy, groups, replay, restarts, and the end of a broker.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/tests/spillwayd"
)

var durabilities = []spillway.Durability{spillway.Memory, spillway.Persisted, spillway.Synced}

func start(t *testing.T, args ...string) (*spillwayd.Broker, *spillway.Client, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	broker, err := spillwayd.Start(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Remove)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(broker.Log())
		}
	})
	return broker, dial(t, ctx, broker), ctx
}

func dial(t *testing.T, ctx context.Context, broker *spillwayd.Broker) *spillway.Client {
	t.Helper()
	client, err := spillway.Dial(ctx, broker.Address(),
		spillway.WithReconnect(10*time.Millisecond, 100*time.Millisecond, time.Second),
		spillway.WithRetryBudget(1000, 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

func create(t *testing.T, ctx context.Context, c *spillway.Client, name string, tuning ...spillway.TuningOption) {
	t.Helper()
	if _, err := c.Admin().CreateQueue(ctx, name, tuning...); err != nil {
		t.Fatal(err)
	}
}

func producer(t *testing.T, ctx context.Context, c *spillway.Client, queue string) *spillway.Producer {
	t.Helper()
	p, err := c.Producer(ctx, queue)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func payload(i int) []byte { return fmt.Appendf(nil, "record %d %s", i, strings.Repeat("x", i%50)) }

// publish sends records first … first+count-1 and waits for every confirmation.
func publish(t *testing.T, ctx context.Context, p *spillway.Producer, first, count int) {
	t.Helper()
	if err := tryPublish(ctx, p, first, count); err != nil {
		t.Fatal(err)
	}
}

func tryPublish(ctx context.Context, p *spillway.Producer, first, count int) error {
	futures := make([]spillway.Future, 0, count)
	for i := first; i < first+count; i++ {
		f, err := p.PublishAsync(ctx, spillway.Message{Payload: payload(i)})
		if err != nil {
			return fmt.Errorf("publish %d: %w", i, err)
		}
		futures = append(futures, f)
	}
	for i, f := range futures {
		if _, err := f.Wait(ctx); err != nil {
			return fmt.Errorf("confirm %d: %w", first+i, err)
		}
	}
	return nil
}

// receive takes count records in order from first on, and acknowledges them.
func receive(t *testing.T, ctx context.Context, c *spillway.Consumer, first, count int) {
	t.Helper()
	for i := first; i < first+count; i++ {
		d, err := c.Receive(ctx)
		if err != nil {
			t.Fatalf("receive %d: %v", i, err)
		}
		if string(d.Payload) != string(payload(i)) {
			t.Fatalf("offset %d holds %q, want %q", d.Offset, d.Payload, payload(i))
		}
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
	}
}

func consumer(t *testing.T, ctx context.Context, c *spillway.Client, queue, group string, opts ...spillway.ConsumerOption) *spillway.Consumer {
	t.Helper()
	n, err := c.Consumer(ctx, queue, group, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits for a state that the broker reaches by itself.
func eventually(t *testing.T, ctx context.Context, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); {
		if time.Now().After(deadline) || ctx.Err() != nil {
			t.Fatal("never: ", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestSpillAndCatchUp(t *testing.T) {
	broker, client, ctx := start(t)
	_ = broker
	for _, durability := range durabilities {
		t.Run(durability.String(), func(t *testing.T) {
			queue := "spill-" + durability.String()
			create(t, ctx, client, queue, spillway.SetDurability(durability),
				spillway.SetWindowBytes(256<<10), spillway.SetMaxMessageBytes(4<<10))
			slow := consumer(t, ctx, client, queue, "slow", spillway.WithMaxInFlight(10))
			fast := consumer(t, ctx, client, queue, "fast")
			p := producer(t, ctx, client, queue)
			const n = 20_000
			sent := make(chan error, 1)
			go func() { sent <- tryPublish(ctx, p, 0, n) }()
			receive(t, ctx, fast, 0, n)
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			q, err := client.Admin().GetQueue(ctx, queue)
			if err != nil {
				t.Fatal(err)
			}
			if used := q.Stats.ResidentBytes + q.Stats.ProducerUnspent.Bytes; used > q.Tuning.WindowBytes {
				t.Errorf("memory %d is beyond the window %d", used, q.Tuning.WindowBytes)
			}
			if q.Stats.SpilledMessages == 0 {
				t.Error("nothing spilled: the test proves nothing")
			}
			// The laggard gets everything, in order, while new records come.
			more := make(chan error, 1)
			go func() { more <- tryPublish(ctx, p, n, 1000) }()
			receive(t, ctx, slow, 0, n+1000)
			receive(t, ctx, fast, n, 1000)
			if err := <-more; err != nil {
				t.Fatal(err)
			}
			eventually(t, ctx, "the queue is settled", func() bool {
				q, err := client.Admin().GetQueue(ctx, queue)
				return err == nil && q.Stats.DepthMessages == 0
			})
		})
	}
}

func TestBlockWaitsAndSaysWhy(t *testing.T) {
	_, client, ctx := start(t)
	for _, durability := range durabilities {
		t.Run(durability.String(), func(t *testing.T) {
			queue := "block-" + durability.String()
			create(t, ctx, client, queue, spillway.SetDurability(durability),
				spillway.SetOverflow(spillway.Block), spillway.SetWindowMessages(100))
			p := producer(t, ctx, client, queue)
			n := consumer(t, ctx, client, queue, "g", spillway.WithMaxInFlight(1))
			blocked := make(chan error, 1)
			go func() {
				for i := range 300 {
					if _, err := p.PublishAsync(ctx, spillway.Message{Payload: payload(i)}); err != nil {
						blocked <- err
						return
					}
				}
				blocked <- p.Flush(ctx)
			}()
			eventually(t, ctx, "the producer is told that the window is full", func() bool {
				b, waits := p.Blocked()
				return waits && b.Reason == spillway.ReasonWindowFull
			})
			why, err := client.Admin().Explain(ctx, queue)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, stall := range why.Stalls {
				found = found || stall.Reason == "WINDOW_FULL" && stall.EndsWhen != ""
			}
			if !found {
				t.Errorf("Explain does not say it: %+v", why)
			}
			receive(t, ctx, n, 0, 300)
			if err := <-blocked; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestRejectFailsAtOnce(t *testing.T) {
	_, client, ctx := start(t)
	for _, durability := range durabilities {
		t.Run(durability.String(), func(t *testing.T) {
			queue := "reject-" + durability.String()
			create(t, ctx, client, queue, spillway.SetDurability(durability),
				spillway.SetOverflow(spillway.Reject), spillway.SetWindowMessages(10))
			p := producer(t, ctx, client, queue)
			n := consumer(t, ctx, client, queue, "g", spillway.WithMaxInFlight(1))
			kept := 0
			var err error
			for err == nil && kept < 1000 {
				if _, err = p.Publish(ctx, spillway.Message{Payload: payload(kept)}); err == nil {
					kept++
				}
			}
			if !errors.Is(err, spillway.ErrQueueFull) {
				t.Fatalf("after %d records: %v, want ErrQueueFull", kept, err)
			}
			receive(t, ctx, n, 0, kept)
			eventually(t, ctx, "room is granted again", func() bool {
				_, err := p.Publish(ctx, spillway.Message{Payload: payload(kept)})
				return err == nil
			})
		})
	}
}

func TestDropOldestTellsWhatIsGone(t *testing.T) {
	broker, _, ctx := start(t)
	for _, durability := range durabilities {
		t.Run(durability.String(), func(t *testing.T) {
			queue := "drop-" + durability.String()
			gone := make(chan spillway.OffsetRange, 10_000)
			client, err := spillway.Dial(ctx, broker.Address(), spillway.WithHooks(spillway.Hooks{
				Gap: func(_ spillway.Stream, ranges []spillway.OffsetRange, reason spillway.GapReason) {
					if reason != spillway.GapDropped {
						t.Errorf("reason %v", reason)
					}
					for _, r := range ranges {
						gone <- r
					}
				},
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close(ctx)
			create(t, ctx, client, queue, spillway.SetDurability(durability),
				spillway.SetOverflow(spillway.DropOldest), spillway.SetWindowMessages(100))
			n := consumer(t, ctx, client, queue, "g", spillway.WithMaxInFlight(1))
			p := producer(t, ctx, client, queue)
			const count = 2000
			publish(t, ctx, p, 0, count)
			got := map[uint64]bool{}
			for last := uint64(0); last != count-1; {
				d, err := n.Receive(ctx)
				if err != nil {
					t.Fatal(err)
				}
				last = d.Offset
				got[d.Offset] = true
				if err := d.Ack(); err != nil {
					t.Fatal(err)
				}
			}
			missing := count - len(got)
			for missing > 0 {
				select {
				case r := <-gone:
					missing -= int(r.Count)
				case <-ctx.Done():
					t.Fatalf("%d records neither came nor were told to be gone", missing)
				}
			}
			if missing < 0 {
				t.Errorf("%d records were told to be gone and came", -missing)
			}
		})
	}
}

func TestReplay(t *testing.T) {
	_, client, ctx := start(t)
	create(t, ctx, client, "q", spillway.SetRetention(spillway.Limits),
		spillway.SetWindowBytes(64<<10), spillway.SetMaxMessageBytes(4<<10))
	p := producer(t, ctx, client, "q")
	publish(t, ctx, p, 0, 1500)
	// A break in time, so that a time can be asked for.
	time.Sleep(20 * time.Millisecond)
	middle := time.Now()
	time.Sleep(20 * time.Millisecond)
	publish(t, ctx, p, 1500, 1500)
	for _, test := range []struct {
		name        string
		opts        []spillway.ReplayOption
		first, last int
	}{
		{"all", []spillway.ReplayOption{spillway.Earliest(), spillway.UntilTail()}, 0, 3000},
		{"between offsets", []spillway.ReplayOption{spillway.FromOffset(100), spillway.UntilOffset(2000)}, 100, 2000},
		{"from a time", []spillway.ReplayOption{spillway.FromTime(middle), spillway.UntilTail()}, 1500, 3000},
		{"until a time", []spillway.ReplayOption{spillway.Earliest(), spillway.UntilTime(middle)}, 0, 1500},
		{"the last", []spillway.ReplayOption{spillway.Last(7), spillway.UntilTail()}, 2993, 3000},
		{"nothing", []spillway.ReplayOption{spillway.FromOffset(3000), spillway.UntilTail()}, 3000, 3000},
	} {
		t.Run(test.name, func(t *testing.T) {
			next := test.first
			for d, err := range client.Replay(ctx, "q", test.opts...) {
				if err != nil {
					t.Fatal(err)
				}
				if d.Offset != uint64(next) || string(d.Payload) != string(payload(next)) {
					t.Fatalf("got offset %d %q, want %d", d.Offset, d.Payload, next)
				}
				next++
			}
			if next != test.last {
				t.Errorf("ended at %d, want %d", next, test.last)
			}
		})
	}
	t.Run("at a rate", func(t *testing.T) {
		begin, n := time.Now(), 0
		for _, err := range client.Replay(ctx, "q", spillway.FromOffset(0), spillway.UntilOffset(100), spillway.Rate(200)) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 100 || time.Since(begin) < 300*time.Millisecond {
			t.Errorf("%d records in %v at 200/s", n, time.Since(begin))
		}
	})
	t.Run("below the head", func(t *testing.T) {
		if _, err := client.Admin().PurgeQueueBefore(ctx, "q", 1000); err != nil {
			t.Fatal(err)
		}
		for _, err := range client.Replay(ctx, "q", spillway.FromOffset(999)) {
			var e *spillway.Error
			if !errors.Is(err, spillway.ErrOutOfRange) || !errors.As(err, &e) || e.HeadOffset != 1000 {
				t.Fatalf("%v, want OUT_OF_RANGE with head 1000", err)
			}
			return
		}
		t.Fatal("no error")
	})
}
