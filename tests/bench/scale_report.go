package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// compareScale gives figures their ratio to their base in the same run.
func compareScale(specs []scaleSpec, figures []figure) []figure {
	there, base := map[key]figure{}, map[key]key{}
	for _, f := range figures {
		there[f.key] = f
	}
	for _, s := range specs {
		base[s.key] = s.base
	}
	for i := range figures {
		f := &figures[i]
		if b, ok := there[base[f.key]]; ok && b.value != 0 {
			f.ratio, f.against = f.value/b.value, b.name
		}
	}
	return figures
}

// asked is what is wanted of a figure; empty: nothing.
func (s scaleSpec) asked() string {
	switch {
	case s.mostRatio > 0:
		return fmt.Sprintf("at most %.2g x", s.mostRatio)
	case s.mostValue > 0:
		return "at most " + scaleAmount(s.mostValue, s.unit)
	default:
		return "-"
	}
}

// reaches says whether the figure is what is asked; false for `known` where that
// cannot be said.
func (s scaleSpec) reaches(f figure) (reached, known bool) {
	switch {
	case s.mostRatio > 0:
		return f.ratio <= s.mostRatio, f.ratio > 0
	case s.mostValue > 0:
		return f.value <= s.mostValue, f.value > 0
	default:
		return false, false
	}
}

func scaleAmount(value float64, unit string) string {
	switch unit {
	case secondsUnit:
		return amount(value*1e6, micros)
	case cpuUnit:
		return digits(value) + " s/M"
	default:
		return amount(value, unit)
	}
}

// scaleTable has the figures in the order of the specs, and below it why some are
// missing.
func scaleTable(specs []scaleSpec, figures []figure, missing []jsonMissing) string {
	there := map[key]figure{}
	for _, f := range figures {
		there[f.key] = f
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tTIER\tSIZE\tVALUE\tSPREAD\tCPU s/M\tPEAK RSS\tLIMIT\tOF LIMIT\tTO ITS BASE\tASKED")
	for _, s := range specs {
		f, ok := there[s.key]
		cells := []string{s.name, s.tier, s.size, "missing", "-", "-", "-"}
		limit, share, ratio := "-", "-", "-"
		if ok {
			cells = row(f)[:7]
			cells[3] = scaleAmount(f.value, f.unit)
			share = percent(f.share)
			if f.limit > 0 {
				limit = scaleAmount(f.limit, f.unit)
			}
			if f.ratio > 0 {
				ratio = fmt.Sprintf("%.2f x", f.ratio)
			}
		}
		fmt.Fprintln(w, strings.Join(append(cells, limit, share, ratio, s.asked()), "\t"))
	}
	_ = w.Flush()
	for i, m := range missing {
		if i == 0 {
			fmt.Fprintln(&out)
		}
		fmt.Fprintf(&out, "missing: %v: %s\n", key{m.Name, m.Tier, m.Size, m.System}, shortened(m.Reason))
	}
	return out.String()
}

// scaleVerdict is what a run says as a whole, or why it says nothing.
func scaleVerdict(specs []scaleSpec, figures []figure, n noise) string {
	if reasons := n.reasons(); len(reasons) > 0 {
		return "no verdict, the machine is too noisy: " + strings.Join(reasons, "; ")
	}
	there := map[key]figure{}
	for _, f := range figures {
		there[f.key] = f
	}
	reached, over := 0, []string{}
	for _, s := range specs {
		f, ok := there[s.key]
		if !ok {
			continue
		}
		good, known := s.reaches(f)
		switch {
		case !known:
		case good:
			reached++
		case s.mostRatio > 0:
			over = append(over, fmt.Sprintf("%v: %.2f x, asked %s", f.key, f.ratio, s.asked()))
		default:
			over = append(over, fmt.Sprintf("%v: %s, asked %s", f.key, scaleAmount(f.value, f.unit), s.asked()))
		}
	}
	if reached+len(over) == 0 {
		return "no verdict, nothing that is asked was measured"
	}
	out := fmt.Sprintf("%d of %d reach what is asked", reached, reached+len(over))
	for _, line := range over {
		out += "\n  not " + line
	}
	return out
}
