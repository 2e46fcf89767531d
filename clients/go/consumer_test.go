package spillway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

func TestDrainConsumerKeepsWhatIsHeld(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	for range 10 {
		must(p.Publish(ctx, payload("x")))
	}
	opens := record[*pb.ConsumeRequest](b)
	cons := must(c.Consumer(ctx, "q", "g"))
	var ds []*spillway.Delivery
	for range 10 {
		ds = append(ds, must(cons.Receive(ctx)))
	}
	for _, d := range ds[:3] {
		d.Ack()
	}
	b.Drain(20*time.Millisecond, time.Millisecond)
	var held []*pb.OffsetRange
	eventually(t, "reopened with what is held", func() bool {
		for _, m := range opens.list() {
			if h := m.GetOpen().GetGroup().GetHeld(); h != nil {
				held = h
				return true
			}
		}
		return false
	})
	if len(held) != 1 || held[0].FirstOffset != 3 || held[0].Count != 7 {
		t.Fatal(held)
	}
	for _, d := range ds[3:] {
		d.Ack()
	}
	eventually(t, "settled", func() bool { return must(c.Admin().ListGroups(ctx, "q"))[0].CursorOffset == 10 })
	for _, d := range ds {
		if d.Revoked() {
			t.Fatal("revoked", d.Offset)
		}
	}
}

func TestHeldOnResume(t *testing.T) {
	broken := make(chan struct{}, 100)
	b, c, ctx := setup(t, spillway.WithHooks(spillway.Hooks{
		Broken: func(s spillway.Stream, _ error, _ time.Duration) {
			if s.Kind == "consumer" {
				broken <- struct{}{}
			}
		},
	}))
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	for range 20 {
		must(p.Publish(ctx, payload("x")))
	}
	sent := record[*pb.ConsumeRequest](b)
	cons := must(c.Consumer(ctx, "q", "g", spillway.WithMaxInFlight(10)))
	var ds []*spillway.Delivery
	for range 10 {
		ds = append(ds, must(cons.Receive(ctx)))
	}
	b.Unavailable(true)
	b.BreakStreams("q")
	<-broken
	ds[4].Ack() // while there is no stream
	b.Unavailable(false)
	var open *pb.ConsumeOpen
	eventually(t, "reopened", func() bool {
		for _, m := range sent.list() {
			if h := m.GetOpen(); h.GetGroup().GetHeld() != nil {
				open = h
			}
		}
		return open != nil
	})
	if h := open.GetGroup().GetHeld(); len(h) != 1 || h[0].FirstOffset != 0 || h[0].Count != 10 {
		t.Fatal(h)
	}
	// 9 are held of 10, or still 10 if it was opened at the moment of the Ack.
	if n := open.GetLimit().GetMessages(); n > 1 {
		t.Fatal("granted beyond what is held:", n)
	}
	for _, d := range ds {
		d.Ack()
	}
	for i := range 10 {
		d := must(cons.Receive(ctx))
		if d.Offset != uint64(10+i) || d.Attempt != 1 {
			t.Fatal(d.Offset, d.Attempt)
		}
		d.Ack()
		d.Ack() // again: nothing happens
	}
	eventually(t, "settled", func() bool { return must(c.Admin().ListGroups(ctx, "q"))[0].CursorOffset == 20 })
	if n := cons.InFlight(); n != (spillway.Credit{}) {
		t.Fatal(n)
	}
}

func TestConsumerGrantArithmetic(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	for range 30 {
		must(p.Publish(ctx, payload("x"))) // 3 bytes each
	}
	sent := record[*pb.ConsumeRequest](b)
	cons := must(c.Consumer(ctx, "q", "g", spillway.WithMaxInFlight(10), spillway.WithMaxInFlightBytes(8<<20)))
	limits := func() (out []uint64) {
		for _, m := range sent.list() {
			if o := m.GetOpen(); o != nil {
				out = append(out, o.GetLimit().GetMessages())
			}
			if m.GetGrant() != nil {
				t.Fatal("a frame of its own for a grant that could have ridden on a settle")
			}
			if g := m.GetSettle().GetGrant(); g != nil {
				out = append(out, g.GetLimit().GetMessages())
			}
		}
		return out
	}
	var ds []*spillway.Delivery
	for range 10 {
		ds = append(ds, must(cons.Receive(ctx)))
	}
	// The application keeps nine and waits for the tenth: one settle brings it.
	ds[0].Ack()
	ds = append(ds, must(cons.Receive(ctx)))
	if l := limits(); !slices.Equal(l, []uint64{10, 11}) {
		t.Fatal(l)
	}
	for _, d := range ds[1:5] {
		d.Ack()
	}
	eventually(t, "raised", func() bool { l := limits(); return l[len(l)-1] == 15 })
	for range 4 {
		ds = append(ds, must(cons.Receive(ctx)))
	}
	if cons.InFlight().Messages != 10 || cons.InFlight().Bytes != 30 {
		t.Fatal(cons.InFlight())
	}
	for _, d := range ds[5:] {
		d.Ack()
	}
	eventually(t, "all granted", func() bool { l := limits(); return l[len(l)-1] == 25 })
}

func TestNacksAndParking(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q", spillway.SetMaxAttempts(2))
	p := must(c.Producer(ctx, "q"))
	for range 4 {
		must(p.Publish(ctx, payload("x")))
	}
	cons := must(c.Consumer(ctx, "q", "g"))
	var mu sync.Mutex
	attempts := map[uint64]int{}
	run, stop := context.WithCancel(ctx)
	done := make(chan error)
	boom := errors.New("boom")
	go func() {
		done <- cons.Run(run, func(_ context.Context, d *spillway.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			attempts[d.Offset]++
			switch d.Offset {
			case 0:
				return spillway.RetryAfter(time.Millisecond, boom)
			case 1:
				return spillway.ParkIt(boom)
			case 2:
				return spillway.SkipIt(boom)
			}
			return nil
		})
	}()
	eventually(t, "parked", func() bool {
		g := must(c.Admin().ListGroups(ctx, "q"))[0]
		return g.Parked == 2 && g.InFlight == 0 && g.Retrying == 0
	})
	i := 0
	for r, err := range c.Admin().ListParked(ctx, "q", "g", 0) {
		if err != nil || r.Offset != uint64(i) || r.Reason != "boom" {
			t.Fatal(r, err)
		}
		i++
	}
	if n := must(c.Admin().ReleaseParked(ctx, "q", "g", spillway.OffsetRange{First: 1, Count: 1})); n != 1 {
		t.Fatal(n)
	}
	eventually(t, "again", func() bool { mu.Lock(); defer mu.Unlock(); return attempts[1] == 2 && attempts[0] == 2 })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(attempts) != 4 || attempts[2] != 1 || attempts[3] != 1 {
		t.Fatal(attempts)
	}
}

func TestRevokeAndGap(t *testing.T) {
	var mu sync.Mutex
	var revoked, gaps []spillway.OffsetRange
	b, c, ctx := setup(t, spillway.WithHooks(spillway.Hooks{
		Revoked: func(_ spillway.Stream, r []spillway.OffsetRange, _ spillway.RevokeReason) {
			mu.Lock()
			revoked = append(revoked, r...)
			mu.Unlock()
		},
		Gap: func(_ spillway.Stream, r []spillway.OffsetRange, reason spillway.GapReason) {
			mu.Lock()
			if reason == spillway.GapDropped {
				gaps = append(gaps, r...)
			}
			mu.Unlock()
		}}))
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	for range 3 {
		must(p.Publish(ctx, payload("x")))
	}
	for _, workers := range []int{1, 2} {
		group := fmt.Sprint("g", workers)
		cons := must(c.Consumer(ctx, "q", group, spillway.WithConcurrency(workers), spillway.WithMaxInFlight(1)))
		run, stop := context.WithCancel(ctx)
		started, cause := make(chan struct{}), make(chan error, 1)
		first := sync.OnceFunc(func() { close(started) })
		done := make(chan error)
		go func() {
			done <- cons.Run(run, func(ctx context.Context, d *spillway.Delivery) error {
				if d.Offset == 0 && d.Attempt == 1 {
					first()
					<-ctx.Done()
					cause <- context.Cause(ctx)
					if !d.Revoked() {
						t.Error("not revoked")
					}
				}
				return nil
			})
		}()
		<-started
		b.Revoke("q", group, spillway.OffsetRange{First: 0, Count: 1})
		if err := <-cause; !errors.Is(err, spillway.ErrRevoked) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		eventually(t, "settled elsewhere", func() bool {
			for _, g := range must(c.Admin().ListGroups(ctx, "q")) {
				if g.Name == group {
					return g.CursorOffset == 3
				}
			}
			return false
		})
		stop()
		<-done
		cons.Close(ctx)
	}
	other := must(c.Consumer(ctx, "q", "late", spillway.WithMaxInFlight(1)))
	must(other.Receive(ctx))
	b.Drop("q", 2)
	eventually(t, "the gap", func() bool { mu.Lock(); defer mu.Unlock(); return len(gaps) == 1 && gaps[0].Count == 2 })
	mu.Lock()
	n := len(revoked)
	mu.Unlock()
	if n < 3 {
		t.Fatal(revoked)
	}
	if d := must(other.Receive(ctx)); d.Offset != 2 {
		t.Fatal(d.Offset)
	}
}

func TestAutoExtend(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q", spillway.SetAckDeadline(100*time.Millisecond))
	p := must(c.Producer(ctx, "q"))
	must(p.Publish(ctx, payload("x")))
	must(p.Publish(ctx, payload("y")))
	cons := must(c.Consumer(ctx, "q", "g"))
	d := must(cons.Receive(ctx))
	time.Sleep(350 * time.Millisecond)
	if d.Revoked() {
		t.Fatal("revoked while it was worked on")
	}
	d.Ack()
	if d = must(cons.Receive(ctx)); d.Offset != 1 || d.Attempt != 1 {
		t.Fatal("the one that waited was delivered again")
	}
	cons.Close(ctx)
	short := must(c.Consumer(ctx, "q", "h", spillway.WithMaxProcessing(50*time.Millisecond)))
	d = must(short.Receive(ctx))
	eventually(t, "revoked after the longest processing", d.Revoked)
}
