package main

import "testing"

func TestBusyTicks(t *testing.T) {
	stat := "cpu  10 20 30 4000 500 6 7 8 900 90\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
	if got := busyTicks(stat); got != 10+20+30+6+7+8 {
		t.Errorf("%v ticks", got)
	}
	if got := busyTicks("nothing"); got != 0 {
		t.Errorf("%v ticks", got)
	}
}
