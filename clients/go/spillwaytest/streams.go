package spillwaytest

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Publish implements the stream of producers.
func (b *Broker) Publish(st grpc.BidiStreamingServer[pb.PublishRequest, pb.PublishResponse]) error {
	first, err := st.Recv()
	if err != nil {
		return err
	}
	open := first.GetOpen()
	b.mu.Lock()
	b.tap("", first)
	if open == nil {
		b.mu.Unlock()
		return finish(st, refusal(spillway.KindProtocol, "", "the first frame is an Open"))
	}
	s, err := b.begin(open.GetQueue(), open.GetClient())
	if err != nil {
		b.mu.Unlock()
		return finish(st, err)
	}
	q := s.q
	id := open.GetProducerId()
	if id == "" {
		id = b.name("producer")
	}
	p := q.known[id]
	if p == nil {
		p = &producerState{id: id, next: 1}
		q.known[id] = p
	}
	if p.session != nil {
		p.session.end(refusal(spillway.KindFenced, q.name, "a newer stream took over"))
	}
	p.next = max(p.next, open.GetResumeSequence()) // forgotten, but settled for the client
	p.epoch++
	p.session, s.producer, s.epoch = s, p, p.epoch
	b.links[s] = struct{}{}
	q.producers = append(q.producers, s)
	s.send(&pb.PublishResponse{Frame: &pb.PublishResponse_Opened{Opened: &pb.PublishOpened{
		Protocol: 1, Epoch: s.epoch, NextSequence: p.next, ProducerId: id, Session: s.id,
		Revision: q.revision, Tuning: clone(q.tuning), MaxBatchBytes: b.options.batchBytes,
		MaxBatchRecords: b.options.batchRecords,
		HeartbeatMs:     uint64(b.options.heartbeat.Milliseconds()), DeadAfterMs: uint64(b.options.deadAfter.Milliseconds()),
	}}})
	b.grant(q, false)
	b.mu.Unlock()
	return b.serve(st, s, func() error {
		m, err := st.Recv()
		if err != nil {
			return err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.tap(q.name, m)
		if !s.ended {
			b.onPublish(s, m)
		}
		return nil
	})
}

func (b *Broker) onPublish(s *session, m *pb.PublishRequest) {
	q := s.q
	switch f := m.GetFrame().(type) {
	case *pb.PublishRequest_Publish:
		b.accept(s, f.Publish, uint64(proto.Size(f.Publish)))
	case *pb.PublishRequest_Demand:
		s.waiting = credit(f.Demand.GetWaiting())
		s.next = f.Demand.GetNextRecordBytes()
		if r := f.Demand.GetReturned(); r != nil && !b.returned(s, credit(r)) {
			return
		}
		b.grant(q, true)
	case *pb.PublishRequest_Ping:
		p := &pb.Pong{Id: f.Ping.GetId(), Epoch: s.epoch,
			Received: &pb.Credit{Messages: s.received.Messages, Bytes: s.received.Bytes},
			Limit:    &pb.Credit{Messages: s.limit.Messages, Bytes: s.limit.Bytes}}
		if b.faults.badCounters {
			p.Received.Messages++
		}
		s.send(&pb.PublishResponse{Frame: &pb.PublishResponse_Pong{Pong: p}})
	case *pb.PublishRequest_Pong:
	case *pb.PublishRequest_Close:
		if !q.holdConfirms {
			s.end(nil)
		}
	default:
		s.end(refusal(spillway.KindProtocol, q.name, "a frame that does not belong here"))
	}
}

// returned takes back what a producer gives back of its credit, in total.
func (b *Broker) returned(s *session, total spillway.Credit) bool {
	e := &spillway.Error{Queue: s.q.name, Field: "demand.returned", Message: "what was given back does not add up"}
	switch most := minus(s.limit, s.received); {
	case total.Messages < s.returned.Messages || total.Bytes < s.returned.Bytes:
		e.Kind, e.Limit, e.Actual = spillway.KindCreditRegressed, s.returned.Messages, total.Messages
	case total.Messages > most.Messages || total.Bytes > most.Bytes:
		e.Kind, e.Limit, e.Actual = spillway.KindCreditExceeded, most.Messages, total.Messages
	default:
		s.returned = total
		return true
	}
	s.end(e)
	return false
}

func (b *Broker) accept(s *session, f *pb.PublishBatch, size uint64) {
	q, p := s.q, s.producer
	n := uint64(len(f.GetRecords()))
	if n == 0 || uint32(n) > b.options.batchRecords || n > 1 && size > b.options.batchBytes {
		s.end(&spillway.Error{Kind: spillway.KindTooLarge, Queue: q.name, Field: "publish.records",
			Limit: uint64(b.options.batchRecords), Actual: n})
		return
	}
	var bytes uint64
	for _, r := range f.GetRecords() {
		z := uint64(proto.Size(r))
		bytes += z
		if z > q.tuning.GetMaxMessageBytes() {
			s.end(&spillway.Error{Kind: spillway.KindTooLarge, Queue: q.name, Field: "publish.records",
				Limit: q.tuning.GetMaxMessageBytes(), Actual: z})
			return
		}
	}
	if unspent := s.unspent(); n > unspent.Messages || bytes > unspent.Bytes {
		s.end(&spillway.Error{Kind: spillway.KindCreditExceeded, Queue: q.name,
			Limit: s.limit.Messages - s.returned.Messages, Actual: s.received.Messages + n})
		return
	}
	s.received.Messages += n
	s.received.Bytes += bytes
	seq := f.GetFirstSequence()
	switch {
	case seq > p.next:
		s.end(&spillway.Error{Kind: spillway.KindSequenceGap, Queue: q.name, Limit: p.next, Actual: seq})
		return
	case seq < p.next && seq+n > p.next:
		s.end(&spillway.Error{Kind: spillway.KindInvalidArgument, Queue: q.name, Field: "publish.first_sequence",
			Message: "a batch must not straddle", Limit: p.next, Actual: seq})
		return
	case seq < p.next:
		b.confirmAgain(s, seq, n)
		return
	}
	p.next += n
	if q.refusals > 0 {
		q.refusals--
		s.send(&pb.PublishResponse{Frame: &pb.PublishResponse_Refuse{Refuse: &pb.Refuse{
			FirstSequence: seq, Count: n, Error: errorProto(q.refusal)}}})
		b.grant(q, false)
		return
	}
	run := &pb.Confirm_Run{FirstSequence: seq, Count: n, FirstOffset: q.tail()}
	for _, r := range f.GetRecords() {
		q.append(r)
	}
	p.runs = append(p.runs, run)
	s.held = append(s.held, run)
	b.pump(q)
	if q.breaks > 0 {
		q.breaks--
		s.end(status.Error(codes.Unavailable, "the stream was broken by the test"))
		return
	}
	if !q.holdConfirms {
		s.flushConfirms()
	}
	b.grant(q, false)
}

// confirmAgain confirms sequences that were sent before.
func (b *Broker) confirmAgain(s *session, seq, n uint64) {
	for end := seq + n; seq < end; {
		found := false
		for _, r := range s.producer.runs {
			if seq >= r.FirstSequence && seq < r.FirstSequence+r.Count {
				k := min(end, r.FirstSequence+r.Count) - seq
				s.held = append(s.held, &pb.Confirm_Run{FirstSequence: seq, Count: k,
					FirstOffset: r.FirstOffset + seq - r.FirstSequence, Duplicate: true})
				seq += k
				found = true
				break
			}
		}
		if !found {
			s.held = append(s.held, &pb.Confirm_Run{FirstSequence: seq, Count: 1, Duplicate: true, OffsetUnknown: true})
			seq++
		}
	}
	if !s.q.holdConfirms {
		s.flushConfirms()
	}
	b.grant(s.q, false)
}

func (s *session) flushConfirms() {
	if len(s.held) > 0 {
		s.send(&pb.PublishResponse{Frame: &pb.PublishResponse_Confirm{Confirm: &pb.Confirm{
			Runs: s.held, Durability: s.q.tuning.GetDurability()}}})
		s.held = nil
	}
}

func clone(t *pb.QueueTuning) *pb.QueueTuning { return proto.Clone(t).(*pb.QueueTuning) }

// Consume implements the stream of consumers and readers.
func (b *Broker) Consume(st grpc.BidiStreamingServer[pb.ConsumeRequest, pb.ConsumeResponse]) error {
	first, err := st.Recv()
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.tap("", first)
	s, err := b.openConsumer(first.GetOpen())
	b.mu.Unlock()
	if err != nil {
		return finish(st, err)
	}
	return b.serve(st, s, func() error {
		m, err := st.Recv()
		if err != nil {
			return err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.tap(s.q.name, m)
		if !s.ended {
			b.onConsume(s, m)
		}
		return nil
	})
}

func (b *Broker) openConsumer(open *pb.ConsumeOpen) (*session, error) {
	if open == nil {
		return nil, refusal(spillway.KindProtocol, "", "the first frame is an Open")
	}
	s, err := b.begin(open.GetQueue(), open.GetClient())
	if err != nil {
		return nil, err
	}
	q := s.q
	b.names++
	s.epoch = uint64(b.names)
	s.granted = credit(open.GetLimit())
	o := &pb.ConsumeOpened{
		Protocol: 1, Epoch: s.epoch, Session: s.id, Revision: q.revision, Tuning: clone(q.tuning),
		HeadOffset: q.head, TailOffset: q.tail(),
		MaxInFlight: &pb.Credit{Messages: q.tuning.GetMaxInFlightMessages(), Bytes: q.tuning.GetMaxInFlightBytes()},
		HeartbeatMs: uint64(b.options.heartbeat.Milliseconds()), DeadAfterMs: uint64(b.options.deadAfter.Milliseconds()),
	}
	var stale []*pb.OffsetRange
	switch t := open.GetTarget().(type) {
	case *pb.ConsumeOpen_Group:
		g, err := b.joinGroup(q, t.Group)
		if err != nil {
			return nil, err
		}
		s.group = g
		for _, r := range t.Group.GetHeld() {
			for k := range r.GetCount() {
				o := r.GetFirstOffset() + k
				attempt, ready := g.ready[o]
				if !ready || o < q.head {
					stale = append(stale, &pb.OffsetRange{FirstOffset: o, Count: 1})
					continue
				}
				delete(g.ready, o)
				g.inFlight[o] = &flight{s, attempt, time.Now().Add(q.ackDeadline())}
				s.inFlight.Messages++
				s.inFlight.Bytes += q.at(o).size
			}
		}
		g.members = append(g.members, s)
		o.StartOffset, o.Mode = g.cursor, g.mode
	case *pb.ConsumeOpen_Reader:
		start, err := q.place(t.Reader.GetStart())
		if err != nil {
			return nil, err
		}
		s.reader = &reader{next: start, rate: t.Reader.GetRateMessagesPerSecond(), since: time.Now()}
		switch p := t.Reader.GetStop().GetPosition().(type) {
		case *pb.Stop_Offset:
			s.reader.stop = func(o uint64, _ *record) bool { return o >= p.Offset }
		case *pb.Stop_TimeUnixMs:
			s.reader.stop = func(_ uint64, r *record) bool { return r != nil && r.appendedAt >= p.TimeUnixMs }
		case *pb.Stop_Tail:
			tail := q.tail()
			s.reader.stop = func(o uint64, _ *record) bool { return o >= tail }
		}
		o.StartOffset = start
	default:
		return nil, &spillway.Error{Kind: spillway.KindInvalidArgument, Queue: q.name, Field: "open.target"}
	}
	b.links[s] = struct{}{}
	q.consumers = append(q.consumers, s)
	s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Opened{Opened: o}})
	if len(stale) > 0 {
		s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Revoke{Revoke: &pb.Revoke{Ranges: stale, Reason: pb.RevokeReason_REVOKE_REASON_STALE}}})
	}
	b.pump(q)
	return s, nil
}

func (b *Broker) joinGroup(q *queue, t *pb.GroupTarget) (*group, error) {
	if !validName(t.GetGroup()) {
		return nil, &spillway.Error{Kind: spillway.KindInvalidArgument, Queue: q.name, Field: "open.group.group"}
	}
	g := q.groups[t.GetGroup()]
	if g == nil {
		start, err := q.place(t.GetStart())
		if err != nil {
			return nil, err
		}
		g = &group{name: t.GetGroup(), mode: t.GetMode(), next: start, cursor: start}
		if g.mode == 0 {
			g.mode = pb.GroupMode_GROUP_MODE_SHARED
		}
		g.clear()
		q.groups[g.name] = g
	}
	if m := t.GetMode(); m != 0 && m != g.mode {
		if len(g.members) > 0 {
			return nil, &spillway.Error{Kind: spillway.KindInvalidArgument, Queue: q.name, Field: "open.group.mode"}
		}
		g.mode = m
	}
	if g.mode == pb.GroupMode_GROUP_MODE_EXCLUSIVE && len(g.members) > 0 {
		return nil, refusal(spillway.KindExclusive, q.name, "the group has a member")
	}
	return g, nil
}

func (g *group) clear() {
	g.settled, g.inFlight = map[uint64]bool{}, map[uint64]*flight{}
	g.retrying, g.ready, g.parked = map[uint64]retry{}, map[uint64]uint32{}, map[uint64]parked{}
}

func (b *Broker) onConsume(s *session, m *pb.ConsumeRequest) {
	q, g := s.q, s.group
	switch f := m.GetFrame().(type) {
	case *pb.ConsumeRequest_Grant:
		if !s.takeGrant(f.Grant) {
			return
		}
	case *pb.ConsumeRequest_Settle:
		if g == nil {
			s.end(refusal(spillway.KindProtocol, q.name, "a settle on a reader"))
			return
		}
		breaks := q.breakAtSettle
		q.breakAtSettle = false
		if !breaks || q.takeSettle {
			b.settle(s, f.Settle)
		}
		if breaks {
			s.end(status.Error(codes.Unavailable, "the stream was broken by the test"))
			return
		}
		if g := f.Settle.GetGrant(); g != nil && !s.takeGrant(g) {
			return
		}
	case *pb.ConsumeRequest_Extend:
		if g == nil {
			s.end(refusal(spillway.KindProtocol, q.name, "an extend on a reader"))
			return
		}
		for _, r := range f.Extend.GetRanges() {
			for k := range r.GetCount() {
				if fl := g.inFlight[r.GetFirstOffset()+k]; fl != nil && fl.member == s {
					fl.deadline = time.Now().Add(q.ackDeadline())
				}
			}
		}
	case *pb.ConsumeRequest_Ping:
		p := &pb.Pong{Id: f.Ping.GetId(), Epoch: s.epoch, Received: &pb.Credit{}, Limit: &pb.Credit{}}
		if b.faults.badCounters {
			p.Received.Messages++
		}
		s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Pong{Pong: p}})
	case *pb.ConsumeRequest_Pong:
	case *pb.ConsumeRequest_Close:
		s.end(nil)
		return
	default:
		s.end(refusal(spillway.KindProtocol, q.name, "a frame that does not belong here"))
		return
	}
	b.pump(q)
}

// takeGrant takes what a consumer grants.
func (s *session) takeGrant(g *pb.Grant) bool {
	if g.GetEpoch() != s.epoch {
		s.end(refusal(spillway.KindFenced, s.q.name, "a grant of another epoch"))
		return false
	}
	c := credit(g.GetLimit())
	if c.Messages < s.granted.Messages || c.Bytes < s.granted.Bytes {
		s.end(refusal(spillway.KindCreditRegressed, s.q.name, "a total of credit fell"))
		return false
	}
	s.granted = c
	return true
}

func (b *Broker) settle(s *session, f *pb.Settle) {
	q, g := s.q, s.group
	var stale []*pb.OffsetRange
	for _, r := range f.GetRanges() {
		for k := range r.GetCount() {
			o := r.GetFirstOffset() + k
			if fl := g.inFlight[o]; fl == nil || fl.member != s {
				stale = append(stale, &pb.OffsetRange{FirstOffset: o, Count: 1})
				continue
			}
			fl := g.release(q, o)
			switch f.GetAction() {
			case pb.SettleAction_SETTLE_ACTION_ACK, pb.SettleAction_SETTLE_ACTION_SKIP:
				g.settle(o)
			case pb.SettleAction_SETTLE_ACTION_PARK:
				g.parked[o] = parked{fl.attempt, f.GetReason(), time.Now()}
			case pb.SettleAction_SETTLE_ACTION_RETRY:
				b.failed(q, g, o, fl.attempt, f.GetReason(), time.Duration(f.GetDelayMs())*time.Millisecond, false)
			default:
				s.end(&spillway.Error{Kind: spillway.KindInvalidArgument, Queue: q.name, Field: "settle.action"})
				return
			}
		}
	}
	if len(stale) > 0 {
		s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Revoke{Revoke: &pb.Revoke{Ranges: stale, Reason: pb.RevokeReason_REVOKE_REASON_STALE}}})
	}
	b.grant(q, false)
}
