package spillway

import (
	"errors"
	"io"
	"time"

	"spillway.dev/clients/go/internal/wire"
)

// What a consumer holds and what it has settled.

func (n *Consumer) settle(d *Delivery, action Action, delay time.Duration, reason string) error {
	if n.replay != nil {
		return nil
	}
	n.mu.Lock()
	if s := d.state.Load(); s == settled || s == revoked {
		n.mu.Unlock()
		return nil
	}
	if n.err != nil {
		err := n.err
		n.mu.Unlock()
		if errors.Is(err, io.EOF) {
			return &Error{Kind: KindClosed, Queue: n.queue, Message: "the consumer is closed"}
		}
		return err
	}
	d.state.Store(settled)
	n.active.Store(n.clock.Load())
	n.leave(d)
	if action == Ack {
		n.acks = addOffset(n.acks, d.Offset)
		n.ackCount++
		if n.ackCount == 1 {
			n.ackSince = time.Now()
		}
		if n.idle && (n.ackCount == 1 || n.lingering && n.ackUrgent()) {
			n.poke()
		}
	} else {
		n.addNack(d.Offset, action, delay, reason)
		if n.idle {
			n.poke()
		}
	}
	n.mu.Unlock()
	return nil
}

// ackUrgent says that gathering longer would hold somebody up.
func (n *Consumer) ackUrgent() bool {
	return n.inFlight.Messages == 0 || uint64(n.ackCount) >= n.opt.maxMessages/8 || n.closing || n.drain != nil ||
		n.inFlight.Messages+uint64(n.ackCount) >= n.opt.maxMessages || n.grantDue()
}

func (n *Consumer) addNack(offset uint64, action Action, delay time.Duration, reason string) {
	for i := range n.nacks {
		k := &n.nacks[i]
		if k.is(action, delay, reason) {
			k.ranges = addOffset(k.ranges, offset)
			return
		}
	}
	n.nacks = append(n.nacks, nack{action, delay, reason, []wire.Range{{First: offset, Count: 1}}})
}

// leave takes a delivery out of what is in flight. REQUIRES: mu.
func (n *Consumer) leave(d *Delivery) {
	n.inFlight.Messages--
	n.inFlight.Bytes -= uint64(d.size)
	s := d.slab
	if s.open--; s.open == 0 {
		n.unlink(s)
	}
}

func (n *Consumer) track(s *slab) {
	s.prev = n.slabz
	if n.slabz != nil {
		n.slabz.nxt = s
	} else {
		n.slabs = s
	}
	n.slabz = s
}

func (n *Consumer) unlink(s *slab) {
	if s.prev != nil {
		s.prev.nxt = s.nxt
	} else {
		n.slabs = s.nxt
	}
	if s.nxt != nil {
		s.nxt.prev = s.prev
	} else {
		n.slabz = s.prev
	}
	s.prev, s.nxt = nil, nil
}

// consumed takes out of flight what a reader's loop has seen of a slab.
func (n *Consumer) consumed(s *slab) {
	for i := range s.deliveries[:s.next] {
		d := &s.deliveries[i]
		if st := d.state.Load(); st != settled && st != revoked {
			d.state.Store(settled)
			n.leave(d)
		}
	}
	if n.idle && n.grantDue() {
		n.poke()
	}
}

func (n *Consumer) extend(d *Delivery) error {
	if n.replay != nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := d.state.Load(); s == settled || s == revoked {
		return nil
	}
	if n.err != nil {
		return n.err
	}
	n.extends = addOffset(n.extends, d.Offset)
	d.takenAt.Store(n.tick())
	if n.idle {
		n.poke()
	}
	return nil
}

func (n *Consumer) tick() uint32 {
	now := uint32(time.Since(n.start).Milliseconds())
	n.clock.Store(now)
	return now
}

// autoExtend notes what is to be extended now. REQUIRES: mu.
func (n *Consumer) autoExtend() {
	now := n.tick()
	bound := uint32(min(n.opt.maxProcessing.Milliseconds(), 1<<31))
	waiting := now-n.active.Load() <= bound
	for s := n.slabs; s != nil; s = s.nxt {
		for i := range s.deliveries {
			d := &s.deliveries[i]
			switch d.state.Load() {
			case buffered:
				if waiting {
					n.extends = addOffset(n.extends, d.Offset)
				}
			case taken:
				if now-d.takenAt.Load() <= bound {
					n.extends = addOffset(n.extends, d.Offset)
				}
			}
		}
	}
}

// held are the offsets that this consumer answers for: what is open, what was
// settled but not sent, and of what is unanswered as much as the broker lets it
// state. REQUIRES: mu.
func (n *Consumer) held() []wire.Range {
	var out []wire.Range
	for s := n.slabs; s != nil; s = s.nxt {
		for i := range s.deliveries {
			if d := &s.deliveries[i]; d.state.Load() <= taken {
				out = addOffset(out, d.Offset)
			}
		}
	}
	out = append(out, n.acks...)
	for _, k := range n.nacks {
		out = append(out, k.ranges...)
	}
	out = normalize(out)
	n.unanswered.trim(max(0, limitMaxHeldRanges-len(out)))
	return normalize(n.unanswered.ranges(out))
}
