// Package spillwaytest holds a broker in memory for tests: the protocol of
// Spillway with its credit, sequences, groups, retries and replays, and switches
// that make it misbehave.
//
//	broker := spillwaytest.New(t)
//	client, err := spillway.Dial(ctx, broker.Address())
//
// It keeps nothing, is not quick, and simplifies where a client cannot tell: every
// record stays until it is purged, and SPILL never blocks.
package spillwaytest

import (
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Broker is a broker in memory. Its methods are safe for concurrent use.
type Broker struct {
	pb.UnimplementedBrokerServer
	pb.UnimplementedAdminServer

	listener net.Listener
	server   *grpc.Server
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu      sync.Mutex
	queues  map[string]*queue
	links   map[*session]struct{}
	names   int
	faults  faults
	options options
	taps    []func(queue string, frame proto.Message)
}

type options struct {
	heartbeat, deadAfter time.Duration
	batchBytes           uint64
	batchRecords         uint32
}

// Option is an option of Start and New.
type Option func(*options)

// WithHeartbeat sets what Opened says about heartbeats. Default 5 s and 15 s.
func WithHeartbeat(every, deadAfter time.Duration) Option {
	return func(o *options) { o.heartbeat, o.deadAfter = every, deadAfter }
}

// WithMaxBatch sets the largest Publish frame. Default 1 MiB and 10,000 records.
func WithMaxBatch(bytes, records int) Option {
	return func(o *options) { o.batchBytes, o.batchRecords = uint64(bytes), uint32(records) }
}

// TB is the part of testing.TB that New needs.
type TB interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// New starts a broker that ends with the test.
func New(t TB, opts ...Option) *Broker {
	t.Helper()
	b, err := Start(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// Start starts a broker on a free port of the loopback interface.
func Start(opts ...Option) (*Broker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Broker{
		listener: l, stop: make(chan struct{}), queues: map[string]*queue{}, links: map[*session]struct{}{},
		options: options{heartbeat: 5 * time.Second, deadAfter: 15 * time.Second, batchBytes: 1 << 20, batchRecords: 10_000},
		server: grpc.NewServer(grpc.MaxRecvMsgSize(256<<20), grpc.MaxSendMsgSize(256<<20),
			grpc.WaitForHandlers(true)),
	}
	for _, o := range opts {
		o(&b.options)
	}
	pb.RegisterBrokerServer(b.server, b)
	pb.RegisterAdminServer(b.server, b)
	b.stopped.Go(func() { b.server.Serve(l) })
	b.stopped.Go(b.tick)
	return b, nil
}

// Address is what Dial takes.
func (b *Broker) Address() string { return b.listener.Addr().String() }

// Close ends the broker and every stream.
func (b *Broker) Close() {
	b.mu.Lock()
	select {
	case <-b.stop:
		b.mu.Unlock()
		return
	default:
	}
	close(b.stop)
	for s := range b.links {
		s.end(refusal(spillway.KindUnavailable, "", "the broker ends"))
	}
	b.mu.Unlock()
	b.server.Stop()
	b.stopped.Wait()
}

// tick drives what time changes: deadlines, retry delays, rates.
func (b *Broker) tick() {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-b.stop:
			return
		case now := <-t.C:
			b.mu.Lock()
			for _, q := range b.queues {
				for _, g := range q.groups {
					for o, f := range g.inFlight {
						if now.After(f.deadline) {
							b.revoke(q, g, o, pb.RevokeReason_REVOKE_REASON_DEADLINE)
						}
					}
					for o, r := range g.retrying {
						if now.After(r.at) {
							delete(g.retrying, o)
							g.ready[o] = r.attempt
						}
					}
				}
				b.pump(q)
			}
			b.mu.Unlock()
		}
	}
}
