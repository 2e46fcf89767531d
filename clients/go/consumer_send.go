package spillway

import (
	"errors"
	"io"
	"time"

	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// What a consumer says: settles, grants, extends.

// wanted is the limit that the account allows now.
func (n *Consumer) wanted() Credit {
	return Credit{
		n.received.Messages + sub(n.opt.maxMessages, n.inFlight.Messages),
		n.received.Bytes + sub(n.maxBytes, n.inFlight.Bytes),
	}
}

// more is by how much the limit may rise now. REQUIRES: mu.
func (n *Consumer) more() Credit {
	if n.closing || n.drain != nil {
		return Credit{}
	}
	w := n.wanted()
	return Credit{sub(w.Messages, n.granted.Messages), sub(w.Bytes, n.granted.Bytes)}
}

// grantDue says that raising the limit is worth a frame of its own: half of it is
// used, or nothing is left to settle, or the largest message would not fit.
// REQUIRES: mu.
func (n *Consumer) grantDue() bool {
	more := n.more()
	dm, db := more.Messages, more.Bytes
	if dm == 0 && db == 0 {
		return false
	}
	return dm >= max(n.opt.maxMessages/2, 1) || db >= max(n.maxBytes/2, 1) || n.inFlight.Messages == 0 ||
		(db >= n.maxBytes/16 && sub(n.granted.Bytes, n.received.Bytes) < n.tuning.GetMaxMessageBytes())
}

func (n *Consumer) send(s *stream) {
	timer := time.NewTimer(s.heartbeat)
	defer timer.Stop()
	pinged := time.Now()
	for {
		n.mu.Lock()
		out, wait := n.due(&pinged, s.heartbeat)
		if out == nil {
			n.idle = true
			n.release()
			timer.Reset(wait)
			select {
			case <-n.wake:
			case <-timer.C:
			case <-s.ctx.Done():
			}
			n.mu.Lock()
			n.idle, n.lingering = false, false
			n.mu.Unlock()
			if s.ctx.Err() != nil {
				return
			}
			continue
		}
		n.release()
		if err := s.SendMsg(out); err != nil {
			if !errors.Is(err, io.EOF) {
				s.cancel(fromStatus(err, nil))
			}
			<-s.ctx.Done()
			return
		}
	}
}

// rangesPerFrame keeps a Settle within a few tens of KiB.
const rangesPerFrame = 4096

// due returns the next frame to send, or how long to wait for one.
func (n *Consumer) due(pinged *time.Time, heartbeat time.Duration) (any, time.Duration) {
	if len(n.pongs) > 0 {
		m := &pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Pong{Pong: n.pongs[0]}}
		n.pongs = n.pongs[1:]
		return m, 0
	}
	now := time.Now()
	wait := heartbeat - now.Sub(*pinged)
	if !n.closeSent {
		if out, linger := n.dueSettles(now); out != nil {
			return out, 0
		} else if linger > 0 {
			wait = min(wait, linger)
		}
		if n.grantDue() {
			b := n.heads.Get(0)
			*b = wire.AppendConsumerGrant(*b, n.grant())
			return n.frame(b), 0
		}
		if n.replay == nil && n.opt.autoExtend {
			if d := n.extendAt.Sub(now); d > 0 {
				wait = min(wait, d)
			} else {
				n.extendAt = now.Add(n.extendEvery())
				n.autoExtend()
				wait = min(wait, n.extendEvery())
			}
		}
		if len(n.extends) > 0 {
			r := normalize(n.extends)
			k := min(len(r), rangesPerFrame)
			m := &pb.Extend{}
			for _, r := range r[:k] {
				m.Ranges = append(m.Ranges, &pb.OffsetRange{FirstOffset: r.First, Count: r.Count})
			}
			n.extends = r[k:]
			return &pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Extend{Extend: m}}, 0
		}
		settled := n.inFlight.Messages == 0 && n.unanswered.again.empty()
		moving := n.drain != nil && (settled || n.replay != nil || !now.Before(n.drainAt))
		if n.closing && n.unanswered.again.empty() || moving {
			n.closeSent = true
			return &pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Close{Close: &pb.Close{}}}, 0
		}
	}
	if !n.ping.outstanding && (n.unanswered.waits() || n.unanswered.count() >= limitMaxUnansweredSettleRanges/2) {
		wait = 0 // the Pong lets it settle again, or forget
	}
	if wait <= 0 {
		// Also while other frames flow: it compares the counters under load.
		*pinged = now
		n.ping.id++
		n.ping.outstanding = true
		n.unanswered.ping()
		return &pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Ping{Ping: &pb.Ping{
			Id: n.ping.id, Epoch: n.epoch, Sent: &pb.Credit{}, LimitSeen: &pb.Credit{},
		}}}, 0
	}
	return nil, wait
}

func (n *Consumer) dueSettles(now time.Time) (out *wire.Out, linger time.Duration) {
	if k, ok := n.unanswered.next(rangesPerFrame); ok {
		return n.settleFrame(k, false), 0
	}
	if len(n.nacks) > 0 {
		k := &n.nacks[0]
		r := normalize(k.ranges)
		c := min(len(r), rangesPerFrame)
		if k.ranges = r[c:]; len(k.ranges) == 0 {
			n.nacks = n.nacks[1:]
		}
		n.tellSettled(r[:c])
		return n.settleFrame(nack{k.action, k.delay, k.reason, r[:c]}, len(n.nacks)+len(n.acks) == 0), 0
	}
	if len(n.acks) == 0 {
		return nil, 0
	}
	if !n.ackUrgent() {
		if l := n.ackSince.Add(n.opt.ackLinger).Sub(now); l > 0 {
			n.lingering = true
			return nil, l
		}
	}
	r := normalize(n.acks)
	c := min(len(r), rangesPerFrame)
	n.tellSettled(r[:c])
	out = n.settleFrame(nack{action: Ack, ranges: r[:c]}, c == len(r))
	if c == len(r) {
		n.acks, n.ackCount = n.acks[:0], 0
	} else {
		n.acks = append(n.acks[:0], r[c:]...)
		n.ackCount = len(n.acks)
	}
	return out, 0
}

// grant raises the limit to what the account allows. REQUIRES: mu.
func (n *Consumer) grant() wire.ConsumerGrant {
	n.granted = n.wanted()
	return wire.ConsumerGrant{Epoch: n.epoch, Messages: n.granted.Messages, Bytes: n.granted.Bytes}
}

// settleFrame settles ranges. On the last of the settles rides what may be granted,
// however little: an application that keeps the rest and waits for more settles
// nothing else that could bring it.
func (n *Consumer) settleFrame(k nack, last bool) *wire.Out {
	n.unanswered.add(k)
	b := n.heads.Get(0)
	ms := uint64((k.delay + time.Millisecond - 1) / time.Millisecond)
	var grant *wire.ConsumerGrant
	if last && n.more() != (Credit{}) {
		g := n.grant()
		grant = &g
	}
	*b = wire.AppendSettle(*b, k.ranges, pb.SettleAction(k.action), ms, k.reason, grant)
	return n.frame(b)
}

func (n *Consumer) tellSettled(ranges []wire.Range) {
	hook := n.c.hooks.Settled
	if hook == nil {
		return
	}
	count, records := len(ranges), 0
	for _, r := range ranges {
		records += int(r.Count)
	}
	n.events = append(n.events, func() { hook(n.stream(), records, count) })
}

func (n *Consumer) frame(b *[]byte) *wire.Out {
	out := wire.NewOut(1)
	out.Buffers = append(out.Buffers, n.heads.wrap(b))
	return out
}
