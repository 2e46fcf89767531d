package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"spillway.dev/tests/bench/proc"
)

// shape is a size of records, and how many of them a frame holds.
type shape struct {
	text         string
	bytes, batch int
}

func (s shape) flags() []string {
	return []string{"--size", strconv.Itoa(s.bytes), "--batch", strconv.Itoa(s.batch)}
}

var (
	small  = shape{"100 B x 100", 100, 100}
	medium = shape{"1 KiB x 100", 1024, 100}
	large  = shape{"64 KiB x 16", 64 << 10, 16}
	single = shape{"1 KiB", 1024, 1}
	shapes = []shape{small, medium, large}
)

// Names of limits.
const (
	limitSystem  = "limit"
	relayThrough = "relay"
	relaySink    = "relay, one way"
	relayLatency = "relay latency"
	rocksKept    = "RocksDB, kept"
	rocksDrained = "RocksDB, drained"
	rocksScan    = "RocksDB, scan"
	fdatasync    = "fdatasync"
	logKept      = "synced log, kept"
	logRemoved   = "synced log, removed"
	diskWrite    = "disk, sequential"
	memoryCopy   = "memcpy"

	logRate = "150 MB/s"

	walOnly   = "WAL"
	walSynced = "WAL synced"
)

var quantiles = []string{"p50", "p99", "p99.9"}

func (r result) quantile(name string) float64 {
	return map[string]float64{"p50": r.P50, "p99": r.P99, "p99.9": r.P999}[name]
}

func limitKey(name, tier, size string) key { return key{name, tier, size, limitSystem} }

func limitSpecs() []spec {
	var out []spec
	add := func(name, tier, size, unit string) {
		out = append(out, spec{key: limitKey(name, tier, size), unit: unit})
	}
	for _, name := range []string{relayThrough, relaySink} {
		for _, s := range shapes {
			add(name, "", s.text, perSecond)
		}
	}
	for _, q := range quantiles {
		add(relayLatency+" "+q, "", single.text, micros)
	}
	for _, name := range []string{rocksKept, rocksDrained} {
		for _, tier := range []string{walOnly, walSynced} {
			for _, s := range shapes {
				add(name, tier, s.text, perSecond)
			}
		}
	}
	for _, s := range shapes {
		add(rocksScan, "", s.text, perSecond)
	}
	add(fdatasync, "", "4 KiB", timesPerSecond)
	for _, q := range quantiles {
		add(fdatasync+" "+q, "", "4 KiB", micros)
	}
	for _, name := range []string{logKept, logRemoved} {
		for _, q := range quantiles {
			add(name+" "+q, "", logRate, micros)
		}
	}
	add(diskWrite, "", "1 MiB", bytesPerSecond)
	add(memoryCopy, "", "64 MiB", bytesPerSecond)
	return out
}

// limitSteps measures what Spillway is held against.
func (b *bench) limitSteps() []step {
	var out []step
	for _, s := range shapes {
		out = append(out, b.relayStep(relayThrough, "through", s), b.relayStep(relaySink, "sink", s))
	}
	out = append(out, b.relayLatencyStep())
	for _, s := range shapes {
		for _, tier := range []string{walOnly, walSynced} {
			out = append(out, b.rocksStep(rocksKept, "kept", tier, s), b.rocksStep(rocksDrained, "drained", tier, s))
		}
		out = append(out, b.rocksStep(rocksScan, "scan", "", s))
	}
	return append(out, b.machineStep())
}

func (b *bench) relayStep(name, mode string, s shape) step {
	k := limitKey(name, "", s.text)
	return step{name: k.String(), seconds: b.times.rate + b.times.warmup + 1,
		run: func(ctx context.Context) (map[key]sample, error) {
			_, got, err := b.relay(ctx, append(s.flags(), "--mode", mode, "--warmup",
				seconds(b.times.warmup), "--seconds", seconds(b.times.rate))...)
			return map[key]sample{k: got}, err
		}}
}

func (b *bench) relayLatencyStep() step {
	return step{name: relayLatency, seconds: b.times.latency + 2,
		run: func(ctx context.Context) (map[key]sample, error) {
			r, cost, err := b.relay(ctx, append(single.flags(), "--mode", "latency",
				"--warmup", seconds(b.times.warmup), "--seconds", seconds(b.times.latency),
				"--rate", strconv.Itoa(latencyRate))...)
			out := map[key]sample{}
			for _, q := range quantiles {
				cost.value = r.quantile(q)
				out[limitKey(relayLatency+" "+q, "", single.text)] = cost
			}
			return out, err
		}}
}

// relay starts the server, loads it, and stops it.
func (b *bench) relay(ctx context.Context, args ...string) (r result, cost sample, err error) {
	err = b.onRelay(ctx, "limits/relay_server", func(ctx context.Context, p proc.Process, address string) error {
		r, cost, err = costOf(p, func() (result, error) {
			return call(ctx, b.binary("limits/relay_load"), append([]string{"--address", address}, args...)...)
		})
		return err
	})
	return r, cost, err
}

// onRelay starts a relay, and stops it when `run` is done.
func (b *bench) onRelay(ctx context.Context, program string,
	run func(ctx context.Context, p proc.Process, address string) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := command(ctx, b.binary(program))
	stdout, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		return err
	}
	defer func() {
		stop()
		_ = server.Wait()
	}()
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return errors.New("the relay did not start")
	}
	return run(ctx, proc.Process(server.Process.Pid), "127.0.0.1:"+strings.TrimSpace(port))
}

func (b *bench) rocksStep(name, mode, tier string, s shape) step {
	k := limitKey(name, tier, s.text)
	return step{name: k.String(), seconds: b.times.rocks + 1,
		run: func(ctx context.Context) (map[key]sample, error) {
			folder := filepath.Join(b.folder, "rocksdb")
			defer os.RemoveAll(folder)
			args := append(s.flags(), "--options-of", filepath.Join(b.store.Data(), "db"),
				"--folder", folder, "--mode", mode, "--seconds", seconds(b.times.rocks))
			if tier == walSynced {
				args = append(args, "--sync")
			}
			r, err := call(ctx, b.binary("limits/raw_rocksdb"), args...)
			return map[key]sample{k: {value: r.rate()}}, err
		}}
}

func (b *bench) machineStep() step {
	return step{name: "disk and memory", seconds: 3*b.times.machine + 2*b.times.log + 1,
		run: func(ctx context.Context) (map[key]sample, error) {
			ask := func(during float64, what ...string) (result, error) {
				return call(ctx, b.binary("limits/raw_machine"), append(what, "--folder", b.folder,
					"--seconds", seconds(during))...)
			}
			sync, err1 := ask(b.times.machine, "fdatasync")
			kept, err2 := ask(b.times.log, "log")
			removed, err3 := ask(b.times.log, "log", "--remove")
			write, err4 := ask(b.times.machine, "write")
			copied, err5 := ask(b.times.machine, "memcpy")
			if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
				return nil, err
			}
			out := map[key]sample{
				limitKey(fdatasync, "", "4 KiB"):   {value: sync.Count / sync.Seconds},
				limitKey(diskWrite, "", "1 MiB"):   {value: write.Bytes / write.Seconds},
				limitKey(memoryCopy, "", "64 MiB"): {value: copied.Bytes / copied.Seconds},
			}
			for _, q := range quantiles {
				out[limitKey(fdatasync+" "+q, "", "4 KiB")] = sample{value: sync.quantile(q)}
				out[limitKey(logKept+" "+q, "", logRate)] = sample{value: kept.quantile(q)}
				out[limitKey(logRemoved+" "+q, "", logRate)] = sample{value: removed.quantile(q)}
			}
			return out, nil
		}}
}

func seconds(s float64) string { return fmt.Sprintf("%.2f", s) }
