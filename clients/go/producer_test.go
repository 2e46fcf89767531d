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
	stated := len(demands())
	b.WithholdCredit("q", false, 0)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	must(p.Publish(ctx, payload("x"))) // comes after whatever is said of the grant
	if d := demands(); len(d) != stated {
		t.Fatal("what was met needs no word:", d[stated:])
	}
}

// What waits is said once, also if it costs no bytes; and that it was given up.
func TestDemandThatIsGivenUp(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	b.WithholdCredit("q", true, spillway.ReasonMemoryBudget)
	sent := record[*pb.PublishRequest](b)
	p := must(c.Producer(ctx, "q"))
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := p.PublishAsync(short, spillway.Message{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	var waiting []uint64
	eventually(t, "the demand of nothing", func() bool {
		waiting = nil
		for _, m := range sent.list() {
			if d := m.GetDemand(); d != nil {
				waiting = append(waiting, d.GetWaiting().GetMessages())
			}
		}
		return len(waiting) > 0 && waiting[len(waiting)-1] == 0
	})
	if !slices.Equal(waiting, []uint64{1, 0}) {
		t.Fatal(waiting)
	}
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
			// All ten, if it came before the grant, of which the broker knows itself.
			n := m.GetDemand().GetWaiting().GetMessages()
			return n == 7 || n == 10
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
