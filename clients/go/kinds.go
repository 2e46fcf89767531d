package spillway

import (
	"strings"

	pb "spillway.dev/clients/go/spillwaypb"
)

// Kind is what went wrong, as a program sees it. Kinds are the same in every
// client; String gives the shared name ("QUEUE_FULL").
type Kind int32

// String returns the name that every client and the broker use.
func (k Kind) String() string {
	return strings.TrimPrefix(pb.ErrorKind(k).String(), "ERROR_KIND_")
}

// The kinds of errors.
const (
	// KindInvalidArgument: A field is malformed or out of range; `field` names it. [INVALID_ARGUMENT]
	KindInvalidArgument = Kind(pb.ErrorKind_ERROR_KIND_INVALID_ARGUMENT)
	// KindTooLarge: More bytes, records or headers than `limit` allows. [INVALID_ARGUMENT]
	KindTooLarge = Kind(pb.ErrorKind_ERROR_KIND_TOO_LARGE)
	// KindNotFound: No such queue, group or session. [NOT_FOUND]
	KindNotFound = Kind(pb.ErrorKind_ERROR_KIND_NOT_FOUND)
	// KindAlreadyExists: The queue exists already. [ALREADY_EXISTS]
	KindAlreadyExists = Kind(pb.ErrorKind_ERROR_KIND_ALREADY_EXISTS)
	// KindRevisionMismatch: The queue changed since the revision that the caller expected. [ABORTED]
	KindRevisionMismatch = Kind(pb.ErrorKind_ERROR_KIND_REVISION_MISMATCH)
	// KindQueueFull: The queue is full and its policy is to refuse; raised by clients when a grant says FULL_REJECT. [RESOURCE_EXHAUSTED]
	KindQueueFull = Kind(pb.ErrorKind_ERROR_KIND_QUEUE_FULL)
	// KindLimitReached: A bounded resource of the broker (sessions, queues, groups, producers) is used up; `limit` says where. [RESOURCE_EXHAUSTED]
	KindLimitReached = Kind(pb.ErrorKind_ERROR_KIND_LIMIT_REACHED)
	// KindCreditExceeded: A frame held more than the credit allowed; the stream ends. [FAILED_PRECONDITION]
	KindCreditExceeded = Kind(pb.ErrorKind_ERROR_KIND_CREDIT_EXCEEDED)
	// KindCreditRegressed: A total of credit fell within an epoch; the stream ends. [FAILED_PRECONDITION]
	KindCreditRegressed = Kind(pb.ErrorKind_ERROR_KIND_CREDIT_REGRESSED)
	// KindCounterMismatch: The two sides' counters differ beyond what is in flight; the stream ends. [FAILED_PRECONDITION]
	KindCounterMismatch = Kind(pb.ErrorKind_ERROR_KIND_COUNTER_MISMATCH)
	// KindSequenceGap: A sequence was skipped: `limit` is what was expected, `actual` what came; the stream ends. [FAILED_PRECONDITION]
	KindSequenceGap = Kind(pb.ErrorKind_ERROR_KIND_SEQUENCE_GAP)
	// KindFenced: A newer stream took over this producer id, or the frame names an epoch that is not the stream's. [ABORTED]
	KindFenced = Kind(pb.ErrorKind_ERROR_KIND_FENCED)
	// KindOutOfRange: The offset lies below the head or above the tail; `head_offset` and `tail_offset` say where those are. [OUT_OF_RANGE]
	KindOutOfRange = Kind(pb.ErrorKind_ERROR_KIND_OUT_OF_RANGE)
	// KindProtocol: A frame that the stream's state does not allow (no Open, a second Open, a settle on a reader, …). [FAILED_PRECONDITION]
	KindProtocol = Kind(pb.ErrorKind_ERROR_KIND_PROTOCOL)
	// KindTimedOut: Nothing arrived in time (Open within 5 s, heartbeat). [DEADLINE_EXCEEDED]
	KindTimedOut = Kind(pb.ErrorKind_ERROR_KIND_TIMED_OUT)
	// KindSlowReader: The peer does not read what it asked for; the stream ends. [RESOURCE_EXHAUSTED]
	KindSlowReader = Kind(pb.ErrorKind_ERROR_KIND_SLOW_READER)
	// KindExclusive: The group is EXCLUSIVE and has a member. [FAILED_PRECONDITION]
	KindExclusive = Kind(pb.ErrorKind_ERROR_KIND_EXCLUSIVE)
	// KindUnavailable: The broker is draining or not ready; try again. [UNAVAILABLE]
	KindUnavailable = Kind(pb.ErrorKind_ERROR_KIND_UNAVAILABLE)
	// KindStoreFailed: The store failed; the queue refuses to serve until the broker is restarted. [UNAVAILABLE]
	KindStoreFailed = Kind(pb.ErrorKind_ERROR_KIND_STORE_FAILED)
	// KindCorrupt: Stored data does not match its checksum. [DATA_LOSS]
	KindCorrupt = Kind(pb.ErrorKind_ERROR_KIND_CORRUPT)
	// KindClosed: The queue was deleted, or an operator closed the session. [CANCELLED]
	KindClosed = Kind(pb.ErrorKind_ERROR_KIND_CLOSED)
	// KindUnsupported: The client speaks a protocol that the broker does not. [UNIMPLEMENTED]
	KindUnsupported = Kind(pb.ErrorKind_ERROR_KIND_UNSUPPORTED)
	// KindInternal: A defect of the broker. [INTERNAL]
	KindInternal = Kind(pb.ErrorKind_ERROR_KIND_INTERNAL)
)

// A sentinel for each kind, for errors.Is.
var (
	// ErrInvalidArgument matches errors of KindInvalidArgument.
	ErrInvalidArgument error = &Error{Kind: KindInvalidArgument}
	// ErrTooLarge matches errors of KindTooLarge.
	ErrTooLarge error = &Error{Kind: KindTooLarge}
	// ErrNotFound matches errors of KindNotFound.
	ErrNotFound error = &Error{Kind: KindNotFound}
	// ErrAlreadyExists matches errors of KindAlreadyExists.
	ErrAlreadyExists error = &Error{Kind: KindAlreadyExists}
	// ErrRevisionMismatch matches errors of KindRevisionMismatch.
	ErrRevisionMismatch error = &Error{Kind: KindRevisionMismatch}
	// ErrQueueFull matches errors of KindQueueFull.
	ErrQueueFull error = &Error{Kind: KindQueueFull}
	// ErrLimitReached matches errors of KindLimitReached.
	ErrLimitReached error = &Error{Kind: KindLimitReached}
	// ErrCreditExceeded matches errors of KindCreditExceeded.
	ErrCreditExceeded error = &Error{Kind: KindCreditExceeded}
	// ErrCreditRegressed matches errors of KindCreditRegressed.
	ErrCreditRegressed error = &Error{Kind: KindCreditRegressed}
	// ErrCounterMismatch matches errors of KindCounterMismatch.
	ErrCounterMismatch error = &Error{Kind: KindCounterMismatch}
	// ErrSequenceGap matches errors of KindSequenceGap.
	ErrSequenceGap error = &Error{Kind: KindSequenceGap}
	// ErrFenced matches errors of KindFenced.
	ErrFenced error = &Error{Kind: KindFenced}
	// ErrOutOfRange matches errors of KindOutOfRange.
	ErrOutOfRange error = &Error{Kind: KindOutOfRange}
	// ErrProtocol matches errors of KindProtocol.
	ErrProtocol error = &Error{Kind: KindProtocol}
	// ErrTimedOut matches errors of KindTimedOut.
	ErrTimedOut error = &Error{Kind: KindTimedOut}
	// ErrSlowReader matches errors of KindSlowReader.
	ErrSlowReader error = &Error{Kind: KindSlowReader}
	// ErrExclusive matches errors of KindExclusive.
	ErrExclusive error = &Error{Kind: KindExclusive}
	// ErrUnavailable matches errors of KindUnavailable.
	ErrUnavailable error = &Error{Kind: KindUnavailable}
	// ErrStoreFailed matches errors of KindStoreFailed.
	ErrStoreFailed error = &Error{Kind: KindStoreFailed}
	// ErrCorrupt matches errors of KindCorrupt.
	ErrCorrupt error = &Error{Kind: KindCorrupt}
	// ErrClosed matches errors of KindClosed.
	ErrClosed error = &Error{Kind: KindClosed}
	// ErrUnsupported matches errors of KindUnsupported.
	ErrUnsupported error = &Error{Kind: KindUnsupported}
	// ErrInternal matches errors of KindInternal.
	ErrInternal error = &Error{Kind: KindInternal}
)
