package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"
)

// redisSystem is Redis Streams: in memory only, or with each command in a file that is
// synced before it is answered.
type redisSystem struct{}

func (*redisSystem) Name() string    { return "redis" }
func (*redisSystem) Tiers() []string { return []string{tierMemory, tierSynced} }
func (*redisSystem) Library() string { return "github.com/redis/go-redis/v9" }

func (*redisSystem) Install(ctx context.Context, _ string) (string, error) {
	return debianPackage(ctx, "redis-server")
}

func (*redisSystem) Start(ctx context.Context, tier, folder string) (Server, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	appendOnly := "no"
	if tier == tierSynced {
		appendOnly = "yes"
	}
	process, err := startChild(folder, nil, binary, "--bind", "127.0.0.1", "--port", strconv.Itoa(ports[0]),
		"--dir", folder, "--save", "", "--appendonly", appendOnly, "--appendfsync", "always",
		"--auto-aof-rewrite-percentage", "0", "--daemonize", "no")
	if err != nil {
		return nil, err
	}
	s := &redisServer{child: process, address: loopback(ports[0])}
	s.admin = s.client()
	if err := process.ready(ctx, 30*time.Second, func(ctx context.Context) error {
		return s.admin.Ping(ctx).Err()
	}); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

type redisServer struct {
	*child
	address string
	admin   *redis.Client
}

func (s *redisServer) Stop() {
	_ = s.admin.Close()
	s.child.Stop()
}

func (s *redisServer) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.address,
		Protocol:    2, // replies are arrays, without a map for each message
		ReadTimeout: time.Minute, WriteTimeout: time.Minute, PoolSize: redisPipelines + 1,
		ReadBufferSize: 1 << 20, WriteBufferSize: 1 << 20})
}

func (s *redisServer) Create(ctx context.Context, t topic) error {
	for _, group := range t.groups {
		if err := s.admin.XGroupCreateMkStream(ctx, t.name, group, "0").Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *redisServer) Delete(ctx context.Context, t topic) error {
	return s.admin.Del(ctx, t.name).Err()
}

// redisPipelines are under way at a time: while one is answered the next is sent.
const redisPipelines = 4

// pipeline is how many commands go together.
func pipeline(t topic) int { return t.window(500, 256<<10) }

func (s *redisServer) Window(t topic) int { return 2 * redisPipelines * pipeline(t) }

func (s *redisServer) Publisher(_ context.Context, t topic, acks *acks) (Publisher, error) {
	p := &redisPublisher{client: s.client(), stream: t.name, most: pipeline(t), acks: acks,
		full: make(chan redis.Pipeliner), commands: make([]redisCommand, 2*s.Window(t))}
	p.current = p.client.Pipeline()
	for range redisPipelines {
		p.workers.Go(p.send)
	}
	return p, nil
}

// redisPublisher gathers commands; a worker sends them and waits for their answers.
type redisPublisher struct {
	client  *redis.Client
	stream  string
	most    int
	acks    *acks
	current redis.Pipeliner
	full    chan redis.Pipeliner
	workers sync.WaitGroup
	// In a ring, as the payloads are, so that none is made for a message.
	commands []redisCommand
	next     int
}

type redisCommand struct {
	*redis.StringCmd
	payload *byte
}

func (p *redisPublisher) command(ctx context.Context, payload []byte) redis.Cmder {
	c := &p.commands[p.next]
	p.next = (p.next + 1) % len(p.commands)
	if c.payload != &payload[0] {
		*c = redisCommand{redis.NewStringCmd(ctx, "XADD", p.stream, "*", "p", payload), &payload[0]}
	}
	return c.StringCmd
}

func (p *redisPublisher) Publish(ctx context.Context, payload []byte) error {
	_ = p.current.Process(ctx, p.command(ctx, payload)) // only notes it
	if p.current.Len() >= p.most {
		return p.Push(ctx)
	}
	return nil
}

func (p *redisPublisher) Push(ctx context.Context) error {
	if p.current.Len() == 0 {
		return nil
	}
	select {
	case p.full <- p.current:
		p.current = p.client.Pipeline()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *redisPublisher) send() {
	for commands := range p.full {
		// The context is not the run's: what was sent is answered.
		answers, err := commands.Exec(context.Background())
		if err != nil {
			p.acks.failed(err)
			continue
		}
		p.acks.done(len(answers))
	}
}

func (p *redisPublisher) One(ctx context.Context, payload []byte) error {
	return p.client.Process(ctx, p.command(ctx, payload))
}

func (p *redisPublisher) Close() {
	close(p.full)
	p.workers.Wait()
	_ = p.client.Close()
}

// Consume reads what is new, and acknowledges it together with the next read.
func (s *redisServer) Consume(ctx context.Context, t topic, group string, take func([]byte)) error {
	client := s.client()
	defer client.Close()
	count := t.window(1000, 4<<20)
	acked := []any{"XACK", t.name, group}
	for ctx.Err() == nil {
		both := client.Pipeline()
		if len(acked) > 3 {
			_ = both.Process(ctx, redis.NewIntCmd(ctx, acked...))
		}
		read := redis.NewCmd(ctx, "XREADGROUP", "GROUP", group, "c", "COUNT", count, "BLOCK", 100,
			"STREAMS", t.name, ">")
		_ = both.Process(ctx, read)
		if _, err := both.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		acked = acked[:3]
		if err := entries(read.Val(), func(id string, payload []byte) bool {
			acked = append(acked, id)
			take(payload)
			return true
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *redisServer) Replay(ctx context.Context, t topic, take func([]byte) bool) error {
	client := s.client()
	defer client.Close()
	count := t.window(1000, 4<<20)
	last, more := "0", true
	for more && ctx.Err() == nil {
		reply, err := client.Do(ctx, "XREAD", "COUNT", count, "STREAMS", t.name, last).Result()
		if err != nil {
			return err
		}
		if err := entries(reply, func(id string, payload []byte) bool {
			last = id
			more = more && take(payload)
			return more
		}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// entries of a reply to XREAD of one stream: [[name, [[id, [field, payload]], ...]]].
func entries(reply any, take func(id string, payload []byte) bool) error {
	if reply == nil {
		return nil
	}
	bad := fmt.Errorf("a reply of Redis that is none to XREAD")
	at := func(v any, i int) any {
		if list, ok := v.([]any); ok && i < len(list) {
			return list[i]
		}
		return nil
	}
	list, ok := at(at(reply, 0), 1).([]any)
	if !ok {
		return bad
	}
	for _, entry := range list {
		id, ok1 := at(entry, 0).(string)
		payload, ok2 := at(at(entry, 1), 1).(string)
		if !ok1 || !ok2 {
			return bad
		}
		if !take(id, unsafe.Slice(unsafe.StringData(payload), len(payload))) {
			return nil
		}
	}
	return nil
}
