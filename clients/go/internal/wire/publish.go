package wire

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"
	pb "spillway.dev/clients/go/spillwaypb"
)

// PublishHeadMax bounds what AppendPublishHead appends: two tags, a length and a
// sequence.
const PublishHeadMax = 1 + 10 + 1 + 10

// AppendPublishHead appends all of a PublishRequest that comes before its
// records, which are bodyLen encoded bytes.
func AppendPublishHead(b []byte, firstSequence uint64, bodyLen int) []byte {
	inner := bodyLen
	if firstSequence != 0 {
		inner += 1 + varintLen(firstSequence)
	}
	b = append(b, 2<<3|2)
	b = binary.AppendUvarint(b, uint64(inner))
	if firstSequence != 0 {
		b = append(b, 1<<3)
		b = binary.AppendUvarint(b, firstSequence)
	}
	return b
}

// Demand is what a producer says that it waits for, and what it has given back in
// total: nothing is as good as absent.
type Demand struct {
	Messages, Bytes                 uint64 // waiting
	NextRecordBytes                 uint64
	ReturnedMessages, ReturnedBytes uint64
}

// AppendDemand appends a PublishRequest that states the demand.
func AppendDemand(b []byte, d Demand) []byte {
	// A varint has at most 10 bytes, so all lengths fit into one byte.
	waiting := fieldLen(d.Messages) + fieldLen(d.Bytes)
	returned := fieldLen(d.ReturnedMessages) + fieldLen(d.ReturnedBytes)
	length := 2 + waiting + fieldLen(d.NextRecordBytes)
	if returned > 0 {
		length += 2 + returned
	}
	b = append(b, 3<<3|2, byte(length), 1<<3|2, byte(waiting))
	b = appendField(b, 1, d.Messages)
	b = appendField(b, 2, d.Bytes)
	b = appendField(b, 2, d.NextRecordBytes)
	if returned > 0 {
		b = append(b, 3<<3|2, byte(returned))
		b = appendField(b, 1, d.ReturnedMessages)
		b = appendField(b, 2, d.ReturnedBytes)
	}
	return b
}

// ConfirmRun is a run of confirmed sequences.
type ConfirmRun struct {
	First, Count, Offset     uint64
	Duplicate, OffsetUnknown bool
}

// PublishFrame is one decoded PublishResponse. It is reused from frame to frame:
// exactly one of IsConfirm, IsGrant and Cold != nil holds, but for a grant that
// rides on a confirmation: then both do.
type PublishFrame struct {
	IsConfirm  bool
	Runs       []ConfirmRun
	Durability pb.Durability

	IsGrant bool
	Grant   Grant

	Cold *pb.PublishResponse
}

// Grant is a decoded Grant.
type Grant struct {
	Epoch, Messages, Bytes  uint64
	Reason                  pb.CreditReason
	ReasonAgeMs             uint64
	WindowUsed, WindowBytes uint64
}

// Decode decodes data. Nothing in the result aliases data.
func (f *PublishFrame) Decode(data []byte) error {
	f.IsConfirm, f.IsGrant, f.Cold = false, false, nil
	r := reader{b: data}
	if len(data) > 0 {
		switch tag := r.uvarint(); tag {
		case 2<<3 | 2:
			body := r.bytes()
			if len(r.b) == 0 && !r.bad && f.confirm(body) {
				f.IsConfirm = true
				return nil
			}
			f.IsGrant = false
		case 3<<3 | 2:
			body := r.bytes()
			if len(r.b) == 0 && !r.bad && f.grant(body) {
				f.IsGrant = true
				return nil
			}
		}
	}
	f.Cold = new(pb.PublishResponse)
	if err := proto.Unmarshal(data, f.Cold); err != nil {
		return ErrMalformed
	}
	if c := f.Cold.GetConfirm(); c != nil {
		// Legal, but no broker writes it so: bring it into the usual form.
		again, err := proto.Marshal(c)
		if f.Cold, f.IsConfirm = nil, true; err != nil || !f.confirm(again) {
			return ErrMalformed
		}
	} else if g := f.Cold.GetGrant(); g != nil {
		again, err := proto.Marshal(g)
		if f.Cold, f.IsGrant = nil, true; err != nil || !f.grant(again) {
			return ErrMalformed
		}
	}
	return nil
}

func (f *PublishFrame) confirm(b []byte) bool {
	f.Runs, f.Durability = f.Runs[:0], 0
	r := reader{b: b}
	for r.more() {
		switch tag := r.uvarint(); tag {
		case 1<<3 | 2:
			m := reader{b: r.bytes()}
			var run ConfirmRun
			for m.more() {
				switch tag := m.uvarint(); tag {
				case 1 << 3:
					run.First = m.uvarint()
				case 2 << 3:
					run.Count = m.uvarint()
				case 3 << 3:
					run.Offset = m.uvarint()
				case 4 << 3:
					run.Duplicate = m.uvarint() != 0
				case 5 << 3:
					run.OffsetUnknown = m.uvarint() != 0
				default:
					m.skip(tag)
				}
			}
			if m.bad {
				return false
			}
			f.Runs = append(f.Runs, run)
		case 2 << 3:
			f.Durability = pb.Durability(r.uvarint())
		case 3<<3 | 2:
			if f.IsGrant || !f.grant(r.bytes()) {
				return false // twice is merged by the library
			}
			f.IsGrant = true
		default:
			r.skip(tag)
		}
	}
	return !r.bad
}

func (f *PublishFrame) grant(b []byte) bool {
	g := Grant{}
	r := reader{b: b}
	for r.more() {
		switch tag := r.uvarint(); tag {
		case 1 << 3:
			g.Epoch = r.uvarint()
		case 2<<3 | 2:
			if !credit(r.bytes(), &g.Messages, &g.Bytes) {
				return false
			}
		case 3 << 3:
			g.Reason = pb.CreditReason(r.uvarint())
		case 4 << 3:
			g.ReasonAgeMs = r.uvarint()
		case 5 << 3:
			g.WindowUsed = r.uvarint()
		case 6 << 3:
			g.WindowBytes = r.uvarint()
		default:
			r.skip(tag)
		}
	}
	f.Grant = g
	return !r.bad
}

func credit(b []byte, messages, bytes *uint64) bool {
	r := reader{b: b}
	for r.more() {
		switch tag := r.uvarint(); tag {
		case 1 << 3:
			*messages = r.uvarint()
		case 2 << 3:
			*bytes = r.uvarint()
		default:
			r.skip(tag)
		}
	}
	return !r.bad
}
