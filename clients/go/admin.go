package spillway

import (
	"context"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Admin holds the calls of operators and tools. Each is bounded by its context
// and is not repeated: whether to try again is the caller's to decide. Methods are
// safe for concurrent use.
type Admin struct {
	c  *Client
	pb pb.AdminClient
}

// call makes a unary call and types its error.
func call[Q, R any](ctx context.Context, a *Admin, f func(context.Context, Q, ...grpc.CallOption) (R, error), in Q) (R, error) {
	a.c.kick()
	var trailer metadata.MD
	out, err := f(ctx, in, grpc.Trailer(&trailer))
	if err != nil {
		return out, fromStatus(err, trailer)
	}
	return out, nil
}

// Queue is a queue as operators see it.
type Queue struct {
	// Name is the queue's name.
	Name string
	// Revision rises by 1 with each update.
	Revision uint64
	// Tuning is what can be set while the queue runs.
	Tuning Tuning
	// Partitions is 1 until queues have several.
	Partitions uint32
	// Stats are the queue's numbers at the moment of the answer.
	Stats QueueStats
}

// QueueStats are numbers of a queue at one moment. Totals count since the broker
// started; bytes are lengths of encoded records.
type QueueStats struct {
	// HeadOffset is the lowest kept offset, TailOffset that of the next record.
	HeadOffset, TailOffset uint64
	// SettledThroughOffset is the lowest unsettled offset of any group (the head
	// without groups); the depth is from there to the tail.
	SettledThroughOffset      uint64
	DepthMessages, DepthBytes uint64
	// Of what is kept: resident in memory, on disk.
	ResidentMessages, ResidentBytes uint64
	DiskMessages, DiskBytes         uint64
	// ProducerUnspent is the credit that producers hold, StoringBytes what is on
	// its way to the disk.
	ProducerUnspent Credit
	StoringBytes    uint64
	// Open streams, and groups.
	Producers, Consumers, Readers, Groups uint32
	// Totals.
	PublishedMessages, PublishedBytes uint64
	DeliveredMessages, DeliveredBytes uint64
	SettledMessages                   uint64
	SpilledMessages, SpilledBytes     uint64
	UnspilledMessages                 uint64
	DroppedMessages                   uint64
	Duplicates                        uint64
	RedeliveredMessages               uint64
	// OldestAge is the age of the oldest record that some group has not settled.
	OldestAge time.Duration
	// Reason is why producers wait, and ReasonAge for how long.
	Reason    CreditReason
	ReasonAge time.Duration
}

func queueFrom(q *pb.Queue) *Queue {
	s := q.GetStats()
	return &Queue{
		Name: q.GetName(), Revision: q.GetRevision(), Tuning: tuningFrom(q.GetTuning()), Partitions: q.GetPartitions(),
		Stats: QueueStats{
			HeadOffset: s.GetHeadOffset(), TailOffset: s.GetTailOffset(),
			SettledThroughOffset: s.GetSettledThroughOffset(),
			DepthMessages:        s.GetDepthMessages(), DepthBytes: s.GetDepthBytes(),
			ResidentMessages: s.GetResidentMessages(), ResidentBytes: s.GetResidentBytes(),
			DiskMessages: s.GetDiskMessages(), DiskBytes: s.GetDiskBytes(),
			ProducerUnspent: creditFrom(s.GetProducerUnspent()), StoringBytes: s.GetStoringBytes(),
			Producers: s.GetProducers(), Consumers: s.GetConsumers(), Readers: s.GetReaders(), Groups: s.GetGroups(),
			PublishedMessages: s.GetPublishedMessagesTotal(), PublishedBytes: s.GetPublishedBytesTotal(),
			DeliveredMessages: s.GetDeliveredMessagesTotal(), DeliveredBytes: s.GetDeliveredBytesTotal(),
			SettledMessages: s.GetSettledMessagesTotal(),
			SpilledMessages: s.GetSpilledMessagesTotal(), SpilledBytes: s.GetSpilledBytesTotal(),
			UnspilledMessages: s.GetUnspilledMessagesTotal(), DroppedMessages: s.GetDroppedMessagesTotal(),
			Duplicates: s.GetDuplicatesTotal(), RedeliveredMessages: s.GetRedeliveredMessagesTotal(),
			OldestAge: millis(s.GetOldestAgeMs(), 0), Reason: CreditReason(s.GetReason()),
			ReasonAge: millis(s.GetReasonAgeMs(), 0),
		},
	}
}

// CreateQueue creates a queue; what no option names has its default. A queue of
// that name is ErrAlreadyExists, whatever its tuning.
func (a *Admin) CreateQueue(ctx context.Context, name string, opts ...TuningOption) (*Queue, error) {
	r, err := call(ctx, a, a.pb.CreateQueue, &pb.CreateQueueRequest{Name: name, Tuning: tuningProto(opts)})
	if err != nil {
		return nil, err
	}
	return queueFrom(r.GetQueue()), nil
}

// UpdateQueue changes what the options name, if the queue is still at the expected
// revision (else ErrRevisionMismatch); 0 stands for any.
func (a *Admin) UpdateQueue(ctx context.Context, name string, expectedRevision uint64, opts ...TuningOption) (*Queue, error) {
	r, err := call(ctx, a, a.pb.UpdateQueue, &pb.UpdateQueueRequest{
		Name: name, ExpectedRevision: expectedRevision, Tuning: tuningProto(opts)})
	if err != nil {
		return nil, err
	}
	return queueFrom(r.GetQueue()), nil
}

// GetQueue returns a queue.
func (a *Admin) GetQueue(ctx context.Context, name string) (*Queue, error) {
	r, err := call(ctx, a, a.pb.GetQueue, &pb.GetQueueRequest{Name: name})
	if err != nil {
		return nil, err
	}
	return queueFrom(r.GetQueue()), nil
}

// ListQueues yields the queues whose names begin with prefix, in order of name. An
// error ends it.
func (a *Admin) ListQueues(ctx context.Context, prefix string) iter.Seq2[*Queue, error] {
	return func(yield func(*Queue, error) bool) {
		for token := ""; ; {
			r, err := call(ctx, a, a.pb.ListQueues, &pb.ListQueuesRequest{Prefix: prefix, PageToken: token})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, q := range r.GetQueues() {
				if !yield(queueFrom(q), nil) {
					return
				}
			}
			if token = r.GetNextPageToken(); token == "" {
				return
			}
		}
	}
}

// DeleteQueue deletes a queue, its records and groups, and ends its streams with
// ErrClosed; expectedRevision as in UpdateQueue.
func (a *Admin) DeleteQueue(ctx context.Context, name string, expectedRevision uint64) error {
	_, err := call(ctx, a, a.pb.DeleteQueue, &pb.DeleteQueueRequest{Name: name, ExpectedRevision: expectedRevision})
	return err
}

// PurgeQueue removes every record, settled or not, and returns how many.
func (a *Admin) PurgeQueue(ctx context.Context, name string) (purged uint64, err error) {
	r, err := call(ctx, a, a.pb.PurgeQueue, &pb.PurgeQueueRequest{Name: name})
	return r.GetPurgedMessages(), err
}

// PurgeQueueBefore removes the records below the offset.
func (a *Admin) PurgeQueueBefore(ctx context.Context, name string, offset uint64) (purged uint64, err error) {
	r, err := call(ctx, a, a.pb.PurgeQueue, &pb.PurgeQueueRequest{Name: name, BeforeOffset: &offset})
	return r.GetPurgedMessages(), err
}

// PlacedMessage is a message with its place in the queue.
type PlacedMessage struct {
	Message
	// Offset is the message's place.
	Offset uint64
	// AppendedAt is when it was appended, by the broker's clock.
	AppendedAt time.Time
}

// Peek shows up to limit records (1 to 1,000; 0 is 10) from a place on, without
// delivering them. Fewer come when they exceed 1 MiB together.
func (a *Admin) Peek(ctx context.Context, queue string, from Position, limit int) ([]PlacedMessage, error) {
	r, err := call(ctx, a, a.pb.Peek, &pb.PeekRequest{Queue: queue, Start: from.p, MaxMessages: uint32(max(limit, 0))})
	if err != nil {
		return nil, err
	}
	out := make([]PlacedMessage, 0, len(r.GetRecords()))
	for _, p := range r.GetRecords() {
		m := PlacedMessage{Offset: p.GetOffset(), AppendedAt: time.UnixMilli(int64(p.GetAppendedAtUnixMs())),
			Message: Message{Payload: p.GetRecord().GetPayload(), Key: p.GetRecord().GetKey()}}
		for _, h := range p.GetRecord().GetHeaders() {
			m.Headers = append(m.Headers, Header{Name: h.GetName(), Value: h.GetValue()})
		}
		out = append(out, m)
	}
	return out, nil
}

// Group is a group as operators see it.
type Group struct {
	// Name and Mode of the group, and how many members it has.
	Name    string
	Mode    GroupMode
	Members uint32
	// CursorOffset is the lowest unsettled offset; LagMessages are unsettled from
	// there to the tail.
	CursorOffset, LagMessages uint64
	// Three states that are never mixed: delivered and unsettled; waiting for
	// their retry delay; parked.
	InFlight, Retrying, Parked uint64
	// Gone counts records that were removed before the group settled them.
	Gone, Redelivered uint64
	// ReadingFromDisk says so, and NextOffset where it is.
	ReadingFromDisk bool
	NextOffset      uint64
}

func groupFrom(g *pb.Group) *Group {
	return &Group{
		Name: g.GetName(), Mode: GroupMode(g.GetMode()), Members: g.GetMembers(),
		CursorOffset: g.GetCursorOffset(), LagMessages: g.GetLagMessages(),
		InFlight: g.GetInFlightMessages(), Retrying: g.GetRetryingMessages(), Parked: g.GetParkedMessages(),
		Gone: g.GetGoneMessagesTotal(), Redelivered: g.GetRedeliveredMessagesTotal(),
		ReadingFromDisk: g.GetReadingFromDisk(), NextOffset: g.GetNextOffset(),
	}
}

// ListGroups returns the groups of a queue.
func (a *Admin) ListGroups(ctx context.Context, queue string) ([]*Group, error) {
	r, err := call(ctx, a, a.pb.ListGroups, &pb.ListGroupsRequest{Queue: queue})
	if err != nil {
		return nil, err
	}
	out := make([]*Group, 0, len(r.GetGroups()))
	for _, g := range r.GetGroups() {
		out = append(out, groupFrom(g))
	}
	return out, nil
}

// Seek moves a group's cursor. What was in flight is revoked.
func (a *Admin) Seek(ctx context.Context, queue, group string, to Position) (*Group, error) {
	r, err := call(ctx, a, a.pb.SeekGroup, &pb.SeekGroupRequest{Queue: queue, Group: group, Target: to.p})
	if err != nil {
		return nil, err
	}
	return groupFrom(r.GetGroup()), nil
}

// DeleteGroup deletes a group.
func (a *Admin) DeleteGroup(ctx context.Context, queue, group string) error {
	_, err := call(ctx, a, a.pb.DeleteGroup, &pb.DeleteGroupRequest{Queue: queue, Group: group})
	return err
}

// ParkedRecord is a record that a group has put aside.
type ParkedRecord struct {
	// Offset is the record's place in the queue.
	Offset uint64
	// Attempts is how often it was delivered.
	Attempts uint32
	// Reason is that of the last nack.
	Reason string
	// ParkedAt is when, by the broker's clock.
	ParkedAt time.Time
}

// ListParked yields the records that a group has parked, in order of offset, from
// an offset on. An error ends it.
func (a *Admin) ListParked(ctx context.Context, queue, group string, from uint64) iter.Seq2[ParkedRecord, error] {
	return func(yield func(ParkedRecord, error) bool) {
		for {
			r, err := call(ctx, a, a.pb.ListParked, &pb.ListParkedRequest{Queue: queue, Group: group, FromOffset: from})
			if err != nil {
				yield(ParkedRecord{}, err)
				return
			}
			for _, p := range r.GetRecords() {
				if !yield(ParkedRecord{p.GetOffset(), p.GetAttempts(), p.GetReason(),
					time.UnixMilli(int64(p.GetParkedAtUnixMs()))}, nil) {
					return
				}
			}
			if r.NextOffset == nil {
				return
			}
			from = r.GetNextOffset()
		}
	}
}

// ReleaseParked delivers parked records again, with their attempts counted from 1:
// those of the ranges, or all if there are none. It returns how many.
func (a *Admin) ReleaseParked(ctx context.Context, queue, group string, ranges ...OffsetRange) (released uint64, err error) {
	r, err := call(ctx, a, a.pb.ReleaseParked, &pb.ReleaseParkedRequest{Queue: queue, Group: group, Ranges: rangesProto(ranges)})
	return r.GetReleasedMessages(), err
}

// Session is a stream as operators see it.
type Session struct {
	// ID names the session.
	ID string
	// Queue is the queue of the stream.
	Queue string
	// Kind is "PRODUCER", "CONSUMER" or "READER".
	Kind string
	// Name is the group, or the producer's id.
	Name string
	// Client is how the client named itself, Peer its address.
	Client, Peer string
	// OpenedAt is when, by the broker's clock.
	OpenedAt time.Time
	// Epoch, and its account: granted, and used of it.
	Epoch         uint64
	Granted, Used Credit
	// InFlight is what a consumer holds unsettled.
	InFlight Credit
}

// ListSessions yields the sessions of a queue, or of all queues if it is empty. An
// error ends it.
func (a *Admin) ListSessions(ctx context.Context, queue string) iter.Seq2[Session, error] {
	return func(yield func(Session, error) bool) {
		for token := ""; ; {
			r, err := call(ctx, a, a.pb.ListSessions, &pb.ListSessionsRequest{Queue: queue, PageToken: token})
			if err != nil {
				yield(Session{}, err)
				return
			}
			for _, s := range r.GetSessions() {
				if !yield(Session{
					ID: s.GetId(), Queue: s.GetQueue(), Kind: name(s.GetKind().String(), "SESSION_KIND_"),
					Name: s.GetName(), Client: s.GetClient(), Peer: s.GetPeer(),
					OpenedAt: time.UnixMilli(int64(s.GetOpenedAtUnixMs())), Epoch: s.GetEpoch(),
					Granted: creditFrom(s.GetGranted()), Used: creditFrom(s.GetUsed()),
					InFlight: Credit{s.GetInFlightMessages(), s.GetInFlightBytes()},
				}, nil) {
					return
				}
			}
			if token = r.GetNextPageToken(); token == "" {
				return
			}
		}
	}
}

// CloseSession ends a session's stream with ErrClosed.
func (a *Admin) CloseSession(ctx context.Context, id string) error {
	_, err := call(ctx, a, a.pb.CloseSession, &pb.CloseSessionRequest{Id: id})
	return err
}

// Stall is one reason for which something waits, with its evidence.
type Stall struct {
	// Subject is what waits, such as "group billing".
	Subject string
	// Reason is the shared name, such as "NO_CONSUMER".
	Reason string
	// Age is for how long.
	Age time.Duration
	// EndsWhen is one sentence: what would end it.
	EndsWhen string
	// Numbers are those behind it, by name with the unit last.
	Numbers map[string]uint64
}

// Explanation is why a queue or a session waits. No stalls: nothing waits.
type Explanation struct {
	Stalls []Stall
	// Numbers are those of the subject whether it waits or not.
	Numbers map[string]uint64
}

// Explain says why a queue waits, since when, and what would end it.
func (a *Admin) Explain(ctx context.Context, queue string) (*Explanation, error) {
	return a.explain(ctx, &pb.ExplainRequest{Subject: &pb.ExplainRequest_Queue{Queue: queue}})
}

// ExplainSession is Explain for one session.
func (a *Admin) ExplainSession(ctx context.Context, id string) (*Explanation, error) {
	return a.explain(ctx, &pb.ExplainRequest{Subject: &pb.ExplainRequest_Session{Session: id}})
}

func (a *Admin) explain(ctx context.Context, in *pb.ExplainRequest) (*Explanation, error) {
	r, err := call(ctx, a, a.pb.Explain, in)
	if err != nil {
		return nil, err
	}
	out := &Explanation{Numbers: r.GetNumbers()}
	for _, s := range r.GetStalls() {
		out.Stalls = append(out.Stalls, Stall{Subject: s.GetSubject(), Reason: name(s.GetReason().String(), "STALL_REASON_"),
			Age: millis(s.GetAgeMs(), 0), EndsWhen: s.GetEndsWhen(), Numbers: s.GetNumbers()})
	}
	return out, nil
}

// Snapshot is one answer of Watch.
type Snapshot struct {
	// At is when, by the broker's clock.
	At     time.Time
	Queues []*Queue
	Broker BrokerStats
}

// BrokerStats are numbers of the whole process.
type BrokerStats struct {
	Uptime                   time.Duration
	ResidentMemory           uint64
	MemoryBudget, MemoryUsed uint64
	DiskFree, StoreBytes     uint64
	Commits, Syncs           uint64
	Sessions, Connections    uint32
	Version                  string
	Draining                 bool
}

// Watch yields a snapshot at once and then at every interval (100 ms to 60 s; 0 is
// 1 s), of one queue, or of up to 1,000 if it is empty, until ctx ends or the loop
// is left. An error ends it.
func (a *Admin) Watch(ctx context.Context, queue string, interval time.Duration) iter.Seq2[*Snapshot, error] {
	return func(yield func(*Snapshot, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		a.c.kick()
		s, err := a.pb.Watch(ctx, &pb.WatchRequest{Queue: queue, IntervalMs: uint64(max(interval.Milliseconds(), 0))})
		if err != nil {
			yield(nil, fromStatus(err, nil))
			return
		}
		for {
			r, err := s.Recv()
			if err == io.EOF {
				return
			}
			if err != nil {
				if ctx.Err() != nil {
					err = ctxErr(ctx)
				} else {
					err = fromStatus(err, s.Trailer())
				}
				yield(nil, err)
				return
			}
			b := r.GetBroker()
			out := &Snapshot{At: time.UnixMilli(int64(r.GetAtUnixMs())), Broker: BrokerStats{
				Uptime: millis(b.GetUptimeMs(), 0), ResidentMemory: b.GetResidentMemoryBytes(),
				MemoryBudget: b.GetMemoryBudgetBytes(), MemoryUsed: b.GetMemoryUsedBytes(),
				DiskFree: b.GetDiskFreeBytes(), StoreBytes: b.GetStoreBytes(),
				Commits: b.GetCommitsTotal(), Syncs: b.GetSyncsTotal(),
				Sessions: b.GetSessions(), Connections: b.GetConnections(),
				Version: b.GetVersion(), Draining: b.GetDraining(),
			}}
			for _, q := range r.GetQueues() {
				out.Queues = append(out.Queues, queueFrom(q))
			}
			if !yield(out, nil) {
				return
			}
		}
	}
}
