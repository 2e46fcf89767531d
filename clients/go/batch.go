package spillway

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/mem"
	"spillway.dev/clients/go/internal/wire"
)

// UnknownOffset is the offset of a record that was confirmed as sent before, so
// long ago that the broker no longer knows its offset.
const UnknownOffset = math.MaxUint64

// batch is the unit of sending and of completion: records with consecutive
// sequences, encoded, and one channel that tells all their futures.
//
// Guarded by Producer.mu until done is closed; constant afterwards.
type batch struct {
	first   uint64 // sequence of the first record
	count   int
	bytes   uint64 // cost
	encoded int    // length of the body in the frame
	sealed  bool   // no record is added any more
	sent    bool   // handed to the transport at least once
	since   time.Time

	current *[]byte // the chunk being filled
	chunks  mem.BufferSlice
	few     [2]mem.Buffer // of chunks: most batches at rest have one

	resolved int
	results  []result
	one      [1]result
	done     chan struct{}
}

// result is what became of a run of the batch's records.
type result struct {
	from, count int
	offset      uint64
	err         error
}

func newBatch(first uint64) *batch {
	b := &batch{first: first, since: time.Now(), done: make(chan struct{})}
	b.results, b.chunks = b.one[:0], b.few[:0]
	return b
}

func (b *batch) end() uint64 { return b.first + uint64(b.count) }

// add encodes a record at the end. Records never cross chunks.
func (b *batch) add(m *Message, size int) {
	n := wire.EmbeddedSize(size)
	if b.current != nil && len(*b.current)+n > cap(*b.current) {
		b.chunks = append(b.chunks, mem.NewBuffer(b.current, &chunks))
		b.current = nil
	}
	if b.current == nil {
		want := smallChunk
		if b.encoded > 0 {
			want = largeChunk
		}
		b.current = chunks.Get(max(want, n))
		*b.current = (*b.current)[:0]
	}
	*b.current = wire.AppendRecord(*b.current, size, m.Payload, m.Key, m.Headers)
	b.count++
	b.bytes += uint64(size)
	b.encoded += n
}

func (b *batch) seal() {
	b.sealed = true
	if b.current != nil {
		b.chunks = append(b.chunks, mem.NewBuffer(b.current, &chunks))
		b.current = nil
	}
}

// resolve notes what became of n records from index `from` on, once. It reports
// how many of them were still open.
func (b *batch) resolve(from, n int, offset uint64, err error) int {
	if len(b.results) > 0 { // rare: parts of a batch
		for _, r := range b.results {
			if from < r.from+r.count && r.from < from+n {
				return b.resolveRest(from, n, offset, err)
			}
		}
	}
	b.results = append(b.results, result{from, n, offset, err})
	b.resolved += n
	return n
}

func (b *batch) resolveRest(from, n int, offset uint64, err error) int {
	fresh := 0
	for i := range n {
		if _, _, known := b.lookup(from + i); known {
			continue
		}
		o := offset
		if o != UnknownOffset {
			o += uint64(i)
		}
		b.results = append(b.results, result{from + i, 1, o, err})
		b.resolved++
		fresh++
	}
	return fresh
}

func (b *batch) lookup(i int) (uint64, error, bool) {
	for _, r := range b.results {
		if i >= r.from && i < r.from+r.count {
			if r.err != nil || r.offset == UnknownOffset {
				return r.offset, r.err, true
			}
			return r.offset + uint64(i-r.from), nil, true
		}
	}
	return 0, nil, false
}

// finish gives the memory back and tells the futures.
func (b *batch) finish() {
	b.chunks.Free()
	b.chunks = nil
	clear(b.few[:]) // futures may keep the batch for long
	if b.current != nil {
		chunks.Put(b.current)
		b.current = nil
	}
	close(b.done)
}

// piece copies the records [from, to) out of a sealed batch: the slow path of a
// batch that does not fit its credit as a whole.
func (b *batch) piece(from, to int) (body []byte, cost uint64) {
	i := 0
	for _, c := range b.chunks {
		data := c.ReadOnlyData()
		wire.SplitRecords(data, func(start, length, size int) {
			if i >= from && i < to {
				body = append(body, data[start:start+length]...)
				cost += uint64(size)
			}
			i++
		})
	}
	return body, cost
}

// fitting counts the records from `from` on, at most to `to`, whose cost stays
// within the credit.
func (b *batch) fitting(from, to int, left Credit) (n int, next uint64) {
	i, full := 0, false
	for _, c := range b.chunks {
		wire.SplitRecords(c.ReadOnlyData(), func(_, _, size int) {
			if i >= from && i < to && !full {
				if left.Messages < 1 || left.Bytes < uint64(size) {
					full, next = true, uint64(size)
				} else {
					left.Messages--
					left.Bytes -= uint64(size)
					n++
				}
			}
			i++
		})
	}
	return n, next
}

// Future is the outcome of a publish that is under way. It is a small value, to
// be copied freely.
type Future struct {
	b *batch
	i int
}

// Wait waits until the record is kept or refused, and returns its offset. If ctx
// ends before, the outcome is unknown and the record may still be kept; Wait may
// be called again, also from several goroutines.
func (f Future) Wait(ctx context.Context) (uint64, error) {
	if f.b == nil {
		return 0, invalid("", "future", "the future of a publish that failed")
	}
	select {
	case <-f.b.done:
	default:
		select {
		case <-f.b.done:
		case <-ctx.Done():
			return 0, ctxErr(ctx)
		}
	}
	offset, err, _ := f.b.lookup(f.i)
	return offset, err
}

// Done is closed once the outcome is known; several futures share one channel.
func (f Future) Done() <-chan struct{} {
	if f.b == nil {
		return closedChannel
	}
	return f.b.done
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

const (
	smallChunk = 4 << 10
	largeChunk = 64 << 10
	headChunk  = 2 << 10 // above gRPC's threshold, below which it does not pool
)

// chunkPool pools the buffers of batches in two sizes.
type chunkPool struct{ small, large sync.Pool }

var chunks chunkPool

// Get returns a buffer of at least n bytes of capacity.
func (p *chunkPool) Get(n int) *[]byte {
	switch {
	case n <= smallChunk:
		if b, ok := p.small.Get().(*[]byte); ok {
			return b
		}
		n = smallChunk
	case n <= largeChunk:
		if b, ok := p.large.Get().(*[]byte); ok {
			return b
		}
		n = largeChunk
	}
	b := make([]byte, 0, n)
	return &b
}

// Put takes a buffer back.
func (p *chunkPool) Put(b *[]byte) {
	switch cap(*b) {
	case smallChunk:
		p.small.Put(b)
	case largeChunk:
		p.large.Put(b)
	}
}

// heads pools the first buffer of each frame. gRPC gives a buffer back when it
// has written the frame, which is how the sender learns that a write is over.
type heads struct {
	writing atomic.Int32
	awaited atomic.Bool // somebody wants to know when writing is 0
	written func()      // may be nil where busy is not called
	free    sync.Pool
}

// busy says whether so much is being written that a frame had better grow; then
// written is called once that is over.
func (h *heads) busy() bool {
	if h.writing.Load() < maxQueuedData {
		return false
	}
	h.awaited.Store(true)
	return h.writing.Load() >= maxQueuedData // it may be over already
}

func (h *heads) Get(int) *[]byte {
	if b, ok := h.free.Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, headChunk)
	return &b
}

func (h *heads) Put(b *[]byte) {
	h.free.Put(b)
	if h.writing.Add(-1) == 0 && h.awaited.Swap(false) {
		h.written()
	}
}

// wrap makes b (of Get) the head of a frame that is now being written.
func (h *heads) wrap(b *[]byte) mem.Buffer {
	h.writing.Add(1)
	return mem.NewBuffer(b, h)
}
