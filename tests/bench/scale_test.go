package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseScale(t *testing.T) {
	for _, c := range []struct {
		args []string
		want scaleOptions
		ok   bool
	}{
		{nil, scaleOptions{}, true},
		{[]string{"--quick", "--workloads", "queues, start,queues", "--json", "f", "--out", "o"},
			scaleOptions{workloads: []string{"queues", "start"}, quick: true, json: "f", out: "o"}, true},
		{[]string{"--runs", "3"}, scaleOptions{}, false},
		{[]string{"queues"}, scaleOptions{}, false},
	} {
		got, err := parseScale(c.args)
		if (err == nil) != c.ok || (c.ok && (!slices.Equal(got.workloads, c.want.workloads) ||
			got.quick != c.want.quick || got.json != c.want.json || got.out != c.want.out)) {
			t.Errorf("%v is %+v, %v", c.args, got, err)
		}
		if err != nil && !errors.Is(err, errUsage) {
			t.Errorf("%v: %v is not a matter of usage", c.args, err)
		}
	}
}

// testScale measures nothing by itself.
func testScale(t *testing.T, workloads ...string) *scale {
	return &scale{bench: &bench{folder: t.TempDir()}, options: scaleOptions{workloads: workloads},
		sizes: sizesOf(true), missing: map[key]string{}, runner: testRunner(t.Context())}
}

func TestScaleChoosesAndSaysWhatThereIsNot(t *testing.T) {
	s := testScale(t, "start", "nothing", "queues")
	if err := s.choose(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.chosen, []string{"queues", "start"}) || len(s.unknown) != 1 {
		t.Errorf("chosen %v, unknown %v", s.chosen, s.unknown)
	}
	if err := testScale(t, "nothing").choose(); !errors.Is(err, errUsage) {
		t.Errorf("%v is not a matter of usage", err)
	}
}

// A base must be a figure of the same load, or its ratio is never there; and a key
// must not be that of two figures.
func TestBasesOfScaleAreMeasured(t *testing.T) {
	t.Setenv("SPILLWAYD", "false")
	for _, w := range scaleWorkloads {
		load := w.load(testScale(t))
		there := map[key]bool{}
		for _, sp := range load.specs {
			if there[sp.key] {
				t.Errorf("%s has %v twice", w.flag, sp.key)
			}
			there[sp.key] = true
		}
		for _, sp := range load.specs {
			if sp.base != (key{}) && !there[sp.base] {
				t.Errorf("%s: %v is held against %v, which is not measured", w.flag, sp.key, sp.base)
			}
			for _, l := range sp.limits {
				if !there[l] || l.system != limitSystem {
					t.Errorf("%s: %v has the limit %v, which is not measured", w.flag, sp.key, l)
				}
			}
			if sp.mostRatio > 0 && sp.base == (key{}) {
				t.Errorf("%s: %v is asked a ratio to nothing", w.flag, sp.key)
			}
		}
		if w.flag != "shards" && len(load.every)+len(load.once) == 0 {
			t.Errorf("%s does nothing", w.flag)
		}
	}
}

func twoFigures(value float64) ([]scaleSpec, []figure) {
	one, many := scaleKey("cost, 1", small), scaleKey("cost, many", small)
	specs := []scaleSpec{{spec: spec{key: one, unit: cpuUnit}},
		{spec: spec{key: many, unit: cpuUnit}, base: one, mostRatio: 1.5},
		{spec: spec{key: scaleKey("gone", small), unit: secondsUnit}, mostValue: 5}}
	return specs, compareScale(specs, []figure{{spec: specs[0].spec, value: 2, runs: 1},
		{spec: specs[1].spec, value: value, runs: 1}})
}

func TestCompareScale(t *testing.T) {
	_, figures := twoFigures(5)
	if figures[0].ratio != 0 || figures[1].ratio != 2.5 || figures[1].against != "cost, 1" {
		t.Errorf("ratios %v and %v to %q", figures[0].ratio, figures[1].ratio, figures[1].against)
	}
}

// The relay's figures are the limits of a load's, and have a ratio of their own.
func TestALoadThatIsSpreadIsHeldAgainstTheRelay(t *testing.T) {
	one, many := rateAndCPU("1 queue", "", small, 0), rateAndCPU("9 queues", "1 queue", small, mostRatioMany)
	specs := append(append(one, besideRelay(one, "1 queue", "", small)...),
		append(many, besideRelay(many, "9 queues", "1 queue", small)...)...)
	var plain []spec
	samples := map[key][]sample{}
	for i, value := range []float64{3e6, 0.3, 12e6, 0.1, 5e5, 1.2, 2e6, 0.4} {
		plain = append(plain, specs[i].spec)
		samples[specs[i].key] = []sample{{value: value}}
	}
	figures := compareScale(specs, assemble(plain, samples))
	for i, want := range []struct{ limit, share, ratio float64 }{
		{12e6, 0.25, 0}, {0.1, 1. / 3, 0}, {0, 0, 0}, {0, 0, 0},
		{2e6, 0.25, 1. / 6}, {0.4, 1. / 3, 4}, {0, 0, 1. / 6}, {0, 0, 4},
	} {
		if f := figures[i]; f.limit != want.limit || !near(f.share, want.share) || !near(f.ratio, want.ratio) {
			t.Errorf("%v: limit %v, share %v, ratio %v, want %+v", f.key, f.limit, f.share, f.ratio, want)
		}
	}
	if got := figures[5].limitedBy; got != "relay: CPU for a million, 9 queues" {
		t.Errorf("limited by %q", got)
	}
	table := scaleTable(specs, figures, nil)
	for _, want := range []string{"0.40 s/M  33 %", "2 M/s     25 %", "relay: end to end, 9 queues"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if got := scaleVerdict(specs, figures, quietNoise()); !strings.HasPrefix(got, "0 of 1 reach") {
		t.Errorf("something is asked of the relay: %s", got)
	}
}

func TestScaleTableAndVerdict(t *testing.T) {
	specs, figures := twoFigures(5)
	missing := []jsonMissing{{"gone", "PERSISTED", small.text, system, "too little disk\nmore"}}
	table := scaleTable(specs, figures, missing)
	for _, want := range []string{"2.50 x", "at most 1.5 x", "5 s/M", "at most 5 s", "missing: gone",
		"too little disk\n"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if strings.Contains(table, "more") {
		t.Errorf("a reason has more than a line in\n%s", table)
	}
	if got := scaleVerdict(specs, figures, quietNoise()); !strings.HasPrefix(got, "0 of 1 reach") ||
		!strings.Contains(got, "not cost, many") {
		t.Error(got)
	}
	specs, figures = twoFigures(3)
	if got := scaleVerdict(specs, figures, quietNoise()); got != "1 of 1 reach what is asked" {
		t.Error(got)
	}
	if got := scaleVerdict(specs, figures, noise{busyCores: 1}); !strings.HasPrefix(got, "no verdict") {
		t.Error(got)
	}
}

func TestAStepThatCannotBeMeasuredIsSaidOnce(t *testing.T) {
	s := testScale(t)
	k, ran := scaleKey("a", small), 0
	broken := s.scaleStep("a", 0, needs{}, []key{k}, func(context.Context) error {
		ran++
		return errors.New("broken")
	})
	hungry := s.scaleStep("b", 0, needs{memory: 1 << 60}, []key{scaleKey("b", small)}, func(context.Context) error {
		t.Error("it was begun without the memory")
		return nil
	})
	s.runner.run([]step{broken, hungry}, nil, 2)
	if ran != 1 || s.missing[k] != "broken" || !strings.Contains(s.missing[scaleKey("b", small)], "are needed") {
		t.Errorf("ran %d times; missing %v", ran, s.missing)
	}
}

func TestNeeds(t *testing.T) {
	if err := (needs{disk: 1, memory: 1, files: 1}).check("."); err != nil && !strings.Contains(err.Error(), "in memory") {
		t.Error(err)
	}
	for _, n := range []needs{{disk: 1 << 60}, {memory: 1 << 60}, {files: 1 << 40}} {
		if err := n.check("."); err == nil {
			t.Errorf("%+v are there", n)
		}
	}
}

func TestAvailableMemory(t *testing.T) {
	if got := availableIn("MemFree:  1 kB\nMemAvailable:   2048 kB\n"); got != 2<<20 {
		t.Errorf("%d bytes", got)
	}
	if got := availableIn("nothing"); got != 0 {
		t.Errorf("%d bytes", got)
	}
}

func TestForgetPagesOfAFolder(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := forgetPages(folder); err != nil {
		t.Error(err)
	}
	if err := forgetPages(filepath.Join(folder, "none")); err == nil {
		t.Error("a folder that there is not was forgotten")
	}
}

func TestCounted(t *testing.T) {
	for n, want := range map[int]string{1: "1 queue", 100: "100 queues", 1000: "1,000 queues", 1234567: "1,234,567 queues"} {
		if got := counted(n, "queue"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestOnlyOneLine(t *testing.T) {
	if got, err := only([]int{7}, nil); got != 7 || err != nil {
		t.Error(got, err)
	}
	for _, lines := range [][]int{nil, {1, 2}} {
		if _, err := only(lines, nil); err == nil {
			t.Errorf("%v is one line", lines)
		}
	}
}
