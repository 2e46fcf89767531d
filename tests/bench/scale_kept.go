package main

import (
	"context"
	"fmt"
	"time"

	spillway "spillway.dev/clients/go"
)

const (
	// What is published before each crash, so that there is something to recover.
	beforeCrash = 128 << 20
	cleanStop   = time.Minute
)

// kept is the tuning of a queue that keeps everything.
func kept() []spillway.TuningOption {
	return []spillway.TuningOption{spillway.SetDurability(persisted.durability),
		spillway.SetRetention(spillway.Limits), spillway.SetRetentionBytes(1 << 40),
		// Without a group, nothing is settled.
		spillway.SetDiskQuotaBytes(1 << 40)}
}

// start is how long the broker takes from its exec until it serves, with much in its
// folder.
func (s *scale) start() scaleLoad {
	size := amount(float64(s.sizes.kept), bytesUnit) + " kept"
	name := func(what string) key { return coreKey(what, persisted.name, medium.text) }
	const mostSeconds = 5
	empty := name("start on an empty folder")
	stopped, crashed := name("start with "+size+", after a clean stop"), name("start with "+size+", after kill -9")
	specs := []scaleSpec{
		{spec: spec{key: empty, unit: secondsUnit}},
		{spec: spec{key: stopped, unit: secondsUnit}, base: empty, mostValue: mostSeconds},
		{spec: spec{key: crashed, unit: secondsUnit}, base: empty, mostValue: mostSeconds},
		{spec: spec{key: name("stop with " + size), unit: secondsUnit}},
	}
	for _, k := range []key{empty, stopped, crashed} {
		specs = append(specs, scaleSpec{spec: spec{key: name("RSS after the " + k.name), unit: bytesUnit}})
	}
	disk := uint64(s.sizes.kept)*5/4 + 4<<30
	return scaleLoad{specs: specs, once: []step{s.scaleStep("start with "+size, float64(s.sizes.kept)/200e6+20,
		needs{disk: disk, memory: 4 << 30}, keysOf(specs), func(ctx context.Context) error {
			return s.serve(ctx, nil, func(b *served) error {
				for range s.sizes.repeats {
					if err := b.Stop(cleanStop); err != nil {
						return err
					}
					if err := b.restart(empty, name("RSS after the "+empty.name)); err != nil {
						return err
					}
				}
				if err := b.create(ctx, []string{queue}, kept()...); err != nil {
					return err
				}
				if _, _, err := b.fill(ctx, queue, "publish", s.sizes.kept); err != nil {
					return err
				}
				for range s.sizes.repeats {
					begin := time.Now()
					if err := b.Stop(cleanStop); err != nil {
						return err
					}
					s.note(specs[3].key, sample{value: time.Since(begin).Seconds()})
					if err := b.restart(stopped, name("RSS after the "+stopped.name)); err != nil {
						return err
					}
				}
				for range s.sizes.repeats {
					if _, _, err := b.fill(ctx, queue, "publish", beforeCrash); err != nil {
						return err
					}
					b.Kill()
					if err := b.restart(crashed, name("RSS after the "+crashed.name)); err != nil {
						return err
					}
				}
				return nil
			})
		})}}
}

// restart the broker that has ended, and note how long that takes and what it holds then.
func (b *served) restart(took, rss key) error {
	begin := time.Now()
	if err := b.Restart(); err != nil {
		return err
	}
	b.scale.note(took, sample{value: time.Since(begin).Seconds()})
	now, _ := b.process().RSSBytes()
	b.scale.note(rss, sample{value: now})
	return nil
}

// cold is a replay of what the page cache does not hold.
func (s *scale) cold() scaleLoad {
	name := func(what string) key {
		return coreKey("replay of "+amount(float64(s.sizes.cold), bytesUnit)+", "+what, persisted.name, medium.text)
	}
	warm, cold := name("warm"), name("cold")
	specs := []scaleSpec{
		{spec: spec{key: warm, unit: perSecond}},
		{spec: spec{key: cold, unit: perSecond}, base: warm},
		{spec: spec{key: name("cold, payloads"), unit: bytesPerSecond}},
	}
	return scaleLoad{specs: specs, once: []step{s.scaleStep(cold.name, float64(s.sizes.cold)/100e6+10,
		needs{disk: uint64(s.sizes.cold)*3/2 + 4<<30}, keysOf(specs), func(ctx context.Context) error {
			return s.serve(ctx, nil, func(b *served) error {
				if err := b.create(ctx, []string{queue}, kept()...); err != nil {
					return err
				}
				count, _, err := b.fill(ctx, queue, "publish", s.sizes.cold)
				if err != nil {
					return err
				}
				if err := b.quieten(ctx); err != nil {
					return err
				}
				for range s.sizes.repeats {
					if err := b.Stop(cleanStop); err != nil {
						return err
					}
					if err := forgetPages(b.Data()); err != nil {
						return err
					}
					if err := b.Restart(); err != nil {
						return err
					}
					for _, k := range []key{cold, warm} {
						got, err := b.replay(ctx, count)
						if err != nil {
							return err
						}
						s.note(k, got)
						if k == cold {
							s.note(specs[2].key, sample{value: got.value * float64(medium.bytes)})
						}
					}
				}
				return nil
			})
		})}}
}

// replay everything that is kept.
func (b *served) replay(ctx context.Context, count int) (sample, error) {
	r, got, err := b.load(ctx, queue, "--mode", "replay")
	if err == nil && int(r.Total) != count {
		return got, fmt.Errorf("%d records were replayed of %d", int(r.Total), count)
	}
	return got, err
}
