// Package wire encodes and decodes the frames of the hot path by hand, and
// leaves every other frame to the protobuf library.
//
// What it writes is what proto.Marshal would accept and re-create; fuzz tests
// hold it to that. It allocates nothing for each record: records are appended to
// buffers that the caller owns, and decoded records alias the frame they came in.
package wire

import (
	"encoding/binary"
	"math/bits"
)

// Header is one header of a record.
type Header struct {
	Name  string
	Value []byte
}

// Record is one decoded record; its fields alias the frame.
type Record struct {
	Payload []byte
	Key     []byte
	Headers []Header
	// Size is the length of the encoded record: its cost in bytes of credit.
	Size int
}

const (
	tagPayload = 1<<3 | 2
	tagKey     = 2<<3 | 2
	tagHeaders = 3<<3 | 2
	tagRecords = 15<<3 | 2 // one byte: 0x7a
)

func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func bytesLen(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + varintLen(uint64(n)) + n
}

// HeaderSize is the length of the encoded header, without tag and length prefix:
// what counts against the limit of a record's headers.
func HeaderSize(h *Header) int { return bytesLen(len(h.Name)) + bytesLen(len(h.Value)) }

// RecordSize is the length of the encoded record, without tag and length prefix.
func RecordSize(payload, key []byte, headers []Header) int {
	n := bytesLen(len(payload)) + bytesLen(len(key))
	for i := range headers {
		h := HeaderSize(&headers[i])
		n += 1 + varintLen(uint64(h)) + h
	}
	return n
}

// EmbeddedSize is the length of a record of the given size inside a frame.
func EmbeddedSize(size int) int { return 1 + varintLen(uint64(size)) + size }

func appendBytes(b []byte, tag byte, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// AppendRecord appends the record as an element of `records`, tag and length
// included. size must be RecordSize of the same arguments.
func AppendRecord(b []byte, size int, payload, key []byte, headers []Header) []byte {
	b = append(b, tagRecords)
	b = binary.AppendUvarint(b, uint64(size))
	b = appendBytes(b, tagPayload, payload)
	b = appendBytes(b, tagKey, key)
	for i := range headers {
		h := &headers[i]
		b = append(b, tagHeaders)
		b = binary.AppendUvarint(b, uint64(HeaderSize(h)))
		if len(h.Name) > 0 {
			b = append(b, tagPayload)
			b = binary.AppendUvarint(b, uint64(len(h.Name)))
			b = append(b, h.Name...)
		}
		b = appendBytes(b, tagKey, h.Value)
	}
	return b
}
