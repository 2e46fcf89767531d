package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
)

// stack is a thread that was seen running, and where: from the thread's start to
// what it was in.
type stack struct {
	thread string
	frames []string
}

// sampled is a line of a thread and those of its frames, innermost first.
type sampled struct {
	name, tid string
	frames    []string
}

// parseStacks reads what `perf script -F comm,tid,ip,sym,dso` prints: a line "name tid"
// for each sample, then a line "address symbol (file)" for each frame, innermost
// first, then an empty one.
func parseStacks(script []byte) ([]stack, error) {
	var all []sampled
	begun := false
	lines := bufio.NewScanner(bytes.NewReader(script))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.TrimSpace(line) == "":
			begun = false
		case begun:
			last := &all[len(all)-1]
			last.frames = append(last.frames, frameName(line))
		default:
			line = strings.TrimSpace(line)
			space := strings.LastIndexByte(line, ' ')
			if space < 0 {
				return nil, fmt.Errorf("perf script: no thread in %q", line)
			}
			all, begun = append(all, sampled{name: strings.TrimSpace(line[:space]), tid: line[space+1:]}), true
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	roles := rolesOf(all)
	var out []stack
	for _, s := range all {
		// Where the unwinding ended for lack of stack there is a frame that says nothing.
		for len(s.frames) > 0 && s.frames[len(s.frames)-1] == unknownFrame {
			s.frames = s.frames[:len(s.frames)-1]
		}
		if len(s.frames) == 0 {
			s.frames = []string{unknownFrame}
		}
		slices.Reverse(s.frames)
		out = append(out, stack{s.name + roles[s.tid], s.frames})
	}
	return out, nil
}

// rolesOf threads, by their ids, since many have only the name of the process: the
// outermost function of Spillway if it is the same in most of a thread's stacks, such
// as " Shard::Run".
func rolesOf(all []sampled) map[string]string {
	seen := map[string]int{}
	outermost := map[string]map[string]int{}
	for _, s := range all {
		seen[s.tid]++
		for _, frame := range slices.Backward(s.frames) {
			if strings.HasPrefix(frame, "spillway::") {
				if outermost[s.tid] == nil {
					outermost[s.tid] = map[string]int{}
				}
				outermost[s.tid][frame]++
				break
			}
		}
	}
	roles := map[string]string{}
	for tid, counts := range outermost {
		for frame, count := range counts {
			if 2*count > seen[tid] {
				parts := strings.Split(frame, "::")
				roles[tid] = " " + strings.Join(parts[max(0, len(parts)-2):], "::")
			}
		}
	}
	return roles
}

const (
	unknownFrame = "[unknown]"
	// What marks functions of the kernel in folded stacks, as other tools have it.
	kernelMark = "_[k]"
)

// frameName of "address symbol (file)": the symbol, or its file's name in brackets.
func frameName(line string) string {
	_, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	symbol, file := rest, ""
	if at := strings.LastIndex(rest, " ("); at >= 0 && strings.HasSuffix(rest, ")") {
		symbol, file = rest[:at], rest[at+2:len(rest)-1]
	}
	// What separates frames in folded stacks.
	symbol = strings.ReplaceAll(symbol, ";", ":")
	switch {
	case symbol == unknownFrame && file != "" && file != unknownFrame:
		return "[" + path.Base(strings.Trim(file, "[]")) + "]"
	case strings.HasPrefix(file, "[kernel") || strings.HasSuffix(file, ".ko"):
		return symbol + kernelMark
	}
	return symbol
}

// fold counts equal stacks: "thread;outermost;...;innermost".
func fold(stacks []stack) map[string]int {
	out := map[string]int{}
	for _, s := range stacks {
		out[s.thread+";"+strings.Join(s.frames, ";")]++
	}
	return out
}

// writeFolded writes a line "stack count" for each, in order.
func writeFolded(w io.Writer, folded map[string]int) error {
	for _, key := range slices.Sorted(maps.Keys(folded)) {
		if _, err := fmt.Fprintln(w, key, folded[key]); err != nil {
			return err
		}
	}
	return nil
}

// hot is a place and how many samples were taken in it.
type hot struct {
	thread, symbol string
	samples        int
}

// hottest places by their own samples, without what they call; the most first.
func hottest(stacks []stack) []hot {
	counts := map[hot]int{}
	for _, s := range stacks {
		counts[hot{thread: s.thread, symbol: s.frames[len(s.frames)-1]}]++
	}
	return ranked(counts)
}

// busiest threads.
func busiest(stacks []stack) []hot {
	counts := map[hot]int{}
	for _, s := range stacks {
		counts[hot{thread: s.thread}]++
	}
	return ranked(counts)
}

func ranked(counts map[hot]int) []hot {
	var out []hot
	for place, samples := range counts {
		place.samples = samples
		out = append(out, place)
	}
	slices.SortFunc(out, func(a, b hot) int {
		return cmp.Or(cmp.Compare(b.samples, a.samples), cmp.Compare(a.thread, b.thread), cmp.Compare(a.symbol, b.symbol))
	})
	return out
}

// Of threads and places, those below this share of the samples are left out of the table.
const leastShare = 0.005

// stackTable of the threads, then of the places.
func stackTable(stacks []stack) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	row := func(h hot, cells ...string) {
		if share := float64(h.samples) / float64(len(stacks)); share >= leastShare {
			fmt.Fprintf(w, "%4.1f %%\t%s\n", 100*share, strings.Join(cells, "\t"))
		}
	}
	fmt.Fprintln(w, "CPU\tTHREAD")
	for _, h := range busiest(stacks) {
		row(h, h.thread)
	}
	_ = w.Flush()
	fmt.Fprintln(w, "\nSELF\tTHREAD\tSYMBOL")
	for _, h := range hottest(stacks) {
		row(h, h.thread, h.symbol)
	}
	_ = w.Flush()
	return out.String()
}
