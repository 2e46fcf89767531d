package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"spillway.dev/tests/bench/proc"
)

const (
	// Odd, so that it does not keep step with what happens each millisecond.
	samplesPerSecond = 199
	// What is copied of a stack for each sample: Debian's libraries have no frame
	// pointers, so it is DWARF that stacks are found by. Those of compactions are deep.
	stackBytes = 16 << 10
)

// perfRecorder samples a process by the clock, between Enable and Stop.
type perfRecorder struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ctl    io.WriteCloser
	ack    *bufio.Reader
	acks   io.Closer
}

// startPerf attaches perf to a process; nothing is sampled yet.
func startPerf(ctx context.Context, p proc.Process, file string) (*perfRecorder, error) {
	ctlRead, ctl, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ctlRead.Close()
	acks, ackWrite, err := os.Pipe()
	if err != nil {
		_ = ctl.Close()
		return nil, err
	}
	defer ackWrite.Close()
	r := &perfRecorder{ctl: ctl, ack: bufio.NewReader(acks), acks: acks}
	r.cmd = command(ctx, "perf", "record", "--quiet", "--event", "cpu-clock",
		"--freq", strconv.Itoa(samplesPerSecond), "--call-graph", "dwarf,"+strconv.Itoa(stackBytes),
		"--pid", strconv.Itoa(int(p)), "--delay=-1", "--control", "fd:3,4", "--output", file)
	r.cmd.ExtraFiles = []*os.File{ctlRead, ackWrite}
	r.cmd.Stderr = &r.stderr
	if err := r.cmd.Start(); err != nil {
		r.close()
		return nil, perfMissing(err)
	}
	return r, nil
}

// Enable returns once samples are taken.
func (r *perfRecorder) Enable() error {
	_, err := io.WriteString(r.ctl, "enable\n")
	if err == nil {
		_, err = r.ack.ReadString('\n')
	}
	if err == nil {
		return nil
	}
	// It has ended, or it would have answered.
	status := r.cmd.Wait()
	r.close()
	return perfFailed(status, r.stderr.String(), paranoid())
}

// Stop returns once the file is written.
func (r *perfRecorder) Stop() error {
	_, _ = io.WriteString(r.ctl, "stop\n")
	err := r.cmd.Wait()
	r.close()
	if err != nil {
		return perfFailed(err, r.stderr.String(), paranoid())
	}
	return nil
}

func (r *perfRecorder) close() {
	_ = r.ctl.Close()
	_ = r.acks.Close()
}

// perfScript is what was sampled, as text; see parseStacks.
func perfScript(ctx context.Context, file string) ([]byte, error) {
	cmd := command(ctx, "perf", "script", "--input", file, "--no-inline", "--fields", "comm,tid,ip,sym,dso")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("perf script: %v: %s", err, lastLine(stderr.String()))
	}
	return text, nil
}

func perfMissing(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("perf is not installed: apt-get install linux-perf")
	}
	return err
}

// paranoid is the kernel's setting of who may sample what; empty if there is none.
func paranoid() string {
	text, _ := os.ReadFile("/proc/sys/kernel/perf_event_paranoid")
	return strings.TrimSpace(string(text))
}

// perfFailed says in a line what perf says in a page.
func perfFailed(status error, stderr, paranoid string) error {
	for _, sign := range []string{"perf_event_paranoid", "No permission", "not permitted", "Permission denied"} {
		if strings.Contains(stderr, sign) {
			return fmt.Errorf("perf is not permitted here (kernel.perf_event_paranoid is %s): "+
				"run as root, or: sysctl kernel.perf_event_paranoid=1", paranoid)
		}
	}
	if last := lastLine(stderr); last != "" {
		return fmt.Errorf("perf failed: %s", last)
	}
	return fmt.Errorf("perf failed: %v", status)
}
