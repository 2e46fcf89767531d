package spillway

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"spillway.dev/clients/go/internal/wire"
	pb "spillway.dev/clients/go/spillwaypb"
)

// vectors reads a file that all clients share; see tests/vectors/README.md.
func vectors(t *testing.T, name string, out any) {
	t.Helper()
	text, err := os.ReadFile("../../tests/vectors/" + name)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestVectorsOfRanges(t *testing.T) {
	var cases []struct {
		Name, Hex       string
		Settled, Ranges [][2]uint64
	}
	vectors(t, "ranges.json", &cases)
	if len(cases) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range cases {
		var ranges []wire.Range
		for _, run := range c.Settled {
			if run[1] > 1000 {
				ranges = append(ranges, wire.Range{First: run[0], Count: run[1]})
				continue
			}
			for o := run[0]; o < run[0]+run[1]; o++ {
				ranges = addOffset(ranges, o)
			}
		}
		got := [][2]uint64{}
		for _, r := range normalize(ranges) {
			got = append(got, [2]uint64{r.First, r.Count})
		}
		if !slices.Equal(got, c.Ranges) {
			t.Errorf("%s: %v, want %v", c.Name, got, c.Ranges)
		}
	}
}

func TestVectorsOfErrors(t *testing.T) {
	var cases []struct {
		Name         string
		Code         uint32
		Trailer      string
		Kind         string
		Queue, Field string
		Limit        uint64
		Actual       uint64
		RetryAfterMs int64  `json:"retry_after_ms"`
		HeadOffset   uint64 `json:"head_offset"`
		TailOffset   uint64 `json:"tail_offset"`
		Retryable    bool
	}
	vectors(t, "errors.json", &cases)
	if len(cases) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range cases {
		trailer := metadata.MD{}
		if c.Trailer != "" {
			b, err := hex.DecodeString(c.Trailer)
			if err != nil {
				t.Fatal(err)
			}
			trailer.Set(errorTrailer, string(b))
		}
		err := fromStatus(status.Error(codes.Code(c.Code), "why"), trailer)
		e, ok := err.(*Error)
		if !ok {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if e.Kind.String() != c.Kind || e.Queue != c.Queue || e.Field != c.Field || e.Limit != c.Limit || e.Actual != c.Actual ||
			e.RetryAfter.Milliseconds() != c.RetryAfterMs || e.HeadOffset != c.HeadOffset || e.TailOffset != c.TailOffset {
			t.Errorf("%s: %+v, want %+v", c.Name, e, c)
		}
		if retryable(err) != c.Retryable {
			t.Errorf("%s: retryable is %v", c.Name, !c.Retryable)
		}
	}
}

func TestVectorsOfReconnects(t *testing.T) {
	var cases struct {
		Reconnect []struct {
			BaseMs       int64 `json:"base_ms"`
			MaxMs        int64 `json:"max_ms"`
			Attempt      int
			RetryAfterMs int64 `json:"retry_after_ms"`
			Budget       bool
			LeastMs      float64 `json:"least_ms"`
			MostMs       float64 `json:"most_ms"`
		}
	}
	vectors(t, "retry.json", &cases)
	if len(cases.Reconnect) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range cases.Reconnect {
		highest := 0.0
		for range 300 {
			o := defaultDialOptions()
			WithReconnect(time.Duration(c.BaseMs)*time.Millisecond, time.Duration(c.MaxMs)*time.Millisecond, time.Minute)(&o)
			client := &Client{opt: o}
			if c.Budget {
				client.budget = retryBudget{tokens: 1, full: 1}
			}
			l := link{c: client, attempt: c.Attempt}
			d := l.delay(&Error{Kind: KindUnavailable, RetryAfter: time.Duration(c.RetryAfterMs) * time.Millisecond})
			got := d.Seconds() * 1000
			highest = max(highest, got)
			if got < c.LeastMs || got > c.MostMs {
				t.Fatalf("waits %v: %+v", d, c)
			}
		}
		// 300 draws all below the middle: one in 2^300.
		if highest < (c.LeastMs+c.MostMs)/2 {
			t.Errorf("waits %v ms at most: %+v", highest, c)
		}
	}
}

// Settle frames as a consumer sends them.
func TestVectorsOfSettles(t *testing.T) {
	var cases struct {
		Settle []struct {
			Ranges         [][2]uint64
			Action, Reason string
			DelayMs        uint64 `json:"delay_ms"`
			Grant          *struct {
				Epoch uint64
				Limit struct{ Messages, Bytes uint64 }
			}
			Hex string
		}
	}
	vectors(t, "wire.json", &cases)
	if len(cases.Settle) == 0 {
		t.Fatal("no vectors")
	}
	for _, c := range cases.Settle {
		var ranges []wire.Range
		for _, r := range c.Ranges {
			ranges = append(ranges, wire.Range{First: r[0], Count: r[1]})
		}
		var grant *wire.ConsumerGrant
		if g := c.Grant; g != nil {
			grant = &wire.ConsumerGrant{Epoch: g.Epoch, Messages: g.Limit.Messages, Bytes: g.Limit.Bytes}
		}
		action := pb.SettleAction(pb.SettleAction_value["SETTLE_ACTION_"+c.Action])
		got := wire.AppendSettle(nil, ranges, action, c.DelayMs, c.Reason, grant)
		if hex.EncodeToString(got) != c.Hex {
			var m pb.ConsumeRequest
			t.Errorf("%x\n(%v)\nwant %s", got, proto.Unmarshal(got, &m), c.Hex)
		}
	}
}
