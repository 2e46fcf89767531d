package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	spillway "spillway.dev/clients/go"
)

const (
	gateUsage = "usage: ./dev bench [--release] gate [--base REV] [--json FILE]"

	longestGate = 6 * time.Minute
	gateRounds  = 4 // of two runs of each side

	baseSystem = "base"
	thisSystem = "this"
)

type gateOptions struct {
	json string
	// The base's binary, and what both are called; tools/dev/gate.sh gives them.
	baseBinary, base, this string
}

func parseGate(args []string) (gateOptions, error) {
	var o gateOptions
	flags := newFlags("bench gate")
	flags.StringVar(&o.json, "json", "", "")
	return o, parseAll(flags, args, gateUsage)
}

// gateSteps of one side. The names of their figures say which side.
func gateSteps(b *bench, side string) []step {
	steps := []step{
		b.endToEndStep(endToEnd, tiers[0], small, spillway.Block),
		b.endToEndStep(endToEnd, tiers[1], medium, spillway.Block),
		b.publishStep(tiers[2], small),
		b.replayStep(medium),
		b.latencyStep(tiers[0]),
		b.latencyStep(tiers[2]),
	}
	for i, s := range steps {
		steps[i].name = side + ": " + s.name
		steps[i].run = func(ctx context.Context) (map[key]sample, error) {
			got, err := s.run(ctx)
			out := map[key]sample{}
			for k, v := range got {
				k.system = side
				out[k] = v
			}
			return out, err
		}
	}
	return steps
}

// interleaved is each step of both sides in the order A B B A, so that what drifts
// meets both alike.
func interleaved(a, b []step) []step {
	var out []step
	for i := range a {
		out = append(out, a[i], b[i], b[i], a[i])
	}
	return out
}

// gateFigure is held against its base.
type gateFigure struct {
	key  key // of no side
	unit string
	of   func(sample) float64
}

func gateFigures() []gateFigure {
	value := func(s sample) float64 { return s.value }
	cpu := func(s sample) float64 { return s.cpu }
	rates := []key{
		{name: endToEnd, tier: "MEMORY", size: small.text},
		{name: endToEnd, tier: "PERSISTED", size: medium.text},
		{name: publishOnly, tier: "SYNCED", size: small.text},
	}
	var out []gateFigure
	for _, k := range rates {
		out = append(out, gateFigure{k, perSecond, value}, gateFigure{k, cpuUnit, cpu})
	}
	out = append(out, gateFigure{key{name: replayWarm, tier: "PERSISTED", size: medium.text}, perSecond, value})
	for _, tier := range []string{"MEMORY", "SYNCED"} {
		for _, q := range quantiles[:2] {
			out = append(out, gateFigure{key{name: latency + " " + q, tier: tier, size: single.text}, micros, value})
		}
	}
	return out
}

// gateRow is a figure and what is said of it.
type gateRow struct {
	gateFigure
	judgement
	baseRuns, thisRuns []float64
}

func gateRows(samples map[key][]sample) []gateRow {
	var out []gateRow
	for _, f := range gateFigures() {
		of := func(side string) []float64 {
			k := f.key
			k.system = side
			return column(samples[k], f.of)
		}
		r := gateRow{gateFigure: f, baseRuns: of(baseSystem), thisRuns: of(thisSystem)}
		r.judgement = judge(r.baseRuns, r.thisRuns, f.unit != perSecond)
		out = append(out, r)
	}
	return out
}

func runGate(o gateOptions) error {
	o.baseBinary = os.Getenv("SPILLWAYD_BASE")
	if o.baseBinary == "" {
		return errors.New("SPILLWAYD_BASE must name the broker of the base; ./dev bench gate sets it")
	}
	o.base = cmp.Or(os.Getenv("SPILLWAY_BENCH_BASE"), o.baseBinary)
	o.this = cmp.Or(os.Getenv("SPILLWAY_BENCH_THIS"), os.Getenv("SPILLWAYD"))
	begin := time.Now()
	ctx, cancel := context.WithDeadline(context.Background(), begin.Add(longestGate))
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	this, err := newBench(false)
	if err != nil {
		return err
	}
	defer this.remove()
	base := *this
	base.broker = o.baseBinary
	fmt.Printf("base: %s\nthis: %s\n", o.base, o.this)
	if sameFiles(base.broker, this.broker) {
		fmt.Println("both brokers are the same, byte by byte: what differs is noise")
	}
	r := newRunner(ctx, os.Stderr)
	r.noise.busyCores = busyCores(time.Second)
	r.run(interleaved(gateSteps(&base, baseSystem), gateSteps(this, thisSystem)), nil, gateRounds)
	if ctx.Err() != nil && time.Since(begin) < longestGate {
		return errors.New("interrupted")
	}

	rows := gateRows(r.samples)
	fmt.Println()
	fmt.Print(gateTable(rows))
	fmt.Println()
	text, passed := gateVerdict(rows, r.noise)
	fmt.Println(text)
	if left := len(r.leftOut); left > 0 {
		fmt.Printf("out of time: %d steps were left out, the first is %s\n", left, r.leftOut[0])
	}
	fmt.Printf("medians of up to %d interleaved runs of each side in %d s\n", 2*gateRounds, int(time.Since(begin).Seconds()))
	if o.json != "" {
		if err := writeGateJSON(o, rows, r.noise); err != nil {
			return err
		}
	}
	if len(r.failures) > 0 {
		return fmt.Errorf("%d steps failed, the first: %s", len(r.failures), r.failures[0])
	}
	if !passed {
		return errors.New("this commit is slower than its base")
	}
	return nil
}

func sameFiles(a, b string) bool {
	one, err1 := os.ReadFile(a)
	other, err2 := os.ReadFile(b)
	return err1 == nil && err2 == nil && bytes.Equal(one, other)
}
