package spillway

import (
	"fmt"
	"strings"
	"time"

	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Header is one header of a record. Name is valid UTF-8 of 1 to 255 bytes; Value
// is any bytes.
type Header = wire.Header

// Message is what a producer publishes. Publish copies it before it returns:
// afterwards the caller may reuse every slice.
type Message struct {
	// Payload is the application's data.
	Payload []byte
	// Key groups related records; empty means none. At most 1,024 bytes.
	Key []byte
	// Headers are at most 64 and 16 KiB; order and repetition are kept.
	Headers []Header
}

// Size is the message's cost in bytes of credit: the length of its encoded record.
func (m Message) Size() int { return wire.RecordSize(m.Payload, m.Key, m.Headers) }

// Credit is an amount, or a cumulative total, in both units of credit.
type Credit struct {
	// Messages counts records.
	Messages uint64
	// Bytes counts the lengths of encoded records.
	Bytes uint64
}

func (c Credit) proto() *pb.Credit { return &pb.Credit{Messages: c.Messages, Bytes: c.Bytes} }

func creditFrom(c *pb.Credit) Credit { return Credit{c.GetMessages(), c.GetBytes()} }

// fits says whether one more piece stays within the limit.
func (c Credit) fits(limit Credit, messages, bytes uint64) bool {
	return c.Messages+messages <= limit.Messages && c.Bytes+bytes <= limit.Bytes
}

func (c Credit) plus(o Credit) Credit { return Credit{c.Messages + o.Messages, c.Bytes + o.Bytes} }

// minus is 0 where o is more.
func (c Credit) minus(o Credit) Credit {
	return Credit{sub(c.Messages, o.Messages), sub(c.Bytes, o.Bytes)}
}

func sub(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// OffsetRange is Count offsets from First on.
type OffsetRange struct{ First, Count uint64 }

// String returns the range as "first-last".
func (r OffsetRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.First+r.Count-1) }

func rangesFrom(in []*pb.OffsetRange) []OffsetRange {
	out := make([]OffsetRange, 0, len(in))
	for _, r := range in {
		out = append(out, OffsetRange{r.GetFirstOffset(), r.GetCount()})
	}
	return out
}

func rangesProto(in []OffsetRange) []*pb.OffsetRange {
	out := make([]*pb.OffsetRange, 0, len(in))
	for _, r := range in {
		out = append(out, &pb.OffsetRange{FirstOffset: r.First, Count: r.Count})
	}
	return out
}

func name(full, prefix string) string {
	return strings.TrimPrefix(full, prefix)
}

// Durability is what a confirmation means, weakest first.
type Durability int32

// The levels of durability.
const (
	// Memory: in the queue's window; only what overflows reaches the disk.
	Memory = Durability(pb.Durability_DURABILITY_MEMORY)
	// Persisted: in the log of the store; survives the end of the broker's process.
	Persisted = Durability(pb.Durability_DURABILITY_PERSISTED)
	// Synced: flushed to the device; survives the machine.
	Synced = Durability(pb.Durability_DURABILITY_SYNCED)
)

// String returns the shared name, such as "SYNCED".
func (d Durability) String() string { return name(pb.Durability(d).String(), "DURABILITY_") }

// CreditReason is why a producer's credit does not rise; each says what ends it.
type CreditReason int32

// The reasons for which credit does not rise.
const (
	// ReasonNone: nothing holds the limit.
	ReasonNone = CreditReason(pb.CreditReason_CREDIT_REASON_UNSPECIFIED)
	// ReasonWindowFull ends when consumers settle.
	ReasonWindowFull = CreditReason(pb.CreditReason_CREDIT_REASON_WINDOW_FULL)
	// ReasonMemoryBudget ends when any queue of the broker drains.
	ReasonMemoryBudget = CreditReason(pb.CreditReason_CREDIT_REASON_MEMORY_BUDGET)
	// ReasonDiskQuota ends when consumers settle, retention trims, or the quota is raised.
	ReasonDiskQuota = CreditReason(pb.CreditReason_CREDIT_REASON_DISK_QUOTA)
	// ReasonDiskSlow ends when the disk catches up.
	ReasonDiskSlow = CreditReason(pb.CreditReason_CREDIT_REASON_DISK_SLOW)
	// ReasonDiskLow ends when disk space is freed.
	ReasonDiskLow = CreditReason(pb.CreditReason_CREDIT_REASON_DISK_LOW)
	// ReasonFairShare ends when it is this producer's turn.
	ReasonFairShare = CreditReason(pb.CreditReason_CREDIT_REASON_FAIR_SHARE)
	// ReasonOperatorLimit ends when the operator raises the limit.
	ReasonOperatorLimit = CreditReason(pb.CreditReason_CREDIT_REASON_OPERATOR_LIMIT)
	// ReasonDraining ends with a reconnect.
	ReasonDraining = CreditReason(pb.CreditReason_CREDIT_REASON_DRAINING)
	// ReasonStoreFailed ends with a restart of the broker.
	ReasonStoreFailed = CreditReason(pb.CreditReason_CREDIT_REASON_STORE_FAILED)
	// ReasonFullReject: the queue is full and fails publishes instead of letting them wait.
	ReasonFullReject = CreditReason(pb.CreditReason_CREDIT_REASON_FULL_REJECT)
)

// String returns the shared name, such as "WINDOW_FULL".
func (r CreditReason) String() string {
	return name(pb.CreditReason(r).String(), "CREDIT_REASON_")
}

// Blocked is what holds a producer's publishes.
type Blocked struct {
	// Reason is the broker's; ReasonNone while no grant came yet, or while the
	// stream is being reopened (Reconnecting).
	Reason CreditReason
	// ReasonSince is when the reason began, by this machine's clock.
	ReasonSince time.Time
	// Since is when the first publish began to wait.
	Since time.Time
	// Waiting is what waits.
	Waiting Credit
	// WindowUsed and Window describe the queue's window, in bytes, as last told.
	WindowUsed, Window uint64
	// Reconnecting says that there is no open stream at this moment.
	Reconnecting bool
}

// GroupMode is how the members of a group share its records.
type GroupMode int32

// The modes of a group.
const (
	// Shared: members compete; each record goes to one of them.
	Shared = GroupMode(pb.GroupMode_GROUP_MODE_SHARED)
	// Exclusive: one member at a time; a second one is refused with ErrExclusive.
	Exclusive = GroupMode(pb.GroupMode_GROUP_MODE_EXCLUSIVE)
)

// String returns the shared name, such as "SHARED".
func (m GroupMode) String() string { return name(pb.GroupMode(m).String(), "GROUP_MODE_") }

// Action is what became of a record.
type Action int32

// What can become of a record.
const (
	// Ack: done.
	Ack = Action(pb.SettleAction_SETTLE_ACTION_ACK)
	// Retry: deliver again after a delay; parked once its attempts are used up.
	Retry = Action(pb.SettleAction_SETTLE_ACTION_RETRY)
	// Park: keep aside for the group, until Admin.ReleaseParked.
	Park = Action(pb.SettleAction_SETTLE_ACTION_PARK)
	// Skip: not to be delivered again to this group.
	Skip = Action(pb.SettleAction_SETTLE_ACTION_SKIP)
)

// String returns the shared name, such as "RETRY".
func (a Action) String() string { return name(pb.SettleAction(a).String(), "SETTLE_ACTION_") }

// RevokeReason is why offsets were taken from a consumer.
type RevokeReason int32

// The reasons of a Revoke.
const (
	// RevokedDeadline: neither settled nor extended in time.
	RevokedDeadline = RevokeReason(pb.RevokeReason_REVOKE_REASON_DEADLINE)
	// RevokedStale: a settle or held range came too late.
	RevokedStale = RevokeReason(pb.RevokeReason_REVOKE_REASON_STALE)
	// RevokedSeek: the group was moved or deleted by an operator.
	RevokedSeek = RevokeReason(pb.RevokeReason_REVOKE_REASON_SEEK)
	// RevokedGone: the records are gone.
	RevokedGone = RevokeReason(pb.RevokeReason_REVOKE_REASON_GONE)
)

// String returns the shared name, such as "DEADLINE".
func (r RevokeReason) String() string {
	return name(pb.RevokeReason(r).String(), "REVOKE_REASON_")
}

// GapReason is why records are gone.
type GapReason int32

// The reasons of a Gap.
const (
	// GapDropped: the queue was full and its policy is DROP_OLDEST.
	GapDropped = GapReason(pb.GapReason_GAP_REASON_DROPPED)
	// GapRetention: retention by age or bytes.
	GapRetention = GapReason(pb.GapReason_GAP_REASON_RETENTION)
	// GapPurged: an operator purged them.
	GapPurged = GapReason(pb.GapReason_GAP_REASON_PURGED)
	// GapLost: they were in memory only when the broker ended.
	GapLost = GapReason(pb.GapReason_GAP_REASON_LOST)
)

// String returns the shared name, such as "DROPPED".
func (r GapReason) String() string { return name(pb.GapReason(r).String(), "GAP_REASON_") }

// Position is a place to begin: of a replay, of a new group (WithStart), of a
// seek or of a peek.
type Position struct{ p *pb.Start }

// FromOffset begins at this offset. Below the head or above the tail it is
// ErrOutOfRange, which says where those are.
func FromOffset(offset uint64) Position {
	return Position{&pb.Start{Position: &pb.Start_Offset{Offset: offset}}}
}

// FromTime begins at the first record appended at or after t, by the broker's clock.
func FromTime(t time.Time) Position {
	return Position{&pb.Start{Position: &pb.Start_TimeUnixMs{TimeUnixMs: uint64(max(t.UnixMilli(), 0))}}}
}

// Earliest begins at the lowest kept record.
func Earliest() Position {
	return Position{&pb.Start{Position: &pb.Start_Earliest{Earliest: true}}}
}

// Latest begins at the next record to be appended.
func Latest() Position {
	return Position{&pb.Start{Position: &pb.Start_Latest{Latest: true}}}
}

// Last begins at the last n records (fewer, if fewer are kept).
func Last(n uint64) Position {
	return Position{&pb.Start{Position: &pb.Start_Last{Last: n}}}
}

func (p Position) replay(o *replayOptions) { o.start = p.p }

// UntilOffset ends a replay before this offset.
func UntilOffset(offset uint64) ReplayOption {
	return replayOption(func(o *replayOptions) {
		o.stop = &pb.Stop{Position: &pb.Stop_Offset{Offset: offset}}
	})
}

// UntilTime ends a replay before the first record appended at or after t.
func UntilTime(t time.Time) ReplayOption {
	return replayOption(func(o *replayOptions) {
		o.stop = &pb.Stop{Position: &pb.Stop_TimeUnixMs{TimeUnixMs: uint64(max(t.UnixMilli(), 0))}}
	})
}

// UntilTail ends a replay where the tail was when it began.
func UntilTail() ReplayOption {
	return replayOption(func(o *replayOptions) {
		o.stop = &pb.Stop{Position: &pb.Stop_Tail{Tail: true}}
	})
}
