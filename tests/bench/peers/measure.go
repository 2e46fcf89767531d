package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"spillway.dev/tests/bench/proc"
)

// measured is a line of what `run` prints, one for each size.
type measured struct {
	Size    int     `json:"size"`
	Records float64 `json:"records"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_us,omitempty"`
	P99     float64 `json:"p99_us,omitempty"`
	P999    float64 `json:"p999_us,omitempty"`
	// Of the server, and of the process that is its client.
	CPU       float64 `json:"cpu_seconds_per_million"`
	ClientCPU float64 `json:"client_cpu_seconds_per_million"`
	RSS       float64 `json:"rss_bytes"`
	// Of workloads that find something else than a rate.
	Values []float64 `json:"values,omitempty"`
	// Why there is no figure.
	Error string `json:"error,omitempty"`
}

// How long parts of a run may take that are not its measured time.
const (
	mostStart = 2 * time.Minute
	mostOpen  = 30 * time.Second
	mostDrain = 60 * time.Second
)

// How many loads warm a server up.
const (
	leastWarming = 2
	mostWarming  = 6
)

// measure runs a workload with each size, and each rate, on one server.
func measure(ctx context.Context, o options) error {
	// The driver shares the machine with the server; collecting its own garbage less
	// often leaves more of it to all systems alike.
	debug.SetGCPercent(400)
	system := systemNamed(o.system)
	folder, err := os.MkdirTemp(o.folder, o.system+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	starting, cancel := context.WithTimeout(ctx, mostStart)
	defer cancel()
	if _, err := system.Install(starting, o.cache); err != nil {
		return err
	}
	server, err := system.Start(starting, o.tier, folder)
	if err != nil {
		return fmt.Errorf("%s did not start: %w", o.system, err)
	}
	defer server.Stop()
	if err := warm(ctx, server, o); err != nil {
		return fmt.Errorf("%s could not be warmed up: %w", o.system, err)
	}
	for _, size := range o.sizes {
		for _, o.rate = range o.rates {
			t := newTrial(server, o, size)
			if program := clientOf(o).program; program != nil {
				t.program = program(o.cache)
			}
			got, err := t.run(ctx)
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			got.Size = size
			if err != nil {
				_ = os.WriteFile(filepath.Join(o.folder, o.system+".log"), []byte(server.Log()), 0o644)
				got.Error = fmt.Sprintf("%v; the server's last words: %s", err, lastLine(server.Log()))
			}
			if err := printJSON(got); err != nil {
				return err
			}
		}
	}
	return nil
}

// warm uses a server whose code is compiled while it runs, until that pays no more: a
// message costs as much as in the load before.
func warm(ctx context.Context, server Server, o options) error {
	w, ok := server.(interface{ Warm() time.Duration })
	if !ok {
		return nil
	}
	o.load, o.warmup, o.seconds = "e2e", 0, w.Warm()
	cost := math.Inf(1)
	for i := range mostWarming {
		t := newTrial(server, o, 1024)
		t.topic.name = fmt.Sprintf("warm-%d", i)
		got, err := t.run(ctx)
		if err != nil {
			return err
		}
		if i >= leastWarming && got.CPU > cost*0.9 {
			break
		}
		cost = min(cost, got.CPU)
	}
	return nil
}

// trial is one workload with one size.
type trial struct {
	options
	server Server
	// The client's program; empty: the load runs here, by the Go client.
	program  string
	topic    topic
	acks     *acks
	payloads *payloads
	window   int64
	sent     int64 // of the sender alone, until it has ended
}

func newTrial(server Server, o options, size int) *trial {
	return &trial{options: o, server: server, acks: newAcks(),
		topic: topic{name: fmt.Sprintf("%s-%d", o.load, size), size: size}}
}

// run makes the topic, and frees it, so that the next trial pays for its own only.
func (t *trial) run(ctx context.Context) (measured, error) {
	w := workloads[t.load]
	t.topic.use = w.use
	for i := range w.groups {
		t.topic.groups = append(t.topic.groups, fmt.Sprintf("group-%d", i+1))
	}
	t.window = int64(t.server.Window(t.topic))
	t.payloads = newPayloads(t.topic.size, int(t.window))
	if err := t.server.Create(ctx, t.topic); err != nil {
		return measured{}, fmt.Errorf("creating a topic: %w", err)
	}
	for _, p := range t.server.Process().Tree() {
		p.ForgetPeak()
	}
	got, err := t.do(ctx, w)
	for _, p := range t.server.Process().Tree() {
		_, peak := p.RSSBytes()
		got.RSS += peak
	}
	if failed := t.server.Delete(ctx, t.topic); err == nil && failed != nil {
		err = fmt.Errorf("deleting a topic: %w", failed)
	}
	return got, err
}

// do what the workload says, on what it wants to be there.
func (t *trial) do(ctx context.Context, w *workload) (measured, error) {
	var count int64
	if w.backlog != nil {
		count = w.backlog(t)
		if err := t.fill(ctx, count); err != nil {
			return measured{}, err
		}
	}
	return w.run(t, ctx, count)
}

// workload is a way to use a topic.
type workload struct {
	use    use
	groups int
	// How many messages are published before, with nobody to read them.
	backlog func(t *trial) int64
	run     func(t *trial, ctx context.Context, backlog int64) (measured, error)
}

var workloads map[string]*workload

func init() { // they refer to what refers to them
	kept := func(t *trial) int64 { return int64(t.topic.window(replayMessages, replayBytes)) }
	stalled := func(t *trial) int64 { return int64(t.topic.window(math.MaxInt, int(t.backlog))) }
	workloads = map[string]*workload{
		"publish":     {filling, 0, nil, byClient((*trial).flow)},
		"e2e":         {passing, 1, nil, byClient((*trial).endToEnd)},
		"fanout":      {passing, 5, nil, byClient((*trial).flow)},
		"single":      {timing, 0, nil, byClient((*trial).single)},
		"latency":     {timing, 1, nil, byClient((*trial).latency)},
		"replay":      {keeping, 0, kept, (*trial).replay},
		"replay-cold": {keeping, 0, kept, (*trial).replayCold},
		"drain":       {holding, 1, stalled, (*trial).drain},
		"allocations": {holding, 1, nil, (*trial).allocations},
	}
}

// byClient runs a load here, or lets the client's program do so.
func byClient(load func(*trial, context.Context) (measured, error)) func(*trial, context.Context, int64) (measured, error) {
	return func(t *trial, ctx context.Context, _ int64) (measured, error) {
		if t.program != "" {
			return t.native(ctx, t.load)
		}
		return load(t, ctx)
	}
}

// meter takes the time, and the CPU time of the server and its client, between two
// moments.
type meter struct {
	server, client proc.Process
	begin          time.Time
	cpu, clientCPU float64
}

// startMeter of a load that runs in this process.
func startMeter(s Server) meter { return startMeterOf(s, proc.Process(os.Getpid())) }

func startMeterOf(s Server, client proc.Process) meter {
	return meter{s.Process(), client, time.Now(), cpuSeconds(s.Process()), client.CPUSeconds()}
}

func (m meter) stop(records int64) measured {
	out := measured{Records: float64(records), Seconds: time.Since(m.begin).Seconds()}
	if records > 0 {
		million := float64(records) / 1e6
		out.CPU = (cpuSeconds(m.server) - m.cpu) / million
		out.ClientCPU = (m.client.CPUSeconds() - m.clientCPU) / million
	}
	return out
}

// plus is what two measured times come to.
func (m measured) plus(other measured) measured {
	records := m.Records + other.Records
	if records > 0 {
		mean := func(a, b float64) float64 { return (a*m.Records + b*other.Records) / records }
		m.CPU, m.ClientCPU = mean(m.CPU, other.CPU), mean(m.ClientCPU, other.ClientCPU)
	}
	m.Records, m.Seconds = records, m.Seconds+other.Seconds
	return m
}

func cpuSeconds(p proc.Process) float64 {
	var sum float64
	for _, p := range p.Tree() {
		sum += p.CPUSeconds()
	}
	return sum
}
