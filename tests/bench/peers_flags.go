package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// peersOptions choose what is measured; what is chosen twice is measured once.
type peersOptions struct {
	systems, clients, tiers []string // empty: all
	workloads               []string // empty: the usual ones
	sizes                   []int
	runs                    int
	warmup, seconds         float64
	// Of the open loop that is otherwise half of the best peer's peak; 0: that.
	rate      float64
	backlog   int64 // bytes, of what is drained
	json, out string
}

func parsePeers(args []string) (peersOptions, error) {
	var o peersOptions
	flags := newFlags("bench peers")
	list := func(name string) *string { return flags.String(name, "", "") }
	systems, workloads, tiers, sizes := list("systems"), list("workloads"), list("tiers"), list("sizes")
	clients, backlog := list("clients"), flags.String("backlog", "4GiB", "")
	flags.IntVar(&o.runs, "runs", 3, "")
	flags.Float64Var(&o.warmup, "warmup", 1, "")
	flags.Float64Var(&o.seconds, "seconds", 3, "")
	flags.Float64Var(&o.rate, "rate", 0, "")
	flags.StringVar(&o.json, "json", "", "")
	flags.StringVar(&o.out, "out", "", "")
	if err := parseAll(flags, args, errUsage.Error()); err != nil {
		return o, err
	}
	if o.runs < 1 || o.seconds <= 0 || o.warmup < 0 || o.rate < 0 {
		return o, fmt.Errorf("runs and seconds are above 0 (%w)", errUsage)
	}
	o.systems, o.workloads, o.tiers = listed(*systems), listed(*workloads), listed(strings.ToUpper(*tiers))
	o.clients = listed(*clients)
	var err error
	if o.backlog, err = backlogOf(*backlog); err != nil {
		return o, fmt.Errorf("%w (%w)", err, errUsage)
	}
	for _, text := range listed(*sizes) {
		size, err := bytesOf(text)
		if err != nil {
			return o, fmt.Errorf("%w (%w)", err, errUsage)
		}
		o.sizes = append(o.sizes, size)
	}
	if len(o.sizes) == 0 {
		o.sizes = []int{small.bytes, medium.bytes, large.bytes}
	}
	return o, nil
}

// listed are the parts of a list with commas, each once.
func listed(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" && !slices.Contains(out, part) {
			out = append(out, part)
		}
	}
	return out
}

// The sizes of payloads that every system here carries.
const (
	leastPayload = 16 // the driver's own header
	mostPayload  = 4 << 20
)

// bytesOf reads a payload's size such as 100, 100B, 1KiB or 64KiB.
func bytesOf(text string) (int, error) {
	n, ok := bytesIn(text)
	if !ok || n < leastPayload || n > mostPayload {
		return 0, fmt.Errorf("no size %q; such as 100, 1KiB or 64KiB, from %d bytes to 4 MiB", text, leastPayload)
	}
	return int(n), nil
}

// The backlogs that are a matter of minutes and of this machine's disk.
const (
	leastBacklog = 1 << 20
	mostBacklog  = 1 << 40
)

func backlogOf(text string) (int64, error) {
	n, ok := bytesIn(text)
	if !ok || n < leastBacklog || n > mostBacklog {
		return 0, fmt.Errorf("no backlog %q; such as 512MiB or 4GiB", text)
	}
	return n, nil
}

// bytesIn a number with or without a unit.
func bytesIn(text string) (int64, bool) {
	number, unit := strings.ReplaceAll(text, " ", ""), int64(1)
	for name, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, found := strings.CutSuffix(number, name); found {
			number, unit = rest, bytes
		}
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(number, "B"), 10, 64)
	return n * unit, err == nil && n >= 0 && n <= mostBacklog/unit
}

// added is a list with one more, unless that is in it.
func added(list []string, one string) []string {
	if slices.Contains(list, one) {
		return list
	}
	return append(list, one)
}

// sizeText is how a size stands in tables.
func sizeText(bytes int) string { return amount(float64(bytes), bytesUnit) }

// choose keeps what there is of what is wanted, in the order of what there is, and
// says in a line what there is not.
func choose(kind string, wanted, there []string) (chosen []string, unknown []string) {
	if len(wanted) == 0 {
		return there, nil
	}
	for _, name := range wanted {
		if !slices.Contains(there, name) {
			unknown = append(unknown, fmt.Sprintf("no %s %q; there are: %s", kind, name, strings.Join(there, ", ")))
		}
	}
	for _, name := range there {
		if slices.Contains(wanted, name) {
			chosen = append(chosen, name)
		}
	}
	return chosen, unknown
}
