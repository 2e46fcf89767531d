package conformance

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
)

// Record is what a driver says of a record that it received.
type Record struct {
	Offset  uint64 `json:"offset"`
	Attempt uint32 `json:"attempt"`
	Key     string `json:"key"`
	Size    int    `json:"size"`
	Fnv     string `json:"fnv"`
}

// span describes records that a scenario expects: those that a publish with the
// same seed, size and keys made, from record `from` on, at consecutive offsets from
// `offset` on or at the runs that its confirmation named.
type span struct {
	Offset  uint64
	Offsets [][2]int64
	From    int
	Count   int
	Size    *int
	Seed    uint64
	Keys    []string
	Attempt any // 1 if absent
}

func (s *span) expected() ([]Record, error) {
	offsets := make([]uint64, 0, s.Count)
	for _, run := range s.Offsets {
		if run[0] < 0 {
			return nil, fmt.Errorf("an offset is unknown: %v", s.Offsets)
		}
		for i := range run[1] {
			offsets = append(offsets, uint64(run[0]+i))
		}
	}
	if s.Offsets == nil {
		for i := range s.Count {
			offsets = append(offsets, s.Offset+uint64(i))
		}
	}
	if len(offsets) != s.Count {
		return nil, fmt.Errorf("%d offsets for %d records", len(offsets), s.Count)
	}
	size := 100
	if s.Size != nil {
		size = *s.Size
	}
	out := make([]Record, s.Count)
	for i := range out {
		n := s.From + i
		out[i] = Record{Offset: offsets[i], Attempt: 1, Size: size, Fnv: Fnv(Payload(s.Seed, n, size))}
		if len(s.Keys) > 0 {
			out[i].Key = s.Keys[n%len(s.Keys)]
		}
	}
	return out, nil
}

// matchSpans compares what came with what the spans describe.
func (m *matcher) matchSpans(spec map[string]any, got any) error {
	var want struct {
		Records  []span `json:"$records"`
		AnyOrder bool   `json:"$any_order"`
		// Again is how many records may have come a second time.
		Again int `json:"$again"`
	}
	if err := strict(spec, &want); err != nil {
		return err
	}
	var came []Record
	if err := convert(got, &came); err != nil {
		return fmt.Errorf("no records: %w", err)
	}
	var expected []Record
	var attempts []any
	for i := range want.Records {
		s := &want.Records[i]
		records, err := s.expected()
		if err != nil {
			return err
		}
		expected = append(expected, records...)
		if s.Attempt == nil {
			s.Attempt = json.Number("1")
		}
		for range records {
			attempts = append(attempts, s.Attempt)
		}
	}
	if want.AnyOrder {
		return matchSet(expected, came, want.Again)
	}
	if len(came) != len(expected) {
		return fmt.Errorf("%d records came, want %d", len(came), len(expected))
	}
	for i, r := range came {
		if err := m.match(attempts[i], json.Number(fmt.Sprint(r.Attempt))); err != nil {
			return fmt.Errorf("record %d, attempt: %w", i, err)
		}
		r.Attempt = expected[i].Attempt
		if r != expected[i] {
			return fmt.Errorf("record %d is %+v, want %+v", i, r, expected[i])
		}
	}
	return nil
}

// matchSet holds if every expected record came, none but these, and at most `again`
// of them repeatedly. Attempts are not compared: a repetition may be either.
func matchSet(expected, came []Record, again int) error {
	byOffset := make(map[uint64]Record, len(expected))
	for _, r := range expected {
		if _, twice := byOffset[r.Offset]; twice {
			return fmt.Errorf("offset %d is expected twice", r.Offset)
		}
		byOffset[r.Offset] = r
	}
	seen := map[uint64]bool{}
	for _, r := range came {
		want, ok := byOffset[r.Offset]
		want.Attempt = r.Attempt
		switch {
		case !ok:
			return fmt.Errorf("%+v was not expected", r)
		case r != want:
			return fmt.Errorf("%+v came, want %+v", r, want)
		case seen[r.Offset]:
			again--
		}
		seen[r.Offset] = true
	}
	for _, r := range expected {
		if !seen[r.Offset] {
			return fmt.Errorf("offset %d did not come, as %d others of %d",
				r.Offset, len(expected)-len(seen)-1, len(expected))
		}
	}
	if again < 0 {
		return fmt.Errorf("%d records too many came again", -again)
	}
	return nil
}

// Payload is that of record i of a publish, as README.md defines it.
func Payload(seed uint64, i, size int) []byte {
	b := make([]byte, 0, size+8)
	for j := uint64(0); len(b) < size; j++ {
		b = binary.LittleEndian.AppendUint64(b, mix(seed<<32+uint64(i)<<16+j))
	}
	return b[:size]
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Fnv is the FNV-1a of 64 bits, as 16 hex digits.
func Fnv(b []byte) string {
	h := fnv.New64a()
	h.Write(b)
	return fmt.Sprintf("%016x", h.Sum64())
}

func convert(in, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}
