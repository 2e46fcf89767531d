package main

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

type command struct {
	ID        json.RawMessage `json:"id"`
	Cmd       string          `json:"cmd"`
	TimeoutMs int64           `json:"timeout_ms"`

	Address, Queue, Group, As, On, Mode, Action, Reason string
	Revision                                            uint64
	Tuning                                              map[string]any
	ProducerID                                          string `json:"producer_id"`
	LingerMs                                            int64  `json:"linger_ms"`
	Wait                                                *bool
	Count                                               int
	Size                                                *int // 0 is an empty payload
	Seed                                                uint64
	Keys                                                []string
	Start                                               *start
	Stop                                                *stop
	MaxInFlight                                         int   `json:"max_in_flight"`
	MaxInFlightBytes                                    int   `json:"max_in_flight_bytes"`
	IdleMs                                              int64 `json:"idle_ms"`
	Offsets                                             [][2]uint64
	DelayMs                                             int64 `json:"delay_ms"`
	Rate                                                uint64
}

type start struct {
	Offset           *uint64
	TimeUnixMs       *int64 `json:"time_unix_ms"`
	Earliest, Latest bool
	Last             *uint64
}

func (s *start) position() spillway.Position {
	switch {
	case s == nil || s.Earliest:
		return spillway.Earliest()
	case s.Offset != nil:
		return spillway.FromOffset(*s.Offset)
	case s.TimeUnixMs != nil:
		return spillway.FromTime(time.UnixMilli(*s.TimeUnixMs))
	case s.Last != nil:
		return spillway.Last(*s.Last)
	}
	return spillway.Latest()
}

type stop struct {
	Offset     *uint64
	TimeUnixMs *int64 `json:"time_unix_ms"`
	Tail       bool
}

func (s *stop) option() spillway.ReplayOption {
	switch {
	case s.Offset != nil:
		return spillway.UntilOffset(*s.Offset)
	case s.TimeUnixMs != nil:
		return spillway.UntilTime(time.UnixMilli(*s.TimeUnixMs))
	}
	return spillway.UntilTail()
}

// enums are the tunables whose values are names, with the prefix of the names.
var enums = map[string]string{"durability": "DURABILITY_", "overflow": "OVERFLOW_POLICY_", "retention": "RETENTION_"}

func tuning(in map[string]any) (spillway.TuningOption, error) {
	full := map[string]any{}
	for k, v := range in {
		if s, ok := v.(string); ok {
			v = enums[k] + s
		}
		full[k] = v
	}
	b, err := json.Marshal(full)
	if err != nil {
		return nil, err
	}
	var t pb.QueueTuning
	if err := protojson.Unmarshal(b, &t); err != nil {
		return nil, err
	}
	return func(out *pb.QueueTuning) { proto.Merge(out, &t) }, nil
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (c *command) record(i int) spillway.Message {
	size := 100
	if c.Size != nil {
		size = *c.Size
	}
	b := make([]byte, 0, size+8)
	for j := uint64(0); len(b) < size; j++ {
		b = binary.LittleEndian.AppendUint64(b, mix(c.Seed<<32+uint64(i)<<16+j))
	}
	m := spillway.Message{Payload: b[:size]}
	if len(c.Keys) > 0 {
		m.Key = []byte(c.Keys[i%len(c.Keys)])
	}
	return m
}
