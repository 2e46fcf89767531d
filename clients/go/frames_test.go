package spillway_test

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"spillway.dev/clients/go/spillwaytest"
)

// frames records what the client sends on streams of a kind of request.
type frames[T proto.Message] struct {
	mu  sync.Mutex
	all []T
}

func record[T proto.Message](b *spillwaytest.Broker) *frames[T] {
	f := &frames[T]{}
	b.Tap(func(_ string, m proto.Message) {
		if m, ok := m.(T); ok {
			f.mu.Lock()
			f.all = append(f.all, m)
			f.mu.Unlock()
		}
	})
	return f
}

func (f *frames[T]) list() []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}
