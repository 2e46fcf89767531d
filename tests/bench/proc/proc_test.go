package proc

import (
	"math"
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestCPUSecondsOfAStat(t *testing.T) {
	// A name with spaces and parentheses, as prctl allows.
	stat := "42 (rocksdb:low) (x) S 1 42 42 0 -1 4194560 100 0 0 0 1234 66 0 0 20 0 9 0 100 1 2 3"
	if got := cpuSecondsIn(stat); math.Abs(got-13) > 1e-9 {
		t.Errorf("%v seconds, want 13", got)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 1"} {
		if got := cpuSecondsIn(bad); got != 0 {
			t.Errorf("%v seconds of %q", got, bad)
		}
	}
}

func TestStatusBytes(t *testing.T) {
	status := "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t    1024 kB\n"
	if got := statusBytes(status, "VmHWM:"); got != 2<<20 {
		t.Errorf("%v bytes", got)
	}
	if got := statusBytes(status, "VmSwap:"); got != 0 {
		t.Errorf("%v bytes", got)
	}
}

func TestReadBytes(t *testing.T) {
	if got := readBytesIn("rchar: 900\nread_bytes: 4096\nwrite_bytes: 7\n"); got != 4096 {
		t.Errorf("%v bytes", got)
	}
	if got := readBytesIn("rchar: 900\n"); got != 0 {
		t.Errorf("%v bytes of nothing", got)
	}
}

func TestThisProcess(t *testing.T) {
	if now, peak := Process(os.Getpid()).RSSBytes(); now <= 0 || peak < now {
		t.Errorf("resident %v, peak %v", now, peak)
	}
}

func TestTree(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	tree := Process(os.Getpid()).Tree()
	if tree[0] != Process(os.Getpid()) || !slices.Contains(tree, Process(child.Process.Pid)) {
		t.Errorf("tree %v, child %d", tree, child.Process.Pid)
	}
}
