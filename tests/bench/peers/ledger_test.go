package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name    string
		numbers []int64
		sent    int64
		want    string // of the error
	}{
		{"all", []int64{0, 1, 2}, 3, ""},
		{"none", nil, 0, ""},
		{"in any order", []int64{70, 2, 1, 0}, 4, "message 70 came, which was not sent"},
		{"one is missing", []int64{0, 2}, 3, "1 of 3 messages did not come"},
		{"one came twice", []int64{0, 1, 1}, 2, "1 messages came twice"},
		{"twice hides none that is missing", []int64{0, 0}, 2, "came twice"},
		{"too many", []int64{0, 1, 2}, 2, "1 messages came that were not sent"},
		{"a foreign number", []int64{0, -1}, 1, "came that were not sent"},
	} {
		p, l := newPayloads(100, 100), newLedger(100)
		for _, n := range c.numbers {
			payload := make([]byte, 100)
			if n >= 0 {
				copy(payload, p.at(n, 7))
			} else {
				payload = bytes.Repeat([]byte{255}, 100)
			}
			if intended := l.take(payload); n >= 0 && intended != 7 {
				t.Errorf("%s: intended %d", c.name, intended)
			}
		}
		switch err := l.check(c.sent); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestLedgerRefusesAnotherSize(t *testing.T) {
	l := newLedger(100)
	l.take(newPayloads(64, 1).at(0, 0))
	if err := l.check(0); err == nil {
		t.Error("a payload of another size went unseen")
	}
	l.reset()
	if err := l.check(0); err != nil {
		t.Error(err)
	}
}

func TestPayloads(t *testing.T) {
	p := newPayloads(1024, 4)
	first := p.at(0, 1)
	second := p.at(1, 2)
	if bytes.Equal(first[payloadHeader:512], second[payloadHeader:512]) {
		t.Error("payloads are alike")
	}
	if !bytes.Equal(first[512:], make([]byte, 512)) || bytes.Equal(first[payloadHeader:512], make([]byte, 512-payloadHeader)) {
		t.Error("a payload is not half random")
	}
	for n := range int64(8) {
		p.at(n, n)
	}
	if number, intended := headerOf(first); number != 0 || intended != 0 {
		t.Error("a payload was overwritten within twice the window")
	}
	if p.at(8, 5); &p.at(8, 5)[0] != &first[0] {
		t.Error("the ring does not close")
	}
	if number, intended := headerOf(first); number != 8 || intended != 5 {
		t.Errorf("number %d, intended %d", number, intended)
	}
}
