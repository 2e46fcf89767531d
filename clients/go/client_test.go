package spillway_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/clients/go/spillwaytest"
)

// setup gives a broker, a client and a context that ends before the test hangs. It
// also holds the client to leaving no goroutine behind.
func setup(t *testing.T, opts ...spillway.DialOption) (*spillwaytest.Broker, *spillway.Client, context.Context) {
	t.Helper()
	return setupBroker(t, nil, opts...)
}

func setupBroker(t *testing.T, bopts []spillwaytest.Option, opts ...spillway.DialOption) (*spillwaytest.Broker, *spillway.Client, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	t.Cleanup(func() { checkGoroutines(t) })
	b := spillwaytest.New(t, bopts...)
	opts = append([]spillway.DialOption{spillway.WithReconnect(time.Millisecond, 50*time.Millisecond, 30*time.Second),
		spillway.WithRetryBudget(1000, 1)}, opts...)
	c, err := spillway.Dial(ctx, b.Address(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Silence(false)
		b.Unavailable(false)
		closeCtx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		c.Close(closeCtx)
	})
	return b, c, ctx
}

func checkGoroutines(t *testing.T) {
	t.Helper()
	var stacks string
	for range 100 {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		left := 0
		for _, g := range strings.Split(stacks, "\n\n") {
			if strings.Contains(g, "spillway.dev/clients/go.") || strings.Contains(g, "google.golang.org/grpc") {
				left++
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("goroutines are left:\n%s", stacks)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func payload(s string) spillway.Message { return spillway.Message{Payload: []byte(s)} }

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatal("never: " + what)
}

func TestPublishConsumeReplay(t *testing.T) {
	_, c, ctx := setup(t)
	must(c.Admin().CreateQueue(ctx, "orders"))
	p := must(c.Producer(ctx, "orders"))
	const n = 5000
	var last spillway.Future
	for i := range n {
		m := spillway.Message{Key: fmt.Appendf(nil, "k%d", i%7), Payload: fmt.Appendf(nil, "m%d", i)}
		if i%10 == 0 {
			m.Headers = []spillway.Header{{Name: "i", Value: fmt.Append(nil, i)}, {Name: "empty"}}
		}
		f, err := p.PublishAsync(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		last = f
	}
	if off := must(last.Wait(ctx)); off != n-1 {
		t.Fatalf("the last offset is %d", off)
	}
	if off := must(p.Publish(ctx, spillway.Message{})); off != n {
		t.Fatalf("the next offset is %d", off)
	}

	check := func(i int, d *spillway.Delivery) {
		t.Helper()
		want := fmt.Sprintf("m%d", i)
		if i == n {
			want = ""
		}
		if d.Offset != uint64(i) || string(d.Payload) != want {
			t.Fatalf("delivery %d: offset %d, payload %q", i, d.Offset, d.Payload)
		}
		if i%10 == 0 && i < n && (len(d.Headers) != 2 || string(d.Headers[0].Value) != fmt.Sprint(i)) {
			t.Fatalf("headers of %d: %v", i, d.Headers)
		}
	}
	cons := must(c.Consumer(ctx, "orders", "billing", spillway.WithMaxInFlight(100)))
	i := 0
	for d, err := range cons.Deliveries(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		check(i, d)
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
		if i++; i == n+1 {
			break
		}
	}
	if err := cons.Close(ctx); err != nil {
		t.Fatal(err)
	}
	g := must(c.Admin().ListGroups(ctx, "orders"))
	if len(g) != 1 || g[0].CursorOffset != n+1 {
		t.Fatalf("groups %+v", g[0])
	}

	i = 42
	for d, err := range c.Replay(ctx, "orders", spillway.FromOffset(42), spillway.UntilTail(), spillway.ReplayWindow(64, 1<<20)) {
		if err != nil {
			t.Fatal(err)
		}
		check(i, d)
		i++
	}
	if i != n+1 {
		t.Fatalf("the replay ended at %d", i)
	}
	for _, err := range c.Replay(ctx, "orders", spillway.FromOffset(n+2)) {
		var e *spillway.Error
		if !errors.Is(err, spillway.ErrOutOfRange) || !errors.As(err, &e) || e.TailOffset != n+1 {
			t.Fatal(err)
		}
	}
}

func TestConcurrentPublishers(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q", spillway.SetWindowMessages(50), spillway.SetOverflow(spillway.Block))
	p := must(c.Producer(ctx, "q"))
	cons := must(c.Consumer(ctx, "q", "g", spillway.WithConcurrency(4), spillway.WithMaxInFlight(10)))
	const each, workers = 200, 8
	var mu sync.Mutex
	seen := map[uint64]bool{}
	run, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() {
		done <- cons.Run(run, func(_ context.Context, d *spillway.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			seen[d.Offset] = true
			return nil
		})
	}()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := p.Publish(ctx, payload("x")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all were seen", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == each*workers })
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestCreditExactEdge(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	m := payload(strings.Repeat("x", 98)) // 100 bytes encoded
	if m.Size() != 100 {
		t.Fatal(m.Size())
	}
	b.GrantExactly("q", spillway.Credit{Messages: 10, Bytes: 300})
	p := must(c.Producer(ctx, "q"))
	eventually(t, "the grant", func() bool { n, ok := p.Credit(); return ok && n.Bytes == 300 })
	if _, err := p.Publish(ctx, m); err != nil {
		t.Fatal(err)
	}
	over := payload(strings.Repeat("x", 199)) // 202 bytes: tag, two bytes of length
	if over.Size() != 202 {
		t.Fatal(over.Size())
	}
	if _, err := p.TryPublish(over); !errors.Is(err, spillway.ErrNoCredit) {
		t.Fatal(err)
	}
	exact := payload(strings.Repeat("x", 197))
	f, err := p.TryPublish(exact)
	if err != nil || exact.Size() != 200 {
		t.Fatal(err, exact.Size())
	}
	must(f.Wait(ctx))
	if n, ok := p.Credit(); !ok || n.Bytes != 0 || n.Messages != 8 {
		t.Fatal(n, ok)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := p.PublishAsync(short, payload("y")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, blocked := p.Blocked(); blocked {
		t.Fatal("a cancelled publish still waits")
	}
	done := make(chan error)
	go func() { _, err := p.Publish(ctx, over); done <- err }()
	eventually(t, "blocked", func() bool { _, blocked := p.Blocked(); return blocked })
	b.GrantExactly("q", spillway.Credit{Messages: 10, Bytes: 501})
	time.Sleep(20 * time.Millisecond)
	if _, blocked := p.Blocked(); !blocked {
		t.Fatal("one byte too few, and it was sent")
	}
	b.GrantExactly("q", spillway.Credit{Messages: 10, Bytes: 502})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestResumeTwiceWithDuplicates(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	must(p.Publish(ctx, payload("0")))
	b.BreakAfterNext("q", 2)
	var futures []spillway.Future
	for i := range 500 {
		futures = append(futures, must(p.PublishAsync(ctx, payload(fmt.Sprint(i+1)))))
		if i%50 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	for i, f := range futures {
		if off, err := f.Wait(ctx); err != nil || off != uint64(i+1) {
			t.Fatalf("%d: offset %d, %v", i, off, err)
		}
	}
	q := must(c.Admin().GetQueue(ctx, "q"))
	if q.Stats.TailOffset != 501 {
		t.Fatalf("the tail is %d", q.Stats.TailOffset)
	}
}
