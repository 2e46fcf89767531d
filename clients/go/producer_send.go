package spillway

import (
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/mem"
	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// What a producer says.

// A batch that is not full goes out at once while few batches are unconfirmed and
// no write is under way; beyond that it grows until a confirmation or a write ends,
// or until it is worth a frame of its own. So frames are small at rest and large
// under load, without a timer.
const (
	smallBatches  = 4
	worthSending  = 128 << 10
	maxQueuedData = 2 // frames handed to the transport and not written yet
)

// send sends what is due until the stream's context ends.
func (p *Producer) send(s *stream) {
	timer := time.NewTimer(s.heartbeat)
	defer timer.Stop()
	pinged := time.Now()
	closed := false
	for {
		p.sending.Lock()
		p.mu.Lock()
		out, wait := p.due(&closed, &pinged, s.heartbeat)
		if out == nil {
			p.idle = true
			p.release()
			p.sending.Unlock()
			timer.Reset(wait)
			select {
			case <-p.wake:
			case <-timer.C:
			case <-s.ctx.Done():
				p.mu.Lock()
				p.idle = false
				p.mu.Unlock()
				return
			}
			p.mu.Lock()
			p.idle = false
			p.mu.Unlock()
			continue
		}
		p.release()
		sent := p.write(s, out)
		p.sending.Unlock()
		if !sent {
			<-s.ctx.Done()
			return
		}
	}
}

// write hands a frame to the transport. REQUIRES: sending.
func (p *Producer) write(s *stream, out any) bool {
	err := s.SendMsg(out)
	// io.EOF: the receiver learns why. Anything else is the client's own defect.
	if err != nil && !errors.Is(err, io.EOF) {
		s.cancel(fromStatus(err, nil))
	}
	return err == nil
}

// sendAccepted sends what was just accepted from here, if the sender has nothing to
// do: a change of goroutines less before the record is on its way. While nothing is
// being written the transport has room for a frame, so this does not wait. REQUIRES:
// mu; releases it.
func (p *Producer) sendAccepted() {
	s := p.current
	if s == nil || !p.idle || p.heads.writing.Load() > 0 || !p.sending.TryLock() {
		p.stir()
		p.mu.Unlock()
		return
	}
	defer p.sending.Unlock()
	out, next, linger := p.nextBatch(time.Now())
	if out != nil || next > 0 || linger > 0 {
		p.stir() // for what is left; else a confirmation comes before there is anything
	}
	p.release()
	if out != nil {
		p.write(s, out)
	}
}

// stir wakes the sender if there is something for it. REQUIRES: mu.
func (p *Producer) stir() {
	if p.idle && (p.unsent < len(p.q) || p.waiters.front != nil || p.demanded.waiting != (Credit{}) ||
		p.reason == ReasonFairShare || p.pong != nil || p.drain != nil || p.closing) {
		p.poke()
	}
}

// due returns the next frame to send, or how long to wait for one.
func (p *Producer) due(closed *bool, pinged *time.Time, heartbeat time.Duration) (any, time.Duration) {
	if p.pong != nil {
		m := &pb.PublishRequest{Frame: &pb.PublishRequest_Pong{Pong: p.pong}}
		p.pong = nil
		return m, 0
	}
	now := time.Now()
	wait := heartbeat - now.Sub(*pinged)
	if !*closed {
		out, next, linger := p.nextBatch(now)
		if out != nil {
			return out, 0
		}
		if m := p.demand(next); m != nil {
			return m, 0
		}
		if (p.closing || p.drain != nil) && p.unsent == len(p.q) {
			*closed = true
			return &pb.PublishRequest{Frame: &pb.PublishRequest_Close{Close: &pb.Close{}}}, 0
		}
		if linger > 0 {
			wait = min(wait, linger)
		}
	}
	if wait <= 0 {
		// Also while other frames flow: it compares the counters under load.
		*pinged = now
		p.ping.id++
		p.ping.outstanding, p.ping.sent, p.ping.seen = true, p.sent, p.limit
		return &pb.PublishRequest{Frame: &pb.PublishRequest_Ping{Ping: &pb.Ping{
			Id: p.ping.id, Epoch: p.epoch, Sent: p.sent.proto(), LimitSeen: p.limit.proto(),
		}}}, 0
	}
	return nil, wait
}

// nextBatch returns the next frame of records; or, if the front waits for credit,
// the length of its next record; or how long the batch may still grow.
func (p *Producer) nextBatch(now time.Time) (out *wire.Out, next uint64, linger time.Duration) {
	if p.unsent >= len(p.q) {
		return nil, 0, 0
	}
	b := p.q[p.unsent]
	if !b.sealed {
		if b.encoded < worthSending && p.heads.busy() {
			return nil, 0, 0
		}
		hurry := p.closing || p.drain != nil || p.flushing > 0 || p.waiters.front != nil
		if !hurry && b.encoded < worthSending {
			if p.unsent >= smallBatches {
				return nil, 0, 0
			}
			if l := p.opt.linger - now.Sub(b.since); l > 0 {
				return nil, 0, l
			}
		}
		if !p.sent.fits(p.allowed(), uint64(b.count), b.bytes) && !b.sent && p.limit == (Credit{}) {
			return nil, 0, 0 // resumed: it may still grow until the first grant
		}
		b.seal()
	}
	from, to := p.partSent, b.count
	if start := b.first + uint64(from); start < p.resumeAt && p.resumeAt < b.end() {
		to = int(p.resumeAt - b.first) // never straddle what the broker has
	}
	if from == 0 && to == b.count && p.sent.fits(p.allowed(), uint64(b.count), b.bytes) {
		out = wire.NewOut(1 + len(b.chunks))
		head := p.heads.Get(0)
		*head = wire.AppendPublishHead(*head, b.first, b.encoded)
		out.Buffers = append(out.Buffers, p.heads.wrap(head))
		for _, c := range b.chunks {
			c.Ref()
			out.Buffers = append(out.Buffers, c)
		}
		p.account(b, b.count, b.bytes)
		p.unsent++
		return out, 0, 0
	}
	n, next := b.fitting(from, to, p.allowed().minus(p.sent))
	if n == 0 {
		return nil, next, 0
	}
	body, cost := b.piece(from, from+n)
	head := p.heads.Get(0)
	*head = wire.AppendPublishHead(*head, b.first+uint64(from), len(body))
	out = wire.NewOut(2)
	out.Buffers = append(out.Buffers, p.heads.wrap(head), mem.SliceBuffer(body))
	p.account(b, n, cost)
	if p.partSent += n; p.partSent == b.count {
		p.unsent++
		p.partSent = 0
	}
	return out, 0, 0
}

func (p *Producer) account(b *batch, n int, cost uint64) {
	p.sent.Messages += uint64(n)
	p.sent.Bytes += cost
	b.sent = true
	if hook := p.c.hooks.Sent; hook != nil {
		p.events = append(p.events, func() { hook(p.stream(), n, int(cost)) })
	}
}

// demand says what waits beyond the credit, when that changed enough to matter,
// and gives back what cannot be used while others wait for it. next is the length
// of the record at the front, if it was accepted and waits for credit: so does then
// what was accepted after it.
func (p *Producer) demand(next uint64) *wire.Out {
	d, stuck := demand{next: next}, next > 0
	w := p.waiters.front
	if w != nil && !stuck {
		d.next = uint64(w.size)
	}
	give := p.toGiveBack(stuck, d.next)
	p.returned = p.returned.plus(give)
	if w != nil || stuck {
		d.waiting = p.reserved.plus(p.waiters.total).minus(p.allowed())
	}
	was := p.demanded
	same := d.next == was.next && !doubled(was.waiting.Messages, d.waiting.Messages) &&
		!doubled(was.waiting.Bytes, d.waiting.Bytes)
	if d.waiting == (Credit{}) {
		same = was.waiting == (Credit{})
	}
	if same && give == (Credit{}) {
		return nil
	}
	p.demanded = d
	// Not of heads: it is no frame of records, for which the sender would wait.
	b := chunks.Get(smallChunk)
	*b = wire.AppendDemand((*b)[:0], wire.Demand{Messages: d.waiting.Messages, Bytes: d.waiting.Bytes,
		NextRecordBytes: d.next, ReturnedMessages: p.returned.Messages, ReturnedBytes: p.returned.Bytes})
	out := wire.NewOut(1)
	out.Buffers = append(out.Buffers, mem.NewBuffer(b, &chunks))
	return out
}

func doubled(was, is uint64) bool { return is > was && is >= 2*was }

// toGiveBack is the unspent credit, if others wait for it and nothing here can be
// sent with it. next is the length of the record that waits at the front, if any.
func (p *Producer) toGiveBack(stuck bool, next uint64) Credit {
	if p.reason != ReasonFairShare {
		return Credit{}
	}
	if stuck {
		return p.allowed().minus(p.sent)
	}
	if next > 0 && p.up && p.reserved.fits(p.allowed(), 1, next) {
		return Credit{} // it is about to be accepted
	}
	return p.free()
}
