package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/tests/bench/proc"
	"spillway.dev/tests/spillwayd"
)

const (
	system = "spillway"
	queue  = "bench"

	endToEnd     = "end to end"
	endToEndOver = "end to end, spilling"
	publishOnly  = "publish only"
	latency      = "latency"
	replayWarm   = "replay, warm"
	stallBacklog = "stalled consumer: backlog"
	stallPublish = "stalled consumer: publish"
	stallPeak    = "stalled consumer: peak RSS"
	stallGrowth  = "stalled consumer: growth of RSS"
	stallDrain   = "stalled consumer: drain"

	latencyRate = 2000 // messages a second

	// How much more memory than in the first half of the load the second half may
	// take to be called flat.
	mostGrowth = 1.10
	// A backlog below this says nothing of growth: buffers of a fixed size still fill.
	growthNeeds = 1 << 30
	// What the run needs on the disk at most, with room for RocksDB's log.
	diskNeeded = 6 << 30
)

type tier struct {
	name       string
	durability spillway.Durability
}

var tiers = []tier{
	{"MEMORY", spillway.Memory}, {"PERSISTED", spillway.Persisted}, {"SYNCED", spillway.Synced},
}

// times are how long steps measure, in seconds, and how much is kept.
type times struct {
	warmup, rate, publish, latency, rocks, machine, log float64
	replayBytes, spillBytes                             int
}

type bench struct {
	times  times
	bin    string            // where the programs are
	broker string            // the binary that is measured
	folder string            // for files of our own
	store  *spillwayd.Broker // stopped; its store's options are read
}

func newBench(quick bool) (*bench, error) {
	b := &bench{bin: os.Getenv("SPILLWAY_BENCH_BIN"), broker: os.Getenv("SPILLWAYD"), times: times{
		warmup: 0.3, rate: 1, publish: 0.8, latency: 3, rocks: 0.5, machine: 0.5, log: 3,
		replayBytes: 256 << 20, spillBytes: 2<<30 + 64<<20}}
	if quick {
		b.times = times{warmup: 0.2, rate: 0.5, publish: 0.4, latency: 1.5, rocks: 0.2, machine: 0.3, log: 2,
			replayBytes: 128 << 20, spillBytes: 512<<20 + 64<<20}
	}
	if b.bin == "" {
		return nil, errors.New("SPILLWAY_BENCH_BIN must name the folder of the programs; tests/bench/run.sh sets it")
	}
	folder, err := os.MkdirTemp("", "spillway-bench-")
	if err != nil {
		return nil, err
	}
	b.folder = folder
	if err := roomFor(folder, diskNeeded); err != nil {
		b.remove()
		return nil, err
	}
	return b, nil
}

// roomFor says what is wrong with the disk that is to be measured.
func roomFor(folder string, needed uint64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil {
		return nil // it will be seen when it is written to
	}
	const tmpfs = 0x01021994
	if fs.Type == tmpfs {
		return fmt.Errorf("%s is in memory; set TMPDIR to a folder on the disk to be measured", os.TempDir())
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < needed {
		return fmt.Errorf("%s has %s free, %s are needed", os.TempDir(),
			amount(float64(free), bytesUnit), amount(float64(needed), bytesUnit))
	}
	return nil
}

// begin lets the broker write the options of its store, for RocksDB by itself.
func (b *bench) begin(context.Context) error {
	var err error
	if b.store, err = spillwayd.Start(); err != nil {
		return err
	}
	b.store.Kill()
	return nil
}

func (b *bench) remove() {
	if b.store != nil {
		b.store.Remove()
	}
	_ = os.RemoveAll(b.folder)
}

func (b *bench) binary(name string) string { return filepath.Join(b.bin, name) }

func coreKey(name, tier, size string) key { return key{name, tier, size, system} }

// rocksTier is how RocksDB is written for a tier; none for MEMORY.
func rocksTier(t tier) string {
	return map[string]string{"PERSISTED": walOnly, "SYNCED": walSynced}[t.name]
}

// limitsOf a load: the way of its frames, and what is written for its tier.
func limitsOf(way, rocks string, t tier, s shape) []key {
	out := []key{limitKey(way, "", s.text)}
	if w := rocksTier(t); w != "" {
		out = append(out, limitKey(rocks, w, s.text))
	}
	return out
}

func (b *bench) coreSpecs() []spec {
	var out []spec
	for _, s := range shapes {
		for _, t := range tiers {
			out = append(out, spec{coreKey(endToEnd, t.name, s.text), perSecond,
				limitsOf(relayThrough, rocksDrained, t, s)})
		}
	}
	for _, t := range tiers[:2] {
		out = append(out, spec{coreKey(endToEndOver, t.name, medium.text), perSecond,
			limitsOf(relayThrough, rocksDrained, t, medium)})
	}
	for _, s := range shapes {
		for _, t := range tiers {
			out = append(out, spec{coreKey(publishOnly, t.name, s.text), perSecond,
				limitsOf(relaySink, rocksKept, t, s)})
		}
	}
	for _, t := range tiers {
		for _, q := range quantiles {
			limits := []key{limitKey(relayLatency+" "+q, "", single.text)}
			if t.name == "SYNCED" {
				limits = append(limits, limitKey(fdatasync+" "+q, "", "4 KiB"))
			}
			out = append(out, spec{coreKey(latency+" "+q, t.name, single.text), micros, limits})
		}
	}
	reading := func(s shape) []key {
		return []key{limitKey(relaySink, "", s.text), limitKey(rocksScan, "", s.text)}
	}
	for _, s := range shapes {
		out = append(out, spec{coreKey(replayWarm, "PERSISTED", s.text), perSecond, reading(s)})
	}
	return append(out,
		spec{b.stallKey(stallBacklog), bytesUnit, nil},
		spec{b.stallKey(stallPublish), perSecond, limitsOf(relaySink, rocksKept, tiers[1], medium)},
		spec{b.stallKey(stallPeak), bytesUnit, nil},
		spec{b.stallKey(stallGrowth), ratioUnit, nil},
		spec{b.stallKey(stallDrain), perSecond, reading(medium)})
}

func (b *bench) stallKey(name string) key { return coreKey(name, "PERSISTED", medium.text) }

func (b *bench) figures(r *runner) []figure {
	return assemble(append(limitSpecs(), b.coreSpecs()...), r.samples)
}

// steps of each round.
func (b *bench) steps() []step {
	out := b.limitSteps()
	for _, s := range shapes {
		for _, t := range tiers {
			out = append(out, b.endToEndStep(endToEnd, t, s, spillway.Block), b.publishStep(t, s))
		}
	}
	for _, t := range tiers[:2] {
		out = append(out, b.endToEndStep(endToEndOver, t, medium, spillway.Spill))
	}
	for _, t := range tiers {
		out = append(out, b.latencyStep(t))
	}
	for _, s := range shapes {
		out = append(out, b.replayStep(s))
	}
	return out
}

// once are the steps that take long and hardly vary.
func (b *bench) once() []step {
	return []step{{name: fmt.Sprintf("stalled consumer, backlog of %s", amount(float64(b.times.spillBytes), bytesUnit)),
		seconds: float64(b.times.spillBytes)/(200<<20) + 5, run: b.stall}}
}

// onBroker starts a broker of its own, so that each figure has its own peak of
// memory and no figure pays for what another left behind.
func (b *bench) onBroker(ctx context.Context, tuning []spillway.TuningOption,
	run func(p proc.Process, load func(args ...string) (result, error)) error) error {
	broker, err := spillwayd.StartBinary(b.broker)
	if err != nil {
		return err
	}
	defer func() {
		broker.Kill()
		broker.Remove()
	}()
	client, err := spillway.Dial(ctx, broker.Address())
	if err != nil {
		return err
	}
	_, err = client.Admin().CreateQueue(ctx, queue, tuning...)
	_ = client.Close(ctx)
	if err != nil {
		return err
	}
	err = run(proc.Process(broker.PID()), func(args ...string) (result, error) {
		return call(ctx, b.binary("core/load"),
			append([]string{"--address", broker.Address(), "--queue", queue}, args...)...)
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; the broker's last words: %s", err, lastLine(broker.Log()))
	}
	return err
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// loadStep measures one load on a new queue.
func (b *bench) loadStep(k key, nominal float64, tuning []spillway.TuningOption, args []string) step {
	return step{name: k.String(), seconds: nominal + 1,
		run: func(ctx context.Context) (map[key]sample, error) {
			out := map[key]sample{}
			err := b.onBroker(ctx, tuning, func(p proc.Process, load func(...string) (result, error)) error {
				_, got, err := costOf(p, func() (result, error) { return load(args...) })
				out[k] = got
				return err
			})
			return out, err
		}}
}

// endToEndStep with a full window that holds the producer is a steady state: what
// comes in goes out. With one that spills, the producer runs ahead of the consumer.
func (b *bench) endToEndStep(name string, t tier, s shape, overflow spillway.OverflowPolicy) step {
	return b.loadStep(coreKey(name, t.name, s.text), b.times.warmup+b.times.rate,
		[]spillway.TuningOption{spillway.SetDurability(t.durability), spillway.SetOverflow(overflow)},
		append(s.flags(), "--mode", "e2e", "--warmup", seconds(b.times.warmup), "--seconds", seconds(b.times.rate)))
}

func (b *bench) publishStep(t tier, s shape) step {
	tuning := []spillway.TuningOption{spillway.SetDurability(t.durability)}
	if t.durability == spillway.Memory {
		// Otherwise it would be the disk that is measured, once the window is full.
		tuning = append(tuning, spillway.SetOverflow(spillway.DropOldest))
	}
	return b.loadStep(coreKey(publishOnly, t.name, s.text), b.times.publish, tuning,
		append(s.flags(), "--mode", "publish", "--seconds", seconds(b.times.publish)))
}

func (b *bench) latencyStep(t tier) step {
	return step{name: latency + ", " + t.name, seconds: b.times.latency + b.times.warmup + 2,
		run: func(ctx context.Context) (map[key]sample, error) {
			out := map[key]sample{}
			tuning := []spillway.TuningOption{spillway.SetDurability(t.durability)}
			err := b.onBroker(ctx, tuning, func(p proc.Process, load func(...string) (result, error)) error {
				r, cost, err := costOf(p, func() (result, error) {
					return load(append(single.flags(), "--mode", "latency", "--warmup", seconds(b.times.warmup),
						"--seconds", seconds(b.times.latency), "--rate", strconv.Itoa(latencyRate))...)
				})
				for _, q := range quantiles {
					cost.value = r.quantile(q)
					out[coreKey(latency+" "+q, t.name, single.text)] = cost
				}
				return err
			})
			return out, err
		}}
}

// replayStep reads what is kept twice; the first time brings it into the page cache.
func (b *bench) replayStep(s shape) step {
	k := coreKey(replayWarm, "PERSISTED", s.text)
	count := b.times.replayBytes / s.bytes / s.batch * s.batch
	return step{name: k.String(), seconds: 4, run: func(ctx context.Context) (map[key]sample, error) {
		out := map[key]sample{}
		tuning := []spillway.TuningOption{
			spillway.SetDurability(spillway.Persisted), spillway.SetRetention(spillway.Limits)}
		err := b.onBroker(ctx, tuning, func(p proc.Process, load func(...string) (result, error)) error {
			if _, err := load(append(s.flags(), "--mode", "publish", "--count", strconv.Itoa(count))...); err != nil {
				return err
			}
			if _, err := load("--mode", "replay"); err != nil {
				return err
			}
			r, got, err := costOf(p, func() (result, error) { return load("--mode", "replay") })
			if err == nil && int(r.Total) != count {
				err = fmt.Errorf("%d records were replayed of %d", int(r.Total), count)
			}
			out[k] = got
			return err
		})
		return out, err
	}}
}

// stall lets a consumer take its credit and settle none, while a producer sends as
// fast as it may; then another consumer drains what was spilled.
func (b *bench) stall(ctx context.Context) (map[key]sample, error) {
	count := strconv.Itoa(b.times.spillBytes / medium.bytes / medium.batch * medium.batch)
	out := map[key]sample{}
	tuning := []spillway.TuningOption{
		spillway.SetDurability(spillway.Persisted),
		// So that nothing comes back from the stalled consumer before its time.
		spillway.SetAckDeadline(time.Hour)}
	err := b.onBroker(ctx, tuning, func(p proc.Process, load func(...string) (result, error)) error {
		watch := watchMemory(p)
		_, published, err := costOf(p, func() (result, error) {
			return load(append(medium.flags(), "--mode", "stall", "--count", count)...)
		})
		growth := growthOf(watch())
		if err != nil {
			return err
		}
		out[b.stallKey(stallBacklog)] = sample{value: float64(b.times.spillBytes)}
		out[b.stallKey(stallPublish)] = published
		out[b.stallKey(stallPeak)] = sample{value: published.rss}
		if b.times.spillBytes >= growthNeeds {
			out[b.stallKey(stallGrowth)] = sample{value: growth}
		}
		_, drained, err := costOf(p, func() (result, error) {
			return load("--mode", "drain", "--count", count)
		})
		out[b.stallKey(stallDrain)] = drained
		return err
	})
	return out, err
}

// watchMemory notes the resident bytes of a process until the function that it
// returns is called.
func watchMemory(p proc.Process) func() []float64 {
	end, notes := make(chan struct{}), make(chan []float64, 1)
	go func() {
		var seen []float64
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				notes <- seen
				return
			case <-tick.C:
				now, _ := p.RSSBytes()
				seen = append(seen, now)
			}
		}
	}()
	return func() []float64 {
		close(end)
		return <-notes
	}
}

// growthOf is the peak of the second half over that of the first; 0 of too few.
func growthOf(rss []float64) float64 {
	half := len(rss) / 2
	if half == 0 || slices.Max(rss[:half]) == 0 {
		return 0
	}
	return slices.Max(rss[half:]) / slices.Max(rss[:half])
}
