package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The registry of the repository, changed in one place, and what must be said.
func TestRefuses(t *testing.T) {
	source, err := os.ReadFile("../../proto/registry.toml")
	if err != nil {
		t.Fatal(err)
	}
	protos, err := readProtos("../../proto")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, old, new, want string }{
		{"nothing", "", "", ""},
		{"tunable that the proto lacks", `name = "max_attempts"`, `name = "most_attempts"`, "lacks"},
		{"other type", `type = "uint32"`, `type = "uint64"`, "type is uint64 here and uint32"},
		{"enum value", `default = "SPILL"`, `default = "SPLIT"`, "wants a default of"},
		{"default out of range", "default = 30_000\nmin = 100", "default = 30_000\nmin = 40_000", "outside"},
		{"error that the proto lacks", `name = "FENCED"`, `name = "STALE"`, "lacks"},
		{"other code", `code = "DATA_LOSS"`, `code = "INTERNAL"`, "[DATA_LOSS] in the proto"},
		{"unit", `unit = "ms"`, `unit = "bytes"`, "unit is"},
		{"unknown key", `unit = "ms"`, `units = "ms"`, "unknown key"},
		{"twice", `name = "max_key_bytes"`, `name = "max_name_bytes"`, "twice"},
		{"relation of defaults", `low = "max_message_bytes"`, `low = "disk_quota_bytes"`, "does not hold"},
		{"counter's name", "spillway_duplicates_total", "spillway_duplicates", "_total"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := strings.Replace(string(source), test.old, test.new, 1)
			path := filepath.Join(t.TempDir(), "registry.toml")
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			reg, err := load(path)
			if err == nil {
				err = reg.resolve(protos)
			}
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("said %v, want %q", err, test.want)
			}
		})
	}
}

func TestHuman(t *testing.T) {
	for _, test := range []struct {
		value any
		unit  string
		want  string
	}{
		{uint64(64 << 20), "bytes", "64 MiB"},
		{int64(1500), "ms", "1,500 ms"},
		{int64(0), "ms", "0"},
		{uint64(10_000), "records", "10,000"},
		{0.1, "tokens", "0.1"},
		{"localhost:7420", "", "localhost:7420"},
	} {
		if got := human(test.value, test.unit); got != test.want {
			t.Errorf("human(%v, %s) = %s, want %s", test.value, test.unit, got, test.want)
		}
	}
}
