package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	fanOut     = "fan-out to 5 groups"
	oneByOne   = "one at a time"
	latencyLow = "latency at 2,000/s"
	latencyBig = "latency at half of the best peer's peak"
	offered    = latencyBig + ": rate"

	// Of the driver, where a figure is of no system.
	driver = "driver"
	// What a step may write, at the rates that this machine's memory allows.
	peersDiskNeeded = 8 << 30
)

// peersWorkload is a workload of the driver and the figures that it makes.
type peersWorkload struct {
	flag, load string // of ./dev bench peers, and of the driver
	name       string
	sized      bool // by --sizes; otherwise 1 KiB
	timed      bool // quantiles instead of a rate
}

// End to end comes before the rate that is half of its peak.
var peersWorkloads = []peersWorkload{
	{"publish", "publish", publishOnly, true, false},
	{"e2e", "e2e", endToEnd, true, false},
	{"replay", "replay", replayWarm, true, false},
	{"fanout", "fanout", fanOut, false, false},
	{"single", "single", oneByOne, false, false},
	{"latency", "latency", latencyLow, false, true},
	{"latency-half", "latency", latencyBig, false, true},
}

// peers is a run of ./dev bench peers.
type peers struct {
	options   peersOptions
	program   string // the driver
	cache     string
	folder    string
	systems   []peerSystem
	workloads []peersWorkload
	tiers     []string
	rates     map[string]float64 // of the open loop at half of the best peer's peak, by tier
	missing   map[key]string     // why there is no figure
	unknown   []string
	log       func(line string)
	runner    *runner
}

// peerSystem is a system that the driver has.
type peerSystem struct {
	jsonSystem
	Tiers []string `json:"tiers"`
	// Why it cannot be measured.
	broken string
}

func runPeers(o peersOptions) error {
	begin := time.Now()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	r := newRunner(ctx, os.Stderr)
	p := &peers{options: o, program: os.Getenv("SPILLWAY_PEERS"), cache: os.Getenv("SPILLWAY_PEERS_CACHE"),
		rates: map[string]float64{}, missing: map[key]string{}, runner: r}
	p.log = func(line string) {
		r.progress("")
		fmt.Fprintln(os.Stderr, line)
	}
	if p.program == "" || p.cache == "" {
		return errors.New("SPILLWAY_PEERS and SPILLWAY_PEERS_CACHE must name the driver and a folder; tests/bench/run.sh sets them")
	}
	if err := p.choose(ctx); err != nil {
		return err
	}
	var err error
	if p.folder, err = os.MkdirTemp("", "spillway-peers-"); err != nil {
		return err
	}
	defer os.RemoveAll(p.folder)
	p.install(ctx)
	steps := p.steps()
	p.log(fmt.Sprintf("%d systems, %d steps in each of %d rounds, about %d minutes", len(p.systems), len(steps),
		o.runs, int(nominal(steps)*float64(o.runs)/60)+1))
	r.noise.busyCores = busyCores(time.Second)
	r.run(steps, nil, o.runs)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return p.report(begin)
}

// nominal is how long steps take by their own account.
func nominal(steps []step) (seconds float64) {
	for _, s := range steps {
		seconds += s.seconds
	}
	return seconds
}

// choose asks the driver what there is.
func (p *peers) choose(ctx context.Context) error {
	all, err := lines[peerSystem](ctx, nil, 10*time.Second, p.program, "systems")
	if err != nil {
		return err
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	refuse := func(chosen, unknown []string) []string {
		p.unknown = append(p.unknown, unknown...)
		return chosen
	}
	names = refuse(choose("system", p.options.systems, names))
	for _, s := range all {
		if slices.Contains(names, s.Name) {
			p.systems = append(p.systems, s)
		}
	}
	var loads, durabilities []string
	for _, w := range peersWorkloads {
		loads = append(loads, w.flag)
	}
	loads = refuse(choose("workload", p.options.workloads, loads))
	for _, w := range peersWorkloads {
		if slices.Contains(loads, w.flag) {
			p.workloads = append(p.workloads, w)
		}
	}
	for _, t := range tiers {
		durabilities = append(durabilities, t.name)
	}
	p.tiers = refuse(choose("tier", p.options.tiers, durabilities))
	for _, line := range p.unknown {
		p.log(line)
	}
	if len(p.systems) == 0 || len(p.workloads) == 0 || len(p.tiers) == 0 {
		return fmt.Errorf("nothing is left to measure (%w)", errUsage)
	}
	return nil
}

// install what is not there. One that fails is left out, and said so.
func (p *peers) install(ctx context.Context) {
	for i := range p.systems {
		s := &p.systems[i]
		p.runner.progress("installing " + s.Name)
		got, err := lines[jsonSystem](ctx, nil, 20*time.Minute, p.program, "install", "--system", s.Name, "--cache", p.cache)
		if err == nil && len(got) != 1 {
			err = errors.New("the driver said nothing")
		}
		if err != nil {
			s.broken = fmt.Sprintf("it could not be installed: %v", err)
			p.log(s.Name + " is left out: " + s.broken)
			continue
		}
		s.Version, s.Client = got[0].Version, got[0].Client
	}
	p.runner.progress("")
}

func peersKey(w peersWorkload, tier string, size int, system string) key {
	return key{w.name, tier, sizeText(size), system}
}

func (w peersWorkload) sizes(o peersOptions) []int {
	if w.sized {
		return o.sizes
	}
	return []int{medium.bytes}
}

// keys of the figures of a workload with a size.
func (w peersWorkload) keys(tier string, size int, system string) []key {
	k := peersKey(w, tier, size, system)
	if !w.timed {
		return []key{k}
	}
	var out []key
	for _, q := range quantiles {
		out = append(out, key{k.name + " " + q, k.tier, k.size, k.system})
	}
	return out
}

// each system beside the others, for each tier, workload and size.
func (p *peers) each(do func(w peersWorkload, tier string, s *peerSystem)) {
	for _, w := range p.workloads {
		for _, tier := range p.tiers {
			for i := range p.systems {
				if s := &p.systems[i]; slices.Contains(s.Tiers, tier) {
					do(w, tier, s)
				}
			}
		}
	}
}

// specs in the order of the table: what is compared stands together.
func (p *peers) specs() []spec {
	var out []spec
	for _, w := range p.workloads {
		for _, tier := range p.tiers {
			for _, size := range w.sizes(p.options) {
				unit := perSecond
				if w.timed {
					unit = micros
				}
				for q := range w.keys(tier, size, "") {
					for _, s := range p.systems {
						if slices.Contains(s.Tiers, tier) {
							k := w.keys(tier, size, s.Name)[q]
							out = append(out, spec{key: k, unit: unit})
						}
					}
				}
			}
			if w.name == latencyBig {
				out = append(out, spec{key: offeredKey(tier), unit: perSecond})
			}
		}
	}
	return out
}

func offeredKey(tier string) key { return key{offered, tier, medium.keySize(), driver} }

func (s shape) keySize() string { return sizeText(s.bytes) }

// steps of a round: one system at a time, and all systems by turns.
func (p *peers) steps() []step {
	var out []step
	p.each(func(w peersWorkload, tier string, s *peerSystem) {
		if s.broken != "" {
			for _, size := range w.sizes(p.options) {
				p.miss(w, tier, size, s.Name, s.broken)
			}
			return
		}
		out = append(out, p.step(w, tier, s.Name))
	})
	return out
}

func (p *peers) miss(w peersWorkload, tier string, size int, system, reason string) {
	for _, k := range w.keys(tier, size, system) {
		p.missing[k] = reason
	}
}

// step measures all sizes on one server.
func (p *peers) step(w peersWorkload, tier, system string) step {
	sizes := w.sizes(p.options)
	name := fmt.Sprintf("%s, %s, %s", w.name, tier, system)
	missAll := func(reason string) error {
		for _, size := range sizes {
			p.miss(w, tier, size, system, reason)
		}
		return errors.New(reason)
	}
	return step{name: name, seconds: 4 + float64(len(sizes))*(p.options.warmup+p.options.seconds+1),
		run: func(ctx context.Context) (map[key]sample, error) {
			if err := roomFor(p.folder, peersDiskNeeded); err != nil {
				return nil, missAll("too little disk: " + err.Error())
			}
			rate := float64(latencyRate)
			if w.name == latencyBig {
				if rate = p.rateOf(tier); rate == 0 {
					return nil, missAll("no rate: end to end of a peer at 1 KiB has to be measured before, or --rate given")
				}
			}
			got, err := p.drive(ctx, w, tier, system, sizes, rate)
			out := map[key]sample{}
			for _, r := range got {
				if r.Error != "" {
					p.miss(w, tier, r.Size, system, r.Error)
					p.log(fmt.Sprintf("%s, %s: %s", name, sizeText(r.Size), r.Error))
					continue
				}
				for i, k := range w.keys(tier, r.Size, system) {
					out[k] = r.sample(w, i)
				}
			}
			if w.name == latencyBig {
				out[offeredKey(tier)] = sample{value: rate}
			}
			switch {
			case err == nil:
			case len(got) == 0:
				return nil, missAll(err.Error())
			default: // what came before it ended stays
				for _, size := range sizes[min(len(got), len(sizes)):] {
					p.miss(w, tier, size, system, err.Error())
				}
				p.log(fmt.Sprintf("%s: %v", name, err))
			}
			return out, nil
		}}
}

// rateOf the open loop of a tier, the same in all rounds: half of what the best peer
// reached end to end in the first.
func (p *peers) rateOf(tier string) float64 {
	if p.options.rate > 0 {
		return p.options.rate
	}
	if p.rates[tier] == 0 {
		best := 0.0
		for k, samples := range p.runner.samples {
			if k.name == endToEnd && k.tier == tier && k.size == medium.keySize() && k.system != system {
				best = max(best, median(column(samples, func(s sample) float64 { return s.value })))
			}
		}
		p.rates[tier] = best / 2
	}
	return p.rates[tier]
}

// peerResult is a line of the driver.
type peerResult struct {
	result
	Size  int     `json:"size"`
	CPU   float64 `json:"cpu_seconds_per_million"`
	RSS   float64 `json:"rss_bytes"`
	Error string  `json:"error"`
}

// sample of the figure with this place among the workload's.
func (r peerResult) sample(w peersWorkload, i int) sample {
	s := sample{value: r.rate(), cpu: r.CPU, rss: r.RSS}
	if w.timed {
		s.value = r.quantile(quantiles[i])
	}
	return s
}

// drive runs the driver for one step; what it leaves behind is removed.
func (p *peers) drive(ctx context.Context, w peersWorkload, tier, system string, sizes []int,
	rate float64) ([]peerResult, error) {
	folder := filepath.Join(p.folder, "step")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	var texts []string
	for _, size := range sizes {
		texts = append(texts, fmt.Sprint(size))
	}
	// The start of a server and the drain of what it holds may each take a minute or two.
	within := 3*time.Minute + time.Duration(len(sizes))*(3*time.Minute+
		time.Duration((p.options.warmup+p.options.seconds)*float64(time.Second)))
	return lines[peerResult](ctx, []string{"TMPDIR=" + folder}, within, p.program, "run", "--system", system,
		"--tier", tier, "--workload", w.load, "--cache", p.cache, "--folder", folder,
		"--sizes", strings.Join(texts, ","), "--warmup", seconds(p.options.warmup),
		"--seconds", seconds(p.options.seconds), "--rate", fmt.Sprintf("%.0f", rate))
}
