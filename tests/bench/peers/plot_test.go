package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPlots(t *testing.T) {
	folder := t.TempDir()
	from := filepath.Join(folder, "in.json")
	if err := writeFile(from, `{"figures": [
		{"name": "end to end", "tier": "MEMORY", "size": "1 KiB", "system": "redis", "value": 140000, "unit": "messages/s"},
		{"name": "end to end", "tier": "MEMORY", "size": "1 KiB", "system": "spillway", "value": 300000, "unit": "messages/s"},
		{"name": "end to end", "tier": "SYNCED", "size": "1 KiB", "system": "spillway", "value": 90000, "unit": "messages/s"},
		{"name": "latency at 2,000/s p99", "tier": "SYNCED", "size": "1 KiB", "system": "redis", "value": 1300, "unit": "us"},
		{"name": "rate", "tier": "SYNCED", "size": "1 KiB", "system": "driver", "value": 1, "unit": "messages/s"}]}`); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(folder, "out")
	if err := plotFile(from, out); err != nil {
		t.Fatal(err)
	}
	var names []string
	files, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	if want := []string{"end-to-end-1-kib.svg", "latency-at-2000-s-p99-1-kib.svg"}; !slices.Equal(names, want) {
		t.Fatalf("files %v, want %v", names, want)
	}
	text, err := os.ReadFile(filepath.Join(out, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "redis", "spillway", "MEMORY", "SYNCED", "thousand messages/s"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %q", names[0], want)
		}
	}
}

func TestChartsHaveSpillwayFirst(t *testing.T) {
	got := charts([]bar{{Name: "a", System: "nats"}, {Name: "a", System: "spillway"}, {Name: "b", System: "kafka"}})
	if len(got) != 2 || !slices.Equal(got[0].systems, []string{"spillway", "nats"}) {
		t.Errorf("%+v", got)
	}
}
