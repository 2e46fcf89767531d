package spillwaytest

import (
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

// session is one stream. Its fields belong to Broker.mu.
type session struct {
	b      *Broker
	q      *queue
	id     string
	client string
	opened time.Time
	epoch  uint64

	out   []proto.Message
	wake  chan struct{}
	ended bool
	err   error // nil: OK

	// A producer.
	producer        *producerState
	limit, returned spillway.Credit
	received        spillway.Credit
	waiting         spillway.Credit
	next            uint64
	held            []*pb.Confirm_Run
	lastGrant       *pb.Grant

	// A consumer or reader.
	group         *group
	reader        *reader
	granted, sent spillway.Credit
	inFlight      spillway.Credit
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) send(m proto.Message) {
	s.out = append(s.out, m)
	s.poke()
}

// end ends the stream after what is queued, with err (nil: OK).
func (s *session) end(err error) {
	if !s.ended {
		s.ended, s.err = true, err
		s.poke()
	}
}

// serve writes what is queued until the session ends. recv handles what arrives.
func (b *Broker) serve(st grpc.ServerStream, s *session, recv func() error) error {
	ctx := st.Context()
	var reading sync.WaitGroup
	gone := make(chan struct{})
	reading.Go(func() {
		defer close(gone)
		for recv() == nil {
		}
	})
	defer func() {
		b.mu.Lock()
		b.leave(s)
		b.mu.Unlock()
	}()
	for {
		b.mu.Lock()
		var batch []proto.Message
		ended, err := s.ended, s.err
		if !b.faults.silent || ended {
			batch, s.out = s.out, nil
		}
		b.mu.Unlock()
		var clean bool
		var se *spillway.Error
		clean = err == nil || errors.As(err, &se)
		if !ended || clean {
			for _, m := range batch {
				if err := st.SendMsg(m); err != nil {
					return err
				}
			}
		}
		if ended {
			return finish(st, err)
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-gone:
			b.mu.Lock()
			if !s.ended { // half-closed, or broken
				gone = nil
			}
			b.mu.Unlock()
		}
	}
}

// begin makes a session of an Open. REQUIRES: mu.
func (b *Broker) begin(queue, client string) (*session, error) {
	if b.faults.unavailable {
		return nil, refusal(spillway.KindUnavailable, queue, "not ready")
	}
	if !validName(queue) {
		return nil, &spillway.Error{Kind: spillway.KindInvalidArgument, Field: "queue", Message: "not a name"}
	}
	q := b.queues[queue]
	if q == nil {
		return nil, refusal(spillway.KindNotFound, queue, "no such queue")
	}
	b.names++
	return &session{b: b, q: q, id: b.name("session"), client: client, opened: time.Now(), wake: make(chan struct{}, 1)}, nil
}

// leave takes back what a session held. REQUIRES: mu.
func (b *Broker) leave(s *session) {
	s.ended = true
	delete(b.links, s)
	q := s.q
	if q == nil {
		return
	}
	q.producers = without(q.producers, s)
	q.consumers = without(q.consumers, s)
	if s.producer != nil && s.producer.session == s {
		s.producer.session = nil
	}
	if g := s.group; g != nil {
		g.members = without(g.members, s)
		for o, f := range g.inFlight {
			if f.member == s {
				delete(g.inFlight, o)
				g.ready[o] = f.attempt
			}
		}
	}
	if b.queues[q.name] == q {
		b.pump(q)
		b.grant(q, false)
	}
}

func without(in []*session, s *session) []*session {
	out := in[:0:0]
	for _, x := range in {
		if x != s {
			out = append(out, x)
		}
	}
	return out
}
