package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints the table, and writes what was asked for.
func (p *peers) report(begin time.Time) error {
	specs := p.specs()
	figures := compare(assemble(specs, p.runner.samples))
	missing := missingOf(specs, figures, p.missing)
	for _, s := range p.systems {
		if s.broken == "" {
			fmt.Printf("%s: %s, client %s\n", s.Name, s.Version, s.Client)
		}
	}
	fmt.Println()
	fmt.Print(peersTable(specs, figures, missing))
	fmt.Println()
	fmt.Println(peersVerdict(figures, p.runner.noise))
	for _, line := range p.unknown {
		fmt.Println(line)
	}
	fmt.Printf("%s in %d s\n", runsText(p.options.runs), int(time.Since(begin).Seconds()))
	if err := p.write(figures, missing); err != nil {
		return err
	}
	if n := len(missing) + len(p.unknown); n > 0 {
		return fmt.Errorf("missing of what was asked for: %d", n)
	}
	return nil
}

// write the JSON, and the plots that are drawn from it.
func (p *peers) write(figures []figure, missing []jsonMissing) error {
	if p.options.json == "" && p.options.out == "" {
		return nil
	}
	r := report("peers", figures, p.runner.noise, false)
	r.Missing = missing
	for _, s := range p.systems {
		if s.broken == "" {
			r.Systems = append(r.Systems, s.jsonSystem)
		}
	}
	path := p.options.json
	if path == "" {
		path = filepath.Join(p.options.out, "peers.json")
	}
	if p.options.out != "" {
		if err := os.MkdirAll(p.options.out, 0o755); err != nil {
			return err
		}
	}
	if err := writeJSON(path, r); err != nil || p.options.out == "" {
		return err
	}
	_, err := lines[struct{}](context.Background(), nil, time.Minute, p.program,
		"plot", "--json", path, "--out", p.options.out)
	return err
}

// compare gives Spillway's figures their ratio to the best of the others: the highest
// rate, or the lowest time; of clients in Go to those in Go, of C++ and Rust to C. What
// is not of a Go client gets the ratio to that of the same system, too.
func compare(figures []figure) []figure {
	best, there := map[key]figure{}, map[key]figure{}
	for _, f := range figures {
		there[f.key] = f
		if !peer(f.system) || f.value == 0 {
			continue
		}
		k := comparedKey(f.key)
		b, found := best[k]
		if better := f.value > b.value; !found || better != (f.unit == micros) {
			best[k] = f
		}
	}
	for i := range figures {
		f := &figures[i]
		if b, found := best[comparedKey(f.key)]; found && ours(f.system) {
			f.ratio, f.against = f.value/b.value, b.system
		}
		k := f.key
		k.system = systemOf(f.system)
		if g := there[k]; k != f.key && g.value > 0 {
			f.toGo = f.value / g.value
		}
	}
	return figures
}

// systemOf a name such as "kafka (librdkafka)".
func systemOf(name string) string {
	name, _, _ = strings.Cut(name, " (")
	return name
}

func ours(name string) bool { return systemOf(name) == system }

// peer is neither Spillway nor a limit.
func peer(name string) bool {
	return !ours(name) && name != driver && !strings.HasPrefix(name, relaySystem)
}

// comparedKey is the same for figures that are compared.
func comparedKey(k key) key {
	kind := goClients
	if systemOf(k.system) != k.system {
		kind = otherClients
	}
	k.system = kind
	return k
}

const (
	goClients    = "Go"
	otherClients = "C"
)

// missingOf says why there is no figure of each spec that has none. That of a rate is
// no figure of its own.
func missingOf(specs []spec, figures []figure, reasons map[key]string) []jsonMissing {
	there := map[key]bool{}
	for _, f := range figures {
		there[f.key] = true
	}
	var out []jsonMissing
	for _, s := range specs {
		if there[s.key] || s.system == driver {
			continue
		}
		reason := reasons[s.key]
		if reason == "" {
			reason = "it was not measured"
		}
		out = append(out, jsonMissing{s.name, s.tier, s.size, s.system, reason})
	}
	return out
}

// peersTable has the systems of a figure under each other, and below it why some are
// missing.
func peersTable(specs []spec, figures []figure, missing []jsonMissing) string {
	there := map[key]figure{}
	for _, f := range figures {
		there[f.key] = f
	}
	gone := map[key]bool{}
	for _, m := range missing {
		gone[key{m.Name, m.Tier, m.Size, m.System}] = true
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tTIER\tSIZE\tSYSTEM\tVALUE\tSPREAD\tCPU s/M\tCLIENT\tPEAK RSS\tTO THE BEST PEER\tTO GO\tOF LIMIT")
	for _, s := range specs {
		f, ok := there[s.key]
		switch {
		case ok:
			cells := row(f)
			fmt.Fprintln(w, strings.Join([]string{f.name, f.tier, f.size, f.system, cells[3], cells[4], cells[5],
				perMillion(f.clientCPU), cells[6], ratioText(f), timesText(f.toGo), limitText(f)}, "\t"))
		case gone[s.key]:
			fmt.Fprintln(w, strings.Join([]string{s.name, s.tier, s.size, s.system, "missing", "-", "-", "-", "-", "-", "-", "-"}, "\t"))
		}
	}
	_ = w.Flush()
	for i, m := range missing {
		if i == 0 {
			fmt.Fprintln(&out)
		}
		k := key{m.Name, m.Tier, m.Size, m.System}
		fmt.Fprintf(&out, "missing: %v, %s: %s\n", k, m.System, shortened(m.Reason))
	}
	return out.String()
}

func ratioText(f figure) string {
	if f.ratio == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f x (%s)", f.ratio, f.against)
}

func limitText(f figure) string {
	if f.share == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", percent(f.share), f.limitedBy)
}

func timesText(ratio float64) string {
	if ratio == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f x", ratio)
}

// shortened keeps a reason within a line; the JSON has all of it.
func shortened(reason string) string {
	reason, _, _ = strings.Cut(reason, "\n")
	const most = 120
	if len(reason) > most {
		return strings.ToValidUTF8(reason[:most], "") + " ..."
	}
	return reason
}

// peersVerdict is what a run says as a whole, or why it says nothing.
func peersVerdict(figures []figure, n noise) string {
	if reasons := n.reasons(); len(reasons) > 0 {
		return "no verdict, the machine is too noisy: " + strings.Join(reasons, "; ")
	}
	var names []string
	lowest, highest := map[string]figure{}, map[string]figure{}
	for _, f := range figures {
		if f.ratio == 0 {
			continue
		}
		low, there := lowest[f.name]
		if !there {
			names = append(names, f.name)
		}
		if !there || f.ratio < low.ratio {
			lowest[f.name] = f
		}
		if !there || f.ratio > highest[f.name].ratio {
			highest[f.name] = f
		}
	}
	var out []string
	if len(names) > 0 {
		out = append(out, "to the best peer of the tier (of a latency, less is better):")
	}
	for _, name := range names {
		low, high := lowest[name], highest[name]
		line := fmt.Sprintf("  %s %.2f x (%s, %s, %s)", name, low.ratio, low.tier, low.size, low.against)
		if low.key != high.key {
			line += fmt.Sprintf(" to %.2f x (%s, %s, %s)", high.ratio, high.tier, high.size, high.against)
		}
		out = append(out, line)
	}
	if text := shares(endToEnd, figures); text != "" {
		out = append(out, "of its limit, the relay:", "  "+text)
	}
	if len(out) == 0 {
		return "no verdict, nothing was compared"
	}
	return strings.Join(out, "\n")
}
