//go:build e2e

package e2e

import (
	"errors"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
)

func TestGroupsSurviveARestart(t *testing.T) {
	broker, client, ctx := start(t)
	create(t, ctx, client, "q", spillway.SetMaxAttempts(2), spillway.SetBackoffInitial(10*time.Millisecond))
	n := consumer(t, ctx, client, "q", "g")
	p := producer(t, ctx, client, "q")
	publish(t, ctx, p, 0, 10)
	for i := range 10 {
		d, err := n.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case i < 5:
			err = d.Ack()
		case i == 5:
			err = d.Nack(spillway.Park, 0, "odd")
		case i == 6:
			err = d.Nack(spillway.Skip, 0, "")
		case i == 7:
			err = d.Nack(spillway.Retry, time.Hour, "later")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	group := func() *spillway.Group {
		groups, err := client.Admin().ListGroups(ctx, "q")
		if err != nil || len(groups) != 1 {
			t.Fatal(groups, err)
		}
		return groups[0]
	}
	eventually(t, ctx, "the settles arrived", func() bool { return group().Parked == 1 && group().CursorOffset == 7 })
	if err := n.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := broker.Stop(25 * time.Second); err != nil {
		t.Fatalf("a clean stop: %v", err)
	}
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the group is back", func() bool {
		groups, err := client.Admin().ListGroups(ctx, "q")
		return err == nil && len(groups) == 1
	})
	if g := group(); g.CursorOffset != 7 || g.Parked != 1 {
		t.Fatalf("after the restart: %+v", g)
	}
	again := consumer(t, ctx, client, "q", "g")
	seen := map[uint64]bool{}
	for range 3 {
		d, err := again.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		seen[d.Offset] = true
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if !seen[7] || !seen[8] || !seen[9] {
		t.Errorf("came again: %v", seen)
	}
	released, err := client.Admin().ReleaseParked(ctx, "q", "g")
	if err != nil || released != 1 {
		t.Fatal(released, err)
	}
	d, err := again.Receive(ctx)
	if err != nil || d.Offset != 5 {
		t.Fatal(d, err)
	}
}

func TestMembersShareAndHandOver(t *testing.T) {
	broker, first, ctx := start(t)
	second := dial(t, ctx, broker)
	create(t, ctx, first, "q")
	a := consumer(t, ctx, first, "q", "g", spillway.WithMaxInFlight(5))
	b := consumer(t, ctx, second, "q", "g", spillway.WithMaxInFlight(5))
	p := producer(t, ctx, first, "q")
	publish(t, ctx, p, 0, 10)
	held, err := a.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = held
	if _, err := b.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	// a goes away with what it holds; b gets it at once.
	if err := a.Close(ctx); err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for len(seen) < 9 {
		d, err := b.Receive(ctx)
		if err != nil {
			t.Fatalf("after %v: %v", seen, err)
		}
		seen[d.Offset] = true
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if !seen[held.Offset] {
		t.Error("what the member held was not handed over")
	}
	exclusive := consumer(t, ctx, first, "q", "alone", spillway.WithMode(spillway.Exclusive))
	if _, err := second.Consumer(ctx, "q", "alone"); !errors.Is(err, spillway.ErrExclusive) {
		t.Errorf("a second member: %v", err)
	}
	_ = exclusive
}
