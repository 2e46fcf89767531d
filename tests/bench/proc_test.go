package main

import (
	"errors"
	"testing"
)

func TestBusyTicks(t *testing.T) {
	stat := "cpu  10 20 30 4000 500 6 7 8 900 90\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
	if got := busyTicks(stat); got != 10+20+30+6+7+8 {
		t.Errorf("%v ticks", got)
	}
	if got := busyTicks("nothing"); got != 0 {
		t.Errorf("%v ticks", got)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		want options
		ok   bool
	}{
		{[]string{"core"}, options{}, true},
		{[]string{"core", "--quick", "--json", "f"}, options{json: "f", quick: true}, true},
		{nil, options{}, false},
		{[]string{"peers"}, options{}, false},
		{[]string{"core", "--slow"}, options{}, false},
		{[]string{"core", "more"}, options{}, false},
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
