package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const natsVersion = "2.15.2"

// natsSystem is NATS JetStream: a stream in memory, in files, or in files that are
// synced with each message.
type natsSystem struct{ binary string }

func (*natsSystem) Name() string    { return "nats" }
func (*natsSystem) Tiers() []string { return []string{tierMemory, tierPersisted, tierSynced} }
func (*natsSystem) Library() string { return "github.com/nats-io/nats.go" }

// Install builds the server from the Go module.
func (n *natsSystem) Install(ctx context.Context, cache string) (string, error) {
	folder := filepath.Join(cache, "nats-server-"+natsVersion)
	n.binary = filepath.Join(folder, "nats-server")
	return natsVersion, cached(folder, func(folder string) error {
		return quietly(ctx, []string{"GOBIN=" + folder}, "go", "install",
			"github.com/nats-io/nats-server/v2@v"+natsVersion)
	})
}

func (n *natsSystem) Start(ctx context.Context, tier, folder string) (Server, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "nats.conf")
	lines := []string{
		"listen: " + loopback(ports[0]), "max_payload: 8MB", "max_pending: 256MB",
		"jetstream {", fmt.Sprintf("store_dir: %q", filepath.Join(folder, "store")),
		"max_mem: 8GB", "max_file: 64GB"}
	if tier == tierSynced {
		lines = append(lines, "sync_interval: always")
	}
	if err := writeFile(config, append(lines, "}")...); err != nil {
		return nil, err
	}
	process, err := startChild(folder, nil, n.binary, "--config", config)
	if err != nil {
		return nil, err
	}
	s := &natsServer{child: process, url: "nats://" + loopback(ports[0]), storage: jetstream.FileStorage, window: 8_000}
	switch tier {
	case tierMemory:
		s.storage = jetstream.MemoryStorage
	case tierSynced:
		// Acknowledgements of what came together are sent together, each message being
		// synced by itself: a large window would be answered by the second.
		s.window = 256
	}
	if err := process.ready(ctx, 30*time.Second, s.reconnect); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

type natsServer struct {
	*child
	url     string
	storage jetstream.StorageType
	window  int
	conn    *nats.Conn
	admin   jetstream.JetStream
}

// Cool restarts the server, which keeps blocks of its files in memory.
func (s *natsServer) Cool(ctx context.Context) error {
	s.conn.Close()
	if err := s.restart(); err != nil {
		return err
	}
	if err := s.ready(ctx, mostStart, s.reconnect); err != nil {
		return err
	}
	return s.child.Cool(ctx)
}

func (s *natsServer) reconnect(context.Context) (err error) {
	s.conn, s.admin, err = s.connect()
	return err
}

func (s *natsServer) Stop() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.child.Stop()
}

func (s *natsServer) connect(options ...jetstream.JetStreamOpt) (*nats.Conn, jetstream.JetStream, error) {
	conn, err := nats.Connect(s.url, nats.Timeout(5*time.Second))
	if err != nil {
		return nil, nil, err
	}
	stream, err := jetstream.New(conn, options...)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, stream, nil
}

func (s *natsServer) Create(ctx context.Context, t topic) error {
	_, err := s.admin.CreateStream(ctx, jetstream.StreamConfig{Name: t.name, Subjects: []string{t.name},
		Storage: s.storage, Replicas: 1})
	return err
}

func (s *natsServer) Delete(ctx context.Context, t topic) error {
	return s.admin.DeleteStream(ctx, t.name)
}

// Window keeps below what a stream has in flight before it answers 429.
func (s *natsServer) Window(t topic) int { return t.window(s.window, 8<<20) }

func (s *natsServer) Publisher(_ context.Context, t topic, acks *acks) (Publisher, error) {
	conn, stream, err := s.connect(jetstream.WithPublishAsyncMaxPending(2*s.Window(t)),
		jetstream.WithPublishAsyncAckHandler(func(jetstream.JetStream, *nats.Msg, *jetstream.PubAck) { acks.done(1) }),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { acks.failed(err) }))
	if err != nil {
		return nil, err
	}
	return &natsPublisher{conn, stream, t.name}, nil
}

type natsPublisher struct {
	conn    *nats.Conn
	stream  jetstream.JetStream
	subject string
}

func (p *natsPublisher) Publish(_ context.Context, payload []byte) error {
	_, err := p.stream.PublishAsync(p.subject, payload)
	return err
}

// Push need not do anything: the connection's own goroutine writes what there is.
func (p *natsPublisher) Push(context.Context) error { return nil }

func (p *natsPublisher) One(ctx context.Context, payload []byte) error {
	_, err := p.stream.Publish(ctx, p.subject, payload)
	return err
}

func (p *natsPublisher) Close() { p.conn.Close() }

// Consume pulls ahead and acknowledges each message.
func (s *natsServer) Consume(ctx context.Context, t topic, group string, take func([]byte)) error {
	return s.pull(ctx, func(stream jetstream.JetStream) (jetstream.Consumer, error) {
		return stream.CreateConsumer(ctx, t.name, jetstream.ConsumerConfig{Durable: group,
			AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4 * pulled, AckWait: time.Minute,
			DeliverPolicy: jetstream.DeliverAllPolicy})
	}, func(m jetstream.Msg) (bool, error) {
		take(m.Data())
		return true, m.Ack()
	})
}

// Replay is the client's ordered consumer, without acknowledgements.
func (s *natsServer) Replay(ctx context.Context, t topic, take func([]byte) bool) error {
	return s.pull(ctx, func(stream jetstream.JetStream) (jetstream.Consumer, error) {
		return stream.OrderedConsumer(ctx, t.name, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverAllPolicy})
	}, func(m jetstream.Msg) (bool, error) { return take(m.Data()), nil })
}

// pulled is how many messages a consumer asks for at a time.
const pulled = 10_000

func (s *natsServer) pull(ctx context.Context, open func(jetstream.JetStream) (jetstream.Consumer, error),
	take func(jetstream.Msg) (bool, error)) error {
	conn, stream, err := s.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	consumer, err := open(stream)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(pulled))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		m, err := messages.Next()
		if ctx.Err() != nil || errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if more, err := take(m); err != nil || !more {
			return err
		}
	}
}
