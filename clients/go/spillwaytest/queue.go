package spillwaytest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

// queue is a queue's whole state. It belongs to Broker.mu.
type queue struct {
	name     string
	revision uint64
	tuning   *pb.QueueTuning
	records  []record // records[i] has offset head + i
	head     uint64
	groups   map[string]*group
	known    map[string]*producerState

	producers, consumers []*session

	withheld     bool
	reason       pb.CreditReason
	reasonSince  time.Time
	exact        *spillway.Credit
	holdConfirms bool
	refusals     int
	refusal      *spillway.Error
	breaks       int

	breakAtSettle, takeSettle bool
}

type record struct {
	rec        *pb.Record
	size       uint64
	appendedAt uint64
}

// producerState is what the broker knows of a producer id.
type producerState struct {
	id      string
	epoch   uint64
	next    uint64
	runs    []*pb.Confirm_Run
	session *session
}

type group struct {
	name     string
	mode     pb.GroupMode
	next     uint64 // the first offset never delivered
	members  []*session
	turn     int
	settled  map[uint64]bool // above the cursor
	cursor   uint64
	inFlight map[uint64]*flight
	retrying map[uint64]retry
	ready    map[uint64]uint32 // to be delivered again: attempts so far
	parked   map[uint64]parked
	gone     uint64
	again    uint64
}

type flight struct {
	member   *session
	attempt  uint32
	deadline time.Time
}

type retry struct {
	attempt uint32
	at      time.Time
}

type parked struct {
	attempts uint32
	reason   string
	at       time.Time
}

type reader struct {
	next  uint64
	stop  func(offset uint64, r *record) bool // nil: never
	rate  uint64
	since time.Time
	count uint64
}

func (b *Broker) name(kind string) string {
	b.names++
	return fmt.Sprintf("%s-%d", kind, b.names)
}

func validName(s string) bool {
	if len(s) == 0 || len(s) > 255 || s[0] == '.' {
		return false
	}
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

func (q *queue) tail() uint64 { return q.head + uint64(len(q.records)) }

func (q *queue) at(offset uint64) *record { return &q.records[offset-q.head] }

// unsettled is what some group has not settled: what fills the window.
func (q *queue) unsettled() (c spillway.Credit) {
	low := q.tail()
	if len(q.groups) == 0 {
		low = q.head
	}
	for _, g := range q.groups {
		low = min(low, max(g.cursor, q.head))
	}
	for o := low; o < q.tail(); o++ {
		settled := len(q.groups) > 0
		for _, g := range q.groups {
			settled = settled && (o < g.cursor || g.settled[o])
		}
		if !settled {
			c.Messages++
			c.Bytes += q.at(o).size
		}
	}
	return c
}

// grant raises the producers' limits as far as the window goes, and tells them
// when anything changed (or always, if tell). REQUIRES: mu.
func (b *Broker) grant(q *queue, tell bool) {
	t := q.tuning
	used := spillway.Credit{}
	if p := t.GetOverflow(); p == pb.OverflowPolicy_OVERFLOW_POLICY_BLOCK || p == pb.OverflowPolicy_OVERFLOW_POLICY_REJECT {
		used = q.unsettled()
	}
	for _, s := range q.producers {
		used = plus(used, s.unspent())
	}
	for _, s := range q.producers {
		limit := s.limit
		reason := q.reason
		switch {
		case q.exact != nil:
			limit.Messages, limit.Bytes = max(limit.Messages, q.exact.Messages), max(limit.Bytes, q.exact.Bytes)
		case q.withheld:
		default:
			// A quarter of what is free at a time, so that each new producer finds some.
			have := s.unspent()
			free := minus(spillway.Credit{Messages: t.GetWindowMessages(), Bytes: t.GetWindowBytes()}, used)
			want := spillway.Credit{
				Messages: (free.Messages + have.Messages + 3) / 4,
				Bytes:    max((free.Bytes+have.Bytes+3)/4, s.next),
			}
			more := minus(want, have)
			more.Messages, more.Bytes = min(more.Messages, free.Messages), min(more.Bytes, free.Bytes)
			limit, used = plus(limit, more), plus(used, more)
			if now := plus(have, more); now.Messages == 0 || now.Bytes < max(s.next, 1) {
				reason = pb.CreditReason_CREDIT_REASON_WINDOW_FULL
				if t.GetOverflow() == pb.OverflowPolicy_OVERFLOW_POLICY_REJECT {
					reason = pb.CreditReason_CREDIT_REASON_FULL_REJECT
				}
			}
		}
		if reason != 0 && q.reasonSince.IsZero() {
			q.reasonSince = time.Now()
		}
		g := &pb.Grant{Epoch: s.epoch, Limit: &pb.Credit{Messages: limit.Messages, Bytes: limit.Bytes},
			Reason: reason, WindowUsedBytes: used.Bytes, WindowBytes: t.GetWindowBytes()}
		if reason != 0 {
			g.ReasonAgeMs = uint64(time.Since(q.reasonSince).Milliseconds())
		} else {
			q.reasonSince = time.Time{}
		}
		last := s.lastGrant
		if tell || last == nil || limit != s.limit || last.GetReason() != reason {
			s.limit, s.lastGrant = limit, g
			s.send(&pb.PublishResponse{Frame: &pb.PublishResponse_Grant{Grant: g}})
		}
	}
}

// unspent is what a producer may still send.
func (s *session) unspent() spillway.Credit { return minus(minus(s.limit, s.received), s.returned) }

func credit(c *pb.Credit) spillway.Credit {
	return spillway.Credit{Messages: c.GetMessages(), Bytes: c.GetBytes()}
}

func plus(a, b spillway.Credit) spillway.Credit {
	return spillway.Credit{Messages: a.Messages + b.Messages, Bytes: a.Bytes + b.Bytes}
}

// minus is 0 where b is more.
func minus(a, b spillway.Credit) spillway.Credit {
	return spillway.Credit{Messages: sub(a.Messages, b.Messages), Bytes: sub(a.Bytes, b.Bytes)}
}

func sub(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// pump delivers whatever can be delivered. REQUIRES: mu.
func (b *Broker) pump(q *queue) {
	for _, g := range q.groups {
		for b.pumpGroup(q, g) {
		}
	}
	for _, s := range q.consumers {
		if s.reader != nil {
			b.pumpReader(q, s)
		}
	}
}

const perDelivery = 1000

func (b *Broker) pumpGroup(q *queue, g *group) bool {
	if len(g.members) == 0 {
		return false
	}
	g.next = max(g.next, q.head)
	g.turn++
	for i := range g.members {
		s := g.members[(g.turn+i)%len(g.members)]
		if s.ended {
			continue
		}
		d := &pb.Delivery{}
		var bytes uint64
		add := func(o uint64, attempt uint32) bool {
			r := q.at(o)
			if len(d.Records) >= perDelivery || !s.room(1, r.size, q) {
				return false
			}
			s.sent.Messages++
			s.sent.Bytes += r.size
			s.inFlight.Messages++
			s.inFlight.Bytes += r.size
			bytes += r.size
			g.inFlight[o] = &flight{s, attempt, time.Now().Add(q.ackDeadline())}
			addRecord(d, o, attempt, r)
			return true
		}
		var again []uint64
		for o := range g.ready {
			again = append(again, o)
		}
		slices.Sort(again)
		full := false
		for _, o := range again {
			if full = !add(o, g.ready[o]+1); full {
				break
			}
			delete(g.ready, o)
			g.again++
		}
		for !full && g.next < q.tail() {
			o := g.next
			if o < g.cursor || g.settled[o] || g.inFlight[o] != nil || g.waits(o) {
				g.next++
				continue
			}
			if !add(o, 1) {
				break
			}
			g.next++
		}
		if len(d.Records) > 0 {
			s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Delivery{Delivery: d}})
			return true
		}
	}
	return false
}

func (g *group) waits(o uint64) bool {
	_, r := g.retrying[o]
	_, p := g.parked[o]
	_, a := g.ready[o]
	return r || p || a
}

func (q *queue) ackDeadline() time.Duration {
	return time.Duration(q.tuning.GetAckDeadlineMs()) * time.Millisecond
}

func (s *session) room(messages, bytes uint64, q *queue) bool {
	return s.sent.Messages+messages <= s.granted.Messages && s.sent.Bytes+bytes <= s.granted.Bytes &&
		(s.reader != nil || s.inFlight.Messages+messages <= q.tuning.GetMaxInFlightMessages() &&
			s.inFlight.Bytes+bytes <= max(q.tuning.GetMaxInFlightBytes(), q.tuning.GetMaxMessageBytes()))
}

func addRecord(d *pb.Delivery, o uint64, attempt uint32, r *record) {
	if n := len(d.Runs); n > 0 {
		last := d.Runs[n-1]
		if last.FirstOffset+uint64(last.Count) == o && last.Attempt == attempt && last.AppendedAtUnixMs == r.appendedAt {
			last.Count++
			d.Records = append(d.Records, r.rec)
			return
		}
	}
	d.Runs = append(d.Runs, &pb.Delivery_Run{FirstOffset: o, Count: 1, AppendedAtUnixMs: r.appendedAt, Attempt: attempt})
	d.Records = append(d.Records, r.rec)
}

func (b *Broker) pumpReader(q *queue, s *session) {
	r := s.reader
	if s.ended {
		return
	}
	for {
		d := &pb.Delivery{}
		stopped := false
		for len(d.Records) < perDelivery {
			if r.stop != nil {
				var rec *record
				if r.next < q.tail() {
					rec = q.at(max(r.next, q.head))
				}
				if r.stop(r.next, rec) {
					stopped = true
					break
				}
			}
			if r.next >= q.tail() {
				break
			}
			rec := q.at(r.next)
			if r.rate > 0 && r.count >= 1+uint64(time.Since(r.since).Seconds()*float64(r.rate)) {
				break
			}
			if !s.room(1, rec.size, q) {
				break
			}
			s.sent.Messages++
			s.sent.Bytes += rec.size
			addRecord(d, r.next, 0, rec)
			r.next++
			r.count++
		}
		if len(d.Records) > 0 {
			s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Delivery{Delivery: d}})
		}
		if stopped {
			s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_End{End: &pb.End{Reason: pb.EndReason_END_REASON_STOP, NextOffset: r.next}}})
			s.end(nil)
			return
		}
		if len(d.Records) == 0 {
			return
		}
	}
}

// release ends a delivery's being in flight.
func (g *group) release(q *queue, o uint64) *flight {
	f := g.inFlight[o]
	if f == nil {
		return nil
	}
	delete(g.inFlight, o)
	f.member.inFlight.Messages--
	if o >= q.head {
		f.member.inFlight.Bytes -= min(f.member.inFlight.Bytes, q.at(o).size)
	}
	return f
}

func (b *Broker) revoke(q *queue, g *group, o uint64, reason pb.RevokeReason) {
	if f := g.release(q, o); f != nil {
		if reason != pb.RevokeReason_REVOKE_REASON_GONE && reason != pb.RevokeReason_REVOKE_REASON_SEEK {
			b.failed(q, g, o, f.attempt, "the deadline passed", 0, true)
		}
		f.member.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Revoke{Revoke: &pb.Revoke{
			Ranges: []*pb.OffsetRange{{FirstOffset: o, Count: 1}}, Reason: reason}}})
	}
}

// failed parks a record whose attempts are used up, or lets it wait.
func (b *Broker) failed(q *queue, g *group, o uint64, attempt uint32, reason string, delay time.Duration, now bool) {
	if attempt >= q.tuning.GetMaxAttempts() {
		g.parked[o] = parked{attempt, reason, time.Now()}
		return
	}
	if now {
		g.ready[o] = attempt
		return
	}
	if delay == 0 {
		ms := q.tuning.GetBackoffInitialMs() << min(attempt-1, 20)
		ms = min(ms, q.tuning.GetBackoffMaxMs())
		delay = time.Duration(float64(ms)*(0.8+0.4*rand.Float64())) * time.Millisecond
	}
	g.retrying[o] = retry{attempt, time.Now().Add(delay)}
}

func (g *group) settle(o uint64) {
	if o >= g.cursor {
		g.settled[o] = true
	}
	for g.settled[g.cursor] {
		delete(g.settled, g.cursor)
		g.cursor++
	}
}

func (b *Broker) purge(q *queue, before uint64, reason pb.GapReason) uint64 {
	before = min(before, q.tail())
	if before <= q.head {
		return 0
	}
	n := before - q.head
	gap := &pb.Gap{Ranges: []*pb.OffsetRange{{FirstOffset: q.head, Count: n}}, Reason: reason}
	for _, g := range q.groups {
		missed := uint64(0)
		for o := q.head; o < before; o++ {
			if o < g.cursor || g.settled[o] {
				continue
			}
			missed++
			b.revoke(q, g, o, pb.RevokeReason_REVOKE_REASON_GONE)
			delete(g.retrying, o)
			delete(g.ready, o)
			delete(g.parked, o)
			g.settle(o)
		}
		g.gone += missed
		if missed > 0 {
			for _, s := range g.members {
				s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Gap{Gap: gap}})
			}
		}
	}
	for _, s := range q.consumers {
		if r := s.reader; r != nil && r.next < before {
			s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Gap{Gap: &pb.Gap{Reason: reason,
				Ranges: []*pb.OffsetRange{{FirstOffset: r.next, Count: before - r.next}}}}})
			r.next = before
		}
	}
	q.records = q.records[n:]
	q.head = before
	b.grant(q, false)
	return n
}

// place finds the offset of a Start.
func (q *queue) place(s *pb.Start) (uint64, error) {
	switch p := s.GetPosition().(type) {
	case *pb.Start_Offset:
		if p.Offset < q.head || p.Offset > q.tail() {
			return 0, &spillway.Error{Kind: spillway.KindOutOfRange, Queue: q.name, Field: "start.offset",
				Actual: p.Offset, HeadOffset: q.head, TailOffset: q.tail(), Message: "not kept"}
		}
		return p.Offset, nil
	case *pb.Start_TimeUnixMs:
		for o := q.head; o < q.tail(); o++ {
			if q.at(o).appendedAt >= p.TimeUnixMs {
				return o, nil
			}
		}
		return q.tail(), nil
	case *pb.Start_Latest:
		return q.tail(), nil
	case *pb.Start_Last:
		return max(q.head, sub(q.tail(), p.Last)), nil
	}
	return q.head, nil
}

func (q *queue) append(rec *pb.Record) uint64 {
	o := q.tail()
	q.records = append(q.records, record{rec, uint64(proto.Size(rec)), uint64(time.Now().UnixMilli())})
	return o
}
