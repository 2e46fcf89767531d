package spillway

import (
	"context"
	"errors"
	"io"
	"time"

	pb "spillway.dev/clients/go/spillwaypb"
)

// The life of a consumer's stream: it opens, breaks, resumes, drains and ends.

func (n *Consumer) openFrame() *pb.ConsumeOpen {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.received = Credit{}
	n.granted = n.wanted()
	o := &pb.ConsumeOpen{Protocol: 1, Queue: n.queue, Client: n.c.name, Limit: n.granted.proto()}
	if r := n.replay; r != nil {
		t := &pb.ReaderTarget{Start: r.start, Stop: r.stop, RateMessagesPerSecond: r.rate}
		if n.begun {
			t.Start = FromOffset(n.nextStart).p
		}
		o.Target = &pb.ConsumeOpen_Reader{Reader: t}
		return o
	}
	t := &pb.GroupTarget{Group: n.group, Mode: pb.GroupMode(n.opt.mode), Start: n.opt.start}
	n.unanswered.broke()
	held := n.held()
	for _, r := range held[:min(len(held), limitMaxHeldRanges)] {
		t.Held = append(t.Held, &pb.OffsetRange{FirstOffset: r.First, Count: r.Count})
	}
	if len(held) > limitMaxHeldRanges {
		var beyond []*pb.OffsetRange
		for _, r := range held[limitMaxHeldRanges:] {
			beyond = append(beyond, &pb.OffsetRange{FirstOffset: r.First, Count: r.Count})
		}
		n.revoke(beyond, RevokedStale) // they go to others: do not settle them
		n.granted = n.wanted()
		o.Limit = n.granted.proto()
	}
	o.Target = &pb.ConsumeOpen_Group{Group: t}
	return o
}

func (n *Consumer) open(ctx context.Context) (*stream, error) {
	s, err := n.c.openStream(n.ctx, consumeDesc, n.queue)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.cancel(&Error{Kind: KindTimedOut, Queue: n.queue, Message: "the stream did not open in time", cause: ctxErr(ctx)})
	})
	fail := func(err error) (*stream, error) {
		stop()
		err = s.end(err)
		s.cancel(err)
		if errors.Is(err, io.EOF) {
			err = &Error{Kind: KindUnavailable, Queue: n.queue, Message: "the stream ended before it was open"}
		}
		return nil, err
	}
	err = s.SendMsg(&pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Open{Open: n.openFrame()}})
	if err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	var in pb.ConsumeResponse
	if err := s.RecvMsg(&in); err != nil {
		return fail(err)
	}
	if !stop() {
		return fail(context.Cause(s.ctx))
	}
	o := in.GetOpened()
	if o == nil {
		return fail(&Error{Kind: KindProtocol, Queue: n.queue, Message: "the first frame was not Opened"})
	}
	if o.GetProtocol() > 1 {
		return fail(&Error{Kind: KindUnsupported, Queue: n.queue, Limit: 1, Actual: uint64(o.GetProtocol())})
	}
	s.heartbeat = millis(o.GetHeartbeatMs(), n.c.opt.heartbeat)
	s.deadAfter = millis(o.GetDeadAfterMs(), n.c.opt.deadAfter)
	n.adopt(o)
	return s, nil
}

func (n *Consumer) adopt(o *pb.ConsumeOpened) {
	n.mu.Lock()
	defer n.release()
	resumed := n.session != ""
	n.session, n.epoch, n.mode = o.GetSession(), o.GetEpoch(), GroupMode(o.GetMode())
	n.retune(o.GetTuning())
	if !n.begun {
		n.begun = true
		n.first, n.nextStart = o.GetStartOffset(), o.GetStartOffset()
		if r := n.replay; r != nil && r.stop.GetTail() {
			r.stop = &pb.Stop{Position: &pb.Stop_Offset{Offset: o.GetTailOffset()}}
		}
	}
	n.drain, n.pongs, n.extends, n.closeSent = nil, nil, nil, false
	n.ping.outstanding = false
	n.up = true
	if hook := n.c.hooks.Opened; hook != nil {
		n.events = append(n.events, func() { hook(n.stream(), resumed) })
	}
}

func (n *Consumer) retune(t *pb.QueueTuning) {
	n.tuning = t
	n.maxBytes = max(n.opt.maxBytes, t.GetMaxMessageBytes())
	n.extendAt = time.Now().Add(n.extendEvery())
}

func (n *Consumer) extendEvery() time.Duration {
	return millis(max(n.tuning.GetAckDeadlineMs(), 1), 0) / 2
}

func (n *Consumer) run(s *stream) {
	defer close(n.done)
	defer n.c.forget(n)
	for {
		n.link.opened()
		err := n.serve(s)
		for {
			n.mu.Lock()
			n.up = false
			if err == nil && n.closeSent {
				n.unanswered.finished()
			}
			drain := n.drain
			n.drain = nil
			closing, ended := n.closing, n.err != nil
			n.mu.Unlock()
			var e *Error
			exclusive := errors.As(err, &e) && e.Kind == KindExclusive // our old stream, not yet taken for dead
			switch {
			case ended:
				n.finish(nil)
				return
			case (closing || n.ctx.Err() != nil) && n.replay != nil:
				n.finish(errClientClosed) // not at its stop: say so
				return
			case closing || n.ctx.Err() != nil:
				n.finish(io.EOF)
				return
			case err != nil && !retryable(err) && !exclusive:
				n.finish(err)
				return
			}
			delay := n.link.delay(err)
			if drain != nil {
				delay = millis(drain.GetReconnectAfterMs(), 0)
				n.link.attempt = 0
			}
			n.c.log.Info("reopening a stream", "kind", n.kind(), "queue", n.queue, "group", n.group, "delay", delay, "reason", err)
			if hook := n.c.hooks.Broken; hook != nil {
				hook(n.stream(), err, delay)
			}
			if err = n.pause(delay); err != nil {
				continue
			}
			n.c.kick()
			if err = n.c.awaitReady(n.ctx, n.link.patience()); err != nil {
				continue
			}
			if s, err = n.open(n.ctx); err == nil {
				break
			}
		}
	}
}

// pause sleeps, but not beyond a Close.
func (n *Consumer) pause(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		n.mu.Lock()
		closing := n.closing
		n.mu.Unlock()
		if closing {
			return io.EOF
		}
		select {
		case <-t.C:
			return nil
		case <-n.wake:
		case <-n.ctx.Done():
			return context.Cause(n.ctx)
		}
	}
}

// finish ends the consumer with err, or as it has ended already.
func (n *Consumer) finish(err error) {
	n.mu.Lock()
	if n.err == nil {
		n.err = err
	}
	err = n.err
	n.cancel(err)
	if !errors.Is(err, io.EOF) && !errors.Is(n.c.ctx.Err(), context.Canceled) && err != error(errClientClosed) {
		n.c.log.Error("a stream ended", "kind", n.kind(), "queue", n.queue, "group", n.group, "error", err)
		if hook := n.c.hooks.Failed; hook != nil {
			n.events = append(n.events, func() { hook(n.stream(), err) })
		}
	}
	if n.replay == nil { // what was not taken is no longer ours
		n.ready = nil
	}
	n.signal()
	n.release()
}

func (n *Consumer) serve(s *stream) error {
	received := make(chan error, 1)
	s.watch()
	go func() {
		err := n.receive(s)
		s.cancel(err)
		received <- err
	}()
	n.send(s)
	err := <-received
	s.unwatch()
	s.cancel(err)
	return err
}
