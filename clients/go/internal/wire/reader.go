package wire

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// ErrMalformed says that a frame is not the message it should be.
var ErrMalformed = errors.New("malformed frame")

// reader walks the fields of one encoded message. After a failure `bad` is set
// and everything reads as empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) more() bool { return len(r.b) > 0 && !r.bad }

func (r *reader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := uint64(r.b[0])
		r.b = r.b[1:]
		return v
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// skip passes over the value of an unknown field.
func (r *reader) skip(tag uint64) {
	if tag>>3 == 0 {
		r.bad = true
		return
	}
	switch tag & 7 {
	case 0:
		r.uvarint()
	case 1:
		r.fixed(8)
	case 2:
		r.bytes()
	case 5:
		r.fixed(4)
	case 3: // a group: fields up to its end tag
		for depth := 1; depth > 0 && !r.bad; {
			inner := r.uvarint()
			switch inner & 7 {
			case 3:
				depth++
			case 4:
				depth--
			default:
				r.skip(inner)
			}
		}
	default:
		r.bad = true
	}
}

func (r *reader) fixed(n int) {
	if len(r.b) < n {
		r.bad = true
		return
	}
	r.b = r.b[n:]
}

// text aliases b as a string. The frame is never written to after it arrived.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// DecodeRecord decodes one encoded record. Headers are appended to *arena, which
// the records of a frame share.
func DecodeRecord(b []byte, rec *Record, arena *[]Header) bool {
	rec.Size = len(b)
	r := reader{b: b}
	first := len(*arena)
	for r.more() {
		switch tag := r.uvarint(); tag {
		case tagPayload:
			rec.Payload = r.bytes()
		case tagKey:
			rec.Key = r.bytes()
		case tagHeaders:
			h := reader{b: r.bytes()}
			var header Header
			for h.more() {
				switch tag := h.uvarint(); tag {
				case tagPayload:
					header.Name = text(h.bytes())
				case tagKey:
					header.Value = h.bytes()
				default:
					h.skip(tag)
				}
			}
			if h.bad {
				return false
			}
			*arena = append(*arena, header)
		default:
			r.skip(tag)
		}
	}
	if n := len(*arena); n > first {
		rec.Headers = (*arena)[first:n:n]
	}
	return !r.bad
}

// SplitRecords calls f for each element of a body of records: its offset and
// whole length in the body, and its size in credit.
func SplitRecords(body []byte, f func(start, length, size int)) bool {
	r := reader{b: body}
	for r.more() {
		start := len(body) - len(r.b)
		if r.uvarint() != tagRecords {
			return false
		}
		rec := r.bytes()
		if r.bad {
			return false
		}
		f(start, len(body)-len(r.b)-start, len(rec))
	}
	return !r.bad
}
