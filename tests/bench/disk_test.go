package main

import (
	"context"
	"testing"
	"time"
)

func TestDiskstats(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       activity
	}{
		{"all that ended", "254 0 vda 1000 2 3 4 200 6 7 8 0 10 11 30 13 14 15 4 17\n", activity{done: 1234}},
		{"several disks", "254 0 vda 1 0 0 0 2 0 0 0 1 0 0 0 0 0 0 0 0\n253 0 vdb 3 0 0 0 4 0 0 0 2 0 0 0 0 0 0 0 0\n",
			activity{done: 10, underWay: 3}},
		{"an older kernel, without discards", "8 0 sda 5 0 0 0 6 0 0 0 1 0 0\n", activity{done: 11, underWay: 1}},
		{"none", "", activity{}},
	} {
		if got := parseDiskstats(c.text); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestStepsBeginWithADiskAtRest(t *testing.T) {
	var order []string
	r := testRunner(t.Context())
	r.rest = func(context.Context) { order = append(order, "rest") }
	r.run([]step{{name: "a", run: func(context.Context) (map[key]sample, error) {
		order = append(order, "a")
		return nil, nil
	}}}, nil, 2)
	if len(order) != 4 || order[0] != "rest" || order[1] != "a" || order[2] != "rest" {
		t.Errorf("order %v", order)
	}
}

func TestRestingEndsWithTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() { restDisk(ctx); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it goes on")
	}
}
