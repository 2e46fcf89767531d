package main

import (
	"context"

	"spillway.dev/tests/bench/proc"
)

// The tiers of durability; docs/benchmarks.md says what each promises.
const (
	tierMemory    = "MEMORY"
	tierPersisted = "PERSISTED"
	tierSynced    = "SYNCED"
)

// System is a message broker with its Go client; clients.go has the others.
type System interface {
	Name() string
	// Tiers that it has.
	Tiers() []string
	// Library is the module of its Go client.
	Library() string
	// Install puts the server where Start finds it, unless it is there, and says its
	// version. The cache is shared by all systems.
	Install(ctx context.Context, cache string) (version string, err error)
	// Start runs the server on loopback, on an empty folder of its own.
	Start(ctx context.Context, tier, folder string) (Server, error)
}

// Server is a running server, and what its client does.
type Server interface {
	// Process has the server's other processes below it.
	Process() proc.Process
	// Log is what it has written, for failures.
	Log() string
	Stop()

	// Create makes a topic; Delete frees what it held.
	Create(ctx context.Context, t topic) error
	Delete(ctx context.Context, t topic) error
	// Window is how many messages may be unacknowledged.
	Window(t topic) int
	// Publisher tells acks what became of each message.
	Publisher(ctx context.Context, t topic, acks *acks) (Publisher, error)
	// Consume gives a group all messages from the first, acknowledges them, and ends
	// with ctx. A payload is only valid during the call of take.
	Consume(ctx context.Context, t topic, group string, take func(payload []byte)) error
	// Replay reads from the first message on, without a group, until take returns false.
	Replay(ctx context.Context, t topic, take func(payload []byte) bool) error
}

// Publisher is used by one goroutine.
type Publisher interface {
	// Publish does not wait for the acknowledgement. The payload is left alone until
	// that has come.
	Publish(ctx context.Context, payload []byte) error
	// Push sends what waits for more.
	Push(ctx context.Context) error
	// One publishes alone and waits for the acknowledgement.
	One(ctx context.Context, payload []byte) error
	Close()
}

// use is what a topic is for: clients are set for throughput or for latency, and
// some servers do different things with what is only passed on.
type use int

const (
	passing use = iota // published and consumed at full speed
	filling            // published at full speed, never read
	keeping            // published at full speed, replayed
	holding            // published at full speed, consumed when all of it is there
	timing             // each message is sent at once
)

type topic struct {
	name string
	size int // of a payload
	use  use
	// Groups that will consume.
	groups []string
}

// window is how many messages may be unacknowledged, given bounds in messages and in
// bytes.
func (t topic) window(messages, bytes int) int { return max(1, min(messages, bytes/t.size)) }

func systems() []System {
	return append([]System{
		&spillwaySystem{}, &kafkaSystem{}, &redisSystem{}, &natsSystem{}, &rabbitSystem{},
	}, relays()...)
}

func systemNamed(name string) System {
	for _, s := range systems() {
		if s.Name() == name {
			return s
		}
	}
	return nil
}
