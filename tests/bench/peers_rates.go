package main

import "errors"

// rates of the trials' open loops, the same in all rounds.
func (p *peers) rates(w peersWorkload, trials []peersTrial, tier, system string) ([]float64, error) {
	var out []float64
	for _, t := range trials {
		rate := float64(latencyRate)
		switch {
		case t.share > 0:
			peak := p.peak(tier, system, func(s string) bool { return s == system })
			if rate = t.share * peak; peak == 0 {
				return nil, errors.New("no rate: its end to end at 1 KiB has to be measured before")
			}
		case w.name == latencyBig && p.options.rate > 0:
			rate = p.options.rate
		case w.name == latencyBig:
			if rate = p.peak(tier, driver, peer) / 2; rate == 0 {
				return nil, errors.New("no rate: end to end of a peer at 1 KiB has to be measured before, or --rate given")
			}
		}
		out = append(out, max(rate, 1))
	}
	return out, nil
}

// peak is the most that one of these systems reached end to end when it was first
// asked for: in the first round. It is kept by a name.
func (p *peers) peak(tier, name string, of func(system string) bool) float64 {
	kept := key{endToEnd, tier, sizeText(medium.bytes), name}
	if p.peaks[kept] == 0 {
		best := 0.0
		for k, samples := range p.runner.samples {
			if k.name == endToEnd && k.tier == tier && k.size == kept.size && of(k.system) {
				best = max(best, median(column(samples, func(s sample) float64 { return s.value })))
			}
		}
		p.peaks[kept] = best
	}
	return p.peaks[kept]
}
