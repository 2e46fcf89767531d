package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway.dev/tests/bench/proc"
)

// fakePerf puts a program of this name first in the PATH; fd 3 is what it is told,
// fd 4 where it answers.
func fakePerf(t *testing.T, script string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "perf"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

func TestPerfIsEnabledAndStopped(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	fakePerf(t, `read word <&3; echo ack >&4; read other <&3; echo "$word $other" >`+said+"\n")
	perf, err := startPerf(t.Context(), proc.Process(os.Getpid()), "unused")
	if err != nil {
		t.Fatal(err)
	}
	if err := perf.Enable(); err != nil {
		t.Fatal(err)
	}
	if err := perf.Stop(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(said); string(text) != "enable stop\n" {
		t.Errorf("perf was told %q", text)
	}
}

func TestPerfThatRefuses(t *testing.T) {
	fakePerf(t, "echo 'No permission to enable cpu-clock event.' >&2; exit 255\n")
	perf, err := startPerf(t.Context(), proc.Process(os.Getpid()), "unused")
	if err != nil {
		t.Fatal(err)
	}
	if err := perf.Enable(); err == nil || !strings.HasPrefix(err.Error(), "perf is not permitted here") {
		t.Error(err)
	}
}

func TestPerfThatFailsAtItsEnd(t *testing.T) {
	fakePerf(t, "read word <&3; echo ack >&4; echo 'no space left' >&2; exit 1\n")
	perf, err := startPerf(t.Context(), proc.Process(os.Getpid()), "unused")
	if err != nil {
		t.Fatal(err)
	}
	if err := perf.Enable(); err != nil {
		t.Fatal(err)
	}
	if err := perf.Stop(); err == nil || err.Error() != "perf failed: no space left" {
		t.Error(err)
	}
}

func TestNoPerf(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := startPerf(t.Context(), proc.Process(os.Getpid()), "unused"); err == nil ||
		!strings.Contains(err.Error(), "apt-get install linux-perf") {
		t.Error(err)
	}
}
