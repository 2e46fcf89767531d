package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Linux counts CPU time for programs in hundredths, whatever the kernel's own clock.
const ticksPerSecond = 100

// process is a running program that is measured.
type process int

func (p process) file(name string) string {
	return filepath.Join("/proc", strconv.Itoa(int(p)), name)
}

// cpuSeconds that it has used so far, all threads together.
func (p process) cpuSeconds() float64 {
	text, err := os.ReadFile(p.file("stat"))
	if err != nil {
		return 0
	}
	return cpuSecondsIn(string(text))
}

// cpuSecondsIn reads utime and stime; the name before them may hold anything.
func cpuSecondsIn(stat string) float64 {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond
}

// rssBytes now, and their peak.
func (p process) rssBytes() (now, peak float64) {
	text, err := os.ReadFile(p.file("status"))
	if err != nil {
		return 0, 0
	}
	return statusBytes(string(text), "VmRSS:"), statusBytes(string(text), "VmHWM:")
}

// statusBytes finds a line such as "VmHWM:	  123456 kB".
func statusBytes(status, name string) float64 {
	_, rest, found := strings.Cut(status, name)
	if !found {
		return 0
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseFloat(fields[0], 64)
	return kib * 1024
}

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
func costOf(p process, load func() (result, error)) (result, sample, error) {
	before := p.cpuSeconds()
	r, err := load()
	if err != nil {
		return r, sample{}, err
	}
	s := sample{value: r.rate()}
	if r.Total > 0 {
		s.cpu = (p.cpuSeconds() - before) * 1e6 / r.Total
	}
	_, s.rss = p.rssBytes()
	return r, s, nil
}
