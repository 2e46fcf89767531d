package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/amqp"
	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/logs"
	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/message"
	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/stream"
)

// Where Debian's package has them. Its wrappers in the PATH would change the user.
const (
	rabbitServer = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	erlangMapper = "/usr/lib/erlang/bin/epmd"
)

// rabbitSystem is RabbitMQ streams, which leave syncing to the kernel.
type rabbitSystem struct{}

func (*rabbitSystem) Name() string    { return "rabbitmq" }
func (*rabbitSystem) Tiers() []string { return []string{tierPersisted} }
func (*rabbitSystem) Library() string { return "github.com/rabbitmq/rabbitmq-stream-go-client" }

func (*rabbitSystem) Install(ctx context.Context, _ string) (string, error) {
	return debianPackage(ctx, "rabbitmq-server")
}

func (*rabbitSystem) Start(ctx context.Context, _, folder string) (Server, error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	names, amqpPort, streamPort, distribution := ports[0], ports[1], ports[2], ports[3]
	// Erlang's register of names; on a port of its own, it is not left behind.
	environment := []string{"ERL_EPMD_PORT=" + strconv.Itoa(names), "ERL_EPMD_ADDRESS=127.0.0.1"}
	mapper, err := startChild(folder, environment, erlangMapper)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "rabbitmq.conf")
	plugins := filepath.Join(folder, "enabled_plugins")
	err = writeFile(config, "listeners.tcp.1 = "+loopback(amqpPort), "stream.listeners.tcp.1 = "+loopback(streamPort),
		"stream.advertised_host = 127.0.0.1", "stream.advertised_port = "+strconv.Itoa(streamPort),
		"vm_memory_high_watermark.absolute = 4GB", "disk_free_limit.absolute = 1GB", "log.console = true",
		"log.console.level = warning", "log.file = false")
	if err == nil {
		err = writeFile(plugins, "[rabbitmq_stream].")
	}
	if err != nil {
		mapper.Stop()
		return nil, err
	}
	process, err := startChild(folder, append(environment, "HOME="+folder,
		"RABBITMQ_ALLOW_INPUT=1", "RABBITMQ_SERVER_START_ARGS=-noinput", // the script becomes the server
		"RABBITMQ_NODENAME=bench"+strconv.Itoa(names)+"@localhost",
		"RABBITMQ_CONFIG_FILE="+config, "RABBITMQ_CONF_ENV_FILE="+filepath.Join(folder, "none"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+plugins,
		"RABBITMQ_MNESIA_BASE="+filepath.Join(folder, "mnesia"), "RABBITMQ_LOG_BASE="+filepath.Join(folder, "log"),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(distribution),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
	), rabbitServer)
	if err != nil {
		mapper.Stop()
		return nil, err
	}
	s := &rabbitStreams{child: process, mapper: mapper, port: streamPort}
	logs.SetLogger(silent{}) // the client says on the terminal what it also returns
	if err := process.ready(ctx, time.Minute, func(ctx context.Context) error {
		// Each attempt of the client itself takes long to fail.
		probe, err := new(net.Dialer).DialContext(ctx, "tcp", loopback(streamPort))
		if err != nil {
			return err
		}
		_ = probe.Close()
		s.admin, err = s.environment()
		return err
	}); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

type silent struct{}

func (silent) Info(string, ...any)  {}
func (silent) Error(string, ...any) {}
func (silent) Debug(string, ...any) {}
func (silent) Warn(string, ...any)  {}

type rabbitStreams struct {
	*child
	mapper *child
	port   int
	admin  *stream.Environment
}

func (s *rabbitStreams) Stop() {
	if s.admin != nil {
		_ = s.admin.Close()
	}
	s.child.Stop()
	s.mapper.Stop()
}

// environment has large socket buffers: with the default of 8 KiB 64 KiB messages
// come by the hundred.
func (s *rabbitStreams) environment() (*stream.Environment, error) {
	return stream.NewEnvironment(stream.NewEnvironmentOptions().SetHost("127.0.0.1").SetPort(s.port).
		SetUser("guest").SetPassword("guest").SetReadBuffer(4 << 20).SetWriteBuffer(4 << 20))
}

func (s *rabbitStreams) Create(_ context.Context, t topic) error {
	return s.admin.DeclareStream(t.name, stream.NewStreamOptions())
}

func (s *rabbitStreams) Delete(_ context.Context, t topic) error { return s.admin.DeleteStream(t.name) }

func (s *rabbitStreams) Window(t topic) int { return t.window(20_000, 16<<20) }

// packed is how many messages go into one entry of the stream, which the server does
// not look into. It makes publishing and consuming faster, replaying slower.
func packed(t topic) int {
	if t.size > 8<<10 || t.use == keeping || t.use == timing {
		return 1
	}
	return 100
}

func (s *rabbitStreams) Publisher(_ context.Context, t topic, acks *acks) (Publisher, error) {
	env, err := s.environment()
	if err != nil {
		return nil, err
	}
	// Frames are at most 1 MiB.
	p := &rabbitPublisher{env: env, most: t.window(1000, 900<<10)}
	p.producer, err = env.NewProducer(t.name, stream.NewProducerOptions().SetSubEntrySize(packed(t)))
	if err != nil {
		_ = env.Close()
		return nil, err
	}
	confirmed := p.producer.NotifyPublishConfirmation()
	p.alone = make(chan error, 1)
	go p.count(confirmed, acks)
	return p, nil
}

type rabbitPublisher struct {
	env      *stream.Environment
	producer *stream.Producer
	most     int
	batch    []message.StreamMessage
	alone    chan error
}

func (p *rabbitPublisher) count(confirmed stream.ChannelPublishConfirm, acks *acks) {
	for statuses := range confirmed {
		n := 0
		for _, status := range statuses {
			if !status.IsConfirmed() {
				acks.failed(fmt.Errorf("not confirmed: %v", status.GetError()))
				return
			}
			n++
		}
		acks.done(n)
		select {
		case p.alone <- nil:
		default:
		}
	}
}

func (p *rabbitPublisher) Publish(ctx context.Context, payload []byte) error {
	p.batch = append(p.batch, amqp.NewMessage(payload))
	if len(p.batch) >= p.most {
		return p.Push(ctx)
	}
	return nil
}

// Push sends in the caller's goroutine, which spares a hand-off.
func (p *rabbitPublisher) Push(context.Context) error {
	if len(p.batch) == 0 {
		return nil
	}
	err := p.producer.BatchSend(p.batch)
	p.batch = p.batch[:0]
	return err
}

func (p *rabbitPublisher) One(ctx context.Context, payload []byte) error {
	select {
	case <-p.alone: // of what was published before
	default:
	}
	if err := p.producer.BatchSend([]message.StreamMessage{amqp.NewMessage(payload)}); err != nil {
		return err
	}
	select {
	case err := <-p.alone:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *rabbitPublisher) Close() {
	_ = p.producer.Close()
	_ = p.env.Close()
}

// Consume stores its offset in the server, once in 10,000 messages.
func (s *rabbitStreams) Consume(ctx context.Context, t topic, group string, take func([]byte)) error {
	return s.read(ctx, t, stream.NewConsumerOptions().SetConsumerName(group).
		SetAutoCommit(stream.NewAutoCommitStrategy().SetCountBeforeStorage(10_000).SetFlushInterval(time.Second)),
		func(payload []byte) bool {
			take(payload)
			return true
		})
}

func (s *rabbitStreams) Replay(ctx context.Context, t topic, take func([]byte) bool) error {
	return s.read(ctx, t, stream.NewConsumerOptions(), take)
}

func (s *rabbitStreams) read(ctx context.Context, t topic, options *stream.ConsumerOptions,
	take func([]byte) bool) error {
	env, err := s.environment()
	if err != nil {
		return err
	}
	defer env.Close()
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	done := false
	consumer, err := env.NewConsumer(t.name, func(_ stream.ConsumerContext, m *amqp.Message) {
		if done {
			return
		}
		if !take(m.GetData()) {
			done = true
			enough()
		}
	}, options.SetOffset(stream.OffsetSpecification{}.First()).SetInitialCredits(50))
	if err != nil {
		return err
	}
	<-ctx.Done()
	return consumer.Close()
}
