package main

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestParseProfile(t *testing.T) {
	o, err := parseProfile([]string{"--load", "publish", "--size", "64KiB", "--tier", "synced", "--seconds", "3", "--out", "d"})
	if err != nil {
		t.Fatal(err)
	}
	if o.String() != "publish, SYNCED, 64 KiB x 16" || o.seconds != 3 || o.out != "d" {
		t.Errorf("%+v", o)
	}
	o, err = parseProfile([]string{"--load", "latency", "--batch", "100"})
	if err != nil || o.shape.batch != 1 {
		t.Errorf("latency is of single records: %+v, %v", o, err)
	}
	for _, args := range [][]string{
		{"--load", "drain"}, {"--size", "1"}, {"--size", "big"}, {"--tier", "DISK"}, {"--seconds", "0"},
		{"--seconds", "3600"}, {"--batch", "-1"}, {"--fast"}, {"more"},
	} {
		if _, err := parseProfile(args); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v is not a matter of usage", args, err)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: more than a line: %v", args, err)
		}
	}
}

func TestWhyPerfFailed(t *testing.T) {
	refused := "Error:\nAccess to performance monitoring and observability operations is limited.\n" +
		"Consider adjusting /proc/sys/kernel/perf_event_paranoid setting to open\naccess\n"
	for _, c := range []struct{ err, want string }{
		{perfFailed(errors.New("exit status 255"), refused, "3").Error(),
			"perf is not permitted here (kernel.perf_event_paranoid is 3): run as root, or: sysctl kernel.perf_event_paranoid=1"},
		{perfFailed(errors.New("exit status 129"), "noise\nno such option\n", "2").Error(), "perf failed: no such option"},
		{perfFailed(errors.New("exit status 1"), "", "2").Error(), "perf failed: exit status 1"},
		{perfMissing(&exec.Error{Name: "perf", Err: exec.ErrNotFound}).Error(), "perf is not installed: apt-get install linux-perf"},
	} {
		if c.err != c.want {
			t.Errorf("%q, not %q", c.err, c.want)
		}
	}
}
