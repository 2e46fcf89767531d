package main

import (
	"encoding/binary"
	"math/rand/v2"
)

// A payload begins with its number and the time at which it was to be sent, in
// nanoseconds; the rest is random in its first half and zero in its second.
const payloadHeader = 16

// payloads are kept in a ring, because clients hold on to what they were given until
// it is acknowledged.
type payloads struct {
	size, slots int
	arena       []byte
}

// newPayloads has twice the window: acknowledgements may come a window out of order.
func newPayloads(size, window int) *payloads {
	p := &payloads{size: size, slots: 2 * window}
	p.arena = make([]byte, p.slots*size)
	random := rand.NewChaCha8([32]byte{1})
	for i := range p.slots {
		_, _ = random.Read(p.arena[i*size:][:size/2])
	}
	return p
}

// at is the payload of a message. It overwrites that of twice a window before.
func (p *payloads) at(number, intended int64) []byte {
	slot := int(number) % p.slots
	out := p.arena[slot*p.size:][:p.size:p.size]
	binary.LittleEndian.PutUint64(out, uint64(number))
	binary.LittleEndian.PutUint64(out[8:], uint64(intended))
	return out
}

func headerOf(payload []byte) (number, intended int64) {
	return int64(binary.LittleEndian.Uint64(payload)), int64(binary.LittleEndian.Uint64(payload[8:]))
}
