package main

import (
	"slices"
)

// key names a figure.
type key struct {
	name, tier, size, system string
}

func (k key) String() string {
	text := k.name
	for _, part := range []string{k.tier, k.size} {
		if part != "" {
			text += ", " + part
		}
	}
	return text
}

// sample is one measurement, and what the process cost that was measured.
type sample struct {
	value float64
	// CPU seconds for a million messages, and the peak of its resident bytes; 0: none.
	cpu, rss float64
	// CPU seconds of its clients for a million messages; 0: unknown.
	clientCPU float64
}

// spec says what a figure is and what it is held against.
type spec struct {
	key
	unit string
	// For a rate, the lowest of these bounds it; for a cost, such as a time, their sum does.
	limits []key
}

// Units, as they are in the JSON.
const (
	perSecond      = "messages/s"
	timesPerSecond = "1/s"
	micros         = "us"
	bytesPerSecond = "bytes/s"
	bytesUnit      = "bytes"
	ratioUnit      = "ratio"
	countUnit      = "1"
)

// figure is a spec with its measurements put together.
type figure struct {
	spec
	value, spread float64
	cpu, rss      float64
	clientCPU     float64
	runs          int
	limit         float64 // 0: none known
	limitedBy     string
	share         float64 // of the limit that is reached; 0: none known
	ratio         float64 // to the best of the other systems; 0: none known
	against       string  // which that is
	toGo          float64 // to the same system with its Go client; 0: it is that
}

// median of some values; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// spread is how far apart the values lie, as a part of their median.
func spread(values []float64) float64 {
	m := median(values)
	if m == 0 {
		return 0
	}
	return (slices.Max(values) - slices.Min(values)) / m
}

func column(samples []sample, of func(sample) float64) []float64 {
	var out []float64
	for _, s := range samples {
		out = append(out, of(s))
	}
	return out
}

// assemble puts the samples together, in the order of the specs. What was not
// measured is left out.
func assemble(specs []spec, samples map[key][]sample) []figure {
	values := map[key]float64{}
	for k, s := range samples {
		values[k] = median(column(s, func(s sample) float64 { return s.value }))
	}
	var out []figure
	for _, s := range specs {
		got := samples[s.key]
		if len(got) == 0 {
			continue
		}
		f := figure{
			spec:   s,
			value:  values[s.key],
			spread: spread(column(got, func(s sample) float64 { return s.value })),
			cpu:    median(column(got, func(s sample) float64 { return s.cpu })),
			rss:    median(column(got, func(s sample) float64 { return s.rss })),

			clientCPU: median(column(got, func(s sample) float64 { return s.clientCPU })),
			runs:      len(got),
		}
		f.limit, f.limitedBy = limitOf(s, values)
		f.share = shareOf(f)
		out = append(out, f)
	}
	return out
}

// limitOf needs all limits: the rest would say that there is more room than there is.
func limitOf(s spec, values map[key]float64) (limit float64, by string) {
	for _, k := range s.limits {
		v := values[k]
		switch {
		case v == 0:
			return 0, ""
		case isCost(s.unit):
			limit += v
			if by != "" {
				by += " + "
			}
			by += k.name
		case limit == 0 || v < limit:
			limit, by = v, limitName(k)
		}
	}
	return limit, by
}

// limitName is for people: what bounds a load by another name, or a system that takes the
// same load.
func limitName(k key) string {
	switch {
	case k.system != limitSystem:
		return k.system
	case k.tier != "":
		return k.name + ", " + k.tier
	default:
		return k.name
	}
}

// isCost says that less is better.
func isCost(unit string) bool { return unit == micros || unit == cpuUnit }

func shareOf(f figure) float64 {
	switch {
	case f.limit == 0 || f.value == 0:
		return 0
	case isCost(f.unit):
		return f.limit / f.value
	default:
		return f.value / f.limit
	}
}
