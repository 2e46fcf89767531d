package spillway

import (
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	pb "spillway.dev/clients/go/spillwaypb"
)

// OverflowPolicy is what happens when a queue's window is full. What was credited
// is never refused.
type OverflowPolicy int32

// The policies of overflow.
const (
	// Spill keeps the surplus on disk, up to the disk quota; then it blocks.
	Spill = OverflowPolicy(pb.OverflowPolicy_OVERFLOW_POLICY_SPILL)
	// Block grants nothing until consumers settle.
	Block = OverflowPolicy(pb.OverflowPolicy_OVERFLOW_POLICY_BLOCK)
	// Reject grants nothing, and publishes fail at once with ErrQueueFull.
	Reject = OverflowPolicy(pb.OverflowPolicy_OVERFLOW_POLICY_REJECT)
	// DropOldest removes the oldest records that are not in flight.
	DropOldest = OverflowPolicy(pb.OverflowPolicy_OVERFLOW_POLICY_DROP_OLDEST)
)

// String returns the shared name, such as "SPILL".
func (p OverflowPolicy) String() string {
	return name(pb.OverflowPolicy(p).String(), "OVERFLOW_POLICY_")
}

// Retention is when a queue's records may be removed.
type Retention int32

// The kinds of retention.
const (
	// UntilSettled: once every group has settled them.
	UntilSettled = Retention(pb.Retention_RETENTION_UNTIL_SETTLED)
	// Limits: by age and bytes only, so that what was settled can be replayed.
	Limits = Retention(pb.Retention_RETENTION_LIMITS)
)

// String returns the shared name, such as "LIMITS".
func (r Retention) String() string { return name(pb.Retention(r).String(), "RETENTION_") }

// Tuning is what an operator can set on a queue while it runs, as the broker
// states it: every value is set. To change some, give Admin.UpdateQueue a
// TuningOption for each.
type Tuning struct {
	// WindowMessages: Records that may be resident or promised to producers.
	WindowMessages uint64
	// WindowBytes: Bytes that may be resident or promised to producers; at least max_message_bytes.
	WindowBytes uint64
	// MaxMessageBytes: The largest encoded record.
	MaxMessageBytes uint64
	// Durability: What a confirmation means.
	Durability Durability
	// Overflow: What happens when the window is full.
	Overflow OverflowPolicy
	// DiskQuotaBytes: The most bytes that unsettled records may take on disk under Spill; then the queue blocks.
	DiskQuotaBytes uint64
	// Retention: When records may be removed.
	Retention Retention
	// RetentionAge: With Limits: records older than this are removed; 0: no limit.
	RetentionAge time.Duration
	// RetentionBytes: With Limits: the oldest records are removed beyond this; 0: no limit.
	RetentionBytes uint64
	// AckDeadline: After this without settle or extend, a record goes to another member.
	AckDeadline time.Duration
	// MaxAttempts: Deliveries to a group before a record is parked.
	MaxAttempts uint32
	// BackoffInitial: The delay before the second attempt; it doubles with each further one.
	BackoffInitial time.Duration
	// BackoffMax: The longest delay before another attempt.
	BackoffMax time.Duration
	// MaxInFlightMessages: The clamp on what one consumer may have in flight, in messages.
	MaxInFlightMessages uint64
	// MaxInFlightBytes: The clamp on what one consumer may have in flight, in bytes.
	MaxInFlightBytes uint64
}

func tuningFrom(t *pb.QueueTuning) Tuning {
	return Tuning{
		WindowMessages:      t.GetWindowMessages(),
		WindowBytes:         t.GetWindowBytes(),
		MaxMessageBytes:     t.GetMaxMessageBytes(),
		Durability:          Durability(t.GetDurability()),
		Overflow:            OverflowPolicy(t.GetOverflow()),
		DiskQuotaBytes:      t.GetDiskQuotaBytes(),
		Retention:           Retention(t.GetRetention()),
		RetentionAge:        millis(t.GetRetentionAgeMs(), 0),
		RetentionBytes:      t.GetRetentionBytes(),
		AckDeadline:         millis(t.GetAckDeadlineMs(), 0),
		MaxAttempts:         t.GetMaxAttempts(),
		BackoffInitial:      millis(t.GetBackoffInitialMs(), 0),
		BackoffMax:          millis(t.GetBackoffMaxMs(), 0),
		MaxInFlightMessages: t.GetMaxInFlightMessages(),
		MaxInFlightBytes:    t.GetMaxInFlightBytes(),
	}
}

// TuningOption sets one value of a queue's tuning. What no option names keeps its
// value, or on creation its default.
type TuningOption func(*pb.QueueTuning)

func tuningProto(opts []TuningOption) *pb.QueueTuning {
	t := &pb.QueueTuning{}
	for _, o := range opts {
		o(t)
	}
	return t
}

func ms(d time.Duration) *uint64 {
	v := uint64(max(d.Milliseconds(), 0))
	return &v
}

// SetWindowMessages sets window_messages. Records that may be resident or promised to producers.
func SetWindowMessages(v uint64) TuningOption {
	return func(t *pb.QueueTuning) { t.WindowMessages = &v }
}

// SetWindowBytes sets window_bytes. Bytes that may be resident or promised to producers; at least max_message_bytes.
func SetWindowBytes(v uint64) TuningOption {
	return func(t *pb.QueueTuning) { t.WindowBytes = &v }
}

// SetMaxMessageBytes sets max_message_bytes. The largest encoded record.
func SetMaxMessageBytes(v uint64) TuningOption {
	return func(t *pb.QueueTuning) { t.MaxMessageBytes = &v }
}

// SetDurability sets durability. What a confirmation means.
func SetDurability(v Durability) TuningOption {
	return func(t *pb.QueueTuning) { t.Durability = pb.Durability(v).Enum() }
}

// SetOverflow sets overflow. What happens when the window is full.
func SetOverflow(v OverflowPolicy) TuningOption {
	return func(t *pb.QueueTuning) { t.Overflow = pb.OverflowPolicy(v).Enum() }
}

// SetDiskQuotaBytes sets disk_quota_bytes. The most bytes that unsettled records may take on disk under Spill; then the queue blocks.
func SetDiskQuotaBytes(v uint64) TuningOption {
	return func(t *pb.QueueTuning) { t.DiskQuotaBytes = &v }
}

// SetRetention sets retention. When records may be removed.
func SetRetention(v Retention) TuningOption {
	return func(t *pb.QueueTuning) { t.Retention = pb.Retention(v).Enum() }
}

// SetRetentionAge sets retention_age_ms. With Limits: records older than this are removed; 0: no limit.
func SetRetentionAge(d time.Duration) TuningOption {
	return func(t *pb.QueueTuning) { t.RetentionAgeMs = ms(d) }
}

// SetRetentionBytes sets retention_bytes. With Limits: the oldest records are removed beyond this; 0: no limit.
func SetRetentionBytes(v uint64) TuningOption {
	return func(t *pb.QueueTuning) { t.RetentionBytes = &v }
}

// SetAckDeadline sets ack_deadline_ms. After this without settle or extend, a record goes to another member.
func SetAckDeadline(d time.Duration) TuningOption {
	return func(t *pb.QueueTuning) { t.AckDeadlineMs = ms(d) }
}

// SetMaxAttempts sets max_attempts. Deliveries to a group before a record is parked.
func SetMaxAttempts(v uint32) TuningOption {
	return func(t *pb.QueueTuning) { t.MaxAttempts = &v }
}

// SetBackoffInitial sets backoff_initial_ms. The delay before the second attempt; it doubles with each further one.
func SetBackoffInitial(d time.Duration) TuningOption {
	return func(t *pb.QueueTuning) { t.BackoffInitialMs = ms(d) }
}

// SetBackoffMax sets backoff_max_ms. The longest delay before another attempt.
func SetBackoffMax(d time.Duration) TuningOption {
	return func(t *pb.QueueTuning) { t.BackoffMaxMs = ms(d) }
}

// SetMaxInFlightMessages sets max_in_flight_messages. The clamp on what one consumer may have in flight, in messages.
func SetMaxInFlightMessages(v uint64) TuningOption {
	return func(t *pb.QueueTuning) { t.MaxInFlightMessages = &v }
}

// SetMaxInFlightBytes sets max_in_flight_bytes. The clamp on what one consumer may have in flight, in bytes.
func SetMaxInFlightBytes(v uint64) TuningOption {
	return func(t *pb.QueueTuning) { t.MaxInFlightBytes = &v }
}

func tunableDefault(name string) uint64 {
	for i := range tunables {
		if tunables[i].name == name {
			return tunables[i].def
		}
	}
	return 0
}

// DefaultTuning is what a queue has when nothing is named on its creation.
func DefaultTuning() Tuning {
	t := &pb.QueueTuning{}
	fields := t.ProtoReflect()
	for _, d := range tunables {
		f := fields.Descriptor().Fields().ByNumber(protoreflect.FieldNumber(d.fieldNumber))
		switch f.Kind() {
		case protoreflect.Uint64Kind:
			fields.Set(f, protoreflect.ValueOfUint64(d.def))
		case protoreflect.Uint32Kind:
			fields.Set(f, protoreflect.ValueOfUint32(uint32(d.def)))
		case protoreflect.EnumKind:
			fields.Set(f, protoreflect.ValueOfEnum(protoreflect.EnumNumber(d.def)))
		}
	}
	return tuningFrom(t)
}

// Options are the options that set every value as it is in t.
func (t Tuning) Options() []TuningOption {
	return []TuningOption{
		SetWindowMessages(t.WindowMessages), SetWindowBytes(t.WindowBytes), SetMaxMessageBytes(t.MaxMessageBytes),
		SetDurability(t.Durability), SetOverflow(t.Overflow), SetDiskQuotaBytes(t.DiskQuotaBytes),
		SetRetention(t.Retention), SetRetentionAge(t.RetentionAge), SetRetentionBytes(t.RetentionBytes),
		SetAckDeadline(t.AckDeadline), SetMaxAttempts(t.MaxAttempts), SetBackoffInitial(t.BackoffInitial),
		SetBackoffMax(t.BackoffMax), SetMaxInFlightMessages(t.MaxInFlightMessages), SetMaxInFlightBytes(t.MaxInFlightBytes),
	}
}
