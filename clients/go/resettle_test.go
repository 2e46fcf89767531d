package spillway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
	"spillway.dev/clients/go/spillwaytest"
)

// What was settled when the stream broke is settled, whether it had arrived or not:
// nothing comes again, and nobody is told of a revocation.
func TestSettlesUnderWayWhenTheStreamBreaks(t *testing.T) {
	for _, taken := range []bool{false, true} {
		t.Run(fmt.Sprintf("taken=%v", taken), func(t *testing.T) {
			var revoked, settled []string
			b, c, ctx := setup(t, spillway.WithHooks(spillway.Hooks{
				Revoked: func(_ spillway.Stream, r []spillway.OffsetRange, _ spillway.RevokeReason) {
					revoked = append(revoked, fmt.Sprint(r))
				},
				Settled: func(_ spillway.Stream, records, _ int) { settled = append(settled, fmt.Sprint(records)) },
			}))
			b.MustCreateQueue("q")
			p := must(c.Producer(ctx, "q"))
			for range 10 {
				must(p.Publish(ctx, payload("x")))
			}
			sent := record[*pb.ConsumeRequest](b)
			cons := must(c.Consumer(ctx, "q", "g", spillway.WithAckLinger(0)))
			var ds []*spillway.Delivery
			for range 10 {
				ds = append(ds, must(cons.Receive(ctx)))
			}
			b.BreakAtSettle("q", taken)
			ds[9].Nack(spillway.Park, 0, "bad")
			opens := func() (out []*pb.ConsumeOpen) {
				for _, m := range sent.list() {
					if o := m.GetOpen(); o != nil {
						out = append(out, o)
					}
				}
				return out
			}
			eventually(t, "a new stream", func() bool { return len(opens()) == 2 })
			if held := opens()[1].GetGroup().GetHeld(); len(held) != 1 || held[0].GetCount() != 10 {
				t.Fatal(held)
			}
			for _, d := range ds[:9] {
				d.Ack()
			}
			group := func() *spillway.Group { return must(c.Admin().ListGroups(ctx, "q"))[0] }
			eventually(t, "all settled", func() bool { g := group(); return g.CursorOffset == 9 && g.Parked == 1 })
			if err := cons.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if g := group(); g.InFlight != 0 || g.Retrying != 0 || g.Redelivered != 0 {
				t.Fatal(g)
			}
			parks := 0
			for _, m := range sent.list() {
				if s := m.GetSettle(); s.GetAction() == pb.SettleAction_SETTLE_ACTION_PARK {
					if parks++; s.GetReason() != "bad" {
						t.Fatal(s)
					}
				}
			}
			if taken != (parks == 1) {
				t.Fatal("parked by", parks, "settles")
			}
			if len(revoked) > 0 {
				t.Fatal("revoked:", revoked)
			}
			if len(settled) == 0 || settled[0] != "1" || slices.Contains(settled[1:], "10") {
				t.Fatal("a settle was told twice:", settled)
			}
			_, err := cons.Receive(ctx)
			if err == nil {
				t.Fatal("one came again")
			}
		})
	}
}

// A record that was delivered again is another attempt, which the settle of the one
// before is not about, whenever the stream breaks.
func TestANewAttemptIsNotSettledByTheOldOne(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q", spillway.SetMaxAttempts(5))
	must(must(c.Producer(ctx, "q")).Publish(ctx, payload("x")))
	cons := must(c.Consumer(ctx, "q", "g"))
	must(cons.Receive(ctx)).Nack(spillway.Retry, time.Millisecond, "again")
	d := must(cons.Receive(ctx))
	sent := record[*pb.ConsumeRequest](b)
	b.BreakStreams("q")
	count := func(is func(*pb.ConsumeRequest) bool) (n int) {
		for _, m := range sent.list() {
			if is(m) {
				n++
			}
		}
		return n
	}
	// It is held, so nothing is settled again, and no Ping has to ask for what.
	eventually(t, "a new stream", func() bool { return count(func(m *pb.ConsumeRequest) bool { return m.GetOpen() != nil }) == 1 })
	d.Ack()
	eventually(t, "settled", func() bool { return must(c.Admin().ListGroups(ctx, "q"))[0].CursorOffset == 1 })
	if n := count(func(m *pb.ConsumeRequest) bool { return m.GetPing() != nil || m.GetSettle().GetAction() > 1 }); n > 0 {
		t.Fatal(sent.list())
	}

	// If a retry had arrived when the stream broke, it counts as one attempt.
	must(must(c.Producer(ctx, "q")).Publish(ctx, payload("y")))
	d = must(cons.Receive(ctx))
	b.BreakAtSettle("q", true)
	d.Nack(spillway.Retry, time.Millisecond, "again")
	if d = must(cons.Receive(ctx)); d.Attempt != 2 {
		t.Fatal(d.Attempt)
	}
	d.Ack()
	eventually(t, "settled", func() bool { return must(c.Admin().ListGroups(ctx, "q"))[0].CursorOffset == 2 })
}

// Once a Pong came, what was settled before its Ping is not stated any more.
func TestAnsweredSettlesAreForgotten(t *testing.T) {
	b, c, ctx := setupBroker(t, []spillwaytest.Option{spillwaytest.WithHeartbeat(10*time.Millisecond, 5*time.Second)})
	b.MustCreateQueue("q")
	must(must(c.Producer(ctx, "q")).Publish(ctx, payload("x")))
	cons := must(c.Consumer(ctx, "q", "g", spillway.WithAckLinger(0)))
	must(cons.Receive(ctx)).Ack()
	sent := record[*pb.ConsumeRequest](b)
	pings := func() (n int) {
		for _, m := range sent.list() {
			if m.GetPing() != nil {
				n++
			}
		}
		return n
	}
	eventually(t, "settled", func() bool { return must(c.Admin().ListGroups(ctx, "q"))[0].CursorOffset == 1 })
	before := pings()
	eventually(t, "a Pong", func() bool { return pings() >= before+3 })
	b.BreakStreams("q")
	eventually(t, "a new stream", func() bool {
		for _, m := range sent.list() {
			if o := m.GetOpen(); o != nil {
				if len(o.GetGroup().GetHeld()) > 0 {
					t.Fatal(o)
				}
				return true
			}
		}
		return false
	})
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := cons.Receive(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}
