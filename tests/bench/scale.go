package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Units that only scale has.
const (
	cpuUnit     = "s/M" // CPU seconds of the broker for a million messages
	secondsUnit = "s"
)

// scaleSpec is a figure, what it is held against, and what is asked of it.
type scaleSpec struct {
	spec
	base key // the figure of the same run that the ratio is to; none: no ratio
	// Bounds of the ratio and of the value; 0: none.
	mostRatio, mostValue float64
}

// scaleLoad is a workload: its figures, and the steps that make them, in each round
// or once.
type scaleLoad struct {
	specs       []scaleSpec
	every, once []step
}

// A workload by its flag. Both that need a big backlog make one load, so that it is
// filled once.
var scaleWorkloads = []struct {
	flag string
	load func(*scale) scaleLoad
}{
	{"queues", (*scale).queues},
	{"connections", (*scale).connections},
	{"window", (*scale).windows},
	{"shards", (*scale).shards},
	{"slow", (*scale).slow},
	{"spilled", (*scale).spilled},
	{"drain", (*scale).drain},
	{"start", (*scale).start},
	{"cold", (*scale).cold},
}

// scale is a run of ./dev bench scale.
type scale struct {
	*bench
	options scaleOptions
	sizes   scaleSizes
	chosen  []string
	missing map[key]string // why there is no figure
	unknown []string
	runner  *runner
}

func runScale(o scaleOptions) error {
	begin := time.Now()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	s := &scale{bench: &bench{bin: os.Getenv("SPILLWAY_BENCH_BIN")}, options: o, sizes: sizesOf(o.quick),
		missing: map[key]string{}, runner: newRunner(ctx, os.Stderr)}
	if s.bin == "" {
		return errors.New("SPILLWAY_BENCH_BIN must name the folder of the programs; tests/bench/run.sh sets it")
	}
	if err := s.choose(); err != nil {
		return err
	}
	var err error
	if s.folder, err = os.MkdirTemp("", "spillway-bench-"); err != nil {
		return err
	}
	defer s.remove()
	if err := s.begin(ctx); err != nil {
		return err
	}
	var all scaleLoad
	for _, w := range scaleWorkloads {
		if slices.Contains(s.chosen, w.flag) {
			load := w.load(s)
			all.specs = append(all.specs, load.specs...)
			all.every = append(all.every, load.every...)
			all.once = append(all.once, load.once...)
		}
	}
	minutes := (nominal(all.every)*float64(s.sizes.rounds) + nominal(all.once)) / 60
	s.log(fmt.Sprintf("%d steps in each of %d rounds and %d once, about %d minutes",
		len(all.every), s.sizes.rounds, len(all.once), int(minutes)+1))
	s.runner.noise.busyCores = busyCores(time.Second)
	s.runner.run(all.every, all.once, s.sizes.rounds)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return s.report(all.specs, begin)
}

func (s *scale) choose() error {
	var flags []string
	for _, w := range scaleWorkloads {
		flags = append(flags, w.flag)
	}
	s.chosen, s.unknown = choose("workload", s.options.workloads, flags)
	for _, line := range s.unknown {
		s.log(line)
	}
	if len(s.chosen) == 0 {
		return fmt.Errorf("nothing is left to measure (%w)", errUsage)
	}
	return nil
}

func (s *scale) log(line string) {
	s.runner.progress("")
	fmt.Fprintln(os.Stderr, line)
}

// note a measurement of a figure.
func (s *scale) note(k key, v sample) {
	s.runner.samples[k] = append(s.runner.samples[k], v)
}

// needs of a step, beyond the program itself.
type needs struct {
	disk, memory uint64 // bytes
	files        uint64 // open ones, of a process
}

func (n needs) check(folder string) error {
	if n.disk > 0 {
		if err := roomFor(folder, n.disk); err != nil {
			return err
		}
	}
	if err := memoryFor(n.memory); err != nil {
		return err
	}
	return filesFor(n.files)
}

// scaleStep measures some figures, which it notes itself. What cannot be measured is
// said once, and not tried again in later rounds.
func (s *scale) scaleStep(name string, nominal float64, n needs, keys []key,
	run func(ctx context.Context) error) step {
	failed := false
	return step{name: name, seconds: nominal, run: func(ctx context.Context) (map[key]sample, error) {
		if failed {
			return nil, nil
		}
		err := n.check(s.folder)
		if err == nil {
			err = run(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return nil, nil
		}
		failed = true
		for _, k := range keys {
			s.missing[k] = err.Error()
		}
		s.log(fmt.Sprintf("%s: %v", name, err))
		return nil, nil
	}}
}

// keysOf the figures of some specs.
func keysOf(specs []scaleSpec) []key {
	var out []key
	for _, s := range specs {
		out = append(out, s.key)
	}
	return out
}

// report prints the table, and writes what was asked for.
func (s *scale) report(specs []scaleSpec, begin time.Time) error {
	plain := make([]spec, 0, len(specs))
	for _, sp := range specs {
		plain = append(plain, sp.spec)
	}
	figures := compareScale(specs, assemble(plain, s.runner.samples))
	missing := missingOf(plain, figures, s.missing)
	text := scaleTable(specs, figures, missing) + "\n" + scaleVerdict(specs, figures, s.runner.noise) + "\n"
	fmt.Print("\n", text)
	for _, line := range s.unknown {
		fmt.Println(line)
	}
	fmt.Printf("%s in %d s\n", runsText(s.sizes.rounds), int(time.Since(begin).Seconds()))
	if err := s.write(text, figures, missing); err != nil {
		return err
	}
	if n := len(missing) + len(s.unknown); n > 0 {
		return fmt.Errorf("missing of what was asked for: %d", n)
	}
	return nil
}

// write the JSON, and with --out the table beside it.
func (s *scale) write(text string, figures []figure, missing []jsonMissing) error {
	r := report("scale", figures, s.runner.noise, s.options.quick)
	r.Missing = missing
	if s.options.out != "" {
		if err := os.MkdirAll(s.options.out, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.options.out, "scale.txt"), []byte(text), 0o644); err != nil {
			return err
		}
		if err := writeJSON(filepath.Join(s.options.out, "scale.json"), r); err != nil {
			return err
		}
	}
	if s.options.json == "" {
		return nil
	}
	return writeJSON(s.options.json, r)
}
