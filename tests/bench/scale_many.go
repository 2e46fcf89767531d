package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	spillway "spillway.dev/clients/go"
)

const (
	cpuPerMessage = "CPU for a million"
	// Streams share connections, of which one carries 1,024 at most.
	fewConnections = 40
	mostRatioMany  = 1.5
)

var persisted = tiers[1]

func scaleKey(name string, s shape) key { return coreKey(name, persisted.name, s.text) }

// rateAndCPU are the two figures of a load that is spread: its rate, and what a message
// costs. `base` is the case that both are held against, empty for that itself.
func rateAndCPU(of, base string, s shape, mostRatio float64) []scaleSpec {
	rate := scaleSpec{spec: spec{key: scaleKey(endToEnd+", "+of, s), unit: perSecond}}
	cpu := scaleSpec{spec: spec{key: scaleKey(cpuPerMessage+", "+of, s), unit: cpuUnit}}
	if base != "" {
		rate.base = scaleKey(endToEnd+", "+base, s)
		cpu.base = scaleKey(cpuPerMessage+", "+base, s)
		cpu.mostRatio = mostRatio
	}
	return []scaleSpec{rate, cpu}
}

// noteMany notes both.
func (s *scale) noteMany(specs []scaleSpec, got sample) {
	s.note(specs[0].key, got)
	s.note(specs[1].key, sample{value: got.cpu})
}

// manyStep measures one load, spread over queues and connections.
func (s *scale) manyStep(name string, n needs, over spreadOver, shape shape, args []string, specs []scaleSpec) step {
	nominal := s.sizes.warmup + s.sizes.rate + 1 + float64(over.queues+2*over.pairs)/1000
	return s.scaleStep(fmt.Sprintf("%s, %s", name, shape.text), nominal, n, keysOf(specs), func(ctx context.Context) error {
		return s.serve(ctx, args, func(b *served) error {
			if err := b.create(ctx, over.names(), spillway.SetDurability(persisted.durability)); err != nil {
				return err
			}
			got, err := b.many(ctx, over, shape)
			if err == nil {
				s.noteMany(specs, got)
			}
			return err
		})
	})
}

// queues is the same load over few and many of them.
func (s *scale) queues() scaleLoad {
	var out scaleLoad
	for _, shape := range []shape{small, medium} {
		base := ""
		for _, n := range []int{1, 100, 10_000} {
			name, most := counted(n, "queue"), 0.0
			if n == 10_000 {
				most = mostRatioMany
			}
			s.relayed(&out, name, base, needs{memory: 4 << 30},
				spreadOver{n, n, min(2*n, fewConnections)}, shape, nil, most)
			base = cmp.Or(base, name)
		}
	}
	return out
}

// shards is the same load over 8 queues on one and more shards.
func (s *scale) shards() scaleLoad {
	var out scaleLoad
	base := ""
	over := spreadOver{8, 8, 16}
	there := hasShards(s.runner.ctx)
	for _, n := range []int{1, 2} {
		name := "8 queues on " + counted(n, "shard")
		specs := rateAndCPU(name, base, medium, 0)
		if base == "" {
			base = name
		}
		out.specs = append(out.specs, specs...)
		if there != nil {
			for _, sp := range specs {
				s.missing[sp.key] = there.Error()
			}
			continue
		}
		out.every = append(out.every, s.manyStep(name, needs{}, over, medium,
			[]string{"--shards", strconv.Itoa(n)}, specs))
	}
	return out
}

func hasShards(ctx context.Context) error {
	text, err := exec.CommandContext(ctx, os.Getenv("SPILLWAYD"), "--help").Output()
	switch {
	case err != nil:
		return fmt.Errorf("spillwayd --help: %w", err)
	case !strings.Contains(string(text), "--shards"):
		return errors.New("this spillwayd has no --shards")
	default:
		return nil
	}
}

// counted is a number with its noun: 1 queue, 10,000 queues.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text + " " + noun
}
