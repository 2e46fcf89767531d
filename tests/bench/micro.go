package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

const microUsage = "usage: ./dev bench [--release] micro [--json FILE] [-- google-benchmark flags]"

type microOptions struct {
	json string
	args []string // of google-benchmark
}

func parseMicro(args []string) (microOptions, error) {
	var o microOptions
	flags := newFlags("bench micro")
	flags.StringVar(&o.json, "json", "", "")
	if err := flags.Parse(args); err != nil {
		return o, usageError{err.Error(), microUsage}
	}
	o.args = flags.Args()
	// What follows "--" is not ours; anything else is a mistake.
	if own := len(args) - len(o.args); len(o.args) > 0 && (own == 0 || args[own-1] != "--") {
		return o, usageError{fmt.Sprintf("what is %q?", o.args[0]), microUsage}
	}
	return o, nil
}

// runMicro leaves table and JSON to google-benchmark.
func runMicro(o microOptions) error {
	bin := os.Getenv("SPILLWAY_BENCH_BIN")
	if bin == "" {
		return errors.New("SPILLWAY_BENCH_BIN must name the folder of the programs; tests/bench/run.sh sets it")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// What the stores keep goes, even if the program is killed.
	folder, err := os.MkdirTemp("", "spillway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	args := []string{"--benchmark_counters_tabular=true"}
	if o.json != "" {
		args = append(args, "--benchmark_out="+o.json, "--benchmark_out_format=json")
	}
	cmd := command(ctx, filepath.Join(bin, "micro/micro"), append(args, o.args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+folder)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("micro: %w", err)
	}
	return nil
}
