package main

import (
	"errors"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		want options
		ok   bool
	}{
		{nil, options{}, true},
		{[]string{"--quick", "--json", "f"}, options{json: "f", quick: true}, true},
		{[]string{"--slow"}, options{}, false},
		{[]string{"more"}, options{}, false},
	} {
		got, err := parse(c.args)
		if (err == nil) != c.ok || (c.ok && got != c.want) {
			t.Errorf("%v is %v, %v", c.args, got, err)
		}
		if err != nil && !errors.Is(err, errUsage) {
			t.Errorf("%v: %v is not a matter of usage", c.args, err)
		}
	}
}

func TestUnknownBenchmarks(t *testing.T) {
	for _, args := range [][]string{nil, {"all"}, {"--json", "f"}} {
		if err := dispatch(args); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v is not a matter of usage", args, err)
		}
	}
}
