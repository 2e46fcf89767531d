package wire

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"
	pb "spillway.dev/clients/go/spillwaypb"
)

// Range is Count offsets from First on.
type Range struct{ First, Count uint64 }

// End is the offset after the range.
func (r Range) End() uint64 { return r.First + r.Count }

// AppendRange appends one element of a `ranges` field (number 1).
func AppendRange(b []byte, r Range) []byte {
	b = append(b, 1<<3|2, byte(fieldLen(r.First)+fieldLen(r.Count)))
	b = appendField(b, 1, r.First)
	return appendField(b, 2, r.Count)
}

func frame(b []byte, field byte, body func([]byte) []byte) []byte {
	// The length is not known before the body is; write the body behind room for
	// the largest length of five bytes, then close the gap.
	b = append(b, field<<3|2)
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0)
	b = body(b)
	n := len(b) - at - 5
	w := binary.PutUvarint(b[at:], uint64(n))
	copy(b[at+w:], b[at+5:])
	return b[:at+w+n]
}

// AppendSettle appends a ConsumeRequest that settles the ranges; a grant, unless it
// is nil, rides on it.
func AppendSettle(b []byte, ranges []Range, action pb.SettleAction, delayMs uint64, reason string, grant *ConsumerGrant) []byte {
	return frame(b, 2, func(b []byte) []byte {
		for _, r := range ranges {
			b = AppendRange(b, r)
		}
		b = appendField(b, 2, uint64(action))
		b = appendField(b, 3, delayMs)
		if reason != "" {
			b = append(b, 4<<3|2)
			b = binary.AppendUvarint(b, uint64(len(reason)))
			b = append(b, reason...)
		}
		if grant != nil {
			b = grant.appendAs(b, 6)
		}
		return b
	})
}

// ConsumerGrant is what a consumer grants: totals of an epoch.
type ConsumerGrant struct{ Epoch, Messages, Bytes uint64 }

// AppendConsumerGrant appends a ConsumeRequest that grants up to the totals.
func AppendConsumerGrant(b []byte, grant ConsumerGrant) []byte { return grant.appendAs(b, 3) }

func (g *ConsumerGrant) appendAs(b []byte, field byte) []byte {
	// A varint has at most 10 bytes, so both lengths fit into one byte.
	limit := fieldLen(g.Messages) + fieldLen(g.Bytes)
	b = append(b, field<<3|2, byte(fieldLen(g.Epoch)+2+limit))
	b = appendField(b, 1, g.Epoch)
	b = append(b, 2<<3|2, byte(limit))
	b = appendField(b, 1, g.Messages)
	return appendField(b, 2, g.Bytes)
}

func fieldLen(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + varintLen(v)
}

func appendField(b []byte, number byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = append(b, number<<3)
	return binary.AppendUvarint(b, v)
}

// DeliveryRun is a run of consecutive offsets in a delivery.
type DeliveryRun struct {
	First      uint64
	Count      uint32
	AppendedAt uint64
	Attempt    uint32
}

// ConsumeFrame is one decoded ConsumeResponse: a Delivery (IsDelivery) or Cold.
// Runs and Records are reused from frame to frame; Records alias the data.
type ConsumeFrame struct {
	IsDelivery bool
	Runs       []DeliveryRun
	Partition  uint32
	// Records are the encoded records, in order.
	Records [][]byte
	// Bytes is the sum of their lengths: the cost of the delivery.
	Bytes uint64

	Cold *pb.ConsumeResponse
}

// Decode decodes data; the records of a delivery alias it.
func (f *ConsumeFrame) Decode(data []byte) error {
	f.IsDelivery, f.Cold = false, nil
	r := reader{b: data}
	if len(data) > 0 && data[0] == 2<<3|2 {
		r.uvarint()
		body := r.bytes()
		if len(r.b) == 0 && !r.bad {
			if !f.delivery(body) {
				return ErrMalformed
			}
			f.IsDelivery = true
			return nil
		}
	}
	f.Cold = new(pb.ConsumeResponse)
	if err := proto.Unmarshal(data, f.Cold); err != nil {
		return ErrMalformed
	}
	if d := f.Cold.GetDelivery(); d != nil {
		// Legal, but no broker writes it so: fields beside the oneof, or the
		// oneof twice. Bring it into the usual form.
		again, err := proto.Marshal(&pb.ConsumeResponse{Frame: &pb.ConsumeResponse_Delivery{Delivery: d}})
		if err != nil || len(again) == 0 || again[0] != 2<<3|2 {
			return ErrMalformed
		}
		f.Cold = nil
		r = reader{b: again}
		r.uvarint()
		if !f.delivery(r.bytes()) {
			return ErrMalformed
		}
		f.IsDelivery = true
	}
	return nil
}

func (f *ConsumeFrame) delivery(b []byte) bool {
	f.Runs, f.Records, f.Partition, f.Bytes = f.Runs[:0], f.Records[:0], 0, 0
	var counted uint64
	r := reader{b: b}
	for r.more() {
		switch tag := r.uvarint(); tag {
		case tagRecords:
			rec := r.bytes()
			f.Records = append(f.Records, rec)
			f.Bytes += uint64(len(rec))
		case 1<<3 | 2:
			m := reader{b: r.bytes()}
			var run DeliveryRun
			for m.more() {
				switch tag := m.uvarint(); tag {
				case 1 << 3:
					run.First = m.uvarint()
				case 2 << 3:
					run.Count = uint32(m.uvarint())
				case 3 << 3:
					run.AppendedAt = m.uvarint()
				case 4 << 3:
					run.Attempt = uint32(m.uvarint())
				default:
					m.skip(tag)
				}
			}
			if m.bad {
				return false
			}
			counted += uint64(run.Count)
			f.Runs = append(f.Runs, run)
		case 2 << 3:
			f.Partition = uint32(r.uvarint())
		default:
			r.skip(tag)
		}
	}
	return !r.bad && counted == uint64(len(f.Records))
}
