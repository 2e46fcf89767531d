package main

import (
	"errors"
	"slices"
	"testing"
)

func TestParseMicro(t *testing.T) {
	o, err := parseMicro([]string{"--json", "f", "--", "--benchmark_filter=Scan", "x"})
	if err != nil || o.json != "f" || !slices.Equal(o.args, []string{"--benchmark_filter=Scan", "x"}) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parseMicro(nil); err != nil || len(o.args) > 0 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"Scan"}, {"--benchmark_filter=Scan"}, {"--json", "f", "Scan"}} {
		if _, err := parseMicro(args); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v is not a matter of usage", args, err)
		}
	}
}
