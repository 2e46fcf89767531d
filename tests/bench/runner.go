package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// step measures one thing, or several at once.
type step struct {
	name string
	// About how long it takes: it is not begun when less is left.
	seconds float64
	run     func(ctx context.Context) (map[key]sample, error)
}

// runner goes through the steps, again and again, so that what changes in the
// machine meanwhile meets all figures alike.
type runner struct {
	ctx      context.Context
	log      io.Writer
	terminal bool // one line that changes, instead of many
	now      func() time.Time
	quiet    func() time.Duration
	rest     func(ctx context.Context)
	noise    noise
	samples  map[key][]sample
	failures []string
	leftOut  []string
}

func newRunner(ctx context.Context, log *os.File) *runner {
	info, err := log.Stat()
	return &runner{ctx: ctx, log: log, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
		now: time.Now, quiet: calibrate, rest: restDisk, samples: map[key][]sample{}}
}

// run takes `every` step in each round, and those of `once` after the first.
func (r *runner) run(every, once []step, rounds int) {
	r.calibrate()
	for round := range rounds {
		for i, s := range every {
			r.step(fmt.Sprintf("round %d of %d, %d of %d", round+1, rounds, i+1, len(every)), s)
			if i == len(every)/2 {
				r.calibrate()
			}
		}
		if round == 0 {
			for _, s := range once {
				r.step("once", s)
			}
		}
		r.calibrate()
	}
	r.progress("")
}

func (r *runner) calibrate() {
	if r.ctx.Err() == nil {
		r.noise.calibrations = append(r.noise.calibrations, r.quiet())
	}
}

func (r *runner) step(where string, s step) {
	deadline, bounded := r.ctx.Deadline()
	if r.ctx.Err() != nil || (bounded && deadline.Sub(r.now()).Seconds() < s.seconds) {
		r.leftOut = append(r.leftOut, s.name)
		return
	}
	r.progress(where + ": " + s.name)
	r.rest(r.ctx)
	got, err := s.run(r.ctx)
	if err != nil {
		if r.ctx.Err() != nil {
			r.leftOut = append(r.leftOut, s.name)
			return
		}
		r.progress("")
		fmt.Fprintf(r.log, "%s failed: %v\n", s.name, err)
		r.failures = append(r.failures, fmt.Sprintf("%s: %v", s.name, err))
		return
	}
	for k, v := range got {
		r.samples[k] = append(r.samples[k], v)
	}
}

// progress with no text clears the line.
func (r *runner) progress(text string) {
	switch {
	case r.terminal:
		fmt.Fprint(r.log, "\r\033[K", text)
	case text != "":
		fmt.Fprintln(r.log, text)
	}
}
