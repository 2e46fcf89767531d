package main

import (
	"math"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestMedianAndSpread(t *testing.T) {
	for _, c := range []struct {
		values         []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{5}, 5, 0},
		{[]float64{3, 1, 2}, 2, 1},
		{[]float64{4, 1, 2, 3}, 2.5, 1.2},
		{[]float64{0, 0}, 0, 0},
	} {
		if got := median(c.values); !near(got, c.median) {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.median)
		}
		if got := spread(c.values); !near(got, c.spread) {
			t.Errorf("spread of %v is %v, want %v", c.values, got, c.spread)
		}
	}
}

func TestRateIsHeldAgainstItsLowestLimit(t *testing.T) {
	fast, slow := limitKey("fast", "", ""), limitKey("slow", walOnly, "")
	figures := assemble([]spec{{key: coreKey("a", "", ""), unit: perSecond, limits: []key{fast, slow}}},
		map[key][]sample{fast: {{value: 10}}, slow: {{value: 4}}, coreKey("a", "", ""): {{value: 3}}})
	if len(figures) != 1 {
		t.Fatalf("%d figures", len(figures))
	}
	if f := figures[0]; f.limit != 4 || f.limitedBy != "slow, WAL" || !near(f.share, 0.75) {
		t.Errorf("limit %v by %q, share %v", f.limit, f.limitedBy, f.share)
	}
}

func TestTimeIsHeldAgainstTheSumOfItsLimits(t *testing.T) {
	way, disk := limitKey("way", "", ""), limitKey("disk", "", "")
	f := assemble([]spec{{key: coreKey("a", "", ""), unit: micros, limits: []key{way, disk}}},
		map[key][]sample{way: {{value: 100}}, disk: {{value: 200}}, coreKey("a", "", ""): {{value: 600}}})[0]
	if f.limit != 300 || f.limitedBy != "way + disk" || !near(f.share, 0.5) {
		t.Errorf("limit %v by %q, share %v", f.limit, f.limitedBy, f.share)
	}
}

func TestNoShareWhenALimitIsMissing(t *testing.T) {
	way, disk := limitKey("way", "", ""), limitKey("disk", "", "")
	f := assemble([]spec{{key: coreKey("a", "", ""), unit: perSecond, limits: []key{way, disk}}},
		map[key][]sample{way: {{value: 100}}, coreKey("a", "", ""): {{value: 60}}})[0]
	if f.limit != 0 || f.share != 0 {
		t.Errorf("limit %v, share %v", f.limit, f.share)
	}
}

func TestAssembleLeavesOutWhatWasNotMeasured(t *testing.T) {
	a, b := coreKey("a", "", ""), coreKey("b", "", "")
	figures := assemble([]spec{{key: a, unit: perSecond}, {key: b, unit: perSecond}},
		map[key][]sample{b: {{value: 1, cpu: 2, rss: 30}, {value: 3, cpu: 4, rss: 10}, {value: 2, cpu: 3, rss: 20}}})
	if len(figures) != 1 || figures[0].key != b {
		t.Fatalf("figures: %v", figures)
	}
	if f := figures[0]; f.value != 2 || f.spread != 1 || f.cpu != 3 || f.rss != 20 || f.runs != 3 {
		t.Errorf("figure: %+v", f)
	}
}

// Every limit that a figure names is one that is measured.
func TestSpecsNameKnownLimits(t *testing.T) {
	b := &bench{}
	known := map[key]bool{}
	for _, s := range limitSpecs() {
		if known[s.key] {
			t.Errorf("%v is there twice", s.key)
		}
		known[s.key] = true
	}
	for _, s := range b.coreSpecs() {
		if known[s.key] {
			t.Errorf("%v is there twice", s.key)
		}
		known[s.key] = true
		for _, l := range s.limits {
			if !known[l] || l.system != limitSystem {
				t.Errorf("%v is held against %v, which is not measured", s.key, l)
			}
		}
	}
}

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		rss  []float64
		want float64
	}{
		{nil, 0},
		{[]float64{1}, 0},
		{[]float64{50, 100, 100, 100}, 1},
		{[]float64{100, 110, 120, 220}, 2},
	} {
		if got := growthOf(c.rss); !near(got, c.want) {
			t.Errorf("growth of %v is %v, want %v", c.rss, got, c.want)
		}
	}
}
