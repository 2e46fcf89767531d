package main

import (
	"context"

	spillway "spillway.dev/clients/go"
)

// windows is the same load through small and large windows of a queue.
func (s *scale) windows() scaleLoad {
	var out scaleLoad
	sizes := []uint64{64 << 20, 16 << 20, 1 << 20, 64 << 10}
	name := func(bytes uint64) string { return endToEnd + ", window of " + amount(float64(bytes), bytesUnit) }
	for _, t := range tiers[:2] {
		for _, bytes := range sizes {
			sp := scaleSpec{spec: spec{key: coreKey(name(bytes), t.name, medium.text), unit: perSecond}}
			if bytes != sizes[0] {
				sp.base = coreKey(name(sizes[0]), t.name, medium.text)
			}
			out.specs = append(out.specs, sp)
			out.every = append(out.every, s.scaleStep(sp.String(), s.sizes.warmup+s.sizes.rate+1, needs{}, []key{sp.key},
				func(ctx context.Context) error {
					return s.serve(ctx, nil, func(b *served) error {
						if err := b.create(ctx, []string{queue}, spillway.SetDurability(t.durability),
							spillway.SetOverflow(spillway.Block), spillway.SetWindowBytes(bytes),
							spillway.SetMaxMessageBytes(min(bytes, 4<<20))); err != nil {
							return err
						}
						_, got, err := b.load(ctx, queue, append(medium.flags(), "--mode", "e2e",
							"--warmup", seconds(s.sizes.warmup), "--seconds", seconds(s.sizes.rate))...)
						if err == nil {
							s.note(sp.key, got)
						}
						return err
					})
				}))
		}
	}
	return out
}
