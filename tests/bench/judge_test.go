package main

import (
	"math/rand/v2"
	"testing"
)

// runs of a figure around a middle, with this much noise (standard deviation).
func runs(random *rand.Rand, n int, middle, noise float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = middle * (1 + noise*random.NormFloat64())
	}
	return out
}

func TestJudge(t *testing.T) {
	quiet := []float64{100, 101, 99, 100, 102, 98, 100, 101}
	scaled := func(by float64) []float64 {
		var out []float64
		for _, v := range quiet {
			out = append(out, v*by)
		}
		return out
	}
	wild := []float64{100, 250, 60, 140, 90, 300, 110, 70}
	for _, c := range []struct {
		name          string
		base, this    []float64
		lowerIsBetter bool
		want          string
	}{
		{"itself", quiet, quiet, false, same},
		{"a slower rate", quiet, scaled(0.9), false, worse},
		{"a faster rate", quiet, scaled(1.1), false, better},
		{"a longer time", quiet, scaled(1.1), true, worse},
		{"a shorter time", quiet, scaled(0.9), true, better},
		{"surely slower, but by too little", quiet, scaled(0.96), false, same},
		{"a slower one within the noise", wild, []float64{90, 225, 54, 126, 81, 270, 99, 63}, false, tooNoisy},
		{"slower beyond the noise", wild, []float64{10, 25, 6, 14, 9, 30, 11, 7}, false, worse},
		{"one run that was bad", quiet, []float64{100, 101, 99, 40, 102, 98, 100, 101}, false, same},
		{"too few of this", quiet, quiet[:4], false, tooFew},
		{"none of the base", nil, quiet, false, tooFew},
	} {
		if got := judge(c.base, c.this, c.lowerIsBetter); got.word != c.want {
			t.Errorf("%s: %+v, not %s", c.name, got, c.want)
		}
	}
}

func TestJudgeIsRepeatable(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	base, this := runs(random, 8, 100, 0.05), runs(random, 8, 100, 0.05)
	if a, b := judge(base, this, false), judge(base, this, false); a != b {
		t.Errorf("%+v, then %+v", a, b)
	}
}

// A gate that cries wolf is not used, and one that sleeps is of no use.
func TestHowOftenTheJudgeErrs(t *testing.T) {
	const times = 100
	random := rand.New(rand.NewPCG(3, 4))
	var alarms, missed int
	for range times {
		if judge(runs(random, 8, 100, 0.04), runs(random, 8, 100, 0.04), false).word == worse {
			alarms++
		}
		if judge(runs(random, 8, 100, 0.04), runs(random, 8, 80, 0.04), false).word != worse {
			missed++
		}
	}
	if alarms > times/100 {
		t.Errorf("%d false alarms in %d", alarms, times)
	}
	if missed > times/20 {
		t.Errorf("%d of %d losses of a fifth were missed", missed, times)
	}
}
