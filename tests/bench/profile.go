package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/tests/bench/proc"
)

const profileUsage = "usage: ./dev bench [--release] profile [--load e2e|publish|replay|latency] " +
	"[--size S] [--batch N] [--tier MEMORY|PERSISTED|SYNCED] [--seconds S] [--out FOLDER]"

// The longest that a load may measure: the program is given a minute.
const longestLoad = 45

var loads = []string{"e2e", "publish", "replay", "latency"}

// profileOptions are the load, and where its graph is drawn.
type profileOptions struct {
	load    string
	shape   shape
	tier    tier
	seconds float64
	out     string
}

func parseProfile(args []string) (profileOptions, error) {
	o := profileOptions{}
	flags := newFlags("bench profile")
	flags.StringVar(&o.load, "load", "e2e", "")
	size := flags.String("size", "1KiB", "")
	batch := flags.Int("batch", 0, "")
	tierName := flags.String("tier", "MEMORY", "")
	flags.Float64Var(&o.seconds, "seconds", 10, "")
	flags.StringVar(&o.out, "out", "", "")
	wrong := func(format string, args ...any) (profileOptions, error) {
		return o, usageError{fmt.Sprintf(format, args...), profileUsage}
	}
	if err := parseAll(flags, args, profileUsage); err != nil {
		return o, err
	}
	bytes, err := bytesOf(*size)
	at := slices.IndexFunc(tiers, func(t tier) bool { return t.name == strings.ToUpper(*tierName) })
	switch {
	case !slices.Contains(loads, o.load):
		return wrong("no load %q; there are: %s", o.load, strings.Join(loads, ", "))
	case err != nil:
		return wrong("%v", err)
	case at < 0:
		return wrong("no tier %q; there are: MEMORY, PERSISTED, SYNCED", *tierName)
	case o.seconds <= 0 || o.seconds > longestLoad:
		return wrong("seconds are above 0 and at most %d", longestLoad)
	case *batch < 0:
		return wrong("a batch is of 1 or more")
	}
	o.tier = tiers[at]
	o.shape = shapeOf(o.load, bytes, *batch)
	return o, nil
}

// shapeOf a load; without a batch, that of `core`: 100, or 1 MiB of large ones.
func shapeOf(load string, bytes, batch int) shape {
	batch = cmp.Or(batch, min(100, max(1, (1<<20)/bytes)))
	if load == "latency" {
		batch = 1
	}
	text := fmt.Sprintf("%s x %d", sizeText(bytes), batch)
	return shape{text: text, bytes: bytes, batch: batch}
}

func (o profileOptions) String() string {
	return fmt.Sprintf("%s, %s, %s", o.load, o.tier.name, o.shape.text)
}

// tuning of the queue, as in `core`.
func (o profileOptions) tuning() []spillway.TuningOption {
	out := []spillway.TuningOption{spillway.SetDurability(o.tier.durability)}
	switch {
	case o.load == "e2e":
		out = append(out, spillway.SetOverflow(spillway.Block))
	case o.load == "replay":
		out = append(out, spillway.SetRetention(spillway.Limits))
	case o.load == "publish" && o.tier.durability == spillway.Memory:
		out = append(out, spillway.SetOverflow(spillway.DropOldest))
	}
	return out
}

// drive runs the load for some seconds.
func (o profileOptions) drive(load func(...string) (result, error), during float64) (result, error) {
	if o.load != "replay" {
		args := append(o.shape.flags(), "--mode", o.load, "--warmup", "0", "--seconds", seconds(during))
		return load(append(args, "--rate", strconv.Itoa(latencyRate))...)
	}
	var all result
	for begin := time.Now(); all.Seconds == 0 || time.Since(begin).Seconds() < during; {
		r, err := load("--mode", "replay")
		if err != nil {
			return all, err
		}
		all.Records += r.Records
		all.Seconds += r.Seconds
		all.Total += r.Total
	}
	return all, nil
}

// profiled is what a profile says.
type profiled struct {
	result   result
	cost     sample
	switches float64 // voluntary ones, per message
	stacks   []stack
}

func runProfile(o profileOptions) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if _, err := exec.LookPath("perf"); err != nil {
		return perfMissing(err)
	}
	if o.out != "" {
		// Rather now than when it has been measured.
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return err
		}
	}
	b, err := newBench(false)
	if err != nil {
		return err
	}
	defer b.remove()
	got, err := o.profile(ctx, b)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	fmt.Print(profileText(o, got))
	if o.out == "" {
		return nil
	}
	return writeProfile(o, got.stacks)
}

// profile samples the broker while the load runs for the second time: the first, of a
// second, is its warm-up.
func (o profileOptions) profile(ctx context.Context, b *bench) (profiled, error) {
	var out profiled
	file := filepath.Join(b.folder, "perf.data")
	err := b.onBroker(ctx, o.tuning(), func(p proc.Process, load func(...string) (result, error)) error {
		if o.load == "replay" {
			count := b.times.replayBytes / o.shape.bytes / o.shape.batch * o.shape.batch
			if _, err := load(append(o.shape.flags(), "--mode", "publish", "--count", strconv.Itoa(count))...); err != nil {
				return err
			}
		}
		if _, err := o.drive(load, 1); err != nil {
			return err
		}
		perf, err := startPerf(ctx, p, file)
		if err != nil {
			return err
		}
		if err := perf.Enable(); err != nil {
			return err
		}
		before := p.VoluntarySwitches()
		r, cost, err := costOf(p, func() (result, error) { return o.drive(load, o.seconds) })
		switches := p.VoluntarySwitches() - before
		if stopped := perf.Stop(); err == nil {
			err = stopped
		}
		if r.Total > 0 {
			switches /= r.Total
		}
		out = profiled{result: r, cost: cost, switches: switches}
		return err
	})
	if err != nil {
		return out, err
	}
	script, err := perfScript(ctx, file)
	if err != nil {
		return out, err
	}
	out.stacks, err = parseStacks(script)
	if err == nil && len(out.stacks) == 0 {
		err = fmt.Errorf("the broker was not seen running: nothing was sampled")
	}
	return out, err
}

func profileText(o profileOptions, p profiled) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%v\n", o)
	if o.load == "latency" {
		fmt.Fprintf(&out, "  %s p50, %s p99, at %d messages/s\n", amount(p.result.P50, micros), amount(p.result.P99, micros), latencyRate)
	} else {
		fmt.Fprintf(&out, "  %s, while it was sampled\n", amount(p.result.rate(), perSecond))
	}
	fmt.Fprintf(&out, "  %.2f CPU seconds per million messages\n", p.cost.cpu)
	fmt.Fprintf(&out, "  %.4f voluntary context switches per message\n", p.switches)
	fmt.Fprintf(&out, "  %d samples, %d for each second of CPU\n\n", len(p.stacks), samplesPerSecond)
	out.WriteString(stackTable(p.stacks))
	return out.String()
}

// writeProfile leaves the folded stacks, and the flame graph of them.
func writeProfile(o profileOptions, stacks []stack) error {
	folded := fold(stacks)
	name := strings.ToLower(strings.NewReplacer(", ", "-", " x ", "x", " ", "").Replace(o.String()))
	folds, err := os.Create(filepath.Join(o.out, name+".folded"))
	if err != nil {
		return err
	}
	if err := cmp.Or(writeFolded(folds, folded), folds.Close()); err != nil {
		return err
	}
	graph, err := os.Create(filepath.Join(o.out, name+".svg"))
	if err != nil {
		return err
	}
	title := fmt.Sprintf("spillwayd: %v; %d samples", o, len(stacks))
	if err := cmp.Or(writeFlame(graph, title, folded), graph.Close()); err != nil {
		return err
	}
	fmt.Printf("\n%s\n%s\n", graph.Name(), folds.Name())
	return nil
}
