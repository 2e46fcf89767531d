package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway.dev/tests/bench/proc"
)

// fake is a broker in memory, which may do wrong.
type fake struct {
	mu       sync.Mutex
	log      [][]byte
	arrived  chan struct{}
	lose     int // the message with this number, if above 0
	repeat   int
	unacked  int
	failWith error
}

func newFake() *fake { return &fake{arrived: make(chan struct{})} }

func (f *fake) Process() proc.Process               { return proc.Process(os.Getpid()) }
func (f *fake) Log() string                         { return "" }
func (f *fake) Stop()                               {}
func (f *fake) Create(context.Context, topic) error { return nil }
func (f *fake) Delete(context.Context, topic) error { return nil }
func (f *fake) Window(t topic) int                  { return t.window(100, 1<<20) }

func (f *fake) Publisher(_ context.Context, _ topic, acks *acks) (Publisher, error) {
	return &fakePublisher{fake: f, acks: acks}, nil
}

type fakePublisher struct {
	*fake
	acks *acks
	n    int
}

func (p *fakePublisher) Publish(ctx context.Context, payload []byte) error {
	n := p.n
	p.n++
	if p.failWith != nil && n > 10 {
		p.acks.failed(p.failWith)
		return nil
	}
	times := 1
	if n > 0 && n == p.lose {
		times = 0
	}
	if n > 0 && n == p.repeat {
		times = 2
	}
	p.mu.Lock()
	for range times {
		p.log = append(p.log, append([]byte(nil), payload...))
	}
	close(p.arrived)
	p.arrived = make(chan struct{})
	p.mu.Unlock()
	if n == 0 || n != p.unacked {
		p.acks.done(1)
	}
	return nil
}

func (p *fakePublisher) Push(context.Context) error { return nil }
func (p *fakePublisher) Close()                     {}

func (p *fakePublisher) One(ctx context.Context, payload []byte) error {
	return p.Publish(ctx, payload)
}

func (f *fake) Consume(ctx context.Context, _ topic, _ string, take func([]byte)) error {
	return f.follow(ctx, func(payload []byte) bool {
		take(payload)
		return true
	})
}

func (f *fake) Replay(ctx context.Context, _ topic, take func([]byte) bool) error {
	return f.follow(ctx, take)
}

func (f *fake) follow(ctx context.Context, take func([]byte) bool) error {
	for next := 0; ; {
		f.mu.Lock()
		log, arrived := f.log, f.arrived
		f.mu.Unlock()
		for ; next < len(log); next++ {
			if !take(log[next]) {
				return nil
			}
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil
		}
	}
}

func tryOut(t *testing.T, f *fake, load string) (measured, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return newTrial(f, options{load: load, warmup: 10 * time.Millisecond, seconds: 50 * time.Millisecond,
		rate: 1000, backlog: 100_000}, 100).run(ctx)
}

func TestWorkloads(t *testing.T) {
	for load := range workloads {
		if strings.HasPrefix(load, "replay") || load == "allocations" { // they fill two million messages
			continue
		}
		got, err := tryOut(t, newFake(), load)
		if err != nil || got.Records == 0 || got.Seconds <= 0 || got.RSS == 0 {
			t.Errorf("%s: %+v, %v", load, got, err)
		}
		if timed := got.P50 > 0 && got.P99 >= got.P50 && got.P999 >= got.P99; timed != (load == "latency") {
			t.Errorf("%s: %+v", load, got)
		}
	}
}

func TestLatencyRate(t *testing.T) {
	got, err := tryOut(t, newFake(), "latency")
	if err != nil || got.Records != 50 {
		t.Errorf("%v messages of 50 at 1,000/s in 50 ms, %v", got.Records, err)
	}
}

func TestDrainReadsTheBacklog(t *testing.T) {
	got, err := tryOut(t, newFake(), "drain")
	if err != nil || got.Records != 1000 {
		t.Errorf("%v of 1000 messages, %v", got.Records, err)
	}
	if _, err := tryOut(t, &fake{arrived: make(chan struct{}), repeat: 20}, "drain"); err == nil {
		t.Error("a message that came twice went unseen")
	}
}

func TestReplayOnce(t *testing.T) {
	f := newFake()
	tr := newTrial(f, options{load: "replay"}, 100)
	tr.window = 10
	tr.payloads = newPayloads(100, 10)
	if err := tr.fill(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := tr.replayOnce(t.Context(), newLedger(100), 1000); err != nil {
			t.Error(err)
		}
	}
	f.log[500] = f.log[501]
	if _, err := tr.replayOnce(t.Context(), newLedger(100), 1000); err == nil {
		t.Error("a message that was replayed twice went unseen")
	}
}

func TestWrongsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		fake *fake
		want string
	}{
		{"doubled", &fake{repeat: 20}, "came twice"},
		{"failed", &fake{failWith: errors.New("disk full")}, "disk full"},
	} {
		c.fake.arrived = make(chan struct{})
		_, err := tryOut(t, c.fake, "e2e")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for name, f := range map[string]*fake{"lost": {lose: 20}, "unacknowledged": {unacked: 20}} {
		f.arrived = make(chan struct{})
		tr := newTrial(f, options{}, 100)
		tr.payloads = newPayloads(100, 100)
		tr.topic.groups = []string{"g"}
		p, _ := f.Publisher(t.Context(), tr.topic, tr.acks)
		r := tr.read(t.Context(), nil)
		for ; tr.sent < 40; tr.sent++ {
			if err := p.Publish(t.Context(), tr.payloads.at(tr.sent, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.settled(t.Context(), 20*time.Millisecond, r); err == nil {
			t.Errorf("%s: went unseen", name)
		}
		if err := tr.finish(r); err == nil {
			t.Errorf("%s: went unseen at the end", name)
		}
	}
}

func TestAcksHoldTheSenderBack(t *testing.T) {
	a := newAcks()
	var waited sync.WaitGroup
	waited.Go(func() {
		if err := a.wait(t.Context(), func() bool { return a.count.Load() >= 3 }); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		a.done(1)
	}
	waited.Wait()
	a.failed(errors.New("first"))
	a.failed(errors.New("second"))
	if err := a.wait(t.Context(), func() bool { return false }); err == nil || err.Error() != "first" {
		t.Errorf("%v", err)
	}
}

func TestPace(t *testing.T) {
	p := pace{rate: 2000}
	for _, c := range []struct {
		now  time.Duration
		want int64
	}{{0, 1}, {499 * time.Microsecond, 1}, {500 * time.Microsecond, 2}, {time.Second, 2001}} {
		if got := p.due(c.now); got != c.want {
			t.Errorf("%d are due after %v, want %d", got, c.now, c.want)
		}
	}
	if got := p.before(1500 * time.Millisecond); got != 3000 {
		t.Errorf("%d before 1.5 s", got)
	}
	if got := p.at(3000); got != 1500*time.Millisecond {
		t.Errorf("the 3,000th is at %v", got)
	}
}

func TestRedisEntries(t *testing.T) {
	reply := []any{[]any{"topic", []any{
		[]any{"1-0", []any{"p", "one"}}, []any{"1-1", []any{"p", "two"}}}}}
	var got []string
	if err := entries(reply, func(id string, payload []byte) bool {
		got = append(got, id+" "+string(payload))
		return true
	}); err != nil || strings.Join(got, ", ") != "1-0 one, 1-1 two" {
		t.Errorf("%v, %v", got, err)
	}
	if err := entries(nil, nil); err != nil {
		t.Errorf("nothing new is no error: %v", err)
	}
	for _, bad := range []any{"OK", []any{}, []any{[]any{"topic", []any{[]any{"1-0"}}}}} {
		if err := entries(bad, func(string, []byte) bool { return true }); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}
