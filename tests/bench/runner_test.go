package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

func testRunner(ctx context.Context) *runner {
	return &runner{ctx: ctx, log: io.Discard, now: time.Now, samples: map[key][]sample{},
		quiet: func() time.Duration { return time.Millisecond }, rest: func(context.Context) {}}
}

func TestRoundsAreInterleaved(t *testing.T) {
	var order []string
	measure := func(name string) step {
		return step{name: name, run: func(context.Context) (map[key]sample, error) {
			order = append(order, name)
			return map[key]sample{coreKey(name, "", ""): {value: float64(len(order))}}, nil
		}}
	}
	r := testRunner(t.Context())
	r.run([]step{measure("a"), measure("b")}, []step{measure("once")}, 2)
	if want := []string{"a", "b", "once", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if got := len(r.samples[coreKey("a", "", "")]); got != 2 {
		t.Errorf("%d samples", got)
	}
	// Before, in the middle and at the end of each round.
	if got := len(r.noise.calibrations); got != 5 {
		t.Errorf("%d calibrations", got)
	}
}

func TestAFailureDoesNotEndTheRun(t *testing.T) {
	ran := false
	r := testRunner(t.Context())
	r.run([]step{
		{name: "bad", run: func(context.Context) (map[key]sample, error) { return nil, errors.New("broken") }},
		{name: "good", run: func(context.Context) (map[key]sample, error) { ran = true; return nil, nil }},
	}, nil, 1)
	if !ran || !slices.Equal(r.failures, []string{"bad: broken"}) {
		t.Errorf("ran: %v, failures: %v", ran, r.failures)
	}
}

func TestStepsThatDoNotFitAreLeftOut(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var ran []string
	measure := func(name string, seconds float64) step {
		return step{name: name, seconds: seconds, run: func(context.Context) (map[key]sample, error) {
			ran = append(ran, name)
			return nil, nil
		}}
	}
	r := testRunner(ctx)
	r.run([]step{measure("long", 100), measure("short", 1)}, nil, 1)
	if !slices.Equal(ran, []string{"short"}) || !slices.Equal(r.leftOut, []string{"long"}) {
		t.Errorf("ran %v, left out %v", ran, r.leftOut)
	}
}

func TestAnInterruptionIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := testRunner(ctx)
	r.run([]step{
		{name: "a", run: func(context.Context) (map[key]sample, error) {
			cancel()
			return nil, errors.New("killed")
		}},
		{name: "b", run: func(context.Context) (map[key]sample, error) { return nil, nil }},
	}, nil, 1)
	if len(r.failures) != 0 || !slices.Equal(r.leftOut, []string{"a", "b"}) {
		t.Errorf("failures %v, left out %v", r.failures, r.leftOut)
	}
}
