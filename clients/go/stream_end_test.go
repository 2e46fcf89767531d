package spillway_test

import (
	"context"
	"errors"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/clients/go/spillwaytest"
)

func TestHeartbeats(t *testing.T) {
	bopt := []spillwaytest.Option{spillwaytest.WithHeartbeat(20*time.Millisecond, 100*time.Millisecond)}
	t.Run("alive", func(t *testing.T) {
		b, c, ctx := setupBroker(t, bopt, spillway.WithHooks(spillway.Hooks{
			Broken: func(_ spillway.Stream, err error, _ time.Duration) { t.Error(err) }}))
		b.MustCreateQueue("q")
		p := must(c.Producer(ctx, "q"))
		must(c.Consumer(ctx, "q", "g"))
		must(p.Publish(ctx, payload("x")))
		time.Sleep(300 * time.Millisecond)
		must(p.Publish(ctx, payload("x")))
	})
	t.Run("silent", func(t *testing.T) {
		broken := make(chan error, 100)
		b, c, ctx := setupBroker(t, bopt, spillway.WithHooks(spillway.Hooks{
			Broken: func(_ spillway.Stream, err error, _ time.Duration) { broken <- err }}))
		b.MustCreateQueue("q")
		p := must(c.Producer(ctx, "q"))
		b.Silence(true)
		if err := <-broken; !errors.Is(err, spillway.ErrTimedOut) {
			t.Fatal(err)
		}
		b.Silence(false)
		must(p.Publish(ctx, payload("x")))
	})
	t.Run("mismatch", func(t *testing.T) {
		b, c, ctx := setupBroker(t, bopt)
		b.MustCreateQueue("q")
		p := must(c.Producer(ctx, "q"))
		cons := must(c.Consumer(ctx, "q", "g"))
		b.WrongCounters(true)
		eventually(t, "ended", func() bool {
			_, err := p.Publish(ctx, payload("x"))
			return errors.Is(err, spillway.ErrCounterMismatch)
		})
		for {
			if _, err := cons.Receive(ctx); err != nil {
				if !errors.Is(err, spillway.ErrCounterMismatch) {
					t.Fatal(err)
				}
				break
			}
		}
	})
}

func TestEnds(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	if _, err := c.Producer(ctx, "none"); !errors.Is(err, spillway.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := c.Consumer(ctx, "q", ".bad"); !errors.Is(err, spillway.ErrInvalidArgument) {
		t.Fatal(err)
	}
	if _, err := c.Producer(ctx, "q", spillway.WithDurability(spillway.Synced)); err != nil {
		t.Fatal(err)
	}
	must(c.Consumer(ctx, "q", "only", spillway.WithMode(spillway.Exclusive)))
	if _, err := c.Consumer(ctx, "q", "only"); !errors.Is(err, spillway.ErrExclusive) {
		t.Fatal(err)
	}
	p := must(c.Producer(ctx, "q"))
	cons := must(c.Consumer(ctx, "q", "g"))
	if err := c.Admin().DeleteQueue(ctx, "q", 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "closed", func() bool {
		_, err := p.Publish(ctx, payload("x"))
		return errors.Is(err, spillway.ErrClosed)
	})
	if _, err := cons.Receive(ctx); !errors.Is(err, spillway.ErrClosed) {
		t.Fatal(err)
	}
	dead, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := spillway.Dial(dead, "127.0.0.1:1"); !errors.Is(err, spillway.ErrUnavailable) {
		t.Fatal(err)
	}
}
