package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"spillway.dev/tests/bench/proc"
)

// event is a line of a client's program.
type event struct {
	At      string  `json:"at"` // begin, end, done or error
	Records float64 `json:"records"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	P999    float64 `json:"p999_us"`
	Error   string  `json:"error"`
}

// native lets the client's program do a load, and takes what it and the server cost
// between its `begin` and `end`.
func (t *trial) native(ctx context.Context, load string, args ...string) (measured, error) {
	address, ok := t.server.(interface{ Address() string })
	if !ok {
		return measured{}, errors.New("the server's address is not known")
	}
	seconds := func(s float64) string { return strconv.FormatFloat(s, 'f', -1, 64) }
	cmd := exec.CommandContext(ctx, t.program, append([]string{"--address", address.Address(),
		"--topic", t.topic.name, "--workload", load, "--size", strconv.Itoa(t.topic.size),
		"--window", strconv.FormatInt(t.window, 10), "--lead", strconv.Itoa(t.topic.window(leadMessages, leadBytes)),
		"--warmup", seconds(t.warmup.Seconds()), "--seconds", seconds(t.seconds.Seconds()),
		"--rate", seconds(t.rate)}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return measured{}, err
	}
	if err := cmd.Start(); err != nil {
		return measured{}, err
	}
	got, done, failed := follow(out, func() func(int64) measured {
		return startMeterOf(t.server, proc.Process(cmd.Process.Pid)).stop
	})
	ended := cmd.Wait()
	switch {
	case failed != nil:
		return got, failed
	case !done:
		return got, fmt.Errorf("%s ended too early: %v: %s", filepath.Base(t.program), ended,
			cmp.Or(lastLine(said.String()), "it said nothing"))
	case got.Records == 0:
		return got, errors.New("nothing came in the time that was measured")
	}
	return got, nil
}

// follow what a program says, to its end. `start` begins to measure, and what it
// returns ends that.
func follow(out io.Reader, start func() (stop func(records int64) measured)) (got measured, done bool, err error) {
	var stop func(int64) measured
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e event
		if bad := json.Unmarshal(lines.Bytes(), &e); bad != nil {
			err = cmp.Or(err, fmt.Errorf("the client's program said %q", lines.Text()))
			continue // it is read to its end, or it could not end
		}
		switch {
		case e.At == "begin":
			stop = start()
		case e.At == "end" && stop != nil:
			m := stop(int64(e.Records))
			m.Seconds = e.Seconds
			got, stop = got.plus(m), nil
		case e.At == "done":
			got.P50, got.P99, got.P999 = e.P50, e.P99, e.P999
			done = true
		case e.At == "error":
			err = errors.New(e.Error)
		default:
			err = cmp.Or(err, fmt.Errorf("the client's program said %q", lines.Text()))
		}
	}
	return got, done, err
}
