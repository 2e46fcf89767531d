package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// measured are samples of both sides; the figures named by `slow` take a third more.
func measured(slow string) map[key][]sample {
	out := map[key][]sample{}
	for _, f := range gateFigures() {
		for _, side := range []string{baseSystem, thisSystem} {
			k := f.key
			k.system = side
			out[k] = nil // once, though rates and CPU share a key
			for i := range 8 {
				s := sample{value: 1000 + float64(i), cpu: 2 + float64(i)/1000}
				if side == thisSystem && f.key.name == slow {
					s.value *= 1.33 // a time: all that is slow here
				}
				out[k] = append(out[k], s)
			}
		}
	}
	return out
}

func TestGateRows(t *testing.T) {
	for _, c := range []struct {
		slow, text string
		passed     bool
	}{
		{"", "no figure is worse than its base", true},
		{latency + " p99", "worse: latency p99 (MEMORY, 1 KiB), latency p99 (SYNCED, 1 KiB)", false},
		{publishOnly, "better: publish only (SYNCED, 100 B x 100)", true},
	} {
		rows := gateRows(measured(c.slow))
		text, passed := gateVerdict(rows, noise{})
		if !strings.Contains(text, c.text) || passed != c.passed {
			t.Errorf("%s: %v, %s\n%s", c.slow, passed, text, gateTable(rows))
		}
	}
}

func TestGateHasNoVerdictOnANoisyMachine(t *testing.T) {
	n := noise{calibrations: []time.Duration{time.Second, 2 * time.Second}}
	text, passed := gateVerdict(gateRows(measured(latency+" p99")), n)
	if !strings.HasPrefix(text, "no verdict, the machine is too noisy: a fixed loop varied") || !passed ||
		!strings.Contains(text, "yet beyond the noise of its runs, worse: latency p99 (MEMORY, 1 KiB)") {
		t.Errorf("%v, %s", passed, text)
	}
}

func TestGateWithoutRuns(t *testing.T) {
	text, _ := gateVerdict(gateRows(nil), noise{})
	if strings.Contains(text, "no figure is worse") || !strings.Contains(text, tooFew) {
		t.Error(text)
	}
}

func TestInterleaved(t *testing.T) {
	named := func(names ...string) (out []step) {
		for _, name := range names {
			out = append(out, step{name: name})
		}
		return out
	}
	var got []string
	for _, s := range interleaved(named("A1", "A2"), named("B1", "B2")) {
		got = append(got, s.name)
	}
	if !slices.Equal(got, []string{"A1", "B1", "B1", "A1", "A2", "B2", "B2", "A2"}) {
		t.Error(got)
	}
}

func TestGateJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gate.json")
	rows := gateRows(measured(latency + " p99"))
	if err := writeGateJSON(gateOptions{json: path, base: "a", this: "b"}, rows, noise{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got gateJSON
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Base != "a" || got.This != "b" || got.Noisy == nil || len(got.Figures) != len(rows) {
		t.Errorf("%s", text)
	}
	at := slices.IndexFunc(got.Figures, func(f gateJSONFigure) bool { return f.Verdict == worse })
	if at < 0 || got.Figures[at].Name != latency+" p99" || len(got.Figures[at].ThisRuns) != 8 {
		t.Errorf("%s", text)
	}
}

func TestParseGate(t *testing.T) {
	if o, err := parseGate([]string{"--json", "f"}); err != nil || o.json != "f" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"--rounds", "9"}, {"more"}} {
		if _, err := parseGate(args); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v is not a matter of usage", args, err)
		}
	}
}
