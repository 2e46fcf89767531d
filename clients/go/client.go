// Package spillway is the Go client of Spillway, a message broker with credit in
// both directions.
//
// A Client holds one connection. Producers, consumers and replays are streams on
// it: each sends within the credit it was granted, is reopened when it breaks, and
// gives every confirmation and every delivery to the application exactly as the
// broker vouches for it (a publish is confirmed once; a delivery comes at least
// once).
//
// Every method takes a context first, and the context bounds every wait. Methods
// are safe for concurrent use unless they say otherwise. There is no global state,
// and no goroutine is left after Close.
package spillway

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

const clientLibrary = "spillway-go/0.1"

// Client is a connection to a broker, to be shared. It is safe for concurrent use.
type Client struct {
	conn   *grpc.ClientConn
	admin  *Admin
	log    *slog.Logger
	hooks  Hooks
	name   string
	opt    dialOptions
	budget retryBudget

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	closed  bool
	streams map[closer]struct{}
}

type closer interface{ Close(context.Context) error }

var errClientClosed = &Error{Kind: KindClosed, Message: "the client is closed"}

// Dial connects to a broker and returns once the connection stands, or with the
// first failure, within ctx. An empty address is $SPILLWAY_ADDRESS, or else
// localhost:7420. The connection is not encrypted: the broker listens on loopback.
// After Dial, ctx has no effect on the client.
func Dial(ctx context.Context, address string, opts ...DialOption) (*Client, error) {
	if address == "" {
		address = os.Getenv(envAddress)
	}
	if address == "" {
		address = defaultAddress
	}
	o := defaultDialOptions()
	for _, opt := range opts {
		opt(&o)
	}
	name := clientLibrary
	if o.name != "" {
		name = o.name[:min(len(o.name), 200)] + " " + clientLibrary
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: o.keepaliveTime, Timeout: o.keepaliveTimeout, PermitWithoutStream: true,
		}),
		// The schedule is ours (see link): gRPC's own stands aside.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: o.reconnectMax, Multiplier: 1, MaxDelay: o.reconnectMax},
			MinConnectTimeout: o.connectTimeout,
		}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		// What is in flight is bounded by credit; the windows only have to be no less.
		// Windows that are set also spare the pings by which gRPC would look for them:
		// one for each answer, and each wakes both sides once more.
		grpc.WithInitialWindowSize(defaultMaxInFlightBytes),
		grpc.WithInitialConnWindowSize(4 * defaultMaxInFlightBytes),
	}
	target := "dns:///" + address
	if o.dialer != nil {
		dial = append(dial, grpc.WithContextDialer(o.dialer))
		target = "passthrough:///" + address
	}
	conn, err := grpc.NewClient(target, dial...)
	if err != nil {
		return nil, &Error{Kind: KindInvalidArgument, Field: "address", Message: err.Error(), cause: err}
	}
	c := &Client{
		conn: conn, log: o.log, hooks: o.hooks, name: name,
		opt:     o,
		budget:  retryBudget{tokens: o.budget, full: o.budget, gain: o.budgetGain},
		streams: map[closer]struct{}{},
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.admin = &Admin{c: c, pb: pb.NewAdminClient(conn)}
	conn.Connect()
	for {
		state := conn.GetState()
		if state == connectivity.Ready {
			return c, nil
		}
		if state == connectivity.TransientFailure {
			err = &Error{Kind: KindUnavailable, Message: "no broker answers at " + address}
			break
		}
		if !conn.WaitForStateChange(ctx, state) {
			err = &Error{Kind: KindUnavailable, Message: "no broker answered at " + address, cause: ctxErr(ctx)}
			break
		}
	}
	c.cancel(errClientClosed)
	conn.Close()
	return nil, err
}

// Admin returns the calls of operators and tools.
func (c *Client) Admin() *Admin { return c.admin }

// Close closes every producer and consumer of the client, as their own Close
// does, and then the connection. It returns the first error that a producer
// reported, such as records that could not be confirmed within ctx.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	open := make([]closer, 0, len(c.streams))
	for s := range c.streams {
		open = append(open, s)
	}
	c.mu.Unlock()
	errs := make([]error, len(open))
	var wg sync.WaitGroup
	for i, s := range open {
		wg.Go(func() { errs[i] = s.Close(ctx) })
	}
	wg.Wait()
	c.cancel(errClientClosed)
	c.conn.Close() // fails only when it is closed already
	return errors.Join(errs...)
}

func (c *Client) register(s closer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClientClosed
	}
	c.streams[s] = struct{}{}
	return nil
}

func (c *Client) forget(s closer) {
	c.mu.Lock()
	delete(c.streams, s)
	c.mu.Unlock()
}

// kick makes gRPC try to connect now if it is not connected.
func (c *Client) kick() {
	if s := c.conn.GetState(); s != connectivity.Ready {
		c.conn.ResetConnectBackoff()
		c.conn.Connect()
	}
}

// awaitReady waits until the connection stands, at most d.
func (c *Client) awaitReady(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		s := c.conn.GetState()
		switch s {
		case connectivity.Ready:
			return nil
		case connectivity.Shutdown:
			return errClientClosed
		case connectivity.Idle:
			c.conn.Connect()
		}
		if !c.conn.WaitForStateChange(ctx, s) {
			return &Error{Kind: KindUnavailable, Message: "the broker does not answer", cause: ctxErr(ctx)}
		}
	}
}

// stream is one open bidirectional call.
type stream struct {
	grpc.ClientStream
	queue  string
	ctx    context.Context
	cancel context.CancelCauseFunc

	// What the broker set: a side that has sent nothing else pings after
	// heartbeat, and takes a silent peer for dead after deadAfter.
	heartbeat, deadAfter time.Duration
	lastHeard            atomic.Int64 // since started
	started              time.Time

	mu     sync.Mutex
	timers []*time.Timer
	ended  bool
}

// heard notes a sign of life.
func (s *stream) heard() { s.lastHeard.Store(int64(time.Since(s.started))) }

// watch ends the stream when nothing was heard for deadAfter.
func (s *stream) watch() {
	s.heard()
	var look func()
	look = func() {
		silent := time.Since(s.started) - time.Duration(s.lastHeard.Load())
		if silent >= s.deadAfter {
			s.cancel(&Error{Kind: KindTimedOut, Message: "the broker fell silent",
				Limit: uint64(s.deadAfter.Milliseconds()), Actual: uint64(silent.Milliseconds())})
			return
		}
		s.after(s.deadAfter-silent, look)
	}
	s.after(s.deadAfter, look)
}

// expire ends the stream with err after d.
func (s *stream) expire(d time.Duration, err error) { s.after(d, func() { s.cancel(err) }) }

func (s *stream) after(d time.Duration, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.timers = append(s.timers[:0:0], append(s.timers, time.AfterFunc(d, f))...)
		if len(s.timers) > 4 { // the oldest have fired
			s.timers = s.timers[len(s.timers)-4:]
		}
	}
}

// unwatch stops the stream's timers.
func (s *stream) unwatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, t := range s.timers {
		t.Stop()
	}
}

var (
	publishDesc = &grpc.StreamDesc{StreamName: "Publish", ServerStreams: true, ClientStreams: true}
	consumeDesc = &grpc.StreamDesc{StreamName: "Consume", ServerStreams: true, ClientStreams: true}
)

func (c *Client) openStream(ctx context.Context, desc *grpc.StreamDesc, queue string) (*stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	method := pb.Broker_Publish_FullMethodName
	if desc == consumeDesc {
		method = pb.Broker_Consume_FullMethodName
	}
	s, err := c.conn.NewStream(ctx, desc, method, grpc.ForceCodecV2(wire.Codec{}))
	if err != nil {
		cancel(err)
		return nil, fromStatus(err, nil)
	}
	return &stream{ClientStream: s, queue: queue, ctx: ctx, cancel: cancel, started: time.Now()}, nil
}

// end explains why RecvMsg or SendMsg of the stream failed with err; io.EOF of
// RecvMsg (the end with OK) stays itself. The queue is known here, even where a
// refusal does not name it.
func (s *stream) end(err error) error {
	if s.ctx.Err() != nil {
		if cause := context.Cause(s.ctx); cause != nil && cause != context.Canceled {
			return cause
		}
	}
	err = fromStatus(err, s.Trailer())
	if e, ok := err.(*Error); ok && e.Queue == "" {
		e.Queue = s.queue
	}
	return err
}

// retryBudget bounds the retries of all streams of a client together: when it is
// empty, retries go at the slowest pace of the schedule.
type retryBudget struct {
	mu     sync.Mutex
	tokens float64
	full   float64 // constant
	gain   float64 // constant
}

func (b *retryBudget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *retryBudget) success() {
	b.mu.Lock()
	b.tokens = min(b.tokens+b.gain, b.full)
	b.mu.Unlock()
}

// link holds the schedule by which one producer or consumer reopens its stream.
// It belongs to that one's goroutine.
type link struct {
	c        *Client
	attempt  int
	openedAt time.Time
}

func (l *link) opened() {
	l.openedAt = time.Now()
	l.c.budget.success()
}

// delay decides how long to wait after the stream ended with err.
func (l *link) delay(err error) time.Duration {
	o := &l.c.opt
	if !l.openedAt.IsZero() && time.Since(l.openedAt) >= o.resetAfter {
		l.attempt = 0
	}
	l.openedAt = time.Time{}
	ceiling := l.ceiling()
	l.attempt++
	d := time.Duration(rand.Int64N(int64(ceiling) + 1))
	if !l.c.budget.take() {
		d = o.reconnectMax/2 + time.Duration(rand.Int64N(int64(o.reconnectMax/2)+1))
	}
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > d {
		d = e.RetryAfter
	}
	return d
}

// ceiling is the longest wait of the attempt: the base, doubled by each attempt.
func (l *link) ceiling() time.Duration {
	d := l.c.opt.reconnectBase
	for range min(l.attempt, 40) {
		if d >= l.c.opt.reconnectMax/2 {
			return l.c.opt.reconnectMax
		}
		d *= 2
	}
	return min(d, l.c.opt.reconnectMax)
}

// patience is how long an attempt waits for the connection.
func (l *link) patience() time.Duration {
	return min(max(l.ceiling(), 100*time.Millisecond), l.c.opt.connectTimeout)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctxErr(ctx)
	}
}

func millis(ms uint64, otherwise time.Duration) time.Duration {
	if ms == 0 {
		return otherwise
	}
	return time.Duration(min(ms, math.MaxInt64/1_000_000)) * time.Millisecond
}

// openTimeout bounds the time from a stream's Open to the broker's Opened. The
// broker gives a client the same time to say Open.
const openTimeout = limitOpenTimeoutMs * time.Millisecond
