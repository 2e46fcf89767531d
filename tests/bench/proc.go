package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"spillway.dev/tests/bench/proc"
)

// result is the line that the programs print; each fills in what it has.
type result struct {
	Records float64 `json:"records"`
	Seconds float64 `json:"seconds"`
	Total   float64 `json:"total"`
	Bytes   float64 `json:"bytes"`
	Count   float64 `json:"count"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	P999    float64 `json:"p999_us"`
}

func (r result) rate() float64 {
	if r.Seconds <= 0 {
		return 0
	}
	return r.Records / r.Seconds
}

// command starts nothing that outlives this program.
func command(ctx context.Context, binary string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// call runs a program to its end, and reads its line.
func call(ctx context.Context, binary string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var out result
	cmd := command(ctx, binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %v: %s", filepath.Base(binary), err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fmt.Errorf("%s printed %q", filepath.Base(binary), text)
	}
	return out, nil
}

// costOf a process while `load` runs.
func costOf(p proc.Process, load func() (result, error)) (result, sample, error) {
	before := p.CPUSeconds()
	r, err := load()
	if err != nil {
		return r, sample{}, err
	}
	s := sample{value: r.rate()}
	if r.Total > 0 {
		s.cpu = (p.CPUSeconds() - before) * 1e6 / r.Total
	}
	_, s.rss = p.RSSBytes()
	return r, s, nil
}

// lines runs a program to its end, and reads what it prints: a value in JSON on each
// line. What came before a failure is returned with it.
func lines[T any](ctx context.Context, env []string, within time.Duration, binary string,
	args ...string) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := command(ctx, binary, args...)
	cmd.Env = append(os.Environ(), env...)
	// It stops what it started, and removes what it wrote.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	var out []T
	for line := range bytes.Lines(text) {
		var v T
		if bad := json.Unmarshal(line, &v); bad != nil {
			return out, fmt.Errorf("%s printed %q", filepath.Base(binary), line)
		}
		out = append(out, v)
	}
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return out, fmt.Errorf("it was not done within %v", within)
	case err != nil:
		return out, fmt.Errorf("%s", cmp.Or(lastLine(stderr.String()), err.Error()))
	}
	return out, nil
}
