package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"golang.org/x/perf/benchmath"
)

const (
	// A change below this is none, however sure.
	leastEffect = 0.05
	// Two sides without a difference are told apart by chance in one of a hundred
	// figures, by the noise as by the rank test.
	chance = 0.01
	// Where noise is above this, what was not found says nothing.
	mostNoise = 0.20
	// With fewer runs of a side the rank test cannot tell any two sides apart.
	leastRuns = 5
)

// What is said of a figure.
const (
	same     = "same"
	worse    = "worse"
	better   = "better"
	tooNoisy = "too noisy"
	tooFew   = "too few runs"
)

// judgement holds one figure of this commit against that of its base.
type judgement struct {
	base, this float64 // medians
	ratio      float64 // of this to the base
	noise      float64 // how far apart two medians of the base are, by chance
	p          float64 // Mann-Whitney's
	word       string
}

// judge says whether `this` differs from `base` by more than the base does from itself.
func judge(base, this []float64, lowerIsBetter bool) judgement {
	j := judgement{base: median(base), this: median(this), p: 1, word: tooFew}
	if j.base <= 0 || j.this <= 0 {
		return j
	}
	j.ratio = j.this / j.base
	if min(len(base), len(this)) < leastRuns {
		return j
	}
	j.noise = noiseOf(base, len(this))
	j.p = benchmath.AssumeNothing.Compare(sampleOf(base), sampleOf(this)).P
	sure := j.p <= chance && apart(j.this, j.base) > max(leastEffect, j.noise)
	switch {
	case sure && (j.this > j.base) == lowerIsBetter:
		j.word = worse
	case sure:
		j.word = better
	case j.noise > mostNoise:
		j.word = tooNoisy
	default:
		j.word = same
	}
	return j
}

// apart is by what part the larger of two is above the smaller: a half and the double
// of something are equally far from it.
func apart(a, b float64) float64 { return max(a/b, b/a) - 1 }

func sampleOf(values []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
}

// noiseOf is what a side would be off from itself: runs of it are drawn twice, with
// replacement, and their medians compared; all but `chance` of such pairs are nearer.
// The same runs give the same noise.
func noiseOf(runs []float64, drawn int) float64 {
	const pairs = 2000
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) float64 {
		values := make([]float64, n)
		for i := range values {
			values[i] = runs[random.IntN(len(runs))]
		}
		return median(values)
	}
	off := make([]float64, pairs)
	for i := range off {
		off[i] = apart(draw(drawn), draw(len(runs)))
	}
	slices.Sort(off)
	return off[int(math.Ceil(pairs*(1-chance)))-1]
}
