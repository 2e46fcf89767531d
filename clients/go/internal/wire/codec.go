package wire

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Out is a frame that is encoded already. Marshalling hands its buffers to the
// transport, which frees each of them once.
type Out struct {
	Buffers mem.BufferSlice
	few     [2]mem.Buffer
}

// NewOut begins a frame that will have n buffers. Few take no memory beside its own.
func NewOut(n int) *Out {
	o := &Out{}
	if o.Buffers = o.few[:0]; n > len(o.few) {
		o.Buffers = make(mem.BufferSlice, 0, n)
	}
	return o
}

// In receives a frame as bytes.
type In struct {
	Data []byte
	// Reuse says that Data of the frame before may be written over.
	Reuse bool
}

// Codec carries Out and In as they are and every proto.Message as usual.
type Codec struct{}

// Name is that of the standard codec: on the wire nothing differs.
func (Codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *Out:
		return v.Buffers, nil
	case proto.Message:
		b, err := proto.Marshal(v)
		if err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return nil, fmt.Errorf("spillway: cannot encode a %T", v)
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *In:
		n := data.Len()
		if v.Reuse && cap(v.Data) >= n {
			v.Data = v.Data[:n]
		} else {
			v.Data = make([]byte, n)
		}
		data.CopyTo(v.Data)
		return nil
	case proto.Message:
		return proto.Unmarshal(data.Materialize(), v)
	}
	return fmt.Errorf("spillway: cannot decode into a %T", v)
}
