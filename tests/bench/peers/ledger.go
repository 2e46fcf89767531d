package main

import (
	"fmt"
	"sync/atomic"
)

// ledger notes which messages a group received. One goroutine writes; the count may
// be read by others.
type ledger struct {
	size    int
	seen    []uint64 // a bit for each number
	count   atomic.Int64
	doubled int64
	foreign int64 // not of our size
}

func newLedger(size int) *ledger { return &ledger{size: size} }

func (l *ledger) take(payload []byte) (intended int64) {
	if len(payload) != l.size {
		l.foreign++
		return 0
	}
	number, intended := headerOf(payload)
	word, bit := int(number>>6), uint64(1)<<(number&63)
	if number < 0 || word > 1<<28 {
		l.foreign++
		return 0
	}
	for word >= len(l.seen) {
		l.seen = append(l.seen, make([]uint64, len(l.seen)+1024)...)
	}
	if l.seen[word]&bit != 0 {
		l.doubled++
		return intended
	}
	l.seen[word] |= bit
	l.count.Add(1)
	return intended
}

// check says what is wrong if numbers 0 to sent-1 did not come once each. Nothing may
// be received meanwhile.
func (l *ledger) check(sent int64) error {
	switch got := l.count.Load(); {
	case l.foreign > 0:
		return fmt.Errorf("%d messages came that were not sent", l.foreign)
	case l.doubled > 0:
		return fmt.Errorf("%d messages came twice", l.doubled)
	case got < sent:
		return fmt.Errorf("%d of %d messages did not come", sent-got, sent)
	case got > sent:
		return fmt.Errorf("%d messages came that were not sent", got-sent)
	}
	// The count fits; so do the numbers, unless one beyond stands for one that is missing.
	for number := sent; number < int64(len(l.seen))<<6; number++ {
		if l.seen[number>>6]&(1<<(number&63)) != 0 {
			return fmt.Errorf("message %d came, which was not sent", number)
		}
	}
	return nil
}

func (l *ledger) reset() {
	clear(l.seen)
	l.count.Store(0)
	l.doubled, l.foreign = 0, 0
}
