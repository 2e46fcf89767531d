package spillway

import (
	"cmp"
	"slices"
	"time"

	"spillway.dev/clients/go/internal/wire"
)

// unanswered is what a consumer has settled without knowing whether that reached
// the broker, which handles a stream's frames in order: the Pong to a Ping says
// that every settle before that Ping was taken. What a broken stream leaves here is
// stated as held by the next one, and settled again; without that, records whose
// settles were on the way would be delivered again.
//
// Each settle is in one of three sets, and the older ones are forgotten when there
// are more than limitMaxUnansweredSettleRanges; those records may come again.
type unanswered struct {
	sent   settles // since the last Ping
	pinged settles // before a Ping whose Pong has not come
	// Of earlier streams. Not to be settled again before the broker has said which
	// of them it had settled, or given to others, meanwhile: one that comes again
	// as a new delivery must not be settled by what became of the old one.
	again   settles
	claimed bool   // the broker has said so
	high    uint64 // the offset after the highest; what is delivered is usually above
}

// settles are ranges with what became of them.
type settles struct {
	acks  []wire.Range
	nacks []nack
}

type nack struct {
	action Action
	delay  time.Duration
	reason string
	ranges []wire.Range
}

func (s *settles) add(k nack) {
	if k.action == Ack {
		s.acks = addRanges(s.acks, k.ranges)
		return
	}
	if l := len(s.nacks); l == 0 || !s.nacks[l-1].is(k.action, k.delay, k.reason) {
		s.nacks = append(s.nacks, nack{action: k.action, delay: k.delay, reason: k.reason})
	}
	same := &s.nacks[len(s.nacks)-1]
	same.ranges = addRanges(same.ranges, k.ranges)
}

func (k *nack) is(action Action, delay time.Duration, reason string) bool {
	return k.action == action && k.delay == delay && k.reason == reason
}

// move takes what the other set has.
func (s *settles) move(from *settles) {
	s.acks = addRanges(s.acks, from.acks)
	s.nacks = append(s.nacks, from.nacks...)
	from.clear()
}

func (s *settles) clear() { s.acks, s.nacks = s.acks[:0], nil }

func (s *settles) empty() bool { return len(s.acks) == 0 && len(s.nacks) == 0 }

func (s *settles) count() int {
	n := len(s.acks)
	for i := range s.nacks {
		n += len(s.nacks[i].ranges)
	}
	return n
}

func (s *settles) appendTo(out []wire.Range) []wire.Range {
	out = append(out, s.acks...)
	for i := range s.nacks {
		out = append(out, s.nacks[i].ranges...)
	}
	return out
}

// join makes as few ranges of them as there can be.
func (s *settles) join() {
	s.acks = normalize(s.acks)
	for i := range s.nacks {
		s.nacks[i].ranges = normalize(s.nacks[i].ranges)
	}
}

// remove takes ranges out, which are normalized.
func (s *settles) remove(cut []wire.Range) {
	s.acks = without(normalize(s.acks), cut)
	for i := range s.nacks {
		s.nacks[i].ranges = without(normalize(s.nacks[i].ranges), cut)
	}
	s.nacks = slices.DeleteFunc(s.nacks, func(k nack) bool { return len(k.ranges) == 0 })
}

// forget drops so many ranges, the lowest acknowledgements first: those are about
// the oldest. It returns how many it had too few.
func (s *settles) forget(n int) int {
	d := min(n, len(s.acks))
	s.acks = slices.Delete(s.acks, 0, d)
	for n -= d; n > 0 && len(s.nacks) > 0; {
		n -= len(s.nacks[0].ranges)
		s.nacks = s.nacks[1:]
	}
	return max(n, 0)
}

// add notes what a Settle frame says.
func (u *unanswered) add(k nack) {
	u.sent.add(k)
	for _, r := range k.ranges {
		u.high = max(u.high, r.End())
	}
	u.trim(limitMaxUnansweredSettleRanges)
}

// ping notes that a Ping follows all that was sent.
func (u *unanswered) ping() { u.pinged.move(&u.sent) }

// pong notes that the Pong to the last Ping came.
func (u *unanswered) pong() {
	u.pinged.clear()
	u.claimed = true
	if u.empty() {
		u.high = 0
	}
}

// finished notes that the broker ended the stream as the Close on it asked: it does
// so once it has taken everything before.
func (u *unanswered) finished() {
	u.pinged.clear()
	u.sent.clear()
}

// broke notes that the stream is gone.
func (u *unanswered) broke() {
	u.again.move(&u.pinged)
	u.again.move(&u.sent)
	u.again.join()
	u.claimed = false
	u.trim(limitMaxUnansweredSettleRanges)
}

// trim forgets the oldest beyond so many ranges, and then a quarter more, so that
// it does not sort them for every frame.
func (u *unanswered) trim(most int) {
	sets := []*settles{&u.again, &u.pinged, &u.sent}
	count := func() (n int) {
		for _, s := range sets {
			n += s.count()
		}
		return n
	}
	if count() <= most {
		return
	}
	for _, s := range sets {
		s.join()
	}
	over := count() - most*3/4
	for _, s := range sets {
		over = s.forget(max(over, 0))
	}
}

func (u *unanswered) count() int { return u.again.count() + u.pinged.count() + u.sent.count() }

func (u *unanswered) empty() bool { return u.again.empty() && u.pinged.empty() && u.sent.empty() }

// waits says that the broker has to say what is to be settled again.
func (u *unanswered) waits() bool { return !u.claimed && !u.again.empty() }

// ranges are all that is unanswered.
func (u *unanswered) ranges(out []wire.Range) []wire.Range {
	return u.sent.appendTo(u.pinged.appendTo(u.again.appendTo(out)))
}

// over notes that the broker has ended these settles: it delivers the records
// again, or says that they are not in flight. It returns which of the ranges were
// news, because they were not to be settled again.
func (u *unanswered) over(ranges []wire.Range) []wire.Range {
	ranges = normalize(ranges)
	news := without(ranges, normalize(u.again.appendTo(nil)))
	u.again.remove(ranges)
	u.pinged.remove(ranges)
	u.sent.remove(ranges)
	return news
}

// next takes what one frame settles again.
func (u *unanswered) next(most int) (nack, bool) {
	if !u.claimed || u.again.empty() {
		return nack{}, false
	}
	k := nack{action: Ack}
	from := &u.again.acks
	if len(u.again.nacks) > 0 {
		k = u.again.nacks[0]
		from = &u.again.nacks[0].ranges
	}
	c := min(len(*from), most)
	k.ranges = slices.Clone((*from)[:c])
	if *from = slices.Delete(*from, 0, c); len(*from) == 0 && len(u.again.nacks) > 0 {
		u.again.nacks = u.again.nacks[1:]
	}
	return k, true
}

// ---- Ranges ---------------------------------------------------------------

func addOffset(ranges []wire.Range, offset uint64) []wire.Range {
	return addRange(ranges, wire.Range{First: offset, Count: 1})
}

func addRange(ranges []wire.Range, r wire.Range) []wire.Range {
	if l := len(ranges); l > 0 && ranges[l-1].End() == r.First {
		ranges[l-1].Count += r.Count
		return ranges
	}
	return append(ranges, r)
}

func addRanges(ranges, more []wire.Range) []wire.Range {
	for _, r := range more {
		ranges = addRange(ranges, r)
	}
	return ranges
}

// normalize sorts ranges and joins those that touch.
func normalize(ranges []wire.Range) []wire.Range {
	sorted := true
	for i := 1; i < len(ranges); i++ {
		if ranges[i].First <= ranges[i-1].End() {
			sorted = false
			break
		}
	}
	if sorted {
		return ranges
	}
	slices.SortFunc(ranges, func(a, b wire.Range) int { return cmp.Compare(a.First, b.First) })
	out := ranges[:1]
	for _, r := range ranges[1:] {
		last := &out[len(out)-1]
		if r.First <= last.End() {
			if r.End() > last.End() {
				last.Count = r.End() - last.First
			}
		} else {
			out = append(out, r)
		}
	}
	return out
}

// without is what of ranges is not in cut; both are normalized.
func without(ranges, cut []wire.Range) []wire.Range {
	if len(ranges) == 0 || len(cut) == 0 {
		return ranges
	}
	var out []wire.Range
	i := 0
	for _, r := range ranges {
		for i < len(cut) && cut[i].End() <= r.First {
			i++
		}
		at := r.First
		for k := i; k < len(cut) && cut[k].First < r.End(); k++ {
			if cut[k].First > at {
				out = append(out, wire.Range{First: at, Count: cut[k].First - at})
			}
			at = max(at, cut[k].End())
		}
		if at < r.End() {
			out = append(out, wire.Range{First: at, Count: r.End() - at})
		}
	}
	return out
}
