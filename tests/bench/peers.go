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

// What a step may write, at the rates that this machine's memory allows.
const peersDiskNeeded = 8 << 30

// peers is a run of ./dev bench peers.
type peers struct {
	options   peersOptions
	program   string // the driver
	cache     string
	folder    string
	systems   []peerSystem
	workloads []peersWorkload
	tiers     []string
	peaks     map[key]float64 // on which rates of open loops depend: of the first round
	missing   map[key]string  // why there is no figure
	unknown   []string
	log       func(line string)
	runner    *runner
}

// peerSystem is a system with one of its clients, as the driver has them.
type peerSystem struct {
	jsonSystem
	System    string   `json:"system"`
	Language  string   `json:"language"`
	Tiers     []string `json:"tiers"`
	Workloads []string `json:"workloads"`
	// Why it cannot be measured.
	broken string
}

func runPeers(o peersOptions) error {
	begin := time.Now()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	r := newRunner(ctx, os.Stderr)
	p := &peers{options: o, program: os.Getenv("SPILLWAY_PEERS"), cache: os.Getenv("SPILLWAY_PEERS_CACHE"),
		peaks: map[key]float64{}, missing: map[key]string{}, runner: r}
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
	var names, languages, loads, usual, durabilities []string
	for _, s := range all {
		names, languages = added(names, s.System), added(languages, s.Language)
	}
	refuse := func(chosen, unknown []string) []string {
		p.unknown = append(p.unknown, unknown...)
		return chosen
	}
	names = refuse(choose("system", p.options.systems, names))
	languages = refuse(choose("client", p.options.clients, languages))
	for _, s := range all {
		if slices.Contains(names, s.System) && slices.Contains(languages, s.Language) {
			p.systems = append(p.systems, s)
		}
	}
	for _, w := range peersWorkloads {
		loads = append(loads, w.flag)
		if !w.optional {
			usual = append(usual, w.flag)
		}
	}
	if len(p.options.workloads) == 0 {
		p.options.workloads = usual
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
		got, err := lines[jsonSystem](ctx, nil, 20*time.Minute, p.program, "install", "--system", s.System,
			"--client", s.Language, "--cache", p.cache)
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

// each system beside the others, for each tier, workload and size.
func (p *peers) each(do func(w peersWorkload, tier string, s *peerSystem)) {
	for _, w := range p.workloads {
		for _, tier := range p.tiers {
			for i := range p.systems {
				if s := &p.systems[i]; s.has(w, tier) {
					do(w, tier, s)
				}
			}
		}
	}
}

func (s *peerSystem) has(w peersWorkload, tier string) bool {
	return slices.Contains(s.Tiers, tier) && slices.Contains(s.Workloads, w.load) && !(w.onDisk && tier == "MEMORY")
}

// specs in the order of the table: what is compared stands together.
func (p *peers) specs() []spec {
	var out []spec
	for _, w := range p.workloads {
		for _, tier := range p.tiers {
			for _, t := range w.trials(p.options) {
				for i := range w.keys(t, tier, "") {
					for _, s := range p.systems {
						if s.has(w, tier) {
							k := w.keys(t, tier, s.Name)[i]
							out = append(out, spec{key: k, unit: w.unit, limits: p.limitsOf(w, k)})
						}
					}
				}
				out = append(out, p.offered(w, t, tier)...)
			}
		}
	}
	return out
}

// limitsOf Spillway with its Go client: the relay, where it takes the same load.
func (p *peers) limitsOf(w peersWorkload, k key) []key {
	if k.system == system && slices.ContainsFunc(p.systems, func(s peerSystem) bool {
		return s.Name == relaySystem && s.has(w, k.tier)
	}) {
		k.system = relaySystem
		return []key{k}
	}
	return nil
}

// offered are the rates of a trial that depend on what was measured before.
func (p *peers) offered(w peersWorkload, t peersTrial, tier string) []spec {
	var out []spec
	for _, s := range p.systems {
		k, depends := w.offeredKey(t, tier, s.Name)
		if depends && s.has(w, tier) && !slices.ContainsFunc(out, func(o spec) bool { return o.key == k }) {
			out = append(out, spec{key: k, unit: perSecond})
		}
	}
	return out
}

// steps of a round: one system at a time, and all systems by turns.
func (p *peers) steps() []step {
	var out []step
	p.each(func(w peersWorkload, tier string, s *peerSystem) {
		if s.broken != "" {
			p.miss(w, w.trials(p.options), tier, s.Name, s.broken)
			return
		}
		out = append(out, p.step(w, tier, s))
	})
	return out
}

func (p *peers) miss(w peersWorkload, trials []peersTrial, tier, system, reason string) {
	for _, t := range trials {
		for _, k := range w.keys(t, tier, system) {
			p.missing[k] = reason
		}
	}
}

// step makes all trials on one server.
func (p *peers) step(w peersWorkload, tier string, s *peerSystem) step {
	trials := w.trials(p.options)
	name := fmt.Sprintf("%s, %s, %s", w.name, tier, s.Name)
	missAll := func(reason string) error {
		p.miss(w, trials, tier, s.Name, reason)
		return errors.New(reason)
	}
	return step{name: name, seconds: 4 + float64(len(trials))*(p.options.warmup+p.options.seconds+1),
		run: func(ctx context.Context) (map[key]sample, error) {
			if err := roomFor(p.folder, peersDiskNeeded+uint64(p.options.backlog)); err != nil {
				return nil, missAll("too little disk: " + err.Error())
			}
			rates, err := p.rates(w, trials, tier, s.Name)
			if err != nil {
				return nil, missAll(err.Error())
			}
			got, err := p.drive(ctx, w, tier, s, trials, rates)
			if len(got) == 0 && err != nil {
				return nil, missAll(err.Error())
			}
			out := map[key]sample{}
			for i, t := range trials[:min(len(got), len(trials))] {
				if reason := got[i].Error; reason != "" {
					p.miss(w, []peersTrial{t}, tier, s.Name, reason)
					p.log(fmt.Sprintf("%s, %s: %s", name, sizeText(t.size), reason))
					continue
				}
				for part, k := range w.keys(t, tier, s.Name) {
					out[k] = got[i].sample(w, part)
				}
				if k, depends := w.offeredKey(t, tier, s.Name); depends {
					out[k] = sample{value: rates[i]}
				}
			}
			if err != nil { // what came before it ended stays
				p.miss(w, trials[min(len(got), len(trials)):], tier, s.Name, err.Error())
				p.log(fmt.Sprintf("%s: %v", name, err))
			}
			return out, nil
		}}
}

// peerResult is a line of the driver.
type peerResult struct {
	result
	Size      int       `json:"size"`
	CPU       float64   `json:"cpu_seconds_per_million"`
	ClientCPU float64   `json:"client_cpu_seconds_per_million"`
	RSS       float64   `json:"rss_bytes"`
	Values    []float64 `json:"values"`
	Error     string    `json:"error"`
}

// sample of the figure with this place among the workload's parts.
func (r peerResult) sample(w peersWorkload, part int) sample {
	s := sample{value: r.rate(), cpu: r.CPU, clientCPU: r.ClientCPU, rss: r.RSS}
	switch {
	case w.unit == micros:
		s.value = r.quantile(quantiles[part])
	case part < len(r.Values):
		s.value = r.Values[part]
	}
	return s
}

// drive runs the driver for one step; what it leaves behind is removed.
func (p *peers) drive(ctx context.Context, w peersWorkload, tier string, s *peerSystem, trials []peersTrial,
	rates []float64) ([]peerResult, error) {
	folder := filepath.Join(p.folder, "step")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	// The driver makes each rate with each size; only one of both is ever more than one.
	var sizes, speeds []string
	for i, t := range trials {
		sizes = added(sizes, fmt.Sprint(t.size))
		speeds = added(speeds, fmt.Sprintf("%.0f", rates[i]))
	}
	// The start of a server and the drain of what it holds may each take a minute or two.
	within := 3*time.Minute + time.Duration(len(trials))*(3*time.Minute+
		time.Duration((p.options.warmup+p.options.seconds)*float64(time.Second)))
	if w.load == "drain" {
		within += 20 * time.Minute // a backlog is as large as was asked for
	}
	return lines[peerResult](ctx, []string{"TMPDIR=" + folder}, within, p.program, "run", "--system", s.System,
		"--client", s.Language, "--tier", tier, "--workload", w.load, "--cache", p.cache, "--folder", folder,
		"--sizes", strings.Join(sizes, ","), "--warmup", seconds(p.options.warmup),
		"--seconds", seconds(p.options.seconds), "--rates", strings.Join(speeds, ","),
		"--backlog", fmt.Sprint(p.options.backlog))
}
