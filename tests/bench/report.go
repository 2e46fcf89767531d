package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"text/tabwriter"
)

// amount is for people: three digits and a unit.
func amount(value float64, unit string) string {
	scaled := func(base float64, units ...string) string {
		i := 0
		for ; i < len(units)-1 && value >= base*0.9995; i++ {
			value /= base
		}
		return digits(value) + " " + units[i]
	}
	switch unit {
	case perSecond, timesPerSecond:
		return strings.Replace(scaled(1000, "/s", "k/s", "M/s", "G/s"), " /s", "/s", 1)
	case micros:
		return scaled(1000, "us", "ms", "s")
	case bytesPerSecond:
		return scaled(1000, "B/s", "kB/s", "MB/s", "GB/s")
	case bytesUnit:
		return scaled(1024, "B", "KiB", "MiB", "GiB")
	default:
		return fmt.Sprintf("%.2f", value)
	}
}

func digits(value float64) string {
	switch {
	case value >= 100 || value == math.Trunc(value):
		return fmt.Sprintf("%.0f", value)
	case value >= 10:
		return fmt.Sprintf("%.1f", value)
	default:
		return fmt.Sprintf("%.2f", value)
	}
}

func percent(part float64) string {
	if part == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*part)
}

// table of limits, then of Spillway.
func table(figures []figure) string {
	var out strings.Builder
	for _, of := range []string{limitSystem, system} {
		w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		header := "\tTIER\tSIZE\tVALUE\tSPREAD\tCPU s/M\tPEAK RSS\tOF LIMIT\tLIMITED BY\n"
		if of == limitSystem {
			header = "LIMIT" + header
		} else {
			header = "\nSPILLWAY" + header
		}
		fmt.Fprint(w, header)
		for _, f := range figures {
			if f.system == of {
				fmt.Fprintln(w, strings.Join(row(f), "\t"))
			}
		}
		_ = w.Flush()
	}
	return out.String()
}

func row(f figure) []string {
	cells := []string{f.name, f.tier, f.size, amount(f.value, f.unit), "-", "-", "-", percent(f.share), "-"}
	if f.runs > 1 {
		cells[4] = fmt.Sprintf("%.0f %%", 100*f.spread)
	}
	cells[5] = perMillion(f.cpu)
	if f.rss > 0 {
		cells[6] = amount(f.rss, bytesUnit)
	}
	if f.limit > 0 {
		cells[8] = fmt.Sprintf("%s (%s)", amount(f.limit, f.unit), f.limitedBy)
	}
	return cells
}

// verdict is what a run says as a whole, or why it says nothing.
func verdict(figures []figure, n noise) string {
	if reasons := n.reasons(); len(reasons) > 0 {
		return "no verdict, the machine is too noisy: " + strings.Join(reasons, "; ")
	}
	var parts []string
	for _, name := range []string{endToEnd, publishOnly, latency + " p50", latency + " p99", replayWarm, stallDrain} {
		if text := shares(name, figures); text != "" {
			parts = append(parts, text)
		}
	}
	if text := memory(figures); text != "" {
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "no verdict, nothing was measured"
	}
	return "of its limit:\n  " + strings.Join(parts, "\n  ")
}

// shares says how near the figures of a name come to their limits.
func shares(name string, figures []figure) string {
	var low, high *figure
	for i := range figures {
		f := &figures[i]
		if f.name != name || f.system != system || f.share == 0 {
			continue
		}
		if low == nil || f.share < low.share {
			low = f
		}
		if high == nil || f.share > high.share {
			high = f
		}
	}
	switch {
	case low == nil:
		return ""
	case low == high:
		return fmt.Sprintf("%s %s", name, percent(low.share))
	default:
		return fmt.Sprintf("%s %s (%s, %s) to %s (%s, %s)", name, percent(low.share), low.tier, low.size,
			percent(high.share), high.tier, high.size)
	}
}

func memory(figures []figure) string {
	var peak, growth, backlog float64
	for _, f := range figures {
		switch f.name {
		case stallPeak:
			peak = f.value
		case stallGrowth:
			growth = f.value
		case stallBacklog:
			backlog = f.value
		}
	}
	switch {
	case peak == 0 || growth == 0:
		return ""
	case growth > mostGrowth:
		return fmt.Sprintf("memory is NOT flat with a stalled consumer and a backlog of %s: it grew by %.0f %%, to %s",
			amount(backlog, bytesUnit), 100*(growth-1), amount(peak, bytesUnit))
	default:
		return fmt.Sprintf("memory is flat with a stalled consumer and a backlog of %s, at %s",
			amount(backlog, bytesUnit), amount(peak, bytesUnit))
	}
}

func perMillion(cpuSeconds float64) string {
	if cpuSeconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", cpuSeconds)
}

// jsonReport is what --json writes.
type jsonReport struct {
	Workload string `json:"workload"`
	Quick    bool   `json:"quick"`
	// Why the figures are not to be trusted; empty if they are.
	Noisy             []string     `json:"noisy"`
	CalibrationSpread float64      `json:"calibration_spread"`
	BusyCores         float64      `json:"busy_cores_at_start"`
	Figures           []jsonFigure `json:"figures"`
	// Of `peers` only.
	Systems []jsonSystem  `json:"systems,omitempty"`
	Missing []jsonMissing `json:"missing,omitempty"`
}

// jsonSystem is a system that was measured.
type jsonSystem struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Client  string `json:"client"`
}

// jsonMissing is a figure that there is not, and why.
type jsonMissing struct {
	Name   string `json:"name"`
	Tier   string `json:"tier"`
	Size   string `json:"size"`
	System string `json:"system"`
	Reason string `json:"reason"`
}

type jsonFigure struct {
	Name   string  `json:"name"`
	Tier   string  `json:"tier"`
	Size   string  `json:"size"`
	System string  `json:"system"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	// To the best figure of the other systems; null where there is none.
	Ratio   *float64 `json:"ratio"`
	Against string   `json:"against,omitempty"`
	// To the figure of the system's Go client; of other clients only.
	ToGo *float64 `json:"to_go_client,omitempty"`
	// Null where none is known.
	Limit     *float64 `json:"limit"`
	LimitedBy string   `json:"limited_by,omitempty"`
	Share     *float64 `json:"share"`
	Runs      int      `json:"runs"`
	Spread    float64  `json:"spread"`
	// Of the process that was measured; null where it was none of its own.
	CPU *float64 `json:"cpu_seconds_per_million"`
	// Of the processes of the clients; of peers only.
	ClientCPU *float64 `json:"client_cpu_seconds_per_million,omitempty"`
	RSS       *float64 `json:"rss_bytes_peak"`
}

func report(workload string, figures []figure, n noise, quick bool) jsonReport {
	out := jsonReport{Workload: workload, Quick: quick, Noisy: n.reasons(),
		CalibrationSpread: n.spread(), BusyCores: n.busyCores, Figures: []jsonFigure{}}
	if out.Noisy == nil {
		out.Noisy = []string{}
	}
	for _, f := range figures {
		out.Figures = append(out.Figures, jsonFigure{
			Name: f.name, Tier: f.tier, Size: f.size, System: f.system, Value: f.value, Unit: f.unit,
			Ratio: known(f.ratio), Against: f.against, Limit: known(f.limit), LimitedBy: f.limitedBy, Share: known(f.share), Runs: f.runs,
			Spread: f.spread, CPU: known(f.cpu), RSS: known(f.rss),
			ToGo: known(f.toGo), ClientCPU: known(f.clientCPU)})
	}
	return out
}

func known(value float64) *float64 {
	if value == 0 {
		return nil
	}
	return &value
}

func writeJSON(path string, r jsonReport) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
