package main

import "fmt"

const (
	fanOut      = "fan-out to 5 groups"
	oneByOne    = "one at a time"
	latencyLow  = "latency at 2,000/s"
	latencyBig  = "latency at half of the best peer's peak"
	replayCold  = "replay, cold"
	drainAll    = "drain of a backlog"
	allocations = "allocations per message"

	// Of the driver, where a figure is of no system.
	driver = "driver"
	// The driver's systems that are limits have names that begin so. This one gets the
	// frames that Spillway's Go client sends.
	relaySystem = "relay"
)

// peersWorkload is a workload of the driver and the figures that it makes.
type peersWorkload struct {
	flag, load string // of ./dev bench peers, and of the driver
	name       string
	sizes      []int    // nil: those of --sizes
	parts      []string // of its figures' names; nil: one figure
	unit       string
	onDisk     bool      // not at MEMORY
	optional   bool      // only if it is asked for
	shares     []float64 // of the system's own peak end to end, at which it is run
}

var (
	oneSize        = []int{medium.bytes}
	quantileParts  = []string{" p50", " p99", " p99.9"}
	allocatedParts = []string{", publish", ", consume"}
)

// End to end comes before the rates that are parts of its peak.
var peersWorkloads = []peersWorkload{
	{flag: "publish", load: "publish", name: publishOnly, unit: perSecond},
	{flag: "e2e", load: "e2e", name: endToEnd, unit: perSecond},
	{flag: "replay", load: "replay", name: replayWarm, unit: perSecond},
	{flag: "fanout", load: "fanout", name: fanOut, sizes: oneSize, unit: perSecond},
	{flag: "single", load: "single", name: oneByOne, sizes: oneSize, unit: perSecond},
	{flag: "latency", load: "latency", name: latencyLow, sizes: oneSize, parts: quantileParts, unit: micros},
	{flag: "latency-half", load: "latency", name: latencyBig, sizes: oneSize, parts: quantileParts, unit: micros},
	{flag: "latency-own", load: "latency", name: "latency", sizes: oneSize, parts: quantileParts, unit: micros,
		optional: true, shares: []float64{0.1, 0.5, 0.7, 0.9}},
	{flag: "replay-cold", load: "replay-cold", name: replayCold, unit: perSecond, onDisk: true, optional: true},
	{flag: "drain", load: "drain", name: drainAll, sizes: oneSize, unit: perSecond, optional: true},
	{flag: "allocations", load: "allocations", name: allocations, sizes: []int{small.bytes, medium.bytes},
		parts: allocatedParts, unit: countUnit, optional: true},
}

// peersTrial is a line of the driver: one size at one rate.
type peersTrial struct {
	name  string
	size  int
	share float64 // of the system's own peak; 0: the rate is another
}

// trials on one server, in the driver's order.
func (w peersWorkload) trials(o peersOptions) []peersTrial {
	sizes := w.sizes
	if sizes == nil {
		sizes = o.sizes
	}
	var out []peersTrial
	for _, size := range sizes {
		if w.shares == nil {
			out = append(out, peersTrial{w.name, size, 0})
		}
		for _, share := range w.shares {
			out = append(out, peersTrial{fmt.Sprintf("%s at %.0f %% of its own peak", w.name, 100*share), size, share})
		}
	}
	return out
}

// keys of the figures of a trial.
func (w peersWorkload) keys(t peersTrial, tier, system string) []key {
	parts := w.parts
	if parts == nil {
		parts = []string{""}
	}
	var out []key
	for _, part := range parts {
		out = append(out, key{t.name + part, tier, sizeText(t.size), system})
	}
	return out
}

// offeredKey is of the rate of an open loop that depends on what was measured before;
// nothing if it does not.
func (w peersWorkload) offeredKey(t peersTrial, tier, system string) (key, bool) {
	if t.share > 0 {
		return key{t.name + ": rate", tier, sizeText(t.size), system}, true
	}
	return key{latencyBig + ": rate", tier, sizeText(t.size), driver}, w.name == latencyBig
}
