package spillway

import (
	"context"
	"errors"
	"fmt"
	"io"

	pb "spillway.dev/clients/go/spillwaypb"
)

// The life of a producer's stream: it opens, breaks, resumes, drains and ends.

// open makes a stream and takes over its account. ctx bounds the opening only.
func (p *Producer) open(ctx context.Context) (*stream, error) {
	s, err := p.c.openStream(p.ctx, publishDesc, p.queue)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.cancel(&Error{Kind: KindTimedOut, Queue: p.queue, Message: "the stream did not open in time", cause: ctxErr(ctx)})
	})
	fail := func(err error) (*stream, error) {
		stop()
		err = s.end(err)
		s.cancel(err)
		if errors.Is(err, io.EOF) {
			err = &Error{Kind: KindUnavailable, Queue: p.queue, Message: "the stream ended before it was open"}
		}
		return nil, err
	}
	p.mu.Lock()
	id, resume := p.id, p.next-uint64(p.pendingCount())
	p.mu.Unlock()
	if err := s.SendMsg(&pb.PublishRequest{Frame: &pb.PublishRequest_Open{Open: &pb.PublishOpen{
		Protocol: 1, Queue: p.queue, ProducerId: id, Client: p.c.name, ResumeSequence: resume,
	}}}); err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	var in pb.PublishResponse
	if err := s.RecvMsg(&in); err != nil {
		return fail(err)
	}
	if !stop() {
		return fail(context.Cause(s.ctx))
	}
	o := in.GetOpened()
	if o == nil {
		return fail(&Error{Kind: KindProtocol, Queue: p.queue, Message: "the first frame was not Opened"})
	}
	if o.GetProtocol() > 1 {
		return fail(&Error{Kind: KindUnsupported, Queue: p.queue, Limit: 1, Actual: uint64(o.GetProtocol())})
	}
	if d := Durability(o.GetTuning().GetDurability()); d < p.opt.durability {
		return fail(p.weaker(d))
	}
	if err := p.adopt(o); err != nil {
		return fail(err)
	}
	s.heartbeat = millis(o.GetHeartbeatMs(), p.c.opt.heartbeat)
	s.deadAfter = millis(o.GetDeadAfterMs(), p.c.opt.deadAfter)
	return s, nil
}

func (p *Producer) weaker(d Durability) error {
	return &Error{Kind: KindInvalidArgument, Queue: p.queue, Field: "tuning.durability",
		Message: fmt.Sprintf("the queue promises %v, the producer wants %v", d, p.opt.durability)}
}

// adopt begins the epoch of a new stream with what is unconfirmed.
func (p *Producer) adopt(o *pb.PublishOpened) error {
	p.mu.Lock()
	defer p.release()
	resumed := p.session != ""
	next := o.GetNextSequence()
	if !resumed {
		p.next = next
	}
	lowest := p.next - uint64(p.pendingCount())
	switch {
	case next > p.next:
		return &Error{Kind: KindFenced, Queue: p.queue, Limit: p.next, Actual: next,
			Message: "another producer of the same name published meanwhile"}
	case next < lowest:
		// The broker forgot records that it had confirmed (a queue in memory). It
		// knows nothing from `next` on, so what is unconfirmed takes those sequences.
		p.c.log.Warn("the broker lost confirmed sequences; renumbering", "queue", p.queue,
			"producer", p.id, "expected", lowest, "next", next)
		for _, b := range p.q {
			b.first -= lowest - next
		}
		p.next -= lowest - next
	}
	p.id, p.session, p.epoch, p.resumeAt = o.GetProducerId(), o.GetSession(), o.GetEpoch(), next
	p.limits = batchLimits{p.opt.batchBytes, p.opt.batchRecords}
	if n := o.GetMaxBatchBytes(); n > 0 && n < uint64(p.limits.bytes) {
		p.limits.bytes = int(n)
	}
	if n := o.GetMaxBatchRecords(); n > 0 && n < uint32(p.limits.records) {
		p.limits.records = int(n)
	}
	p.retune(o.GetTuning())
	p.limit, p.returned, p.sent, p.reserved = Credit{}, Credit{}, Credit{}, Credit{}
	for _, b := range p.q {
		if b.sent {
			b.seal()
		}
		p.reserved.Messages += uint64(b.count)
		p.reserved.Bytes += b.bytes
	}
	p.unsent, p.partSent = 0, 0
	p.reason, p.demanded, p.drain, p.pong = ReasonNone, demand{}, nil, nil
	p.ping.outstanding = false
	p.heads = &heads{written: p.poke}
	p.up = true
	if hook := p.c.hooks.Opened; hook != nil {
		p.events = append(p.events, func() { hook(p.stream(), resumed) })
	}
	return nil
}

func (p *Producer) pendingCount() int {
	n := 0
	for _, b := range p.q {
		n += b.count
	}
	return n
}

func (p *Producer) retune(t *pb.QueueTuning) {
	p.tuning = t
	p.maxSize = t.GetMaxMessageBytes()
	if p.maxSize == 0 {
		p.maxSize = tunableDefault("max_message_bytes")
	}
}

// run serves streams one after the other until the producer ends.
func (p *Producer) run(s *stream) {
	defer close(p.done)
	defer p.c.forget(p)
	for {
		p.link.opened()
		err := p.serve(s)
		for {
			p.mu.Lock()
			p.up = false
			drain := p.drain
			p.drain = nil
			finished := p.closing && len(p.q) == 0
			p.release()
			switch {
			case finished && (err == nil || retryable(err)):
				p.finish(p.closedError(), false)
				return
			case p.ctx.Err() != nil:
				p.finish(context.Cause(p.ctx), false)
				return
			case err != nil && !retryable(err):
				p.finish(err, true)
				return
			}
			delay := p.link.delay(err)
			if drain != nil {
				delay = millis(drain.GetReconnectAfterMs(), 0)
				p.link.attempt = 0
			}
			p.c.log.Info("reopening a producer's stream", "queue", p.queue, "delay", delay, "reason", err)
			if hook := p.c.hooks.Broken; hook != nil {
				hook(p.stream(), err, delay)
			}
			if err = sleep(p.ctx, delay); err != nil {
				continue
			}
			p.c.kick()
			if err = p.c.awaitReady(p.ctx, p.link.patience()); err != nil {
				continue
			}
			if s, err = p.open(p.ctx); err == nil {
				break
			}
		}
	}
}

// finish ends the producer with err; what is unconfirmed fails with it.
func (p *Producer) finish(err error, failed bool) {
	p.cancel(err)
	p.mu.Lock()
	p.err, p.up = err, false
	p.failWaiters(err)
	for _, b := range p.q {
		b.resolveRest(0, b.count, UnknownOffset, err)
		b.finish()
	}
	p.q = nil
	if failed {
		p.c.log.Error("a producer ended", "queue", p.queue, "error", err)
		if hook := p.c.hooks.Failed; hook != nil {
			p.events = append(p.events, func() { hook(p.stream(), err) })
		}
	}
	p.release()
}

// serve sends and receives until the stream ends: nil when it ended with OK.
func (p *Producer) serve(s *stream) error {
	received := make(chan error, 1)
	p.mu.Lock()
	p.current = s
	p.mu.Unlock()
	s.watch()
	go func() {
		err := p.receive(s)
		s.cancel(err)
		received <- err
	}()
	p.send(s)
	err := <-received
	s.unwatch()
	s.cancel(err)
	return err
}
