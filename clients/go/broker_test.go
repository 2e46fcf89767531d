package spillway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
)

// These tests run against a real broker, at $SPILLWAY_TEST_ADDRESS.
func real(t *testing.T, opts ...spillway.TuningOption) (*spillway.Client, string, context.Context) {
	t.Helper()
	address := os.Getenv("SPILLWAY_TEST_ADDRESS")
	if address == "" {
		t.Skip("no SPILLWAY_TEST_ADDRESS")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	c, err := spillway.Dial(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkGoroutines(t) })
	queue := fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), time.Now().UnixNano())
	must(c.Admin().CreateQueue(ctx, queue, opts...))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := c.Admin().DeleteQueue(ctx, queue, 0); err != nil {
			t.Error(err)
		}
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return c, queue, ctx
}

func TestBrokerRoundTrip(t *testing.T) {
	c, queue, ctx := real(t, spillway.SetRetention(spillway.Limits))
	p := must(c.Producer(ctx, queue))
	const n = 20_000
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 1+i%300) }
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			m := spillway.Message{Payload: body(i), Key: []byte{byte(i)}}
			if i%5 == 0 {
				m.Headers = []spillway.Header{{Name: "n", Value: []byte{1, 2}}}
			}
			if _, err := p.PublishAsync(ctx, m); err != nil {
				t.Error(err)
				return
			}
		}
		if err := p.Flush(ctx); err != nil {
			t.Error(err)
		}
	})
	check := func(i int, d *spillway.Delivery) {
		if d.Offset != uint64(i) || !bytes.Equal(d.Payload, body(i)) || len(d.Key) != 1 || d.Key[0] != byte(i) || (i%5 == 0) != (len(d.Headers) == 1) {
			t.Fatalf("record %d came as %d, %d bytes", i, d.Offset, len(d.Payload))
		}
	}
	cons := must(c.Consumer(ctx, queue, "g", spillway.WithMaxInFlight(500)))
	i := 0
	for d, err := range cons.Deliveries(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		check(i, d)
		d.Ack()
		if i++; i == n {
			break
		}
	}
	wg.Wait()
	eventually(t, "settled", func() bool { return must(c.Admin().ListGroups(ctx, queue))[0].CursorOffset == n })
	i = 7
	for d, err := range c.Replay(ctx, queue, spillway.FromOffset(7), spillway.UntilTail()) {
		if err != nil {
			t.Fatal(err)
		}
		check(i, d)
		i++
	}
	if i != n {
		t.Fatal(i)
	}
	last := 0
	for d, err := range c.Replay(ctx, queue, spillway.Last(5), spillway.UntilOffset(n-2)) {
		check(int(must(d, err).Offset), d)
		last++
	}
	if last != 3 {
		t.Fatal(last)
	}
	for _, err := range c.Replay(ctx, queue, spillway.FromOffset(n+1)) {
		var e *spillway.Error
		if !errors.As(err, &e) || e.Kind != spillway.KindOutOfRange || e.TailOffset != n {
			t.Fatal(err)
		}
	}
	if m := must(c.Admin().Peek(ctx, queue, spillway.FromOffset(3), 2)); len(m) != 2 || m[1].Offset != 4 {
		t.Fatal(m)
	}
}

func TestBrokerWindow(t *testing.T) {
	for _, policy := range []spillway.OverflowPolicy{spillway.Block, spillway.Reject} {
		t.Run(policy.String(), func(t *testing.T) {
			c, queue, ctx := realSub(t, spillway.SetWindowMessages(20), spillway.SetOverflow(policy), spillway.SetDurability(spillway.Memory))
			p := must(c.Producer(ctx, queue))
			cons := must(c.Consumer(ctx, queue, "g", spillway.WithMaxInFlight(1)))
			sent := 0
			for {
				short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				_, err := p.Publish(short, payload("x"))
				cancel()
				if err == nil {
					if sent++; sent > 100 {
						t.Fatal("the window does not hold")
					}
					continue
				}
				if policy == spillway.Reject && !errors.Is(err, spillway.ErrQueueFull) ||
					policy == spillway.Block && !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(sent, err)
				}
				break
			}
			if sent == 0 {
				t.Fatal("nothing was sent")
			}
			b, _ := p.Blocked()
			t.Log(sent, "sent; ", b.Reason)
			if _, err := p.TryPublish(payload("x")); err == nil {
				t.Error("sent beyond the window")
			}
			e := must(c.Admin().Explain(ctx, queue))
			if len(e.Stalls) == 0 {
				t.Error("no stall is explained")
			}
			for range sent {
				must(cons.Receive(ctx)).Ack()
			}
			eventually(t, "room again", func() bool { n, _ := p.Credit(); return n.Messages > 0 })
			must(p.Publish(ctx, payload("x")))
		})
	}
}

func realSub(t *testing.T, opts ...spillway.TuningOption) (*spillway.Client, string, context.Context) {
	t.Helper()
	if os.Getenv("SPILLWAY_TEST_ADDRESS") == "" {
		t.Skip("no SPILLWAY_TEST_ADDRESS")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	c := must(spillway.Dial(ctx, os.Getenv("SPILLWAY_TEST_ADDRESS")))
	t.Cleanup(func() { c.Close(context.Background()) })
	queue := fmt.Sprintf("sub-%d", time.Now().UnixNano())
	must(c.Admin().CreateQueue(ctx, queue, opts...))
	return c, queue, ctx
}

func TestBrokerSettling(t *testing.T) {
	c, queue, ctx := real(t, spillway.SetMaxAttempts(2), spillway.SetBackoffInitial(10*time.Millisecond), spillway.SetAckDeadline(400*time.Millisecond))
	p := must(c.Producer(ctx, queue))
	for range 6 {
		must(p.Publish(ctx, payload("x")))
	}
	cons := must(c.Consumer(ctx, queue, "g", spillway.WithMaxProcessing(time.Millisecond)))
	attempts := map[uint64][]uint32{}
	get := func() *spillway.Delivery {
		d := must(cons.Receive(ctx))
		attempts[d.Offset] = append(attempts[d.Offset], d.Attempt)
		return d
	}
	for range 6 {
		switch d := get(); d.Offset {
		case 0:
			d.Nack(spillway.Retry, 30*time.Millisecond, "later")
		case 1:
			d.Nack(spillway.Park, 0, "aside")
		case 2:
			d.Nack(spillway.Skip, 0, "")
		case 3:
			defer func() {
				if !d.Revoked() {
					t.Error("the deadline did not revoke")
				}
				d.Ack() // nothing happens
			}()
		default:
			d.Ack()
		}
	}
	for range 2 { // 0 after its delay, 3 after its deadline
		if d := get(); d.Offset == 0 {
			d.Nack(spillway.Retry, time.Millisecond, "again")
		} else {
			d.Ack()
		}
	}
	var parked []uint64
	eventually(t, "0 is parked after two attempts", func() bool {
		parked = nil
		for r, err := range c.Admin().ListParked(ctx, queue, "g", 0) {
			parked = append(parked, must(r, err).Offset)
		}
		return len(parked) == 2
	})
	if !slices.Equal(parked, []uint64{0, 1}) || !slices.Equal(attempts[0], []uint32{1, 2}) || !slices.Equal(attempts[3], []uint32{1, 2}) {
		t.Fatal(parked, attempts)
	}
	if n := must(c.Admin().ReleaseParked(ctx, queue, "g")); n != 2 {
		t.Fatal(n)
	}
	for range 2 {
		if d := get(); d.Attempt != 1 {
			t.Error("attempts are counted from 1 again:", d.Offset, d.Attempt)
		} else {
			d.Ack()
		}
	}
	must(c.Admin().Seek(ctx, queue, "g", spillway.Last(0)))
	g := must(c.Admin().ListGroups(ctx, queue))[0]
	if g.CursorOffset != 6 || g.Members != 1 {
		t.Fatalf("%+v", g)
	}
}

func TestBrokerSessions(t *testing.T) {
	c, queue, ctx := real(t)
	first := must(c.Producer(ctx, queue, spillway.WithProducerID("me")))
	must(first.Publish(ctx, payload("x")))
	second := must(c.Producer(ctx, queue, spillway.WithProducerID("me")))
	must(second.Publish(ctx, payload("y")))
	eventually(t, "fenced", func() bool { _, err := first.Publish(ctx, payload("z")); return errors.Is(err, spillway.ErrFenced) })
	must(c.Consumer(ctx, queue, "only", spillway.WithMode(spillway.Exclusive)))
	if _, err := c.Consumer(ctx, queue, "only"); !errors.Is(err, spillway.ErrExclusive) {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for s, err := range c.Admin().ListSessions(ctx, queue) {
		kinds[must(s, err).Kind]++
	}
	if kinds["PRODUCER"] != 1 || kinds["CONSUMER"] != 1 {
		t.Error(kinds)
	}
	if err := c.Admin().CloseSession(ctx, second.Session()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "closed", func() bool { _, err := second.Publish(ctx, payload("z")); return errors.Is(err, spillway.ErrClosed) })
	if _, err := c.Producer(ctx, queue+"-none"); !errors.Is(err, spillway.ErrNotFound) {
		t.Error(err)
	}
	q := must(c.Admin().GetQueue(ctx, queue))
	if _, err := c.Admin().UpdateQueue(ctx, queue, q.Revision+1, spillway.SetMaxAttempts(9)); !errors.Is(err, spillway.ErrRevisionMismatch) {
		t.Error(err)
	}
	must(c.Admin().UpdateQueue(ctx, queue, q.Revision, spillway.SetMaxMessageBytes(2048)))
	if _, err := c.Admin().UpdateQueue(ctx, queue, 0, spillway.SetWindowBytes(1024)); !errors.Is(err, spillway.ErrInvalidArgument) {
		t.Error(err)
	}
	for s, err := range c.Admin().Watch(ctx, queue, 100*time.Millisecond) {
		if len(must(s, err).Queues) != 1 || s.Queues[0].Tuning.MaxMessageBytes != 2048 {
			t.Error(s.Queues)
		}
		break
	}
}

func TestBrokerHeartbeats(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a heartbeat")
	}
	c, queue, ctx := real(t)
	p := must(c.Producer(ctx, queue))
	cons := must(c.Consumer(ctx, queue, "g"))
	s1, s2 := p.Session(), cons.Session()
	must(p.Publish(ctx, payload("x")))
	must(cons.Receive(ctx))
	time.Sleep(17 * time.Second) // more than dead_after
	must(p.Publish(ctx, payload("x")))
	must(cons.Receive(ctx))
	if p.Session() != s1 || cons.Session() != s2 {
		t.Fatal("a healthy stream was broken")
	}
}

// An idle producer holds credit that the record of another one needs.
func TestBrokerIdleProducersGiveWay(t *testing.T) {
	c, queue, ctx := real(t, spillway.SetWindowBytes(64<<10), spillway.SetMaxMessageBytes(60<<10), spillway.SetOverflow(spillway.Block))
	idle := must(c.Producer(ctx, queue))
	eventually(t, "credit", func() bool { have, _ := idle.Credit(); return have.Bytes > 8<<10 })
	p := must(c.Producer(ctx, queue))
	must(p.Publish(ctx, spillway.Message{Payload: make([]byte, 58<<10)}))
}

// The broker refuses what the client refuses, and takes what the client takes.
func TestBrokerMeasuresHeadersAlike(t *testing.T) {
	c, queue, ctx := real(t)
	p := must(c.Producer(ctx, queue))
	headers := []spillway.Header{{Name: "n", Value: make([]byte, 8186)}, {Name: "n", Value: make([]byte, 8186)}}
	must(p.Publish(ctx, spillway.Message{Headers: headers}))
	headers[0].Value = make([]byte, 8187)
	var e *spillway.Error
	if _, err := p.Publish(ctx, spillway.Message{Headers: headers}); !errors.As(err, &e) || e.Actual != 16<<10+1 {
		t.Fatal(err)
	}
	if must(p.Publish(ctx, payload("x"))) != 1 {
		t.Fatal("it reached the broker")
	}
}
