// Package proc reads what a running process costs, from /proc.
package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// TicksPerSecond is the unit of CPU time: Linux counts it for programs in hundredths,
// whatever the kernel's own clock.
const TicksPerSecond = 100

// Process is a running program that is measured, by its id.
type Process int

func (p Process) file(parts ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(int(p))}, parts...)...)
}

// CPUSeconds that it has used so far, all threads together.
func (p Process) CPUSeconds() float64 {
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
	return (user + system) / TicksPerSecond
}

// RSSBytes now, and their peak.
func (p Process) RSSBytes() (now, peak float64) {
	text, err := os.ReadFile(p.file("status"))
	if err != nil {
		return 0, 0
	}
	return statusBytes(string(text), "VmRSS:"), statusBytes(string(text), "VmHWM:")
}

// ReadBytes is what it has read from disks so far, not from the page cache.
func (p Process) ReadBytes() float64 {
	text, err := os.ReadFile(p.file("io"))
	if err != nil {
		return 0
	}
	return readBytesIn(string(text))
}

func readBytesIn(io string) float64 {
	for line := range strings.Lines(io) {
		if number, found := strings.CutPrefix(line, "read_bytes:"); found {
			n, _ := strconv.ParseFloat(strings.TrimSpace(number), 64)
			return n
		}
	}
	return 0
}

// ForgetPeak lets the peak of the resident bytes start anew at what they are now.
func (p Process) ForgetPeak() {
	// Where the kernel does not allow it, the peak is that of the whole life.
	_ = os.WriteFile(p.file("clear_refs"), []byte("5"), 0o200)
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

// Tree is the process and all its descendants, itself first.
func (p Process) Tree() []Process {
	out := []Process{p}
	// Each thread has the children that it started.
	lists, _ := filepath.Glob(p.file("task", "*", "children"))
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			if id, err := strconv.Atoi(field); err == nil {
				out = append(out, Process(id).Tree()...)
			}
		}
	}
	return out
}
