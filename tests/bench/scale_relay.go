package main

import (
	"context"
	"fmt"

	"spillway.dev/tests/bench/proc"
)

func relayKey(what, of string, s shape) key {
	return limitKey(relayThrough+": "+what+", "+of, "", s.text)
}

// besideRelay holds both figures of a load that is spread against those of the relay
// under the same load, which it returns: with a base of their own, since what the
// transport alone costs more over many is its ratio.
func besideRelay(specs []scaleSpec, of, base string, s shape) []scaleSpec {
	var out []scaleSpec
	for i, what := range []string{endToEnd, cpuPerMessage} {
		relay := scaleSpec{spec: spec{key: relayKey(what, of, s), unit: specs[i].unit}}
		if base != "" {
			relay.base = relayKey(what, base, s)
		}
		specs[i].limits = []key{relay.key}
		out = append(out, relay)
	}
	return out
}

// relayManyStep measures the relay under a load that is spread.
func (s *scale) relayManyStep(name string, n needs, over spreadOver, shape shape, specs []scaleSpec) step {
	nominal := s.sizes.warmup + s.sizes.rate + 1 + float64(2*over.pairs)/10_000
	return s.scaleStep(fmt.Sprintf("relay, %s, %s", name, shape.text), nominal, n, keysOf(specs), func(ctx context.Context) error {
		return s.onRelay(ctx, "limits/relay_many_server", func(ctx context.Context, p proc.Process, address string) error {
			got, err := s.spread(ctx, "limits/relay_many_load", p, address, over, shape)
			if err == nil {
				s.noteMany(specs, got)
			}
			return err
		})
	})
}

// relayed adds one load, spread over queues and connections, and the relay under the same.
func (s *scale) relayed(to *scaleLoad, name, base string, n needs, over spreadOver, shape shape,
	args []string, mostRatio float64) {
	specs := rateAndCPU(name, base, shape, mostRatio)
	relay := besideRelay(specs, name, base, shape)
	to.specs = append(append(to.specs, specs...), relay...)
	to.every = append(to.every, s.manyStep(name, n, over, shape, args, specs),
		s.relayManyStep(name, n, over, shape, relay))
}
