package main

import (
	"errors"
	"os"
	"testing"
)

func TestCPUSecondsOfAStat(t *testing.T) {
	// A name with spaces and parentheses, as prctl allows.
	stat := "42 (rocksdb:low) (x) S 1 42 42 0 -1 4194560 100 0 0 0 1234 66 0 0 20 0 9 0 100 1 2 3"
	if got := cpuSecondsIn(stat); !near(got, 13) {
		t.Errorf("%v seconds, want 13", got)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 1"} {
		if got := cpuSecondsIn(bad); got != 0 {
			t.Errorf("%v seconds of %q", got, bad)
		}
	}
}

func TestStatusBytes(t *testing.T) {
	status := "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t    1024 kB\n"
	if got := statusBytes(status, "VmHWM:"); got != 2<<20 {
		t.Errorf("%v bytes", got)
	}
	if got := statusBytes(status, "VmSwap:"); got != 0 {
		t.Errorf("%v bytes", got)
	}
}

func TestBusyTicks(t *testing.T) {
	stat := "cpu  10 20 30 4000 500 6 7 8 900 90\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
	if got := busyTicks(stat); got != 10+20+30+6+7+8 {
		t.Errorf("%v ticks", got)
	}
	if got := busyTicks("nothing"); got != 0 {
		t.Errorf("%v ticks", got)
	}
}

func TestThisProcess(t *testing.T) {
	if now, peak := process(os.Getpid()).rssBytes(); now <= 0 || peak < now {
		t.Errorf("resident %v, peak %v", now, peak)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		want options
		ok   bool
	}{
		{[]string{"core"}, options{}, true},
		{[]string{"core", "--quick", "--json", "f"}, options{json: "f", quick: true}, true},
		{nil, options{}, false},
		{[]string{"peers"}, options{}, false},
		{[]string{"core", "--slow"}, options{}, false},
		{[]string{"core", "more"}, options{}, false},
	} {
		got, err := parse(c.args)
		if (err == nil) != c.ok || (c.ok && got != c.want) {
			t.Errorf("%v is %v, %v", c.args, got, err)
		}
		if err != nil && !errors.Is(err, errUsage) {
			t.Errorf("%v: %v is not a matter of usage", c.args, err)
		}
	}
}
