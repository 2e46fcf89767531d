package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
)

func (f gateFigure) amount(value float64) string {
	if f.unit == cpuUnit {
		return fmt.Sprintf("%.3g", value)
	}
	return amount(value, f.unit)
}

func (f gateFigure) name() string {
	if f.unit == cpuUnit {
		return f.key.name + ", CPU s/M"
	}
	return f.key.name
}

func gateTable(rows []gateRow) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tTIER\tSIZE\tBASE\tTHIS\tRATIO\tNOISE\tVERDICT")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.3f\t±%.1f %%\t%s\n", r.name(), r.key.tier, r.key.size,
			r.amount(r.base), r.amount(r.this), r.ratio, 100*r.noise, r.word)
	}
	_ = w.Flush()
	return out.String()
}

// gateVerdict is what is said of all; false if this commit is to be refused.
func gateVerdict(rows []gateRow, n noise) (string, bool) {
	words := map[string][]string{}
	for _, r := range rows {
		words[r.word] = append(words[r.word], fmt.Sprintf("%s (%s, %s)", r.name(), r.key.tier, r.key.size))
	}
	listed := func(word string) string { return word + ": " + strings.Join(words[word], ", ") }
	if reasons := n.reasons(); len(reasons) > 0 {
		text := "no verdict, the machine is too noisy: " + strings.Join(reasons, "; ")
		if len(words[worse]) > 0 {
			text += "\n  yet beyond the noise of its runs, " + listed(worse)
		}
		return text, true
	}
	var parts []string
	if len(words[worse]) == 0 && len(words[same])+len(words[better]) > 0 {
		parts = append(parts, "no figure is worse than its base")
	}
	for _, word := range []string{worse, better, tooNoisy, tooFew} {
		if len(words[word]) > 0 {
			parts = append(parts, listed(word))
		}
	}
	return strings.Join(parts, "\n  "), len(words[worse]) == 0
}

// gateJSON is what --json writes.
type gateJSON struct {
	Workload string `json:"workload"`
	Base     string `json:"base"`
	This     string `json:"this"`
	// Why there is no verdict; empty if there is one.
	Noisy             []string         `json:"noisy"`
	CalibrationSpread float64          `json:"calibration_spread"`
	BusyCores         float64          `json:"busy_cores_at_start"`
	Figures           []gateJSONFigure `json:"figures"`
}

type gateJSONFigure struct {
	Name    string  `json:"name"`
	Tier    string  `json:"tier"`
	Size    string  `json:"size"`
	Unit    string  `json:"unit"`
	Base    float64 `json:"base"`
	This    float64 `json:"this"`
	Ratio   float64 `json:"ratio"`
	Noise   float64 `json:"noise"`
	P       float64 `json:"p"`
	Verdict string  `json:"verdict"`
	// In the order in which they were measured.
	BaseRuns []float64 `json:"base_runs"`
	ThisRuns []float64 `json:"this_runs"`
}

func writeGateJSON(o gateOptions, rows []gateRow, n noise) error {
	out := gateJSON{Workload: "gate", Base: o.base, This: o.this, Noisy: append([]string{}, n.reasons()...),
		CalibrationSpread: n.spread(), BusyCores: n.busyCores, Figures: []gateJSONFigure{}}
	for _, r := range rows {
		out.Figures = append(out.Figures, gateJSONFigure{Name: r.name(), Tier: r.key.tier, Size: r.key.size,
			Unit: r.unit, Base: r.base, This: r.this, Ratio: r.ratio, Noise: r.noise, P: r.p,
			Verdict: r.word, BaseRuns: r.baseRuns, ThisRuns: r.thisRuns})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(text, '\n'), 0o644)
}
