package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	pb "spillway.dev/clients/go/spillwaypb"
)

// relaySystem is no message broker but a limit: a gRPC server that passes frames on,
// which are encoded once, by raw streams of grpc-go. What Spillway with its Go client
// cannot exceed on this transport, however little either does with a message.
type relaySystem struct {
	name    string
	records int // at most in a frame
}

// relays by their frames: as large as Spillway's Go client makes them under load (end to
// end it sends 9,800 records of 100 B or 980 of 1 KiB at once), and those of `core`.
func relays() []System {
	return []System{&relaySystem{"relay", 10_000}, &relaySystem{"relay-100", 100}}
}

func (s *relaySystem) Name() string  { return s.name }
func (*relaySystem) Tiers() []string { return []string{tierMemory} }
func (*relaySystem) Library() string { return "google.golang.org/grpc" }

func relayBinary() string {
	return filepath.Join(os.Getenv("SPILLWAY_BENCH_BIN"), "limits", "relay_server")
}

// Install only looks: ./dev bench has built it.
func (*relaySystem) Install(context.Context, string) (string, error) {
	if _, err := os.Stat(relayBinary()); err != nil {
		return "", fmt.Errorf("SPILLWAY_BENCH_BIN must name the folder of limits/relay_server: %w", err)
	}
	return "this commit", nil
}

func (s *relaySystem) Start(ctx context.Context, _, folder string) (Server, error) {
	process, err := startChild(folder, nil, relayBinary())
	if err != nil {
		return nil, err
	}
	server := &relayServer{child: process, records: s.records}
	if err := process.ready(ctx, mostStart, func(context.Context) error {
		port, complete := strings.CutSuffix(process.Log(), "\n") // all that it ever says
		n, err := strconv.Atoi(port)
		if server.address = loopback(n); !complete || err != nil {
			return errors.New("it has not said its port")
		}
		return nil
	}); err != nil {
		process.Stop()
		return nil, err
	}
	return server, nil
}

type relayServer struct {
	*child
	noMessages
	address string
	records int
}

// noMessages is of a server that has neither topics nor messages.
type noMessages struct{}

func (noMessages) Create(context.Context, topic) error { return nil }
func (noMessages) Delete(context.Context, topic) error { return nil }
func (noMessages) Window(topic) int                    { return 1 }
func (noMessages) Consume(context.Context, topic, string, func([]byte)) error {
	return errors.ErrUnsupported
}
func (noMessages) Replay(context.Context, topic, func([]byte) bool) error {
	return errors.ErrUnsupported
}

// Flow is end to end without a client: nothing but HTTP/2's windows holds the producer
// back, and none of what comes out is looked into. What is sent and acknowledged are
// frames here.
func (s *relayServer) Flow(ctx context.Context, t *trial) (measured, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	frame, records, err := relayFrame(t.topic.size, s.records)
	if err != nil {
		return measured{}, err
	}
	in, out, err := s.streams(ctx)
	if err != nil {
		return measured{}, err
	}
	var stop atomic.Bool
	sending, receiving := make(chan error, 1), make(chan error, 1)
	go func() {
		var err error
		t.sent, err = sendFrames(in, frame, &stop)
		sending <- err
	}()
	go func() {
		err := receiveFrames(out, len(frame), t.acks)
		if err != nil {
			t.acks.failed(err)
			cancel() // or the sender would wait for it
		}
		receiving <- err
	}()
	t.sleep(ctx, t.warmup)
	m, before := startMeter(s), t.acks.count.Load()
	t.sleep(ctx, t.seconds)
	got := m.stop((t.acks.count.Load() - before) * int64(records))
	stop.Store(true)
	if err := <-sending; err != nil {
		return got, cmp.Or(t.acks.err(), err)
	}
	if err := t.settled(ctx, mostDrain, nil); err != nil {
		return got, err
	}
	if err := out.CloseSend(); err != nil {
		return got, err
	}
	return got, <-receiving
}

// Publisher sends one record at a time and waits until it comes out again.
func (s *relayServer) Publisher(ctx context.Context, t topic, _ *acks) (Publisher, error) {
	ctx, cancel := context.WithCancel(ctx)
	frame, _, err := relayFrame(t.size, 1)
	if err != nil {
		cancel()
		return nil, err
	}
	in, out, err := s.streams(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return &relayPublisher{in, out, frame, cancel}, nil
}

type relayPublisher struct {
	in, out grpc.ClientStream
	frame   []byte
	cancel  context.CancelFunc
}

func (p *relayPublisher) Publish(context.Context, []byte) error { return errors.ErrUnsupported }
func (p *relayPublisher) Push(context.Context) error            { return errors.ErrUnsupported }
func (p *relayPublisher) Close()                                { p.cancel() }

// One leaves the payload: another of its size was encoded once.
func (p *relayPublisher) One(context.Context, []byte) error {
	if err := p.in.SendMsg(&mem.BufferSlice{mem.SliceBuffer(p.frame)}); err != nil {
		return err
	}
	return receiveFrame(p.out, len(p.frame))
}

// streams in and out, ready for frames.
func (s *relayServer) streams(ctx context.Context) (in, out grpc.ClientStream, err error) {
	if out, err = s.stream(ctx, "/relay/Consume"); err != nil {
		return nil, nil, err
	}
	if _, err = out.Header(); err != nil { // before it has come, the relay drops what is sent
		return nil, nil, err
	}
	in, err = s.stream(ctx, "/relay/Publish")
	return in, out, err
}

// stream has a connection of its own, which ends with ctx. The options are those of
// clients/go that matter to the transport.
func (s *relayServer) stream(ctx context.Context, method string) (grpc.ClientStream, error) {
	const window = 16 << 20
	conn, err := grpc.NewClient(s.address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32),
			grpc.ForceCodecV2(frameCodec{})),
		grpc.WithDisableRetry(), // or it would keep what it has sent
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(4*window))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
}

// frameCodec sends bytes as they are, and counts those that come.
type frameCodec struct{}

func (frameCodec) Name() string { return "proto" }

func (frameCodec) Marshal(v any) (mem.BufferSlice, error) { return *v.(*mem.BufferSlice), nil }

func (frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*int) = data.Len()
	return nil
}

// sendFrames until it is told to stop, and then until the relay has taken all of them.
func sendFrames(s grpc.ClientStream, frame []byte, stop *atomic.Bool) (sent int64, err error) {
	message := &mem.BufferSlice{mem.SliceBuffer(frame)}
	for ; !stop.Load() && err == nil; sent++ {
		err = s.SendMsg(message)
	}
	if err == nil {
		err = s.CloseSend()
	}
	// The stream's own end says why a message could not be sent.
	if err == nil || err == io.EOF {
		err = ended(s.RecvMsg(new(int)))
	}
	return sent, err
}

// receiveFrames to the end of the stream. One of another length would be another
// trial's, or a part.
func receiveFrames(s grpc.ClientStream, length int, acks *acks) error {
	for {
		if err := receiveFrame(s, length); err != nil {
			return ended(err)
		}
		acks.done(1)
	}
}

func receiveFrame(s grpc.ClientStream, length int) error {
	var got int
	if err := s.RecvMsg(&got); err != nil {
		return err
	}
	if got != length {
		return fmt.Errorf("a frame of %d bytes came instead of %d", got, length)
	}
	return nil
}

// ended is no error where a stream ends as it should.
func ended(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// relayFrame is what Spillway's Go client sends for so many records at most, and how
// many they are: 1 MiB is its bound.
func relayFrame(size, most int) (frame []byte, records int, err error) {
	records = topic{size: size}.window(most, 1<<20)
	payloads := newPayloads(size, records)
	batch := &pb.PublishBatch{FirstSequence: 1_000_000} // as long a number as amid a run
	for i := range records {
		batch.Records = append(batch.Records, &pb.Record{Payload: payloads.at(int64(i), 0)})
	}
	frame, err = proto.Marshal(&pb.PublishRequest{Frame: &pb.PublishRequest_Publish{Publish: batch}})
	return frame, records, err
}
