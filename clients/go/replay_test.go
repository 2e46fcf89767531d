package spillway_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
)

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
