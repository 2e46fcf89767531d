package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	spillway "spillway.dev/clients/go"
)

const idleConnections = 10_000

// Of a broker that is to have more connections than it takes by default.
var manyConnectionsArgs = []string{"--max-connections", "20000", "--max-connections-per-address", "20000"}

// connections is the same load over few and many of them, and beside idle ones.
func (s *scale) connections() scaleLoad {
	const active = 1000
	one := "1 connection each way"
	var out scaleLoad
	s.relayed(&out, one, "", needs{}, spreadOver{1, 1, 2}, medium, nil, 0)
	for _, c := range []struct {
		name   string
		queues int
	}{
		{"1,000 connections on 1 queue", 1},
		{"1,000 connections on 500 queues", active / 2},
	} {
		s.relayed(&out, c.name, one, needs{memory: 4 << 30, files: 4 * active},
			spreadOver{c.queues, active / 2, active}, medium, manyConnectionsArgs, mostRatioMany)
	}
	beside := rateAndCPU("beside 10,000 idle connections", one, medium, mostRatioMany)
	idle := []scaleSpec{
		{spec: spec{key: coreKey("memory of an idle connection", "", ""), unit: bytesUnit}, mostValue: 64 << 10},
		{spec: spec{key: coreKey("CPU of 10,000 idle connections: cores", "", ""), unit: ratioUnit}},
	}
	out.specs = append(append(out.specs, beside...), idle...)
	out.every = append(out.every, s.idleStep(beside, idle))
	return out
}

// idleStep holds connections open, looks at what they cost, and loads one beside them.
func (s *scale) idleStep(beside, idle []scaleSpec) step {
	n := needs{memory: 6 << 30, files: idleConnections + 2000}
	return s.scaleStep("10,000 idle connections", 30, n, append(keysOf(beside), keysOf(idle)...), func(ctx context.Context) error {
		return s.serve(ctx, manyConnectionsArgs, func(b *served) error {
			over := spreadOver{1, 1, 2}
			tuning := spillway.SetDurability(persisted.durability)
			if err := b.create(ctx, append(over.names(), "idle"), tuning); err != nil {
				return err
			}
			// What a first load leaves behind is not that of a connection.
			if _, err := b.many(ctx, over, medium); err != nil {
				return err
			}
			before, _ := b.process().RSSBytes()
			return b.hold(ctx, idleConnections, func() error {
				after, _ := b.process().RSSBytes()
				s.note(idle[0].key, sample{value: max(0, after-before) / idleConnections})
				cores, err := b.coresUsed(ctx)
				if err != nil {
					return err
				}
				s.note(idle[1].key, sample{value: cores})
				got, err := b.many(ctx, over, medium)
				if err == nil {
					s.noteMany(beside, got)
				}
				return err
			})
		})
	})
}

// hold opens idle connections while `run` runs; all must still be open then.
func (b *served) hold(ctx context.Context, connections int, run func() error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := command(ctx, b.scale.binary("scale/hold"), "--address", b.Address(), "--queue", "idle",
		"--connections", strconv.Itoa(connections))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err := bufio.NewReader(stdout).ReadString('\n') // once all are open
	if err == nil {
		err = run()
	}
	_ = stdin.Close()
	if ended := cmd.Wait(); ended != nil {
		return fmt.Errorf("hold: %s", cmp.Or(lastLine(stderr.String()), ended.Error()))
	}
	return err
}

// coresUsed by the broker over some seconds.
func (b *served) coresUsed(ctx context.Context) (float64, error) {
	const during = 5 * time.Second // the heartbeat's period
	from, before := time.Now(), b.process().CPUSeconds()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(during):
		return (b.process().CPUSeconds() - before) / time.Since(from).Seconds(), nil
	}
}
