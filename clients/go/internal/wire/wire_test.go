package wire

import (
	"bytes"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"
	pb "spillway.dev/clients/go/spillwaypb"
)

// FuzzPublish holds the encoder to the protobuf library: what it writes decodes to
// what was given, and its sizes are those of proto.Size.
func FuzzPublish(f *testing.F) {
	f.Add(uint64(1), []byte("payload"), []byte("key"), "name", []byte("value"), uint8(2))
	f.Add(uint64(0), []byte(nil), []byte(nil), "", []byte(nil), uint8(0))
	f.Fuzz(func(t *testing.T, first uint64, payload, key []byte, name string, value []byte, headers uint8) {
		want := &pb.Record{Payload: payload, Key: key}
		var hs []Header
		for range headers % 5 {
			hs = append(hs, Header{name, value})
			want.Headers = append(want.Headers, &pb.Header{Name: name, Value: value})
		}
		size := RecordSize(payload, key, hs)
		if n := proto.Size(want); n != size {
			t.Fatalf("size %d, proto says %d", size, n)
		}
		var body []byte
		for range 3 {
			body = AppendRecord(body, size, payload, key, hs)
		}
		if len(body) != 3*EmbeddedSize(size) {
			t.Fatal(len(body))
		}
		head := AppendPublishHead(nil, first, len(body))
		if len(head) > PublishHeadMax {
			t.Fatal(len(head))
		}
		got := &pb.PublishRequest{}
		if err := (proto.UnmarshalOptions{}).Unmarshal(append(head, body...), got); err != nil {
			if validUTF8(name) {
				t.Fatal(err)
			}
			return
		}
		p := got.GetPublish()
		if p.GetFirstSequence() != first || len(p.GetRecords()) != 3 || !proto.Equal(p.GetRecords()[2], want) {
			t.Fatal(got)
		}
		var rec Record
		var arena []Header
		if !DecodeRecord(body[len(body)-size:], &rec, &arena) || !bytes.Equal(rec.Payload, payload) ||
			!bytes.Equal(rec.Key, key) || len(rec.Headers) != len(hs) || rec.Size != size {
			t.Fatal(rec)
		}
		n := 0
		if !SplitRecords(body, func(_, _, s int) {
			if s != size {
				t.Fatal(s)
			}
			n++
		}) || n != 3 {
			t.Fatal(n)
		}
	})
}

func validUTF8(s string) bool { return bytes.Equal([]byte(s), []byte(string([]rune(s)))) }

// FuzzConsumeFrame holds the decoder to the protobuf library on any bytes: it
// accepts no more deliveries than it does, and reads the same from them.
func FuzzConsumeFrame(f *testing.F) {
	seed, _ := proto.Marshal(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Delivery{Delivery: &pb.Delivery{
		Runs:    []*pb.Delivery_Run{{FirstOffset: 5, Count: 2, AppendedAtUnixMs: 9, Attempt: 1}},
		Records: []*pb.Record{{Payload: []byte("x")}, {Key: []byte("k"), Headers: []*pb.Header{{Name: "n"}}}},
	}}})
	f.Add(seed)
	seed, _ = proto.Marshal(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Ping{Ping: &pb.Ping{Id: 3}}})
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var frame ConsumeFrame
		err := frame.Decode(data)
		var want pb.ConsumeResponse
		if proto.Unmarshal(data, &want) != nil {
			// A delivery's records are not looked into before they are handed out, so
			// malformed ones are found by DecodeRecord.
			return
		}
		d := want.GetDelivery()
		if d == nil {
			if err == nil && frame.IsDelivery {
				t.Fatal("a delivery of nothing")
			}
			return
		}
		counted := 0
		for _, r := range d.Runs {
			counted += int(r.Count)
		}
		if counted != len(d.Records) {
			if err == nil {
				t.Fatal("counts that do not add up were taken")
			}
			return
		}
		if err != nil || !frame.IsDelivery || len(frame.Records) != len(d.Records) || len(frame.Runs) != len(d.Runs) {
			t.Fatal(err, &want)
		}
		for i, r := range d.Runs {
			g := frame.Runs[i]
			if g.First != r.FirstOffset || g.Count != r.Count || g.AppendedAt != r.AppendedAtUnixMs || g.Attempt != r.Attempt {
				t.Fatal(g, r)
			}
		}
		var arena []Header
		for i, r := range d.Records {
			var rec Record
			if !DecodeRecord(frame.Records[i], &rec, &arena) {
				t.Fatal("a record was not understood")
			}
			if !bytes.Equal(rec.Payload, r.Payload) || !bytes.Equal(rec.Key, r.Key) || len(rec.Headers) != len(r.Headers) {
				t.Fatal(rec, r)
			}
		}
	})
}

// FuzzPublishFrame does the same for confirmations and grants.
func FuzzPublishFrame(f *testing.F) {
	for _, m := range []*pb.PublishResponse{
		{Frame: &pb.PublishResponse_Confirm{Confirm: &pb.Confirm{Durability: 3, Runs: []*pb.Confirm_Run{
			{FirstSequence: 1, Count: 2, FirstOffset: 3}, {FirstSequence: 3, Count: 1, Duplicate: true, OffsetUnknown: true}}}}},
		{Frame: &pb.PublishResponse_Confirm{Confirm: &pb.Confirm{Durability: 1, Runs: []*pb.Confirm_Run{{FirstSequence: 1, Count: 2}},
			Grant: &pb.Grant{Epoch: 1, Limit: &pb.Credit{Messages: 2, Bytes: 3}}}}},
		{Frame: &pb.PublishResponse_Grant{Grant: &pb.Grant{Epoch: 1, Limit: &pb.Credit{Messages: 2, Bytes: 3}, Reason: 4,
			ReasonAgeMs: 5, WindowUsedBytes: 6, WindowBytes: 7}}},
		{Frame: &pb.PublishResponse_Drain{Drain: &pb.Drain{}}},
	} {
		b, _ := proto.Marshal(m)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var frame PublishFrame
		err := frame.Decode(data)
		var want pb.PublishResponse
		if proto.Unmarshal(data, &want) != nil {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if frame.IsConfirm {
			c := want.GetConfirm()
			if len(c.GetRuns()) != len(frame.Runs) || c.GetDurability() != frame.Durability {
				t.Fatal(c, frame)
			}
			for i, r := range c.GetRuns() {
				if frame.Runs[i] != (ConfirmRun{r.FirstSequence, r.Count, r.FirstOffset, r.Duplicate, r.OffsetUnknown}) {
					t.Fatal(r, frame.Runs[i])
				}
			}
		}
		g := want.GetGrant()
		if frame.IsConfirm {
			g = want.GetConfirm().GetGrant()
			if frame.IsGrant != (g != nil) {
				t.Fatal("a riding grant was lost or made up", g, frame)
			}
		}
		if frame.IsGrant {
			if frame.Grant != (Grant{g.GetEpoch(), g.GetLimit().GetMessages(), g.GetLimit().GetBytes(), g.GetReason(),
				g.GetReasonAgeMs(), g.GetWindowUsedBytes(), g.GetWindowBytes()}) {
				t.Fatal(g, frame.Grant)
			}
		}
	})
}

func TestConsumerFrames(t *testing.T) {
	ranges := []Range{{0, 1}, {5, 300}, {1 << 40, 1 << 33}}
	grants := []*ConsumerGrant{nil, {9, 1000, 1 << 40}, {math.MaxUint64, math.MaxUint64, math.MaxUint64}, {1, 0, 0}}
	for i, reason := range []string{"", "why", string(make([]byte, 1024)), ""} {
		var m pb.ConsumeRequest
		if err := proto.Unmarshal(AppendSettle(nil, ranges, pb.SettleAction_SETTLE_ACTION_RETRY, 700, reason, grants[i]), &m); err != nil {
			t.Fatal(err)
		}
		if g := m.GetSettle().GetGrant(); (g != nil) != (grants[i] != nil) || g != nil &&
			(ConsumerGrant{g.GetEpoch(), g.GetLimit().GetMessages(), g.GetLimit().GetBytes()}) != *grants[i] {
			t.Fatal(g)
		}
		s := m.GetSettle()
		if len(s.GetRanges()) != 3 || s.GetRanges()[2].GetFirstOffset() != 1<<40 || s.GetRanges()[2].GetCount() != 1<<33 ||
			s.GetRanges()[0].GetCount() != 1 || s.GetReason() != reason || s.GetDelayMs() != 700 || s.GetAction() != 2 {
			t.Fatal(s)
		}
	}
	var m pb.ConsumeRequest
	if err := proto.Unmarshal(AppendConsumerGrant(nil, *grants[1]), &m); err != nil {
		t.Fatal(err)
	}
	if g := m.GetGrant(); g.GetEpoch() != 9 || g.GetLimit().GetMessages() != 1000 || g.GetLimit().GetBytes() != 1<<40 {
		t.Fatal(g)
	}
}

func TestDemand(t *testing.T) {
	for _, d := range []Demand{{}, {1, 1027, 1027, 0, 0}, {1, 0, 0, 0, 5}, {3, 300, 100, 7, 0},
		{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}} {
		var m pb.PublishRequest
		if err := proto.Unmarshal(AppendDemand(nil, d), &m); err != nil {
			t.Fatal(d, err)
		}
		g := m.GetDemand()
		got := Demand{g.GetWaiting().GetMessages(), g.GetWaiting().GetBytes(), g.GetNextRecordBytes(),
			g.GetReturned().GetMessages(), g.GetReturned().GetBytes()}
		if got != d || g.GetWaiting() == nil || (g.GetReturned() != nil) != (d.ReturnedMessages+d.ReturnedBytes > 0) {
			t.Fatal(d, g)
		}
	}
}

func TestNothingIsAllocatedForARecord(t *testing.T) {
	payload, key := make([]byte, 100), []byte("key")
	headers := []Header{{"n", []byte("v")}}
	buf := make([]byte, 0, 1<<10)
	arena := make([]Header, 0, 10)
	if n := testing.AllocsPerRun(100, func() {
		size := RecordSize(payload, key, headers)
		buf = AppendRecord(buf[:0], size, payload, key, headers)
		var rec Record
		arena = arena[:0]
		if !DecodeRecord(buf[len(buf)-size:], &rec, &arena) {
			t.Fatal()
		}
	}); n != 0 {
		t.Fatal(n)
	}
}
