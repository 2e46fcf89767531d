package vectors

import (
	"encoding/hex"
	"strings"

	pb "spillway.dev/clients/go/spillwaypb"
)

type record struct {
	Name    string      `json:"name"`
	Payload string      `json:"payload"` // bytes in hex, here and below
	Key     string      `json:"key"`
	Headers [][2]string `json:"headers"` // name as text, value in hex
	// Bytes is the record's cost: the length of Hex.
	Bytes int    `json:"bytes"`
	Hex   string `json:"hex"`
}

func (r *record) proto() *pb.Record {
	out := &pb.Record{Payload: unhex(r.Payload), Key: unhex(r.Key)}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, &pb.Header{Name: h[0], Value: unhex(h[1])})
	}
	return out
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

type credit struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

type grant struct {
	Epoch       uint64 `json:"epoch"`
	Limit       credit `json:"limit"`
	Reason      string `json:"reason,omitempty"`
	ReasonAgeMs uint64 `json:"reason_age_ms,omitempty"`
	WindowUsed  uint64 `json:"window_used_bytes,omitempty"`
	WindowBytes uint64 `json:"window_bytes,omitempty"`
}

func (g *grant) proto() *pb.Grant {
	if g == nil {
		return nil
	}
	return &pb.Grant{Epoch: g.Epoch, Limit: &pb.Credit{Messages: g.Limit.Messages, Bytes: g.Limit.Bytes},
		Reason:      pb.CreditReason(pb.CreditReason_value["CREDIT_REASON_"+g.Reason]),
		ReasonAgeMs: g.ReasonAgeMs, WindowUsedBytes: g.WindowUsed, WindowBytes: g.WindowBytes}
}

type publish struct {
	FirstSequence uint64   `json:"first_sequence"`
	Records       []string `json:"records"` // by name
	Hex           string   `json:"hex"`     // a PublishRequest
}

type confirmRun struct {
	FirstSequence uint64 `json:"first_sequence"`
	Count         uint64 `json:"count"`
	FirstOffset   uint64 `json:"first_offset"`
	Duplicate     bool   `json:"duplicate"`
	OffsetUnknown bool   `json:"offset_unknown"`
}

type confirm struct {
	Runs       []confirmRun `json:"runs"`
	Durability string       `json:"durability"`
	Grant      *grant       `json:"grant"`
	Hex        string       `json:"hex"` // a PublishResponse
}

type deliveryRun struct {
	FirstOffset uint64 `json:"first_offset"`
	Count       uint32 `json:"count"`
	AppendedAt  uint64 `json:"appended_at_unix_ms"`
	Attempt     uint32 `json:"attempt"`
}

type delivery struct {
	Runs    []deliveryRun `json:"runs"`
	Records []string      `json:"records"`
	Hex     string        `json:"hex"` // a ConsumeResponse
}

type settle struct {
	Ranges  [][2]uint64 `json:"ranges"`
	Action  string      `json:"action"`
	DelayMs uint64      `json:"delay_ms"`
	Reason  string      `json:"reason"`
	Grant   *grant      `json:"grant"`
	Hex     string      `json:"hex"` // a ConsumeRequest
}

type malformed struct {
	Name string `json:"name"`
	Hex  string `json:"hex"` // a ConsumeResponse that must be refused
}

func frames() any {
	records := []record{
		{Name: "empty"},
		{Name: "payload", Payload: hex.EncodeToString([]byte("hello"))},
		{Name: "keyed", Payload: "00", Key: hex.EncodeToString([]byte("key"))},
		{Name: "key only", Key: "ff00"},
		{Name: "headers", Payload: "01", Headers: [][2]string{{"b", "02"}, {"a", ""}, {"b", "03"}}},
		{Name: "127 bytes", Payload: strings.Repeat("7f", 127)},
		{Name: "128 bytes", Payload: strings.Repeat("80", 128), Key: "6b"},
	}
	byName := map[string]*pb.Record{}
	for i := range records {
		r := &records[i]
		if r.Headers == nil {
			r.Headers = [][2]string{}
		}
		r.Hex = encode(r.proto())
		r.Bytes = len(r.Hex) / 2
		byName[r.Name] = r.proto()
	}
	named := func(names []string) (out []*pb.Record) {
		for _, name := range names {
			out = append(out, byName[name])
		}
		return out
	}

	publishes := []publish{
		{FirstSequence: 1, Records: []string{"payload"}},
		{FirstSequence: 128, Records: []string{"empty", "keyed", "empty"}},
		{FirstSequence: 1 << 63, Records: []string{"headers", "127 bytes", "128 bytes", "key only"}},
	}
	for i := range publishes {
		p := &publishes[i]
		p.Hex = encode(&pb.PublishRequest{Frame: &pb.PublishRequest_Publish{Publish: &pb.PublishBatch{
			FirstSequence: p.FirstSequence, Records: named(p.Records)}}})
	}

	confirms := []confirm{
		{Runs: []confirmRun{{FirstSequence: 1, Count: 1}}, Durability: "SYNCED"},
		{Runs: []confirmRun{{FirstSequence: 7, Count: 300, FirstOffset: 1 << 40}, {FirstSequence: 307, Count: 2, FirstOffset: 5, Duplicate: true},
			{FirstSequence: 309, Count: 1, Duplicate: true, OffsetUnknown: true}}, Durability: "MEMORY",
			Grant: &grant{Epoch: 9, Limit: credit{1000, 1 << 30}, Reason: "WINDOW_FULL", ReasonAgeMs: 1500, WindowUsed: 64 << 20, WindowBytes: 64 << 20}},
	}
	for i := range confirms {
		c := &confirms[i]
		m := &pb.Confirm{Durability: pb.Durability(pb.Durability_value["DURABILITY_"+c.Durability]), Grant: c.Grant.proto()}
		for _, r := range c.Runs {
			m.Runs = append(m.Runs, &pb.Confirm_Run{FirstSequence: r.FirstSequence, Count: r.Count,
				FirstOffset: r.FirstOffset, Duplicate: r.Duplicate, OffsetUnknown: r.OffsetUnknown})
		}
		c.Hex = encode(&pb.PublishResponse{Frame: &pb.PublishResponse_Confirm{Confirm: m}})
	}

	deliveries := []delivery{
		{Runs: []deliveryRun{{Count: 1, Attempt: 1, AppendedAt: 1_700_000_000_000}}, Records: []string{"empty"}},
		{Runs: []deliveryRun{{FirstOffset: 41, Count: 2, AppendedAt: 1_700_000_000_000, Attempt: 1},
			{FirstOffset: 1 << 50, Count: 1, AppendedAt: 1_700_000_000_001, Attempt: 5}},
			Records: []string{"payload", "headers", "128 bytes"}},
	}
	for i := range deliveries {
		deliveries[i].Hex = encode(deliveryFrame(deliveries[i].Runs, named(deliveries[i].Records)))
	}

	settles := []settle{
		{Ranges: [][2]uint64{{0, 1}}, Action: "ACK"},
		{Ranges: [][2]uint64{{5, 300}, {1 << 40, 1 << 33}}, Action: "ACK", Grant: &grant{Epoch: 3, Limit: credit{2000, 1 << 24}}},
		{Ranges: [][2]uint64{{7, 1}}, Action: "RETRY", DelayMs: 60_000, Reason: "später"},
		{Ranges: [][2]uint64{{8, 1}}, Action: "PARK", Reason: strings.Repeat("r", 200)},
		{Ranges: [][2]uint64{{9, 1}}, Action: "SKIP"},
	}
	for i := range settles {
		s := &settles[i]
		s.Hex = encode(&pb.ConsumeRequest{Frame: &pb.ConsumeRequest_Settle{Settle: &pb.Settle{Ranges: toProto(s.Ranges),
			Action: pb.SettleAction(pb.SettleAction_value["SETTLE_ACTION_"+s.Action]), DelayMs: s.DelayMs, Reason: s.Reason, Grant: s.Grant.proto()}}})
	}

	one := encode(deliveryFrame([]deliveryRun{{FirstOffset: 5, Count: 1, Attempt: 1}}, named([]string{"payload"})))
	refused := []malformed{
		{"cut", one[:len(one)-2]},
		{"more records than its runs count", encode(deliveryFrame([]deliveryRun{{FirstOffset: 5, Count: 1}}, named([]string{"empty", "empty"})))},
		{"fewer records than its runs count", encode(deliveryFrame([]deliveryRun{{FirstOffset: 5, Count: 3}}, named([]string{"empty", "empty"})))},
		{"a length beyond the end", "12ff01"},
		{"a varint without an end", "12" + strings.Repeat("ff", 11)},
	}
	return map[string]any{"records": records, "publish": publishes, "confirm": confirms,
		"delivery": deliveries, "settle": settles, "malformed_delivery": refused}
}

func deliveryFrame(runs []deliveryRun, records []*pb.Record) *pb.ConsumeResponse {
	m := &pb.Delivery{Records: records}
	for _, r := range runs {
		m.Runs = append(m.Runs, &pb.Delivery_Run{FirstOffset: r.FirstOffset, Count: r.Count,
			AppendedAtUnixMs: r.AppendedAt, Attempt: r.Attempt})
	}
	return &pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Delivery{Delivery: m}}
}
