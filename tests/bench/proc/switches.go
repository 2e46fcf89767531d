package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// VoluntarySwitches is how often the threads that the process has now went to sleep.
func (p Process) VoluntarySwitches() float64 {
	var sum float64
	files, _ := filepath.Glob(p.file("task", "*", "status"))
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			sum += switchesIn(string(text))
		}
	}
	return sum
}

// switchesIn finds the line "voluntary_ctxt_switches:	123", and not the one of those
// that were involuntary.
func switchesIn(status string) float64 {
	_, rest, found := strings.Cut(status, "\nvoluntary_ctxt_switches:")
	if !found {
		return 0
	}
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseFloat(strings.TrimSpace(line), 64)
	return n
}
