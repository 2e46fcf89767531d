package vectors

import (
	"encoding/hex"

	"spillway.dev/tests/conformance"
)

// payload: record i of a publish in the conformance suite.
type payload struct {
	Seed   uint64 `json:"seed"`
	Record int    `json:"record"`
	Size   int    `json:"size"`
	// Head is the first bytes in hex, at most 16 of them.
	Head string `json:"head"`
	Fnv  string `json:"fnv"`
}

func payloads() any {
	out := []payload{
		{Size: 0}, {Size: 1}, {Seed: 1, Size: 8}, {Seed: 1, Record: 1, Size: 100}, {Seed: 2, Record: 65_536, Size: 17},
		{Seed: 4, Record: 39, Size: 65_536}, {Seed: 1<<32 - 1, Record: 1, Size: 3},
	}
	for i := range out {
		p := &out[i]
		b := conformance.Payload(p.Seed, p.Record, p.Size)
		p.Head, p.Fnv = hex.EncodeToString(b[:min(len(b), 16)]), conformance.Fnv(b)
	}
	return out
}
