package spillway

import (
	"errors"
	"io"
	"slices"
	"time"

	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// What a producer hears.

// receive handles frames until the stream ends.
func (p *Producer) receive(s *stream) error {
	in := wire.In{Reuse: true}
	var f wire.PublishFrame
	for {
		if err := s.RecvMsg(&in); err != nil {
			if err = s.end(err); errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		s.heard()
		if err := f.Decode(in.Data); err != nil {
			return &Error{Kind: KindProtocol, Queue: p.queue, Message: "a frame could not be decoded", cause: err}
		}
		p.mu.Lock()
		err := p.handle(s, &f)
		p.stir()
		p.release()
		if err != nil {
			return err
		}
	}
}

func (p *Producer) handle(s *stream, f *wire.PublishFrame) error {
	switch {
	case f.IsConfirm:
		for _, r := range f.Runs {
			offset := r.Offset
			if r.OffsetUnknown {
				offset = UnknownOffset
			}
			if err := p.resolve(r.First, r.Count, offset, r.Duplicate, nil); err != nil {
				return err
			}
		}
		if f.IsGrant {
			return p.granted(f.Grant)
		}
		return nil
	case f.IsGrant:
		return p.granted(f.Grant)
	}
	switch f := f.Cold.GetFrame().(type) {
	case *pb.PublishResponse_Refuse:
		err := errorFromProto(f.Refuse.GetError())
		if err.Queue == "" {
			err.Queue = p.queue
		}
		return p.resolve(f.Refuse.GetFirstSequence(), f.Refuse.GetCount(), UnknownOffset, false, err)
	case *pb.PublishResponse_Tuning:
		p.retune(f.Tuning.GetTuning())
		if d := Durability(p.tuning.GetDurability()); d < p.opt.durability {
			return p.weaker(d)
		}
		p.admit()
	case *pb.PublishResponse_Drain:
		p.startDrain(s, f.Drain)
	case *pb.PublishResponse_Ping:
		p.pong = &pb.Pong{Id: f.Ping.GetId(), Epoch: p.epoch, Received: &pb.Credit{}, Limit: &pb.Credit{}}
		if c := f.Ping.GetSent(); c.GetMessages() != 0 || c.GetBytes() != 0 {
			return p.mismatch(Credit{}, creditFrom(c))
		}
	case *pb.PublishResponse_Pong:
		if !p.ping.outstanding || f.Pong.GetId() != p.ping.id {
			return nil
		}
		p.ping.outstanding = false
		if got := creditFrom(f.Pong.GetReceived()); got != p.ping.sent {
			return p.mismatch(p.ping.sent, got)
		}
		if l := creditFrom(f.Pong.GetLimit()); l.Messages < p.ping.seen.Messages || l.Bytes < p.ping.seen.Bytes {
			return p.mismatch(p.ping.seen, l)
		}
	}
	return nil // a frame of a newer protocol
}

func (p *Producer) mismatch(ours, theirs Credit) error {
	err := mismatch(p.queue, ours, theirs)
	if hook := p.c.hooks.CounterMismatch; hook != nil {
		p.events = append(p.events, func() { hook(p.stream(), err) })
	}
	return err
}

func mismatch(queue string, ours, theirs Credit) *Error {
	e := &Error{Kind: KindCounterMismatch, Queue: queue, Field: "messages", Limit: ours.Messages, Actual: theirs.Messages}
	if ours.Messages == theirs.Messages {
		e.Field, e.Limit, e.Actual = "bytes", ours.Bytes, theirs.Bytes
	}
	e.Message = "the two sides' counters differ"
	return e
}

func (p *Producer) granted(g wire.Grant) error {
	if g.Epoch != p.epoch {
		return &Error{Kind: KindFenced, Queue: p.queue, Field: "grant.epoch", Limit: p.epoch, Actual: g.Epoch,
			Message: "a grant of another epoch"}
	}
	if g.Messages < p.limit.Messages || g.Bytes < p.limit.Bytes {
		return &Error{Kind: KindCreditRegressed, Queue: p.queue, Limit: p.limit.Messages, Actual: g.Messages,
			Message: "a total of credit fell"}
	}
	limit := Credit{g.Messages, g.Bytes}
	p.demanded.waiting = p.demanded.waiting.minus(limit.minus(p.limit))
	p.limit = limit
	p.reason = CreditReason(g.Reason)
	p.reasonSince = time.Time{}
	if p.reason != ReasonNone {
		p.reasonSince = time.Now().Add(-millis(g.ReasonAgeMs, 0))
	}
	p.windowUsed, p.window = g.WindowUsed, g.WindowBytes
	if p.drain == nil {
		p.admit()
	}
	p.tellBlocked()
	return nil
}

// startDrain stops accepting records; the sender finishes what was accepted, then
// closes the stream, and a new one takes over.
func (p *Producer) startDrain(s *stream, d *pb.Drain) {
	if p.drain != nil {
		return
	}
	p.drain, p.up = d, false
	deadline := millis(d.GetDeadlineMs(), limitDrainDeadlineMs*time.Millisecond)
	s.expire(deadline, &Error{Kind: KindUnavailable, Queue: p.queue, Message: "the drain's deadline passed"})
	if hook := p.c.hooks.Draining; hook != nil {
		p.events = append(p.events, func() { hook(p.stream(), deadline) })
	}
}

// resolve notes what became of sequences, and lets go of what is complete.
func (p *Producer) resolve(first, count, offset uint64, duplicate bool, refusal error) error {
	end := first + count
	if end < first || end > p.next || (count > 0 && end > p.sentThrough()) {
		return &Error{Kind: KindProtocol, Queue: p.queue, Limit: p.next, Actual: end,
			Message: "a confirmation of sequences that were not sent"}
	}
	lo, hi := 0, len(p.q) // the first batch that ends after `first`
	for lo < hi {
		mid := (lo + hi) / 2
		if p.q[mid].end() <= first {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for ; lo < len(p.q) && first < end; lo++ {
		b := p.q[lo]
		if b.first > first { // resolved before
			if offset != UnknownOffset {
				offset += min(b.first, end) - first
			}
			first = min(b.first, end)
		}
		n := min(end, b.end()) - first
		if n == 0 {
			break
		}
		fresh := b.resolve(int(first-b.first), int(n), offset, refusal)
		p.unacked -= fresh
		first += n
		if offset != UnknownOffset {
			offset += n
		}
		if fresh > 0 {
			p.tell(b, fresh, duplicate, refusal)
		}
	}
	done := 0
	for done < p.unsent && p.q[done].resolved == p.q[done].count {
		p.q[done].finish()
		done++
	}
	if done > 0 {
		p.q = slices.Delete(p.q, 0, done) // they are few, and the array stays
		p.unsent -= done
	}
	return nil
}

// sentThrough is the sequence after the last that was handed to the transport.
func (p *Producer) sentThrough() uint64 {
	if p.unsent < len(p.q) {
		return p.q[p.unsent].first + uint64(p.partSent)
	}
	return p.next
}

func (p *Producer) tell(b *batch, n int, duplicate bool, refusal error) {
	if refusal != nil {
		if hook := p.c.hooks.Refused; hook != nil {
			p.events = append(p.events, func() { hook(p.stream(), n, refusal) })
		}
		return
	}
	if hook := p.c.hooks.Confirmed; hook != nil {
		elapsed := time.Since(b.since)
		p.events = append(p.events, func() { hook(p.stream(), n, duplicate, elapsed) })
	}
}
