package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
)

// goClient is what this driver does by itself.
const goClient = "go"

// client is a way to load a system: this driver, or a program that does what it does
// with a client of another language.
type client struct {
	flag string // of --client
	// The system with this client, in tables.
	name      string
	workloads []string
	// Where the program is; nil: it is this one.
	program func(cache string) string
	// install what is missing, and say which library it is.
	install func(ctx context.Context, cache string) (library string, err error)
}

// The workloads of the programs, and what Go clients do beyond them.
var (
	programLoads = []string{"publish", "e2e", "replay", "replay-cold", "single", "latency", "drain"}
	driverLoads  = append([]string{"fanout"}, programLoads...)
)

// clientsOf a system, the Go client first. A system whose files are not read again
// has no cold replay.
func clientsOf(s System) []*client {
	own := &client{flag: goClient, name: s.Name(), workloads: driverLoads,
		install: func(context.Context, string) (string, error) { return libraryText(s.Library()), nil }}
	out := []*client{own}
	switch s.Name() {
	case "spillway":
		own.workloads = append([]string{"allocations"}, driverLoads...)
		out = append(out,
			&client{"cpp", "spillway (C++)", programLoads, spillwayCpp, installSpillwayCpp},
			&client{"rust", "spillway (Rust)", programLoads, spillwayRust, installSpillwayRust})
	case "kafka":
		out = append(out, &client{"cpp", "kafka (librdkafka)", programLoads, librdkafkaLoads, installLibrdkafka})
	case "relay":
		own.workloads = []string{"e2e", "single"}
	case "relay-100":
		own.workloads = []string{"e2e"}
	case "redis":
		own.workloads = without(driverLoads, "replay-cold")
	}
	return out
}

func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
}

// clientOf a run; nil if there is none.
func clientOf(o options) *client {
	for _, c := range clientsOf(systemNamed(o.system)) {
		if c.flag == o.client {
			return c
		}
	}
	return nil
}

// source is a folder of this repository.
func source(parts ...string) string {
	return filepath.Join(append([]string{os.Getenv("SPILLWAY_ROOT")}, parts...)...)
}

func spillwayCpp(string) string {
	return filepath.Join(os.Getenv("SPILLWAY_BENCH_BIN"), "peers", "cpp", "spillway_loads")
}

// installSpillwayCpp only looks: ./dev bench has built it.
func installSpillwayCpp(context.Context, string) (string, error) {
	_, err := os.Stat(spillwayCpp(""))
	return "clients/cpp", err
}

func spillwayRust(string) string {
	return source("clients", "rust", "target", "release", "spillway-loads")
}

func installSpillwayRust(ctx context.Context, _ string) (string, error) {
	return "clients/rust", quietly(ctx, nil, "cargo", "build", "--quiet", "--release", "--locked",
		"--manifest-path", source("tests", "bench", "peers", "rust", "Cargo.toml"),
		"--target-dir", source("clients", "rust", "target"))
}
