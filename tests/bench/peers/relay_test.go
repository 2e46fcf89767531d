package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	pb "spillway.dev/clients/go/spillwaypb"
)

// bytesCodec carries frames as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// fakeRelay does to frames what `pass` says before they come out.
func fakeRelay(t *testing.T, pass func(frame []byte) [][]byte) *relayServer {
	t.Helper()
	frames := make(chan []byte)
	server := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}), grpc.MaxRecvMsgSize(4<<20),
		grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
			if method, _ := grpc.MethodFromServerStream(s); method == "/relay/Publish" {
				var frame []byte
				for s.RecvMsg(&frame) == nil {
					for _, f := range pass(frame) {
						select {
						case frames <- f:
						case <-s.Context().Done():
							return nil
						}
					}
				}
				return nil
			}
			if err := s.SendHeader(nil); err != nil {
				return err
			}
			left := make(chan struct{})
			go func() {
				_ = s.RecvMsg(new([]byte))
				close(left)
			}()
			for {
				select {
				case f := <-frames:
					if err := s.SendMsg(&f); err != nil {
						return err
					}
				case <-left:
					return nil
				}
			}
		}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return &relayServer{address: l.Addr().String(), records: 100,
		child: &child{cmd: &exec.Cmd{Process: &os.Process{Pid: os.Getpid()}}}}
}

func relayed(t *testing.T, s *relayServer, load string) (measured, error) {
	t.Helper()
	return newTrial(s, options{load: load, warmup: 10 * time.Millisecond, seconds: 50 * time.Millisecond}, 100).run(t.Context())
}

func TestRelayedFramesAreCounted(t *testing.T) {
	s := fakeRelay(t, func(frame []byte) [][]byte { return [][]byte{bytes.Clone(frame)} })
	for range 2 { // trials follow each other on one server
		got, err := relayed(t, s, "e2e")
		if err != nil || got.Records == 0 || int(got.Records)%100 != 0 || got.Seconds < 0.05 {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestRelayedOneAtATime(t *testing.T) {
	lone := true
	s := fakeRelay(t, func(frame []byte) [][]byte {
		var m pb.PublishRequest
		lone = lone && proto.Unmarshal(frame, &m) == nil && len(m.GetPublish().GetRecords()) == 1
		return [][]byte{bytes.Clone(frame)}
	})
	got, err := relayed(t, s, "single")
	if err != nil || got.Records == 0 || got.Seconds < 0.05 || !lone {
		t.Errorf("%+v, %v, one record in each frame: %v", got, err, lone)
	}
}

func TestRelayedWrongsAreRefused(t *testing.T) {
	s := fakeRelay(t, func(frame []byte) [][]byte { return [][]byte{bytes.Clone(frame[1:])} })
	for _, load := range []string{"e2e", "single"} {
		if _, err := relayed(t, s, load); err == nil || !strings.Contains(err.Error(), "bytes came instead of") {
			t.Errorf("%s: %v", load, err)
		}
	}
	s.address = "127.0.0.1:1"
	for _, load := range []string{"e2e", "single"} {
		if _, err := relayed(t, s, load); err == nil {
			t.Errorf("%s: nobody answered, which went unseen", load)
		}
	}
}

func TestRelayFrames(t *testing.T) {
	for _, c := range []struct{ size, most, records int }{{100, 10_000, 10_000}, {1024, 10_000, 1024}, {64 << 10, 100, 16}, {1024, 100, 100}} {
		frame, records, err := relayFrame(c.size, c.most)
		var m pb.PublishRequest
		if err != nil || proto.Unmarshal(frame, &m) != nil || records != c.records ||
			len(m.GetPublish().GetRecords()) != records || len(m.GetPublish().GetRecords()[records-1].GetPayload()) != c.size {
			t.Errorf("%d of %d bytes: %d records, %v", c.most, c.size, records, err)
		}
	}
}
