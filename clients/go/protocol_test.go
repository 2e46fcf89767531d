package spillway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
	"spillway.dev/clients/go/spillwaytest"
)

// frames records what the client sends on streams of a kind of request.
type frames[T proto.Message] struct {
	mu  sync.Mutex
	all []T
}

func record[T proto.Message](b *spillwaytest.Broker) *frames[T] {
	f := &frames[T]{}
	b.Tap(func(_ string, m proto.Message) {
		if m, ok := m.(T); ok {
			f.mu.Lock()
			f.all = append(f.all, m)
			f.mu.Unlock()
		}
	})
	return f
}

func (f *frames[T]) list() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

func TestFullReject(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q", spillway.SetWindowMessages(3), spillway.SetOverflow(spillway.Reject))
	p := must(c.Producer(ctx, "q"))
	for range 3 {
		must(p.Publish(ctx, payload("x")))
	}
	eventually(t, "the reason", func() bool { bl, _ := p.Blocked(); return bl.Reason == spillway.ReasonFullReject })
	_, err := p.Publish(ctx, payload("x"))
	var e *spillway.Error
	if !errors.Is(err, spillway.ErrQueueFull) || !errors.As(err, &e) || e.Queue != "q" {
		t.Fatal(err)
	}
	if _, err := p.TryPublish(payload("x")); !errors.Is(err, spillway.ErrQueueFull) {
		t.Fatal(err)
	}
}

func TestTooLargeTakesNoSequence(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q", spillway.SetMaxMessageBytes(1024))
	p := must(c.Producer(ctx, "q"))
	_, err := p.Publish(ctx, spillway.Message{Payload: make([]byte, 1024)})
	var e *spillway.Error
	if !errors.Is(err, spillway.ErrTooLarge) || !errors.As(err, &e) || e.Limit != 1024 || e.Actual != 1027 {
		t.Fatal(err)
	}
	if _, err := p.Publish(ctx, spillway.Message{Key: make([]byte, 1025)}); !errors.Is(err, spillway.ErrTooLarge) {
		t.Fatal(err)
	}
	if _, err := p.Publish(ctx, spillway.Message{Headers: []spillway.Header{{}}}); !errors.Is(err, spillway.ErrInvalidArgument) {
		t.Fatal(err)
	}
	if off := must(p.Publish(ctx, spillway.Message{Payload: make([]byte, 1021)})); off != 0 {
		t.Fatal(off)
	}
}

func TestLargestMessageAloneInABatch(t *testing.T) {
	_, c, ctx := setup(t)
	must(c.Admin().CreateQueue(ctx, "q"))
	p := must(c.Producer(ctx, "q"))
	big := make([]byte, 4<<20-8)
	big[len(big)-1] = 7
	must(p.PublishAsync(ctx, payload("small")))
	must(p.PublishAsync(ctx, spillway.Message{Payload: big}))
	must(p.Publish(ctx, payload("small")))
	i := 0
	for d, err := range c.Replay(ctx, "q", spillway.UntilTail(), spillway.ReplayWindow(10, 1)) {
		if err != nil {
			t.Fatal(err)
		}
		if i++; i == 2 && (len(d.Payload) != len(big) || d.Payload[len(big)-1] != 7) {
			t.Fatal(len(d.Payload))
		}
	}
	if i != 3 {
		t.Fatal(i)
	}
}

func TestRefusedBatch(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	must(p.Publish(ctx, payload("x")))
	b.RefuseNext("q", 1, &spillway.Error{Kind: spillway.KindStoreFailed, Message: "no", RetryAfter: 7 * time.Millisecond})
	_, err := p.Publish(ctx, payload("x"))
	var e *spillway.Error
	if !errors.Is(err, spillway.ErrStoreFailed) || !errors.As(err, &e) || e.RetryAfter != 7*time.Millisecond || e.Queue != "q" {
		t.Fatal(err)
	}
	if off := must(p.Publish(ctx, payload("x"))); off != 1 {
		t.Fatal(off)
	}
}

func TestDemand(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	b.WithholdCredit("q", true, spillway.ReasonMemoryBudget)
	sent := record[*pb.PublishRequest](b)
	p := must(c.Producer(ctx, "q"))
	done := make(chan error, 3)
	publish := func(n int) {
		go func() { _, err := p.Publish(ctx, spillway.Message{Payload: make([]byte, n)}); done <- err }()
	}
	demands := func() (out []*pb.Demand) {
		for _, m := range sent.list() {
			if d := m.GetDemand(); d != nil {
				out = append(out, d)
			}
		}
		return out
	}
	publish(98)
	eventually(t, "a demand", func() bool { return len(demands()) >= 1 })
	if d := demands()[0]; d.GetWaiting().GetMessages() != 1 || d.GetWaiting().GetBytes() != 100 || d.GetNextRecordBytes() != 100 {
		t.Fatal(d)
	}
	publish(198)
	eventually(t, "a larger demand", func() bool { d := demands(); return d[len(d)-1].GetWaiting().GetMessages() == 2 })
	bl, blocked := p.Blocked()
	if !blocked || bl.Reason != spillway.ReasonMemoryBudget || bl.Waiting.Messages != 2 || bl.Since.IsZero() {
		t.Fatal(bl)
	}
	b.WithholdCredit("q", false, 0)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the demand of nothing", func() bool {
		d := demands()
		return d[len(d)-1].GetWaiting().GetMessages() == 0
	})
}

func TestSequenceFence(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	first := must(c.Producer(ctx, "q", spillway.WithProducerID("me")))
	must(first.Publish(ctx, payload("x")))
	second := must(c.Producer(ctx, "q", spillway.WithProducerID("me")))
	eventually(t, "fenced", func() bool {
		_, err := first.Publish(ctx, payload("x"))
		return errors.Is(err, spillway.ErrFenced)
	})
	if off := must(second.Publish(ctx, payload("x"))); off == 0 {
		t.Fatal("a new process begins where the broker is")
	}
}

func TestForgottenSequencesAreRenumbered(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q", spillway.SetDurability(spillway.Memory))
	p := must(c.Producer(ctx, "q"))
	must(p.Publish(ctx, payload("0")))
	must(p.Publish(ctx, payload("1")))
	b.Unavailable(true)
	b.BreakStreams("q")
	b.ForgetProducers("q")
	done := make(chan uint64)
	go func() { done <- must(p.Publish(ctx, payload("2"))) }()
	time.Sleep(5 * time.Millisecond)
	b.Unavailable(false)
	if off := <-done; off != 2 {
		t.Fatal(off)
	}
}

// Credit of the new epoch that covers only part of what is unconfirmed: the batch
// is cut, and never straddles what the broker has.
func TestResumeInPieces(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	b.HoldConfirms("q", true)
	p := must(c.Producer(ctx, "q", spillway.WithLinger(20*time.Millisecond)))
	var futures []spillway.Future
	for i := range 10 {
		futures = append(futures, must(p.PublishAsync(ctx, payload(fmt.Sprint(i)))))
	}
	eventually(t, "kept", func() bool { return must(c.Admin().GetQueue(ctx, "q")).Stats.TailOffset == 10 })
	b.Unavailable(true)
	b.BreakStreams("q")
	b.ForgetProducers("q") // as if none of it had arrived
	b.GrantExactly("q", spillway.Credit{Messages: 3, Bytes: 1000})
	sent := record[*pb.PublishRequest](b)
	b.HoldConfirms("q", false)
	b.Unavailable(false)
	eventually(t, "the first piece", func() bool { return must(c.Admin().GetQueue(ctx, "q")).Stats.TailOffset == 13 })
	eventually(t, "what waits is demanded", func() bool {
		return slices.ContainsFunc(sent.list(), func(m *pb.PublishRequest) bool {
			return m.GetDemand().GetWaiting().GetMessages() == 7
		})
	})
	b.BreakStreams("q")
	b.GrantExactly("q", spillway.Credit{Messages: 100, Bytes: 1000})
	for i, f := range futures {
		if off := must(f.Wait(ctx)); off != uint64(10+i) {
			t.Fatal(i, off)
		}
	}
	if q := must(c.Admin().GetQueue(ctx, "q")); q.Stats.TailOffset != 20 {
		t.Fatal(q.Stats.TailOffset)
	}
}

func TestDrainProducer(t *testing.T) {
	var mu sync.Mutex
	drained := 0
	b, c, ctx := setup(t, spillway.WithHooks(spillway.Hooks{Draining: func(spillway.Stream, time.Duration) {
		mu.Lock()
		drained++
		mu.Unlock()
	}}))
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	for i := range 300 {
		if i%100 == 50 {
			b.Drain(time.Second, time.Millisecond)
		}
		if off, err := p.Publish(ctx, payload("x")); err != nil || off != uint64(i) {
			t.Fatal(i, off, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if drained == 0 {
		t.Fatal("not drained")
	}
}

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

func TestReplayResumesStopsAndPaces(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	for i := range 100 {
		must(p.PublishAsync(ctx, payload(fmt.Sprint(i))))
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	collect := func(opts ...spillway.ReplayOption) (out []uint64, err error) {
		for d, e := range c.Replay(ctx, "q", opts...) {
			if e != nil {
				return out, e
			}
			if len(out) == 20 {
				b.BreakStreams("q")
			}
			out = append(out, d.Offset)
			d.Ack() // needs none
		}
		return out, nil
	}
	got, err := collect(spillway.Last(50), spillway.UntilTail(), spillway.ReplayWindow(8, 1<<20))
	if err != nil || len(got) != 50 || got[0] != 50 || got[49] != 99 {
		t.Fatal(got, err)
	}
	got, err = collect(spillway.FromOffset(5), spillway.UntilOffset(9))
	if err != nil || !slices.Equal(got, []uint64{5, 6, 7, 8}) {
		t.Fatal(got, err)
	}
	got, err = collect(spillway.FromTime(time.Now().Add(-time.Hour)), spillway.UntilTime(time.Now().Add(-time.Minute)))
	if err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	begin := time.Now()
	if got, err = collect(spillway.UntilOffset(11), spillway.Rate(100)); err != nil || len(got) != 11 || time.Since(begin) < 90*time.Millisecond {
		t.Fatal(got, err, time.Since(begin))
	}
	b.Drop("q", 10)
	if _, err = collect(spillway.FromOffset(9)); !errors.Is(err, spillway.ErrOutOfRange) {
		t.Fatal(err)
	}
	for range c.Replay(ctx, "q") {
		break
	}
	ends := make(chan error, 1)
	go func() {
		for _, err := range c.Replay(ctx, "q") { // for ever
			if err != nil {
				ends <- err
				return
			}
		}
		ends <- nil
	}()
	time.Sleep(20 * time.Millisecond)
	c.Close(ctx)
	if err := <-ends; !errors.Is(err, spillway.ErrClosed) {
		t.Fatal(err)
	}
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

func TestCloseReportsTheUnconfirmed(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	b.HoldConfirms("q", true)
	f := must(p.PublishAsync(ctx, payload("x")))
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	var e *spillway.Error
	if err := p.Close(short); !errors.As(err, &e) || e.Actual != 1 {
		t.Fatal(err)
	}
	if _, err := f.Wait(ctx); !errors.Is(err, spillway.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := p.Publish(ctx, payload("x")); !errors.Is(err, spillway.ErrClosed) {
		t.Fatal(err)
	}
}

func TestAdmin(t *testing.T) {
	_, c, ctx := setup(t)
	a := c.Admin()
	q := must(a.CreateQueue(ctx, "a", spillway.SetOverflow(spillway.Block), spillway.SetRetentionAge(time.Hour)))
	if q.Tuning.Overflow != spillway.Block || q.Tuning.RetentionAge != time.Hour || q.Tuning.MaxAttempts != 5 || q.Tuning.WindowBytes != 64<<20 {
		t.Fatalf("%+v", q.Tuning)
	}
	if _, err := a.CreateQueue(ctx, "a"); !errors.Is(err, spillway.ErrAlreadyExists) {
		t.Fatal(err)
	}
	p := must(c.Producer(ctx, "a"))
	must(p.Publish(ctx, payload("x")))
	q2 := must(a.UpdateQueue(ctx, "a", q.Revision, spillway.SetMaxMessageBytes(2048)))
	if _, err := a.UpdateQueue(ctx, "a", q.Revision, spillway.SetMaxAttempts(9)); !errors.Is(err, spillway.ErrRevisionMismatch) {
		t.Fatal(err)
	}
	eventually(t, "told of the tuning", func() bool { return p.Tuning().MaxMessageBytes == 2048 })
	must(a.CreateQueue(ctx, "b", q2.Tuning.Options()...))
	var names []string
	for q, err := range a.ListQueues(ctx, "") {
		names = append(names, must(q, err).Name)
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Fatal(names)
	}
	if m := must(a.Peek(ctx, "a", spillway.Earliest(), 5)); len(m) != 1 || string(m[0].Payload) != "x" {
		t.Fatal(m)
	}
	must(c.Consumer(ctx, "a", "g", spillway.WithStart(spillway.Latest())))
	if g := must(a.Seek(ctx, "a", "g", spillway.Earliest())); g.CursorOffset != 0 {
		t.Fatal(g)
	}
	kinds := map[string]int{}
	var producer string
	for s, err := range a.ListSessions(ctx, "a") {
		kinds[must(s, err).Kind]++
		if s.Kind == "PRODUCER" {
			producer = s.ID
		}
	}
	if kinds["PRODUCER"] != 1 || kinds["CONSUMER"] != 1 || producer != p.Session() {
		t.Fatal(kinds)
	}
	must(a.Explain(ctx, "a"))
	must(a.ExplainSession(ctx, producer))
	n := 0
	for s, err := range a.Watch(ctx, "", 100*time.Millisecond) {
		if len(must(s, err).Queues) != 2 {
			t.Fatal(s)
		}
		if n++; n == 2 {
			break
		}
	}
	if err := a.CloseSession(ctx, producer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "closed by the operator", func() bool {
		_, err := p.Publish(ctx, payload("x"))
		return errors.Is(err, spillway.ErrClosed)
	})
	if n := must(a.PurgeQueue(ctx, "a")); n == 0 {
		t.Fatal(n)
	}
	if err := a.DeleteGroup(ctx, "a", "g"); err != nil {
		t.Fatal(err)
	}
}
