package vectors

import (
	"google.golang.org/grpc/codes"
	pb "spillway.dev/clients/go/spillwaypb"
)

// errorCase: how a call ended, and what a client makes of it.
type errorCase struct {
	Name    string `json:"name"`
	Code    uint32 `json:"code"`    // of gRPC
	Trailer string `json:"trailer"` // spillway-error-bin in hex; empty: not there

	Kind         string `json:"kind"`
	Queue        string `json:"queue"`
	Field        string `json:"field"`
	Limit        uint64 `json:"limit"`
	Actual       uint64 `json:"actual"`
	RetryAfterMs uint64 `json:"retry_after_ms"`
	HeadOffset   uint64 `json:"head_offset"`
	TailOffset   uint64 `json:"tail_offset"`
	// Retryable says that streams reopen by themselves after it.
	Retryable bool `json:"retryable"`
}

func errorCases() any {
	var out []errorCase
	typed := func(name string, code codes.Code, e *pb.Error, retryable bool) {
		kind := e.Kind
		if kind == pb.ErrorKind_ERROR_KIND_UNSPECIFIED {
			kind = pb.ErrorKind_ERROR_KIND_INTERNAL
		}
		out = append(out, errorCase{Name: name, Code: uint32(code), Trailer: encode(e), Kind: kindName(kind),
			Queue: e.Queue, Field: e.Field, Limit: e.Limit, Actual: e.Actual, RetryAfterMs: e.RetryAfterMs,
			HeadOffset: e.HeadOffset, TailOffset: e.TailOffset, Retryable: retryable})
	}
	typed("every number", codes.OutOfRange, &pb.Error{Kind: pb.ErrorKind_ERROR_KIND_OUT_OF_RANGE, Message: "gone",
		Queue: "q", HeadOffset: 1000, TailOffset: 1 << 40}, false)
	typed("a field and its limit", codes.InvalidArgument, &pb.Error{Kind: pb.ErrorKind_ERROR_KIND_TOO_LARGE, Message: "too large",
		Queue: "q", Field: "publish.records[3].payload", Limit: 4 << 20, Actual: 1 << 33}, false)
	typed("a time to wait makes a refusal worth repeating", codes.FailedPrecondition,
		&pb.Error{Kind: pb.ErrorKind_ERROR_KIND_EXCLUSIVE, Queue: "q", RetryAfterMs: 250}, true)
	typed("a broker that drains", codes.Unavailable, &pb.Error{Kind: pb.ErrorKind_ERROR_KIND_UNAVAILABLE, RetryAfterMs: 1000}, true)
	typed("no kind", codes.Internal, &pb.Error{Message: "?"}, false)

	// Every kind, with the code and the verdict of proto/registry.toml.
	retryable := map[pb.ErrorKind]bool{
		pb.ErrorKind_ERROR_KIND_LIMIT_REACHED: true, pb.ErrorKind_ERROR_KIND_TIMED_OUT: true,
		pb.ErrorKind_ERROR_KIND_SLOW_READER: true, pb.ErrorKind_ERROR_KIND_UNAVAILABLE: true,
		pb.ErrorKind_ERROR_KIND_STORE_FAILED: true,
	}
	for n := int32(1); pb.ErrorKind_name[n] != ""; n++ {
		kind := pb.ErrorKind(n)
		// The trailer decides, so the code does not matter.
		typed("kind "+kindName(kind), codes.Unknown, &pb.Error{Kind: kind}, retryable[kind])
	}

	// Without a trailer, as proxies and gRPC itself end calls.
	for _, plain := range []struct {
		code      codes.Code
		kind      pb.ErrorKind
		retryable bool
	}{
		{codes.Canceled, pb.ErrorKind_ERROR_KIND_UNAVAILABLE, true},
		{codes.Unknown, pb.ErrorKind_ERROR_KIND_UNAVAILABLE, true},
		{codes.InvalidArgument, pb.ErrorKind_ERROR_KIND_INVALID_ARGUMENT, false},
		{codes.DeadlineExceeded, pb.ErrorKind_ERROR_KIND_TIMED_OUT, true},
		{codes.NotFound, pb.ErrorKind_ERROR_KIND_NOT_FOUND, false},
		{codes.AlreadyExists, pb.ErrorKind_ERROR_KIND_ALREADY_EXISTS, false},
		{codes.PermissionDenied, pb.ErrorKind_ERROR_KIND_PROTOCOL, false},
		{codes.ResourceExhausted, pb.ErrorKind_ERROR_KIND_UNAVAILABLE, true},
		{codes.FailedPrecondition, pb.ErrorKind_ERROR_KIND_PROTOCOL, false},
		{codes.Aborted, pb.ErrorKind_ERROR_KIND_UNAVAILABLE, true},
		{codes.OutOfRange, pb.ErrorKind_ERROR_KIND_OUT_OF_RANGE, false},
		{codes.Unimplemented, pb.ErrorKind_ERROR_KIND_UNSUPPORTED, false},
		{codes.Internal, pb.ErrorKind_ERROR_KIND_UNAVAILABLE, true},
		{codes.Unavailable, pb.ErrorKind_ERROR_KIND_UNAVAILABLE, true},
		{codes.DataLoss, pb.ErrorKind_ERROR_KIND_CORRUPT, false},
		{codes.Unauthenticated, pb.ErrorKind_ERROR_KIND_PROTOCOL, false},
	} {
		out = append(out, errorCase{Name: "code " + plain.code.String(), Code: uint32(plain.code),
			Kind: kindName(plain.kind), Retryable: plain.retryable})
	}
	return out
}

func kindName(k pb.ErrorKind) string { return k.String()[len("ERROR_KIND_"):] }
