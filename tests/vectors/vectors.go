// Package vectors makes the files that every client's tests read; see README.md.
// Bytes come from the protobuf library and the protos, numbers from the rules in
// docs, so that no client is the measure of another.
package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"

	"google.golang.org/protobuf/proto"
)

// Files returns the contents of each file, by its name.
func Files() map[string][]byte {
	return map[string][]byte{
		"ranges.json":   file(ranges()),
		"wire.json":     file(frames()),
		"errors.json":   file(errorCases()),
		"retry.json":    file(retry()),
		"payloads.json": file(payloads()),
	}
}

func file(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // nothing here cannot be encoded
	}
	return b.Bytes()
}

// encode writes fields in the order of their numbers, as every client must where
// bytes are compared.
func encode(m proto.Message) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(b)
}
