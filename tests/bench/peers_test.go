package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParsePeers(t *testing.T) {
	o, err := parsePeers(strings.Fields("--systems kafka,redis,kafka --tiers memory --sizes 100B,1KiB,65536 --runs 1 --clients go,cpp --backlog 512MiB --out d"))
	want := peersOptions{systems: []string{"kafka", "redis"}, clients: []string{"go", "cpp"}, tiers: []string{"MEMORY"},
		sizes: []int{100, 1024, 65536}, runs: 1, warmup: 1, seconds: 3, backlog: 512 << 20, out: "d"}
	if err != nil || !reflect.DeepEqual(o, want) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = parsePeers(nil); err != nil || o.runs != 3 || o.backlog != 4<<30 || !slices.Equal(o.sizes, []int{100, 1024, 65536}) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, line := range []string{"--runs 0", "--seconds 0", "--sizes 8", "--sizes 5MiB", "--sizes big", "--fast", "more",
		"--backlog 0", "--backlog much", "--backlog 9999999999GiB"} {
		if _, err := parsePeers(strings.Fields(line)); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestUnknownNamesLeaveTheRest(t *testing.T) {
	there := []string{"spillway", "kafka", "redis"}
	chosen, unknown := choose("system", []string{"redis", "sqs", "spillway"}, there)
	if !slices.Equal(chosen, []string{"spillway", "redis"}) ||
		!slices.Equal(unknown, []string{`no system "sqs"; there are: spillway, kafka, redis`}) {
		t.Errorf("%v, %v", chosen, unknown)
	}
	if chosen, unknown := choose("system", nil, there); !slices.Equal(chosen, there) || unknown != nil {
		t.Errorf("%v, %v", chosen, unknown)
	}
}

func peersFigure(name, tier, system, unit string, value float64) figure {
	return figure{spec: spec{key: key{name, tier, "1 KiB", system}, unit: unit}, value: value, runs: 3, spread: 0.1}
}

func comparedFigures() []figure {
	return compare([]figure{
		peersFigure(endToEnd, "MEMORY", system, perSecond, 300e3),
		peersFigure(endToEnd, "MEMORY", "redis", perSecond, 150e3),
		peersFigure(endToEnd, "MEMORY", "nats", perSecond, 70e3),
		peersFigure(endToEnd, "SYNCED", system, perSecond, 90e3),
		peersFigure(endToEnd, "SYNCED", "kafka", perSecond, 180e3),
		peersFigure("latency p99", "MEMORY", system, micros, 400),
		peersFigure("latency p99", "MEMORY", "redis", micros, 800),
		peersFigure("latency p99", "MEMORY", "nats", micros, 3900),
		peersFigure("alone", "MEMORY", system, perSecond, 1),
	})
}

func TestRatioIsToTheBestPeer(t *testing.T) {
	for _, c := range []struct {
		index   int
		ratio   float64
		against string
	}{{0, 2, "redis"}, {1, 0, ""}, {3, 0.5, "kafka"}, {5, 0.5, "redis"}, {8, 0, ""}} {
		if f := comparedFigures()[c.index]; !near(f.ratio, c.ratio) || f.against != c.against {
			t.Errorf("%v: %v of %q, want %v of %q", f.key, f.ratio, f.against, c.ratio, c.against)
		}
	}
}

func TestPeersVerdict(t *testing.T) {
	got := peersVerdict(comparedFigures(), quietNoise())
	for _, want := range []string{
		"end to end 0.50 x (SYNCED, 1 KiB, kafka) to 2.00 x (MEMORY, 1 KiB, redis)",
		"latency p99 0.50 x (MEMORY, 1 KiB, redis)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	limited := comparedFigures()[8:]
	limited[0].name, limited[0].share = endToEnd, 0.6
	if got := peersVerdict(limited, quietNoise()); got != "of its limit, the relay:\n  end to end 60 %" {
		t.Errorf("%q", got)
	}
	if got := peersVerdict(nil, quietNoise()); got != "no verdict, nothing was compared" {
		t.Errorf("%q", got)
	}
	if got := peersVerdict(comparedFigures(), noise{busyCores: 1}); !strings.HasPrefix(got, "no verdict, the machine is too noisy") {
		t.Errorf("%q", got)
	}
}

func TestPeersTableSaysWhatIsMissing(t *testing.T) {
	figures := comparedFigures()[:2]
	figures[0].share, figures[0].limitedBy = 0.6, relaySystem
	nats := key{endToEnd, "MEMORY", "1 KiB", "nats"}
	specs := []spec{figures[0].spec, figures[1].spec, {key: nats, unit: perSecond},
		{key: key{endToEnd, "SYNCED", "1 KiB", "nats"}, unit: perSecond}, {key: key{system: driver}}}
	missing := missingOf(specs, figures, map[key]string{nats: "it could not be installed: no network\nat all"})
	want := `
FIGURE TIER SIZE SYSTEM VALUE SPREAD CPU s/M CLIENT PEAK RSS TO THE BEST PEER TO GO OF LIMIT
end to end MEMORY 1 KiB spillway 300 k/s 10 % - - - 2.00 x (redis) - 60 % (relay)
end to end MEMORY 1 KiB redis 150 k/s 10 % - - - - - -
end to end MEMORY 1 KiB nats missing - - - - - - -
end to end SYNCED 1 KiB nats missing - - - - - - -

missing: end to end, MEMORY, 1 KiB, nats: it could not be installed: no network
missing: end to end, SYNCED, 1 KiB, nats: it was not measured
`
	if got := "\n" + peersTable(specs, figures, missing); squeeze(got) != squeeze(want) {
		t.Errorf("table:\n%s\nwant:\n%s", squeeze(got), squeeze(want))
	}
}

// testPeers has a driver that is a script.
func testPeers(t *testing.T, script string) *peers {
	t.Helper()
	program := filepath.Join(t.TempDir(), "driver")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	p := &peers{program: program, folder: t.TempDir(), peaks: map[key]float64{}, missing: map[key]string{},
		log: func(string) {}, runner: testRunner(t.Context())}
	p.options, _ = parsePeers(nil)
	return p
}

const threeSystems = `
all='"publish","e2e","replay","single","latency","drain","replay-cold"'
echo '{"name":"spillway","system":"spillway","language":"go","tiers":["MEMORY","SYNCED"],"workloads":['"$all"']}'
echo '{"name":"redis","system":"redis","language":"go","tiers":["MEMORY","SYNCED"],"workloads":["e2e","latency"]}'
echo '{"name":"kafka","system":"kafka","language":"go","tiers":["SYNCED"],"workloads":['"$all"']}'
echo '{"name":"kafka (C)","system":"kafka","language":"cpp","tiers":["SYNCED"],"workloads":['"$all"']}'
`

func workloadOf(flag string) peersWorkload {
	return peersWorkloads[slices.IndexFunc(peersWorkloads, func(w peersWorkload) bool { return w.flag == flag })]
}

func stepNames(p *peers) (names []string) {
	for _, s := range p.steps() {
		names = append(names, s.name)
	}
	return names
}

func TestPeersSteps(t *testing.T) {
	p := testPeers(t, threeSystems)
	p.options.workloads = []string{"e2e", "latency"}
	p.options.tiers = []string{"MEMORY", "SYNCED", "PAPER"}
	p.options.clients = []string{"go"}
	if err := p.choose(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(p.unknown) != 1 || !strings.Contains(p.unknown[0], `no tier "PAPER"`) {
		t.Errorf("unknown %v", p.unknown)
	}
	p.systems[1].broken = "it could not be installed"
	names := stepNames(p)
	if want := []string{"end to end, MEMORY, spillway", "end to end, SYNCED, spillway", "end to end, SYNCED, kafka",
		"latency at 2,000/s, MEMORY, spillway", "latency at 2,000/s, SYNCED, spillway",
		"latency at 2,000/s, SYNCED, kafka"}; !slices.Equal(names, want) {
		t.Errorf("steps %v", names)
	}
	seen := map[key]bool{}
	for _, s := range p.specs() {
		if seen[s.key] {
			t.Errorf("%v is there twice", s.key)
		}
		seen[s.key] = true
	}
	if len(seen) != 5*3+5*3 { // three sizes; three quantiles
		t.Errorf("%d figures", len(seen))
	}
	if got := p.missing[key{latencyLow + " p99", "SYNCED", "1 KiB", "redis"}]; got != "it could not be installed" {
		t.Errorf("missing: %q", got)
	}
	p.options.systems = []string{"none"}
	p.systems = nil
	if err := p.choose(t.Context()); !errors.Is(err, errUsage) {
		t.Errorf("%v", err)
	}
}

func TestPeersStep(t *testing.T) {
	p := testPeers(t, `echo '{"size":100,"records":3000,"seconds":1.5,"cpu_seconds_per_million":2,"client_cpu_seconds_per_million":3,"rss_bytes":1000}'
echo '{"size":1024,"error":"5 messages came twice"}'
echo 'it ended' >&2
exit 1
`)
	e2e, redis := workloadOf("e2e"), &peerSystem{jsonSystem: jsonSystem{Name: "redis"}}
	got, err := p.step(e2e, "MEMORY", redis).run(t.Context())
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	of := func(size string) key { return key{endToEnd, "MEMORY", size, "redis"} }
	if s := got[of("100 B")]; s.value != 2000 || s.cpu != 2 || s.clientCPU != 3 || s.rss != 1000 {
		t.Errorf("%+v", s)
	}
	for size, want := range map[string]string{"1 KiB": "5 messages came twice", "64 KiB": "it ended"} {
		if got := p.missing[of(size)]; got != want {
			t.Errorf("%s: %q, want %q", size, got, want)
		}
	}
}

func TestRatesOfOpenLoops(t *testing.T) {
	p := testPeers(t, "exit 1")
	half, own := workloadOf("latency-half"), workloadOf("latency-own")
	rates := func(w peersWorkload, system string) []float64 {
		got, err := p.rates(w, w.trials(p.options), "SYNCED", system)
		if err != nil {
			t.Errorf("%s: %v", system, err)
		}
		return got
	}
	this := &peerSystem{jsonSystem: jsonSystem{Name: system}}
	for _, w := range []peersWorkload{half, own} {
		name := w.keys(w.trials(p.options)[0], "SYNCED", system)[0]
		if _, err := p.step(w, "SYNCED", this).run(t.Context()); err == nil || !strings.Contains(p.missing[name], "no rate") {
			t.Errorf("%s: %v, %v", w.flag, err, p.missing)
		}
	}
	of := func(system string, value float64) {
		p.runner.samples[key{endToEnd, "SYNCED", "1 KiB", system}] = []sample{{value: value}}
	}
	of(system, 900)
	of("spillway (C++)", 2000)
	of("kafka", 200)
	of("redis", 100)
	if got := rates(half, system); !slices.Equal(got, []float64{100}) {
		t.Errorf("rates %v", got)
	}
	if got := rates(own, "kafka"); len(got) != 4 || !near(got[0], 20) || !near(got[3], 180) {
		t.Errorf("rates %v", got)
	}
	of("kafka", 1000)
	if got := append(rates(half, system), rates(own, "kafka")[0]); !slices.Equal(got, []float64{100, 20}) {
		t.Errorf("the rates changed to %v", got)
	}
	p.options.rate = 7
	if got := rates(half, system); !slices.Equal(got, []float64{7}) {
		t.Errorf("rates %v", got)
	}
}

func TestClientsOfSystems(t *testing.T) {
	p := testPeers(t, threeSystems)
	p.options.clients, p.options.workloads = []string{"cpp", "cobol"}, []string{"e2e"}
	if err := p.choose(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := stepNames(p); !slices.Equal(got, []string{"end to end, SYNCED, kafka (C)"}) {
		t.Errorf("steps %v", got)
	}
	if want := []string{`no client "cobol"; there are: go, cpp`}; !slices.Equal(p.unknown, want) {
		t.Errorf("unknown %v", p.unknown)
	}
}

// What a system does not have is no step, and what takes long is no step by itself.
func TestOptionalWorkloads(t *testing.T) {
	p := testPeers(t, threeSystems)
	p.options.workloads, p.options.clients = []string{"replay-cold", "latency-own"}, []string{"go"}
	if err := p.choose(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := stepNames(p), []string{"latency, MEMORY, spillway", "latency, MEMORY, redis",
		"latency, SYNCED, spillway", "latency, SYNCED, redis", "latency, SYNCED, kafka",
		"replay, cold, SYNCED, spillway", "replay, cold, SYNCED, kafka"}; !slices.Equal(got, want) {
		t.Errorf("steps %v", got)
	}
	// Four shares of three quantiles and a rate, for five; three sizes for two.
	if got := p.specs(); len(got) != 4*(3+1)*5+3*2 {
		t.Errorf("%d figures", len(got))
	}
	p = testPeers(t, threeSystems)
	if err := p.choose(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range p.workloads {
		if w.optional {
			t.Errorf("%s is there without being asked for", w.flag)
		}
	}
}

func TestRatiosOfOtherClients(t *testing.T) {
	figures := compare([]figure{
		peersFigure(endToEnd, "SYNCED", system, perSecond, 300),
		peersFigure(endToEnd, "SYNCED", "spillway (C++)", perSecond, 600),
		peersFigure(endToEnd, "SYNCED", "kafka", perSecond, 200),
		peersFigure(endToEnd, "SYNCED", "kafka (librdkafka)", perSecond, 400),
	})
	for i, want := range []struct {
		ratio, toGo float64
		against     string
	}{{1.5, 0, "kafka"}, {1.5, 2, "kafka (librdkafka)"}, {0, 0, ""}, {0, 2, ""}} {
		f := figures[i]
		if !near(f.ratio, want.ratio) || !near(f.toGo, want.toGo) || f.against != want.against {
			t.Errorf("%s: %v of %q, %v to Go, want %+v", f.system, f.ratio, f.against, f.toGo, want)
		}
	}
}

// The relay bounds Spillway's Go client where both have a figure, and is nobody's peer.
func TestTheRelayIsALimit(t *testing.T) {
	p := testPeers(t, threeSystems+`
echo '{"name":"relay","system":"relay","language":"go","tiers":["MEMORY"],"workloads":["e2e"]}'
echo '{"name":"relay-100","system":"relay-100","language":"go","tiers":["MEMORY"],"workloads":["e2e"]}'
`)
	p.options.workloads, p.options.sizes = []string{"e2e", "publish"}, []int{1024}
	if err := p.choose(t.Context()); err != nil {
		t.Fatal(err)
	}
	of := func(tier, system string) key { return key{endToEnd, tier, "1 KiB", system} }
	for k, value := range map[key]float64{
		of("MEMORY", system): 600, of("MEMORY", "redis"): 300, of("MEMORY", "relay"): 1000,
		of("MEMORY", "relay-100"): 500, of("SYNCED", system): 200,
	} {
		p.runner.samples[k] = []sample{{value: value}}
	}
	for _, f := range compare(assemble(p.specs(), p.runner.samples)) {
		want := figure{}
		if f.key == of("MEMORY", system) {
			want = figure{limit: 1000, limitedBy: "relay", share: 0.6, ratio: 2, against: "redis"}
		}
		if f.limit != want.limit || f.limitedBy != want.limitedBy || !near(f.share, want.share) ||
			!near(f.ratio, want.ratio) || f.against != want.against {
			t.Errorf("%v, %s: %+v", f.key, f.system, f)
		}
	}
	if got := p.peak("MEMORY", driver, peer); got != 300 {
		t.Errorf("the best peer reached %v", got)
	}
}

func TestAllocationsAreNoRates(t *testing.T) {
	w := workloadOf("allocations")
	r := peerResult{result: result{Records: 10, Seconds: 1}, Values: []float64{0.1, 0.2}}
	keys := w.keys(w.trials(peersOptions{})[0], "MEMORY", system)
	if len(keys) != 2 || keys[1].name != "allocations per message, consume" || r.sample(w, 1).value != 0.2 {
		t.Errorf("%v, %+v", keys, r.sample(w, 1))
	}
}

func TestLinesAreBoundedInTime(t *testing.T) {
	p := testPeers(t, "exec sleep 60")
	_, err := lines[result](context.Background(), nil, 20*time.Millisecond, p.program)
	if err == nil || !strings.Contains(err.Error(), "not done within") {
		t.Errorf("%v", err)
	}
}
