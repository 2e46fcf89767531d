package spillway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Error is a refusal of the broker, or one that the client raised in its place.
// Match its kind with errors.Is and the sentinels (ErrQueueFull, …); read its
// numbers with errors.As.
type Error struct {
	// Kind is what went wrong, as a program sees it.
	Kind Kind
	// Message is one sentence for people.
	Message string
	// Queue is the queue concerned, where there is one.
	Queue string
	// Field is the field at fault, as a path in the request ("tuning.window_bytes").
	Field string
	// Limit is the limit that was passed, Actual what came.
	Limit, Actual uint64
	// RetryAfter says how long to wait before trying again; 0 means that waiting
	// does not help, or that the client's own schedule applies.
	RetryAfter time.Duration
	// HeadOffset and TailOffset come with ErrOutOfRange: the lowest kept offset,
	// and the offset of the next record.
	HeadOffset, TailOffset uint64

	cause error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("spillway: ")
	if e.Queue != "" {
		fmt.Fprintf(&b, "queue %q: ", e.Queue)
	}
	b.WriteString(strings.ToLower(strings.ReplaceAll(e.Kind.String(), "_", " ")))
	if e.Field != "" {
		fmt.Fprintf(&b, " (%s)", e.Field)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Limit != 0 || e.Actual != 0 {
		fmt.Fprintf(&b, " [limit %d, actual %d]", e.Limit, e.Actual)
	}
	if e.Kind == KindOutOfRange {
		fmt.Fprintf(&b, " [head %d, tail %d]", e.HeadOffset, e.TailOffset)
	}
	return b.String()
}

// Is matches the sentinels and every other *Error of the same kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind
}

// Unwrap returns what caused the error, such as a gRPC status or the end of a
// context, where there is something.
func (e *Error) Unwrap() error { return e.cause }

// ErrNoCredit is what TryPublish returns when the record cannot be sent at once:
// there is no credit for it, others wait in front of it, or the stream is being
// reopened. It is not an *Error, because nothing was refused.
var ErrNoCredit = errors.New("spillway: no credit at this moment")

// errorTrailer is where ended streams and unary calls carry their Error.
const errorTrailer = "spillway-error-bin"

func errorFromProto(e *pb.Error) *Error {
	kind := Kind(e.GetKind())
	if kind == 0 {
		kind = KindInternal
	}
	return &Error{
		Kind: kind, Message: e.GetMessage(), Queue: e.GetQueue(), Field: e.GetField(),
		Limit: e.GetLimit(), Actual: e.GetActual(),
		RetryAfter: time.Duration(e.GetRetryAfterMs()) * time.Millisecond,
		HeadOffset: e.GetHeadOffset(), TailOffset: e.GetTailOffset(),
	}
}

// fromStatus turns the end of a call into an *Error: that of the trailer, or the
// kind that matches the status.
func fromStatus(err error, trailer metadata.MD) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if v := trailer.Get(errorTrailer); len(v) > 0 {
		var e pb.Error
		if proto.Unmarshal([]byte(v[len(v)-1]), &e) == nil {
			out := errorFromProto(&e)
			out.cause = err
			return out
		}
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	e := &Error{Message: s.Message(), cause: err}
	switch s.Code() {
	case codes.Canceled:
		e.cause = errors.Join(err, context.Canceled)
		e.Kind = KindUnavailable
	case codes.DeadlineExceeded:
		e.cause = errors.Join(err, context.DeadlineExceeded)
		e.Kind = KindTimedOut
	case codes.InvalidArgument:
		e.Kind = KindInvalidArgument
	case codes.NotFound:
		e.Kind = KindNotFound
	case codes.AlreadyExists:
		e.Kind = KindAlreadyExists
	case codes.FailedPrecondition, codes.PermissionDenied, codes.Unauthenticated:
		e.Kind = KindProtocol
	case codes.Unimplemented:
		e.Kind = KindUnsupported
	case codes.OutOfRange:
		e.Kind = KindOutOfRange
	case codes.DataLoss:
		e.Kind = KindCorrupt
	default: // Unavailable, Unknown, Internal, Aborted, ResourceExhausted: of the way, not of the call
		e.Kind = KindUnavailable
	}
	return e
}

// retryable says whether a stream that ended with err is worth opening again.
func retryable(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return true // the way broke, not the peer's judgement
	}
	if int(e.Kind) < len(errorKindInfos) && errorKindInfos[e.Kind].retryable {
		return true
	}
	return e.RetryAfter > 0
}

func invalid(queue, field, message string) *Error {
	return &Error{Kind: KindInvalidArgument, Queue: queue, Field: field, Message: message}
}

func ctxErr(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return ctx.Err()
}
