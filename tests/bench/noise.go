package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"spillway.dev/tests/bench/proc"
)

const (
	// A fixed loop that takes more or less than this from one time to the next says
	// that others use the machine, or that its clock changes.
	mostCalibrationSpread = 0.15
	// What others may use before anything was started.
	mostBusyCores = 0.25
)

// noise is what is known about how quiet the machine was.
type noise struct {
	busyCores    float64
	calibrations []time.Duration
}

// reasons is empty if the figures can be trusted.
func (n noise) reasons() []string {
	var out []string
	if s := n.spread(); s > mostCalibrationSpread {
		out = append(out, fmt.Sprintf("a fixed loop varied by %.0f %% (at most %.0f %%)",
			100*s, 100*mostCalibrationSpread))
	}
	if n.busyCores > mostBusyCores {
		out = append(out, fmt.Sprintf("others used %.2f cores at the start (at most %.2f)",
			n.busyCores, mostBusyCores))
	}
	return out
}

func (n noise) spread() float64 {
	var seconds []float64
	for _, c := range n.calibrations {
		seconds = append(seconds, c.Seconds())
	}
	return spread(seconds)
}

// calibrate runs the same loop on every core and returns how long the slowest took.
func calibrate() time.Duration {
	begin := time.Now()
	var all sync.WaitGroup
	for seed := range runtime.NumCPU() {
		all.Go(func() { spinResult(spin(uint64(seed)+1, 1<<26)) })
	}
	all.Wait()
	return time.Since(begin)
}

// spin is work that depends on nothing but the processor.
func spin(x uint64, times int) uint64 {
	for range times {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

// spinResult keeps the loop from being left out.
func spinResult(x uint64) {
	if x == 0 {
		fmt.Fprintln(os.Stderr, "bench: unlikely")
	}
}

// busyCores is what is used while this program waits. The load average would still
// hold what was built just before.
func busyCores(during time.Duration) float64 {
	from := time.Now()
	before, err1 := os.ReadFile("/proc/stat")
	time.Sleep(during)
	after, err2 := os.ReadFile("/proc/stat")
	if err1 != nil || err2 != nil {
		return 0
	}
	used := busyTicks(string(after)) - busyTicks(string(before))
	return used / proc.TicksPerSecond / time.Since(from).Seconds()
}

// busyTicks reads the first line of /proc/stat: user nice system idle iowait irq
// softirq steal, in ticks. Steal counts: it is taken from us by others, too.
func busyTicks(stat string) float64 {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0
	}
	var sum float64
	for i, field := range fields[1:9] {
		if i == 3 || i == 4 { // idle, iowait
			continue
		}
		ticks, _ := strconv.ParseFloat(field, 64)
		sum += ticks
	}
	return sum
}
