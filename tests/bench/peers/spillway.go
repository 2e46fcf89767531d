package main

import (
	"context"
	"fmt"
	"os"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/tests/bench/proc"
	"spillway.dev/tests/spillwayd"
)

type spillwaySystem struct{}

func (*spillwaySystem) Name() string    { return "spillway" }
func (*spillwaySystem) Tiers() []string { return []string{tierMemory, tierPersisted, tierSynced} }
func (*spillwaySystem) Library() string { return "spillway.dev/clients/go" }

// Install only looks: ./dev bench has built it.
func (*spillwaySystem) Install(context.Context, string) (string, error) {
	if _, err := os.Stat(os.Getenv("SPILLWAYD")); err != nil {
		return "", fmt.Errorf("SPILLWAYD must name the broker's binary: %w", err)
	}
	return "this commit", nil
}

// Start ignores the folder: the broker has one in TMPDIR, which is on the same disk.
func (*spillwaySystem) Start(ctx context.Context, tier, _ string) (Server, error) {
	broker, err := spillwayd.Start()
	if err != nil {
		return nil, err
	}
	durability := map[string]spillway.Durability{
		tierMemory: spillway.Memory, tierPersisted: spillway.Persisted, tierSynced: spillway.Synced}[tier]
	s := &spillwayServer{broker: broker, durability: durability}
	if s.client, err = spillway.Dial(ctx, broker.Address()); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

type spillwayServer struct {
	broker     *spillwayd.Broker
	durability spillway.Durability
	client     *spillway.Client // for administration
}

func (s *spillwayServer) Process() proc.Process { return proc.Process(s.broker.PID()) }
func (s *spillwayServer) Log() string           { return s.broker.Log() }
func (s *spillwayServer) Address() string       { return s.broker.Address() }

// Cool restarts the broker, whose store has caches of its own.
func (s *spillwayServer) Cool(context.Context) error {
	if err := s.broker.Stop(mostStart); err != nil {
		return err
	}
	if err := s.broker.Restart(); err != nil {
		return err
	}
	return dropCache(s.broker.Data())
}

func (s *spillwayServer) Stop() {
	if s.client != nil {
		closeSpillway(s.client)
	}
	s.broker.Kill()
	s.broker.Remove()
}

// Create chooses as the `core` benchmark does: a full window holds the producer, so
// that what comes in goes out; without a consumer MEMORY drops the oldest, since it
// would be the disk that is measured otherwise.
func (s *spillwayServer) Create(ctx context.Context, t topic) error {
	tuning := []spillway.TuningOption{spillway.SetDurability(s.durability)}
	switch {
	case t.use == keeping:
		tuning = append(tuning, spillway.SetRetention(spillway.Limits))
	case len(t.groups) == 0 && s.durability == spillway.Memory:
		tuning = append(tuning, spillway.SetOverflow(spillway.DropOldest))
	case t.use == passing:
		tuning = append(tuning, spillway.SetOverflow(spillway.Block))
	}
	_, err := s.client.Admin().CreateQueue(ctx, t.name, tuning...)
	return err
}

func (s *spillwayServer) Delete(ctx context.Context, t topic) error {
	return s.client.Admin().DeleteQueue(ctx, t.name, 0)
}

func (s *spillwayServer) Publisher(ctx context.Context, t topic, acks *acks) (Publisher, error) {
	client, err := spillway.Dial(ctx, s.broker.Address(), spillway.WithHooks(spillway.Hooks{
		Confirmed: func(_ spillway.Stream, records int, _ bool, _ time.Duration) { acks.done(records) },
		Refused:   func(_ spillway.Stream, _ int, err error) { acks.failed(err) },
		Failed:    func(_ spillway.Stream, err error) { acks.failed(err) },
	}))
	if err != nil {
		return nil, err
	}
	producer, err := client.Producer(ctx, t.name)
	if err != nil {
		closeSpillway(client)
		return nil, err
	}
	return &spillwayPublisher{client, producer}, nil
}

// Window is bounded by the broker's credit, too.
func (s *spillwayServer) Window(t topic) int { return t.window(100_000, 32<<20) }

type spillwayPublisher struct {
	client   *spillway.Client
	producer *spillway.Producer
}

// Publish copies the payload. Frames form by themselves: each is what came while the
// one before was being written.
func (p *spillwayPublisher) Publish(ctx context.Context, payload []byte) error {
	_, err := p.producer.PublishAsync(ctx, spillway.Message{Payload: payload})
	return err
}

func (p *spillwayPublisher) Push(context.Context) error { return nil }

func (p *spillwayPublisher) One(ctx context.Context, payload []byte) error {
	_, err := p.producer.Publish(ctx, spillway.Message{Payload: payload})
	return err
}

func (p *spillwayPublisher) Close() { closeSpillway(p.client) }

func closeSpillway(client *spillway.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = client.Close(ctx)
}

func (s *spillwayServer) Consume(ctx context.Context, t topic, group string, take func([]byte)) error {
	client, err := spillway.Dial(ctx, s.broker.Address())
	if err != nil {
		return err
	}
	defer closeSpillway(client)
	consumer, err := client.Consumer(ctx, t.name, group,
		spillway.WithMaxInFlight(100_000), spillway.WithMaxInFlightBytes(32<<20))
	if err != nil {
		return err
	}
	for d, err := range consumer.Deliveries(ctx) {
		if err != nil {
			return err
		}
		take(d.Payload)
		if err := d.Ack(); err != nil {
			return err
		}
	}
	return nil
}

func (s *spillwayServer) Replay(ctx context.Context, t topic, take func([]byte) bool) error {
	client, err := spillway.Dial(ctx, s.broker.Address())
	if err != nil {
		return err
	}
	defer closeSpillway(client)
	for d, err := range client.Replay(ctx, t.name, spillway.Earliest()) {
		if err != nil {
			return err
		}
		if !take(d.Payload) {
			return nil
		}
	}
	return ctx.Err()
}
