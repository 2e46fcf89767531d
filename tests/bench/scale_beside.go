package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	spillway "spillway.dev/clients/go"
)

// Queues of one broker: the one that is measured, and the one that is in its way.
const (
	measuredQueue = "measured"
	otherQueue    = "other"
)

func latencyKey(quantile, when string) key {
	return coreKey(latency+" "+quantile+", "+when, persisted.name, single.text)
}

func latencyCPUKey(when string) key {
	return coreKey(cpuPerMessage+" at 2,000/s, "+when, persisted.name, single.text)
}

// latencySpecs are the figures of an open loop, held against those of `base`.
func latencySpecs(when, base string, mostRatio float64) []scaleSpec {
	var out []scaleSpec
	for _, q := range quantiles[:2] {
		sp := scaleSpec{spec: spec{key: latencyKey(q, when), unit: micros}}
		if base != "" {
			sp.base = latencyKey(q, base)
			if q == "p99" {
				sp.mostRatio = mostRatio
			}
		}
		out = append(out, sp)
	}
	return out
}

func latencyCPUSpec(when, base string, mostRatio float64) scaleSpec {
	out := scaleSpec{spec: spec{key: latencyCPUKey(when), unit: cpuUnit}}
	if base != "" {
		out.base, out.mostRatio = latencyCPUKey(base), mostRatio
	}
	return out
}

// openLoop measures the latency of single records at a steady rate.
func (b *served) openLoop(ctx context.Context, when string) error {
	r, cost, err := b.load(ctx, measuredQueue, append(single.flags(), "--mode", "latency",
		"--warmup", seconds(b.scale.sizes.warmup), "--seconds", seconds(b.scale.sizes.latency),
		"--rate", strconv.Itoa(latencyRate))...)
	if err != nil {
		return err
	}
	for _, q := range quantiles[:2] {
		s := cost
		s.value = r.quantile(q)
		b.scale.note(latencyKey(q, when), s)
	}
	b.scale.note(latencyCPUKey(when), sample{value: cost.cpu})
	return nil
}

// slow is a fast consumer while the consumer of another queue stands still and that
// queue's producer sends as fast as it may.
func (s *scale) slow() scaleLoad {
	const alone, mostRatio = "alone", 2
	out := scaleLoad{specs: latencySpecs(alone, "", 0)}
	policies := []struct {
		name     string
		overflow spillway.OverflowPolicy
	}{{"BLOCK", spillway.Block}, {"SPILL", spillway.Spill}}
	when := func(name string) string { return "beside a stalled queue, " + name }
	for _, p := range policies {
		out.specs = append(out.specs, latencySpecs(when(p.name), alone, mostRatio)...)
	}
	for _, p := range policies {
		keys := append(keysOf(latencySpecs(alone, "", 0)), keysOf(latencySpecs(when(p.name), alone, 0))...)
		out.every = append(out.every, s.scaleStep("a fast consumer "+when(p.name), 2*(s.sizes.latency+s.sizes.warmup)+3,
			needs{disk: 8 << 30}, keys, func(ctx context.Context) error {
				return s.serve(ctx, nil, func(b *served) error {
					kept := spillway.SetDurability(persisted.durability)
					if err := b.create(ctx, []string{measuredQueue}, kept); err != nil {
						return err
					}
					if err := b.create(ctx, []string{otherQueue}, kept, spillway.SetOverflow(p.overflow),
						spillway.SetAckDeadline(time.Hour)); err != nil {
						return err
					}
					if err := b.openLoop(ctx, alone); err != nil {
						return err
					}
					return b.besideStall(ctx, func() error { return b.openLoop(ctx, when(p.name)) })
				})
			}))
	}
	return out
}

// besideStall runs `run` while the other queue's producer sends all the time and its
// consumer settles nothing.
func (b *served) besideStall(ctx context.Context, run func() error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := lines[result](ctx, nil, longLoad, b.scale.binary("core/load"), append(medium.flags(),
			"--address", b.Address(), "--queue", otherQueue, "--mode", "stall", "--seconds", "600")...)
		ended <- err
	}()
	err := run()
	select {
	case early := <-ended:
		return fmt.Errorf("the stalled load ended before: %w", early)
	default:
		stop()
		<-ended
		return err
	}
}

// A backlog that nobody takes, of a group that has no member.
func (s *scale) spill(ctx context.Context, b *served) (count int, filled sample, err error) {
	if err := b.create(ctx, []string{otherQueue}, spillway.SetDurability(persisted.durability),
		spillway.SetAckDeadline(time.Hour), spillway.SetDiskQuotaBytes(1<<40)); err != nil {
		return 0, sample{}, err
	}
	return b.fill(ctx, otherQueue, "stall", s.sizes.spilled)
}

func (s *scale) spilledNeeds() needs {
	return needs{disk: uint64(s.sizes.spilled)*3/2 + 4<<30, memory: 4 << 30}
}

func (s *scale) spilledText() string { return amount(float64(s.sizes.spilled), bytesUnit) + " spilled" }

// spilled is live traffic of one queue beside much that another has on disk.
func (s *scale) spilled() scaleLoad {
	const none, mostRatio = "nothing spilled", 1.3
	beside := "beside " + s.spilledText()
	specs := append(latencySpecs(none, "", 0), latencyCPUSpec(none, "", 0))
	specs = append(append(specs, latencySpecs(beside, none, mostRatio)...), latencyCPUSpec(beside, none, mostRatio))
	rss := scaleSpec{spec: spec{key: coreKey("RSS "+beside, persisted.name, medium.text), unit: bytesUnit}}
	specs = append(specs, rss)
	nominal := float64(s.sizes.spilled)/200e6 + 2*float64(s.sizes.repeats)*(s.sizes.latency+s.sizes.warmup) + 20
	return scaleLoad{specs: specs, once: []step{s.scaleStep("live traffic "+beside, nominal, s.spilledNeeds(), keysOf(specs),
		func(ctx context.Context) error {
			return s.serve(ctx, nil, func(b *served) error {
				if err := b.create(ctx, []string{measuredQueue}, spillway.SetDurability(persisted.durability)); err != nil {
					return err
				}
				for range s.sizes.repeats {
					if err := b.openLoop(ctx, none); err != nil {
						return err
					}
				}
				if _, _, err := s.spill(ctx, b); err != nil {
					return err
				}
				if err := b.quieten(ctx); err != nil {
					return err
				}
				now, _ := b.process().RSSBytes()
				s.note(rss.key, sample{value: now})
				for range s.sizes.repeats {
					if err := b.openLoop(ctx, beside); err != nil {
						return err
					}
				}
				return nil
			})
		})}}
}

// drain is a backlog much larger than the window, taken by one consumer.
func (s *scale) drain() scaleLoad {
	name := func(what string) key { return coreKey(what+" "+s.spilledText(), persisted.name, medium.text) }
	scan := limitKey(rocksScan, "", medium.text)
	specs := []scaleSpec{
		{spec: spec{key: scan, unit: perSecond}},
		{spec: spec{key: name("publishing"), unit: perSecond}},
		{spec: spec{key: name("draining"), unit: perSecond, limits: []key{scan}}},
		{spec: spec{key: name("payloads of draining"), unit: bytesPerSecond}},
	}
	raw := s.rocksStep(rocksScan, "scan", "", medium)
	return scaleLoad{specs: specs, once: []step{raw, s.scaleStep("draining "+s.spilledText(), float64(s.sizes.spilled)/150e6+10,
		s.spilledNeeds(), keysOf(specs[1:]), func(ctx context.Context) error {
			return s.serve(ctx, nil, func(b *served) error {
				count, filled, err := s.spill(ctx, b)
				if err != nil {
					return err
				}
				s.note(specs[1].key, filled)
				if err := b.quieten(ctx); err != nil {
					return err
				}
				b.process().ForgetPeak()
				_, got, err := b.load(ctx, otherQueue, "--mode", "drain", "--count", strconv.Itoa(count))
				if err != nil {
					return err
				}
				s.note(specs[2].key, got)
				s.note(specs[3].key, sample{value: got.value * float64(medium.bytes)})
				return nil
			})
		})}}
}
