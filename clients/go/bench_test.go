package spillway_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net"
	"runtime"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// sink is the least that a client can talk to: it counts records without decoding
// them, confirms each frame at once and grants without end; and it delivers one
// prepared frame as long as there is credit. What is measured is the client.
type sink struct {
	frame   []byte // a ConsumeResponse without its offsets
	records int
	bytes   uint64
}

func field(b []byte, want uint64) (body, rest []byte) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		b = b[n:]
		if tag&7 == 0 {
			_, n = binary.Uvarint(b)
			b = b[n:]
			continue
		}
		l, n := binary.Uvarint(b)
		v := b[n : n+int(l)]
		b = b[n+int(l):]
		if tag>>3 == want {
			return v, b
		}
	}
	return nil, nil
}

func (s *sink) publish(_ any, st grpc.ServerStream) error {
	var open pb.PublishRequest
	if err := st.RecvMsg(&open); err != nil {
		return err
	}
	t := spillway.DefaultTuning()
	tuning := &pb.QueueTuning{}
	for _, o := range t.Options() {
		o(tuning)
	}
	st.SendMsg(&pb.PublishResponse{Frame: &pb.PublishResponse_Opened{Opened: &pb.PublishOpened{Protocol: 1, Epoch: 1, NextSequence: 1,
		ProducerId: "p", Session: "s", Tuning: tuning, HeartbeatMs: 1e6, DeadAfterMs: 1e7}}})
	grant := &pb.Grant{Epoch: 1, Limit: &pb.Credit{Messages: 20_000, Bytes: 8 << 20}}
	var next uint64 = 1
	for {
		if err := st.SendMsg(&pb.PublishResponse{Frame: &pb.PublishResponse_Grant{Grant: grant}}); err != nil {
			return err
		}
		var in wire.In
		if err := st.RecvMsg(&in); err != nil {
			return nil
		}
		if in.Data[0] != 2<<3|2 {
			if in.Data[0] == 6<<3|2 {
				return nil
			}
			continue
		}
		body, _ := field(in.Data, 2)
		n := uint64(0)
		for {
			rec, rest := field(body, 15)
			if rec == nil {
				break
			}
			n++
			grant.Limit.Messages++
			grant.Limit.Bytes += uint64(len(rec))
			body = rest
		}
		st.SendMsg(&pb.PublishResponse{Frame: &pb.PublishResponse_Confirm{Confirm: &pb.Confirm{Durability: 3,
			Runs: []*pb.Confirm_Run{{FirstSequence: next, Count: n, FirstOffset: next - 1}}}}})
		next += n
	}
}

func (s *sink) consume(_ any, st grpc.ServerStream) error {
	var open pb.ConsumeRequest
	if err := st.RecvMsg(&open); err != nil {
		return err
	}
	st.SendMsg(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Opened{Opened: &pb.ConsumeOpened{Protocol: 1, Epoch: 1, Session: "s",
		Tuning: &pb.QueueTuning{MaxMessageBytes: proto.Uint64(4 << 20), AckDeadlineMs: proto.Uint64(1e6)}, HeartbeatMs: 1e6, DeadAfterMs: 1e7}}})
	limit := open.GetOpen().GetLimit()
	var sent, offset, sentBytes uint64
	for {
		for sent+uint64(s.records) <= limit.Messages && sentBytes+s.bytes <= limit.Bytes {
			run, _ := proto.Marshal(&pb.Delivery{Runs: []*pb.Delivery_Run{{FirstOffset: offset, Count: uint32(s.records), Attempt: 1}}})
			head := binary.AppendUvarint([]byte{2<<3 | 2}, uint64(len(run)+len(s.frame)))
			out := append(append(head, run...), s.frame...)
			if err := st.SendMsg(&wire.Out{Buffers: mem.BufferSlice{mem.SliceBuffer(out)}}); err != nil {
				return err
			}
			sent += uint64(s.records)
			sentBytes += s.bytes
			offset += uint64(s.records)
		}
		var in pb.ConsumeRequest
		if err := st.RecvMsg(&in); err != nil || in.GetClose() != nil {
			return nil
		}
		if g := in.GetGrant(); g != nil {
			limit = g.GetLimit()
		}
		if g := in.GetSettle().GetGrant(); g != nil {
			limit = g.GetLimit()
		}
	}
}

func startSink(b *testing.B, size int) (*spillway.Client, context.Context) {
	b.Helper()
	s := &sink{records: min(1000, max(1, 256<<10/size))}
	payload := make([]byte, size)
	for range s.records {
		n := wire.RecordSize(payload, nil, nil)
		s.frame = wire.AppendRecord(s.frame, n, payload, nil, nil)
		s.bytes += uint64(n)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(wire.Codec{}), grpc.MaxRecvMsgSize(math.MaxInt32))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "spillway.v1.Broker", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{
		{StreamName: "Publish", Handler: s.publish, ServerStreams: true, ClientStreams: true},
		{StreamName: "Consume", Handler: s.consume, ServerStreams: true, ClientStreams: true},
	}}, s)
	go server.Serve(l)
	ctx := context.Background()
	c, err := spillway.Dial(ctx, l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(ctx); server.Stop() })
	return c, ctx
}

var sizes = []struct {
	name string
	n    int
}{{"100B", 100}, {"1KiB", 1 << 10}, {"64KiB", 64 << 10}}

func BenchmarkPublish(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.name, func(b *testing.B) {
			c, ctx := startSink(b, s.n)
			p, err := c.Producer(ctx, "q")
			if err != nil {
				b.Fatal(err)
			}
			m := spillway.Message{Payload: make([]byte, s.n)}
			b.SetBytes(int64(s.n))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := p.PublishAsync(ctx, m); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Flush(ctx); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkConsume(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.name, func(b *testing.B) {
			c, ctx := startSink(b, s.n)
			n, err := c.Consumer(ctx, "q", "g", spillway.WithMaxInFlight(10_000))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(s.n))
			b.ReportAllocs()
			b.ResetTimer()
			i := 0
			for d, err := range n.Deliveries(ctx) {
				if err != nil {
					b.Fatal(err)
				}
				d.Ack()
				if i++; i >= b.N {
					break
				}
			}
		})
	}
}

// The whole path, in both directions: nothing is allocated for a message. Frames
// are: a frame's share of a message is far below one allocation.
func TestAllocationsPerMessage(t *testing.T) {
	if testing.Short() {
		t.Skip()
	}
	r := testing.Benchmark(func(b *testing.B) {
		c, ctx := startSink(b, 100)
		p, err := c.Producer(ctx, "q")
		if err != nil {
			b.Fatal(err)
		}
		m := spillway.Message{Payload: make([]byte, 100), Key: []byte("k")}
		for b.Loop() {
			if _, err := p.PublishAsync(ctx, m); err != nil && !errors.Is(err, context.Canceled) {
				b.Fatal(err)
			}
		}
		p.Flush(ctx)
	})
	per := float64(r.MemAllocs) / float64(r.N)
	t.Logf("%d messages, %.3f allocations a message, server included, %d ns a message", r.N, per, r.NsPerOp())
	if per > 0.5 {
		t.Errorf("%.3f allocations a message", per)
	}
	runtime.GC()
}
