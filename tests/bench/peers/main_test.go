package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	run := "run --system redis --tier MEMORY --workload e2e"
	for _, c := range []struct {
		line string
		ok   bool
	}{
		{"systems", true},
		{"plot --json f --out d", true},
		{"install --system kafka", true},
		{run, true},
		{run + " --sizes 100,1024 --seconds 0.5 --rates 3000,50.5", true},
		{"", false},
		{"all", false},
		{"install", false},
		{"install --system sqs", false},
		{"install --system kafka --client cpp", true},
		{"install --system kafka --client rust", false},
		{"run --system spillway --tier MEMORY --client rust --workload drain --backlog 1000", true},
		{"run --system spillway --tier MEMORY --client rust --workload fanout", false},
		{"run --system redis --tier SYNCED --workload replay-cold", false}, // it keeps all in memory
		{"run --system kafka --tier SYNCED --workload allocations", false},
		{"run --system rabbitmq --tier MEMORY --workload e2e", false}, // it has no such tier
		{"run --system redis --tier MEMORY --workload all", false},
		{run + " --sizes 15", false},
		{run + " --sizes 1K", false},
		{run + " --seconds 0", false},
		{run + " --rates 0", false},
		{run + " --rates 10,NaN", false},
		{run + " --backlog 0", false},
		{run + " --fast", false},
	} {
		if _, err := parse(strings.Fields(c.line)); (err == nil) != c.ok {
			t.Errorf("%q: %v", c.line, err)
		}
	}
	o, err := parse(strings.Fields(run + " --sizes 100,65536 --warmup 0.5 --seconds 2"))
	if err != nil || !slices.Equal(o.sizes, []int{100, 65536}) || o.warmup != time.Second/2 || o.seconds != 2*time.Second {
		t.Errorf("options %+v, %v", o, err)
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]string{
		"5:7.0.15-1~deb12u10": "7.0.15", "3.10.8-1.1+deb12u1": "3.10.8", "1.0": "1.0",
	} {
		if got := upstream(version); got != want {
			t.Errorf("%s is %s, want %s", version, got, want)
		}
	}
	if got := libraryText("spillway.dev/clients/go"); got != "spillway.dev/clients/go" {
		t.Errorf("%q", got)
	}
}

// A peer's tiers are among ours, and names are those of folders and tables.
func TestSystems(t *testing.T) {
	for _, s := range systems() {
		if systemNamed(s.Name()) == nil || place(s.Name()) < 0 || len(s.Tiers()) == 0 {
			t.Errorf("%s is not known by its name", s.Name())
		}
		for _, tier := range s.Tiers() {
			if !slices.Contains([]string{tierMemory, tierPersisted, tierSynced}, tier) {
				t.Errorf("%s has a tier %q", s.Name(), tier)
			}
		}
	}
	names := map[string]bool{}
	for _, s := range systems() {
		for _, c := range clientsOf(s) {
			names[c.name] = true
			for _, load := range c.workloads {
				if workloads[load] == nil {
					t.Errorf("%s has a workload %q", c.name, load)
				}
			}
		}
	}
	if len(names) > len(colours) {
		t.Error("a system has no colour of its own")
	}
}
