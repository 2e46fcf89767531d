package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sampleFigures() []figure {
	return []figure{
		{spec: spec{key: limitKey(relayThrough, "", small.text), unit: perSecond}, value: 5e6, spread: 0.04, runs: 3},
		{spec: spec{key: coreKey(endToEnd, "MEMORY", small.text), unit: perSecond}, value: 3e6, spread: 0.1,
			cpu: 0.17, rss: 120 << 20, runs: 3, limit: 5e6, limitedBy: relayThrough, share: 0.6},
		{spec: spec{key: coreKey(endToEnd, "SYNCED", medium.text), unit: perSecond}, value: 123456, runs: 1,
			limit: 411520, limitedBy: rocksDrained, share: 0.3},
		{spec: spec{key: coreKey(stallBacklog, "PERSISTED", medium.text), unit: bytesUnit}, value: 2 << 30, runs: 1},
		{spec: spec{key: coreKey(stallPeak, "PERSISTED", medium.text), unit: bytesUnit}, value: 300 << 20, runs: 1},
		{spec: spec{key: coreKey(stallGrowth, "PERSISTED", medium.text), unit: ratioUnit}, value: 1.02, runs: 1},
	}
}

func quietNoise() noise {
	return noise{busyCores: 0.1, calibrations: []time.Duration{100, 105, 110}}
}

func TestAmount(t *testing.T) {
	for _, c := range []struct {
		value float64
		unit  string
		want  string
	}{
		{5_432_100, perSecond, "5.43 M/s"},
		{999_900, perSecond, "1.00 M/s"},
		{740, perSecond, "740/s"},
		{3_512, timesPerSecond, "3.51 k/s"},
		{172.4, micros, "172 us"},
		{12_340, micros, "12.3 ms"},
		{1.21e9, bytesPerSecond, "1.21 GB/s"},
		{2 << 30, bytesUnit, "2 GiB"},
		{1.016, ratioUnit, "1.02"},
	} {
		if got := amount(c.value, c.unit); got != c.want {
			t.Errorf("%v %s reads %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	want := `
LIMIT  TIER  SIZE         VALUE     SPREAD  CPU s/M  PEAK RSS  OF LIMIT  LIMITED BY
relay        100 B x 100  5 M/s     4 %     -        -         -         -

SPILLWAY                         TIER       SIZE         VALUE     SPREAD  CPU s/M  PEAK RSS  OF LIMIT  LIMITED BY
end to end                       MEMORY     100 B x 100  3 M/s     10 %    0.17     120 MiB   60 %      5 M/s (relay)
end to end                       SYNCED     1 KiB x 100  123 k/s   -       -        -         30 %      412 k/s (RocksDB, drained)
stalled consumer: backlog        PERSISTED  1 KiB x 100  2 GiB     -       -        -         -         -
stalled consumer: peak RSS       PERSISTED  1 KiB x 100  300 MiB   -       -        -         -         -
stalled consumer: growth of RSS  PERSISTED  1 KiB x 100  1.02      -       -        -         -         -
`
	if got := "\n" + table(sampleFigures()); squeeze(got) != squeeze(want) {
		t.Errorf("table:\n%s\nwant:\n%s", got, want)
	}
}

// squeeze lets columns be as wide as they like.
func squeeze(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestVerdict(t *testing.T) {
	got := verdict(sampleFigures(), quietNoise())
	for _, want := range []string{
		"end to end 30 % (SYNCED, 1 KiB x 100) to 60 % (MEMORY, 100 B x 100)",
		"memory is flat with a stalled consumer and a backlog of 2 GiB, at 300 MiB",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("verdict %q lacks %q", got, want)
		}
	}
	figures := sampleFigures()
	figures[5].value = 1.5
	if got := verdict(figures, quietNoise()); !strings.Contains(got, "NOT flat") || !strings.Contains(got, "50 %") {
		t.Errorf("verdict: %q", got)
	}
	if got := verdict(nil, quietNoise()); got != "no verdict, nothing was measured" {
		t.Errorf("verdict: %q", got)
	}
}

func TestNoVerdictOnANoisyMachine(t *testing.T) {
	for _, c := range []struct {
		noise noise
		want  string
	}{
		{noise{busyCores: 0.8, calibrations: []time.Duration{100, 101}}, "others used 0.80 cores"},
		{noise{calibrations: []time.Duration{100, 100, 120}}, "a fixed loop varied by 20 %"},
	} {
		got := verdict(sampleFigures(), c.noise)
		if !strings.HasPrefix(got, "no verdict, the machine is too noisy") || !strings.Contains(got, c.want) {
			t.Errorf("verdict: %q", got)
		}
	}
}

func TestJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.json")
	if err := writeJSON(path, report("core", sampleFigures(), quietNoise(), true)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Workload string
		Quick    bool
		Noisy    []string
		Figures  []map[string]any
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Workload != "core" || !got.Quick || got.Noisy == nil || len(got.Noisy) != 0 || len(got.Figures) != 6 {
		t.Fatalf("report: %+v", got)
	}
	for name, want := range map[string]any{
		"name": endToEnd, "tier": "MEMORY", "size": small.text, "system": system, "value": 3e6,
		"unit": perSecond, "ratio": nil, "limit": 5e6, "limited_by": relayThrough, "share": 0.6,
		"runs": 3.0, "spread": 0.1, "cpu_seconds_per_million": 0.17, "rss_bytes_peak": float64(120 << 20),
	} {
		value, there := got.Figures[1][name]
		if !there || value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	if got.Figures[0]["limit"] != nil || got.Figures[0]["share"] != nil {
		t.Errorf("a limit has no limit: %v", got.Figures[0])
	}
}
