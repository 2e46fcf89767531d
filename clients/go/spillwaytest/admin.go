package spillwaytest

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

func fail(ctx context.Context, e error) error {
	se, ok := e.(*spillway.Error)
	if !ok {
		return e
	}
	grpc.SetTrailer(ctx, trailer(se))
	return status.Error(code(se), se.Message)
}

func defaults() *pb.QueueTuning {
	d := spillway.DefaultTuning()
	t := &pb.QueueTuning{}
	for _, o := range d.Options() {
		o(t)
	}
	return t
}

func checkTuning(queue string, t *pb.QueueTuning) error {
	if t.GetMaxMessageBytes() > t.GetWindowBytes() {
		return &spillway.Error{Kind: spillway.KindInvalidArgument, Queue: queue, Field: "tuning.window_bytes",
			Limit: t.GetMaxMessageBytes(), Actual: t.GetWindowBytes(), Message: "at least max_message_bytes"}
	}
	return nil
}

// MustCreateQueue creates a queue without a client.
func (b *Broker) MustCreateQueue(name string, opts ...spillway.TuningOption) {
	t := &pb.QueueTuning{}
	for _, o := range opts {
		o(t)
	}
	if _, err := b.create(name, t); err != nil {
		panic(err)
	}
}

func (b *Broker) create(name string, given *pb.QueueTuning) (*queue, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !validName(name) {
		return nil, &spillway.Error{Kind: spillway.KindInvalidArgument, Field: "name", Message: "not a name"}
	}
	if b.queues[name] != nil {
		return nil, refusal(spillway.KindAlreadyExists, name, "the queue exists")
	}
	t := defaults()
	if given != nil {
		proto.Merge(t, given)
	}
	if err := checkTuning(name, t); err != nil {
		return nil, err
	}
	q := &queue{name: name, revision: 1, tuning: t, groups: map[string]*group{}, known: map[string]*producerState{}}
	b.queues[name] = q
	return q, nil
}

// find returns a queue. REQUIRES: mu.
func (b *Broker) find(name string) (*queue, error) {
	if q := b.queues[name]; q != nil {
		return q, nil
	}
	return nil, refusal(spillway.KindNotFound, name, "no such queue")
}

func (q *queue) describe() *pb.Queue {
	u := q.unsettled()
	s := &pb.QueueStats{HeadOffset: q.head, TailOffset: q.tail(), DepthMessages: u.Messages, DepthBytes: u.Bytes,
		Producers: uint32(len(q.producers)), Groups: uint32(len(q.groups)), SettledThroughOffset: q.tail(),
		ResidentMessages: uint64(len(q.records)), PublishedMessagesTotal: q.tail(),
		Reason: q.reason}
	if len(q.groups) == 0 {
		s.SettledThroughOffset = q.head
	}
	for _, g := range q.groups {
		s.SettledThroughOffset = min(s.SettledThroughOffset, g.cursor)
	}
	for _, c := range q.consumers {
		if c.reader != nil {
			s.Readers++
		} else {
			s.Consumers++
		}
	}
	return &pb.Queue{Name: q.name, Revision: q.revision, Tuning: clone(q.tuning), Partitions: 1, Stats: s}
}

// CreateQueue implements Admin.
func (b *Broker) CreateQueue(ctx context.Context, r *pb.CreateQueueRequest) (*pb.CreateQueueResponse, error) {
	q, err := b.create(r.GetName(), r.GetTuning())
	if err != nil {
		return nil, fail(ctx, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return &pb.CreateQueueResponse{Queue: q.describe()}, nil
}

func revisionCheck(q *queue, want uint64) error {
	if want != 0 && want != q.revision {
		return &spillway.Error{Kind: spillway.KindRevisionMismatch, Queue: q.name, Limit: want, Actual: q.revision}
	}
	return nil
}

// UpdateQueue implements Admin.
func (b *Broker) UpdateQueue(ctx context.Context, r *pb.UpdateQueueRequest) (*pb.UpdateQueueResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.find(r.GetName())
	if err == nil {
		err = revisionCheck(q, r.GetExpectedRevision())
	}
	if err != nil {
		return nil, fail(ctx, err)
	}
	t := clone(q.tuning)
	if r.GetTuning() != nil {
		proto.Merge(t, r.GetTuning())
	}
	if err := checkTuning(q.name, t); err != nil {
		return nil, fail(ctx, err)
	}
	q.tuning = t
	q.revision++
	c := &pb.TuningChanged{Revision: q.revision, Tuning: clone(t)}
	for _, s := range q.producers {
		s.send(&pb.PublishResponse{Frame: &pb.PublishResponse_Tuning{Tuning: c}})
	}
	for _, s := range q.consumers {
		s.send(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Tuning{Tuning: c}})
	}
	b.grant(q, false)
	b.pump(q)
	return &pb.UpdateQueueResponse{Queue: q.describe()}, nil
}

// GetQueue implements Admin.
func (b *Broker) GetQueue(ctx context.Context, r *pb.GetQueueRequest) (*pb.GetQueueResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.find(r.GetName())
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &pb.GetQueueResponse{Queue: q.describe()}, nil
}

// ListQueues implements Admin; the page token is the last name.
func (b *Broker) ListQueues(_ context.Context, r *pb.ListQueuesRequest) (*pb.ListQueuesResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for n := range b.queues {
		if strings.HasPrefix(n, r.GetPrefix()) && n > r.GetPageToken() {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	size := int(r.GetPageSize())
	if size == 0 {
		size = 1000
	}
	out := &pb.ListQueuesResponse{}
	for i, n := range names {
		if i == size {
			out.NextPageToken = names[i-1]
			break
		}
		out.Queues = append(out.Queues, b.queues[n].describe())
	}
	return out, nil
}

// DeleteQueue implements Admin.
func (b *Broker) DeleteQueue(ctx context.Context, r *pb.DeleteQueueRequest) (*pb.DeleteQueueResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.find(r.GetName())
	if err == nil {
		err = revisionCheck(q, r.GetExpectedRevision())
	}
	if err != nil {
		return nil, fail(ctx, err)
	}
	delete(b.queues, q.name)
	for _, s := range append(slices.Clone(q.producers), q.consumers...) {
		s.end(refusal(spillway.KindClosed, q.name, "the queue was deleted"))
	}
	return &pb.DeleteQueueResponse{}, nil
}

// PurgeQueue implements Admin.
func (b *Broker) PurgeQueue(ctx context.Context, r *pb.PurgeQueueRequest) (*pb.PurgeQueueResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.find(r.GetName())
	if err != nil {
		return nil, fail(ctx, err)
	}
	before := q.tail()
	if r.BeforeOffset != nil {
		before = r.GetBeforeOffset()
	}
	n := b.purge(q, before, pb.GapReason_GAP_REASON_PURGED)
	return &pb.PurgeQueueResponse{PurgedMessages: n, HeadOffset: q.head}, nil
}

// Peek implements Admin.
func (b *Broker) Peek(ctx context.Context, r *pb.PeekRequest) (*pb.PeekResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.find(r.GetQueue())
	if err != nil {
		return nil, fail(ctx, err)
	}
	from, err := q.place(r.GetStart())
	if err != nil {
		return nil, fail(ctx, err)
	}
	limit := uint64(r.GetMaxMessages())
	if limit == 0 {
		limit = 10
	}
	out := &pb.PeekResponse{}
	for o := from; o < q.tail() && o < from+limit; o++ {
		out.Records = append(out.Records, &pb.PlacedRecord{Offset: o, AppendedAtUnixMs: q.at(o).appendedAt, Record: q.at(o).rec})
	}
	return out, nil
}

func (q *queue) describeGroup(g *group) *pb.Group {
	lag := uint64(0)
	for o := g.cursor; o < q.tail(); o++ {
		if !g.settled[o] {
			lag++
		}
	}
	return &pb.Group{Name: g.name, Mode: g.mode, Members: uint32(len(g.members)), CursorOffset: g.cursor, LagMessages: lag,
		InFlightMessages: uint64(len(g.inFlight)), RetryingMessages: uint64(len(g.retrying)), ParkedMessages: uint64(len(g.parked)),
		GoneMessagesTotal: g.gone, RedeliveredMessagesTotal: g.again, NextOffset: g.next}
}

// ListGroups implements Admin.
func (b *Broker) ListGroups(ctx context.Context, r *pb.ListGroupsRequest) (*pb.ListGroupsResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.find(r.GetQueue())
	if err != nil {
		return nil, fail(ctx, err)
	}
	out := &pb.ListGroupsResponse{}
	for _, g := range q.groups {
		out.Groups = append(out.Groups, q.describeGroup(g))
	}
	slices.SortFunc(out.Groups, func(a, b *pb.Group) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (b *Broker) findGroup(queue, name string) (*queue, *group, error) {
	q, err := b.find(queue)
	if err != nil {
		return nil, nil, err
	}
	g := q.groups[name]
	if g == nil {
		return nil, nil, refusal(spillway.KindNotFound, queue, "no such group")
	}
	return q, g, nil
}

// SeekGroup implements Admin.
func (b *Broker) SeekGroup(ctx context.Context, r *pb.SeekGroupRequest) (*pb.SeekGroupResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, g, err := b.findGroup(r.GetQueue(), r.GetGroup())
	if err != nil {
		return nil, fail(ctx, err)
	}
	to, err := q.place(r.GetTarget())
	if err != nil {
		return nil, fail(ctx, err)
	}
	for o := range g.inFlight {
		b.revoke(q, g, o, pb.RevokeReason_REVOKE_REASON_SEEK)
	}
	g.clear()
	g.cursor, g.next = to, to
	b.pump(q)
	b.grant(q, false)
	return &pb.SeekGroupResponse{Group: q.describeGroup(g)}, nil
}

// DeleteGroup implements Admin.
func (b *Broker) DeleteGroup(ctx context.Context, r *pb.DeleteGroupRequest) (*pb.DeleteGroupResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, g, err := b.findGroup(r.GetQueue(), r.GetGroup())
	if err != nil {
		return nil, fail(ctx, err)
	}
	delete(q.groups, g.name)
	for _, s := range g.members {
		s.end(refusal(spillway.KindClosed, q.name, "the group was deleted"))
	}
	b.grant(q, false)
	return &pb.DeleteGroupResponse{}, nil
}

// ListParked implements Admin.
func (b *Broker) ListParked(ctx context.Context, r *pb.ListParkedRequest) (*pb.ListParkedResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, g, err := b.findGroup(r.GetQueue(), r.GetGroup())
	if err != nil {
		return nil, fail(ctx, err)
	}
	limit := int(r.GetMaxMessages())
	if limit == 0 {
		limit = 100
	}
	var offsets []uint64
	for o := range g.parked {
		if o >= r.GetFromOffset() {
			offsets = append(offsets, o)
		}
	}
	slices.Sort(offsets)
	out := &pb.ListParkedResponse{}
	for i, o := range offsets {
		if i == limit {
			out.NextOffset = &offsets[i]
			break
		}
		p := g.parked[o]
		out.Records = append(out.Records, &pb.ParkedRecord{Offset: o, Attempts: p.attempts, Reason: p.reason,
			ParkedAtUnixMs: uint64(p.at.UnixMilli())})
	}
	return out, nil
}

// ReleaseParked implements Admin.
func (b *Broker) ReleaseParked(ctx context.Context, r *pb.ReleaseParkedRequest) (*pb.ReleaseParkedResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, g, err := b.findGroup(r.GetQueue(), r.GetGroup())
	if err != nil {
		return nil, fail(ctx, err)
	}
	out := &pb.ReleaseParkedResponse{}
	for o := range g.parked {
		hit := len(r.GetRanges()) == 0
		for _, x := range r.GetRanges() {
			hit = hit || o >= x.GetFirstOffset() && o < x.GetFirstOffset()+x.GetCount()
		}
		if hit {
			delete(g.parked, o)
			g.ready[o] = 0
			out.ReleasedMessages++
		}
	}
	b.pump(q)
	return out, nil
}

// ListSessions implements Admin.
func (b *Broker) ListSessions(_ context.Context, r *pb.ListSessionsRequest) (*pb.ListSessionsResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := &pb.ListSessionsResponse{}
	for s := range b.links {
		if r.GetQueue() != "" && s.q.name != r.GetQueue() {
			continue
		}
		x := &pb.Session{Id: s.id, Queue: s.q.name, Client: s.client, OpenedAtUnixMs: uint64(s.opened.UnixMilli()), Epoch: s.epoch}
		switch {
		case s.producer != nil:
			x.Kind, x.Name = pb.SessionKind_SESSION_KIND_PRODUCER, s.producer.id
			x.Granted = &pb.Credit{Messages: s.limit.Messages, Bytes: s.limit.Bytes}
			x.Used = &pb.Credit{Messages: s.received.Messages, Bytes: s.received.Bytes}
		default:
			x.Kind = pb.SessionKind_SESSION_KIND_READER
			if s.group != nil {
				x.Kind, x.Name = pb.SessionKind_SESSION_KIND_CONSUMER, s.group.name
			}
			x.Granted = &pb.Credit{Messages: s.granted.Messages, Bytes: s.granted.Bytes}
			x.Used = &pb.Credit{Messages: s.sent.Messages, Bytes: s.sent.Bytes}
			x.InFlightMessages, x.InFlightBytes = s.inFlight.Messages, s.inFlight.Bytes
		}
		out.Sessions = append(out.Sessions, x)
	}
	slices.SortFunc(out.Sessions, func(a, b *pb.Session) int { return strings.Compare(a.Id, b.Id) })
	return out, nil
}

// CloseSession implements Admin.
func (b *Broker) CloseSession(ctx context.Context, r *pb.CloseSessionRequest) (*pb.CloseSessionResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.links {
		if s.id == r.GetId() {
			s.end(refusal(spillway.KindClosed, s.q.name, "an operator closed the session"))
			return &pb.CloseSessionResponse{}, nil
		}
	}
	return nil, fail(ctx, refusal(spillway.KindNotFound, "", "no such session"))
}

// Explain implements Admin, for the stalls that the fake knows.
func (b *Broker) Explain(ctx context.Context, r *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := r.GetQueue()
	for s := range b.links {
		if r.GetSession() != "" && s.id == r.GetSession() {
			name = s.q.name
		}
	}
	q, err := b.find(name)
	if err != nil {
		return nil, fail(ctx, err)
	}
	u := q.unsettled()
	out := &pb.ExplainResponse{Numbers: map[string]uint64{"depth_messages": u.Messages, "depth_bytes": u.Bytes}}
	for _, s := range q.producers {
		if s.lastGrant.GetReason() != 0 {
			out.Stalls = append(out.Stalls, &pb.Stall{Subject: "producer " + s.producer.id,
				Reason: pb.StallReason(s.lastGrant.GetReason()), AgeMs: s.lastGrant.GetReasonAgeMs(), EndsWhen: "consumers settle"})
		}
	}
	for _, g := range q.groups {
		if len(g.members) == 0 && g.cursor < q.tail() {
			out.Stalls = append(out.Stalls, &pb.Stall{Subject: "group " + g.name,
				Reason: pb.StallReason_STALL_REASON_NO_CONSUMER, EndsWhen: "a consumer joins the group"})
		}
	}
	return out, nil
}

// Watch implements Admin.
func (b *Broker) Watch(r *pb.WatchRequest, st grpc.ServerStreamingServer[pb.WatchResponse]) error {
	interval := time.Duration(r.GetIntervalMs()) * time.Millisecond
	if interval == 0 {
		interval = time.Second
	}
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		b.mu.Lock()
		out := &pb.WatchResponse{AtUnixMs: uint64(time.Now().UnixMilli()), Broker: &pb.BrokerStats{Version: "fake", Sessions: uint32(len(b.links))}}
		for n, q := range b.queues {
			if r.GetQueue() == "" || r.GetQueue() == n {
				out.Queues = append(out.Queues, q.describe())
			}
		}
		b.mu.Unlock()
		slices.SortFunc(out.Queues, func(a, b *pb.Queue) int { return strings.Compare(a.Name, b.Name) })
		if err := st.Send(out); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-st.Context().Done():
			return st.Context().Err()
		case <-b.stop:
			return nil
		}
	}
}
