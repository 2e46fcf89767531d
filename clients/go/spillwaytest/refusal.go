package spillwaytest

import (
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

func finish(st grpc.ServerStream, err error) error {
	var e *spillway.Error
	if errors.As(err, &e) {
		st.SetTrailer(trailer(e))
		return status.Error(code(e), e.Message)
	}
	return err
}

func trailer(e *spillway.Error) metadata.MD {
	v, _ := proto.Marshal(errorProto(e))
	return metadata.Pairs("spillway-error-bin", string(v))
}

func errorProto(e *spillway.Error) *pb.Error {
	return &pb.Error{Kind: pb.ErrorKind(e.Kind), Message: e.Message, Queue: e.Queue, Field: e.Field,
		Limit: e.Limit, Actual: e.Actual, RetryAfterMs: uint64(e.RetryAfter.Milliseconds()),
		HeadOffset: e.HeadOffset, TailOffset: e.TailOffset}
}

var statusCodes = map[spillway.Kind]codes.Code{
	spillway.KindInvalidArgument: codes.InvalidArgument, spillway.KindTooLarge: codes.InvalidArgument,
	spillway.KindNotFound: codes.NotFound, spillway.KindAlreadyExists: codes.AlreadyExists,
	spillway.KindRevisionMismatch: codes.Aborted, spillway.KindQueueFull: codes.ResourceExhausted,
	spillway.KindLimitReached: codes.ResourceExhausted, spillway.KindCreditExceeded: codes.FailedPrecondition,
	spillway.KindCreditRegressed: codes.FailedPrecondition, spillway.KindCounterMismatch: codes.FailedPrecondition,
	spillway.KindSequenceGap: codes.FailedPrecondition, spillway.KindFenced: codes.Aborted,
	spillway.KindOutOfRange: codes.OutOfRange, spillway.KindProtocol: codes.FailedPrecondition,
	spillway.KindTimedOut: codes.DeadlineExceeded, spillway.KindSlowReader: codes.ResourceExhausted,
	spillway.KindExclusive: codes.FailedPrecondition, spillway.KindUnavailable: codes.Unavailable,
	spillway.KindStoreFailed: codes.Unavailable, spillway.KindCorrupt: codes.DataLoss,
	spillway.KindClosed: codes.Canceled, spillway.KindUnsupported: codes.Unimplemented,
}

func code(e *spillway.Error) codes.Code {
	if c, ok := statusCodes[e.Kind]; ok {
		return c
	}
	return codes.Internal
}

func refusal(kind spillway.Kind, queue, message string) *spillway.Error {
	return &spillway.Error{Kind: kind, Queue: queue, Message: message}
}
