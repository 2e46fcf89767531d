package spillway

import (
	"errors"
	"io"
	"slices"
	"sort"
	"time"

	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// What a consumer hears.

func (n *Consumer) receive(s *stream) error {
	var in wire.In
	var f wire.ConsumeFrame
	for {
		if err := s.RecvMsg(&in); err != nil {
			if err = s.end(err); errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		s.heard()
		if err := f.Decode(in.Data); err != nil {
			return &Error{Kind: KindProtocol, Queue: n.queue, Message: "a frame could not be decoded", cause: err}
		}
		var sl *slab
		if f.IsDelivery {
			var err error
			if sl, err = n.decode(&f); err != nil {
				return err
			}
		}
		n.mu.Lock()
		var err error
		if sl != nil {
			err = n.deliver(s, sl, &f)
		} else if f.Cold != nil {
			err = n.handleFrame(s, f.Cold)
		}
		if n.idle && (len(n.pongs) > 0 || n.grantDue()) {
			n.poke()
		}
		n.release()
		if err != nil {
			return err
		}
	}
}

// decode makes a slab of a delivery; everything aliases the frame.
func (n *Consumer) decode(f *wire.ConsumeFrame) (*slab, error) {
	sl := &slab{c: n, deliveries: make([]Delivery, len(f.Records)), open: len(f.Records)}
	var arena []Header
	i := 0
	for _, run := range f.Runs {
		for k := range uint64(run.Count) {
			d := &sl.deliveries[i]
			var rec wire.Record
			if !wire.DecodeRecord(f.Records[i], &rec, &arena) {
				return nil, &Error{Kind: KindProtocol, Queue: n.queue, Message: "a record could not be decoded"}
			}
			d.Payload, d.Key, d.Headers, d.size = rec.Payload, rec.Key, rec.Headers, uint32(rec.Size)
			d.Offset, d.Attempt, d.appendedAt, d.slab = run.First+k, run.Attempt, run.AppendedAt, sl
			i++
		}
	}
	return sl, nil
}

func (n *Consumer) deliver(_ *stream, sl *slab, f *wire.ConsumeFrame) error {
	count := uint64(len(sl.deliveries))
	if count == 0 {
		return nil
	}
	if !n.received.fits(n.granted, count, f.Bytes) {
		return &Error{Kind: KindCreditExceeded, Queue: n.queue, Limit: n.granted.Messages,
			Actual: n.received.Messages + count, Message: "the broker delivered more than it was granted"}
	}
	n.tick()
	if n.inFlight.Messages == 0 {
		n.active.Store(n.clock.Load())
	}
	n.received.Messages += count
	n.received.Bytes += f.Bytes
	n.inFlight.Messages += count
	n.inFlight.Bytes += f.Bytes
	n.track(sl)
	n.ready = append(n.ready, sl)
	n.nextStart = sl.deliveries[count-1].Offset + 1
	if slices.ContainsFunc(f.Runs, func(r wire.DeliveryRun) bool { return r.First < n.unanswered.high }) {
		runs := make([]wire.Range, len(f.Runs))
		for i, r := range f.Runs {
			runs[i] = wire.Range{First: r.First, Count: uint64(r.Count)}
		}
		n.unanswered.over(runs) // what became of the earlier delivery must not settle this one
	}
	n.signal()
	if hook := n.c.hooks.Received; hook != nil {
		b := f.Bytes
		n.events = append(n.events, func() { hook(n.stream(), int(count), int(b)) })
	}
	return nil
}

func (n *Consumer) handleFrame(s *stream, m *pb.ConsumeResponse) error {
	switch f := m.GetFrame().(type) {
	case *pb.ConsumeResponse_Revoke:
		n.revoke(f.Revoke.GetRanges(), RevokeReason(f.Revoke.GetReason()))
	case *pb.ConsumeResponse_Gap:
		ranges, reason := rangesFrom(f.Gap.GetRanges()), GapReason(f.Gap.GetReason())
		for _, r := range ranges {
			n.nextStart = max(n.nextStart, r.First+r.Count)
		}
		n.c.log.Warn("records are gone", "queue", n.queue, "group", n.group, "ranges", ranges, "reason", reason)
		if hook := n.c.hooks.Gap; hook != nil {
			n.events = append(n.events, func() { hook(n.stream(), ranges, reason) })
		}
	case *pb.ConsumeResponse_End:
		n.err = io.EOF
		n.signal()
	case *pb.ConsumeResponse_Tuning:
		n.retune(f.Tuning.GetTuning())
	case *pb.ConsumeResponse_Drain:
		if n.drain != nil {
			return nil
		}
		n.drain = f.Drain
		deadline := millis(f.Drain.GetDeadlineMs(), limitDrainDeadlineMs*time.Millisecond)
		s.expire(deadline, &Error{Kind: KindUnavailable, Queue: n.queue, Message: "the drain's deadline passed"})
		// Keep settling here for half of the time; then move on with what is held.
		s.after(deadline/2, n.poke)
		n.drainAt = time.Now().Add(deadline / 2)
		n.poke()
		if hook := n.c.hooks.Draining; hook != nil {
			n.events = append(n.events, func() { hook(n.stream(), deadline) })
		}
	case *pb.ConsumeResponse_Ping:
		if got := creditFrom(f.Ping.GetSent()); f.Ping.GetEpoch() == n.epoch && got != n.received {
			return n.mismatch(n.received, got)
		}
		n.pongs = append(n.pongs, &pb.Pong{Id: f.Ping.GetId(), Epoch: n.epoch,
			Received: n.received.proto(), Limit: n.granted.proto()})
	case *pb.ConsumeResponse_Pong:
		if !n.ping.outstanding || f.Pong.GetId() != n.ping.id {
			return nil
		}
		n.ping.outstanding = false
		n.unanswered.pong()
		n.poke()
		// A consumer sends no credit-bearing frames: the broker has received none,
		// and has granted nothing.
		if got := creditFrom(f.Pong.GetReceived()); got != (Credit{}) {
			return n.mismatch(Credit{}, got)
		}
	}
	return nil
}

func (n *Consumer) mismatch(ours, theirs Credit) error {
	err := mismatch(n.queue, ours, theirs)
	if hook := n.c.hooks.CounterMismatch; hook != nil {
		n.events = append(n.events, func() { hook(n.stream(), err) })
	}
	return err
}

// revoke takes offsets away from the application. REQUIRES: mu.
func (n *Consumer) revoke(ranges []*pb.OffsetRange, reason RevokeReason) {
	cut := make([]wire.Range, len(ranges))
	for i, r := range ranges {
		cut[i] = wire.Range{First: r.GetFirstOffset(), Count: r.GetCount()}
	}
	// That a settle had arrived before its stream broke is no news to anybody.
	news := n.unanswered.over(cut)
	if len(news) == 0 {
		return
	}
	contains := func(o uint64) bool {
		i := sort.Search(len(news), func(i int) bool { return news[i].End() > o })
		return i < len(news) && news[i].First <= o
	}
	hit := 0
	for s := n.slabs; s != nil; {
		next := s.nxt
		for i := range s.deliveries {
			d := &s.deliveries[i]
			if st := d.state.Load(); st > taken || !contains(d.Offset) {
				continue
			}
			d.state.Store(revoked)
			n.leave(d)
			hit++
			if s.contexts != nil {
				h := &s.contexts[i]
				n.events = append(n.events, func() { h.end(ErrRevoked) })
			} else if h := n.handlers[d]; h != nil {
				n.events = append(n.events, func() { h.end(ErrRevoked) })
			}
		}
		s = next
	}
	if hit > 0 || reason != RevokedStale {
		n.c.log.Warn("deliveries were revoked", "queue", n.queue, "group", n.group, "held", hit, "reason", reason)
	}
	if hook := n.c.hooks.Revoked; hook != nil {
		out := make([]OffsetRange, len(news))
		for i, r := range news {
			out[i] = OffsetRange(r)
		}
		n.events = append(n.events, func() { hook(n.stream(), out, reason) })
	}
}
