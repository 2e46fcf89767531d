package spillway

import (
	"math/rand/v2"
	"slices"
	"testing"

	"spillway.dev/clients/go/internal/wire"
)

func ranges(firstCount ...uint64) (out []wire.Range) {
	for i := 0; i < len(firstCount); i += 2 {
		out = append(out, wire.Range{First: firstCount[i], Count: firstCount[i+1]})
	}
	return out
}

func ack(firstCount ...uint64) nack { return nack{action: Ack, ranges: ranges(firstCount...)} }

func (u *unanswered) expect(t *testing.T, firstCount ...uint64) {
	t.Helper()
	if got := normalize(u.ranges(nil)); !slices.Equal(got, ranges(firstCount...)) {
		t.Fatalf("unanswered is %v, not %v", got, ranges(firstCount...))
	}
}

func TestAPongAnswersWhatWasSettledBeforeItsPing(t *testing.T) {
	var u unanswered
	u.add(ack(0, 2))
	u.ping()
	u.add(ack(2, 2))
	u.expect(t, 0, 4)
	u.pong()
	u.expect(t, 2, 2)
	u.ping()
	u.add(ack(4, 1))
	u.ping() // the Pong to this one is awaited now
	u.pong()
	u.expect(t)
	u.add(ack(5, 1))
	u.finished() // the broker took all before the Close
	u.expect(t)
}

func TestWhatIsUnansweredIsSettledAgainOnceTheBrokerHasSpoken(t *testing.T) {
	var u unanswered
	u.add(ack(0, 3))
	u.ping()
	u.add(nack{action: Retry, delay: 7, reason: "x", ranges: ranges(9, 1)})
	u.add(nack{action: Park, reason: "y", ranges: ranges(7, 1)})
	u.add(ack(5, 1, 3, 2))
	u.broke()
	u.broke() // the next stream did not open
	u.expect(t, 0, 6, 7, 1, 9, 1)
	if _, ok := u.next(9); ok || !u.waits() {
		t.Fatal("settles again before it knows what")
	}
	// The broker had taken two of them. That is no news, in contrast to the third.
	if news := u.over(ranges(6, 1, 9, 1, 1, 1)); !slices.Equal(news, ranges(6, 1)) {
		t.Fatal(news)
	}
	u.ping()
	u.pong()
	var got []nack
	for {
		k, ok := u.next(2)
		if !ok {
			break
		}
		u.add(k)
		got = append(got, k)
	}
	equal := func(a, b nack) bool { return a.is(b.action, b.delay, b.reason) && slices.Equal(a.ranges, b.ranges) }
	if !slices.EqualFunc(got, []nack{{Park, 0, "y", ranges(7, 1)}, ack(0, 1, 2, 4)}, equal) {
		t.Fatal(got)
	}
	u.expect(t, 0, 1, 2, 4, 7, 1)
	u.ping()
	u.pong()
	u.expect(t)
}

func TestTheOldestUnansweredAreForgotten(t *testing.T) {
	var u unanswered
	for i := range uint64(10_000) {
		u.add(ack(2*i, 1))
		if n := u.count(); n > limitMaxUnansweredSettleRanges {
			t.Fatal(n)
		}
		if i%1000 == 0 {
			u.ping()
		}
	}
	kept := normalize(u.ranges(nil))
	if len(kept) < limitMaxUnansweredSettleRanges*3/4 || kept[len(kept)-1].First != 2*9999 {
		t.Fatal(len(kept), kept[len(kept)-1])
	}
	// Ranges that join are one, in whatever order they come.
	u = unanswered{}
	for _, i := range rand.Perm(20_000) {
		u.add(nack{action: Skip, ranges: ranges(uint64(i), 1)})
	}
	u.broke()
	if n := u.count(); n > limitMaxUnansweredSettleRanges {
		t.Fatal(n)
	}
}

func TestRangesWithout(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		var a, b []wire.Range
		in := map[uint64]bool{}
		for range random.IntN(8) {
			a = addRange(a, wire.Range{First: random.Uint64N(40), Count: 1 + random.Uint64N(6)})
		}
		for range random.IntN(8) {
			b = addRange(b, wire.Range{First: random.Uint64N(40), Count: 1 + random.Uint64N(6)})
		}
		for _, r := range a {
			for o := r.First; o < r.End(); o++ {
				in[o] = true
			}
		}
		for _, r := range b {
			for o := r.First; o < r.End(); o++ {
				delete(in, o)
			}
		}
		rest := without(normalize(a), normalize(b))
		n := 0
		for _, r := range rest {
			for o := r.First; o < r.End(); o++ {
				if !in[o] {
					t.Fatal(seed, a, b, rest)
				}
				n++
			}
		}
		if n != len(in) {
			t.Fatal(seed, a, b, rest)
		}
	}
}
