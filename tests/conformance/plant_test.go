//go:build e2e

package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// TestPlanted changes one expected value at a time and demands that the scenario
// fails right there: an expectation that cannot fail proves nothing. It takes as
// many runs as there are expected values, so it runs on demand (-plant).
func TestPlanted(t *testing.T) {
	if !*plant {
		t.Skip("on demand: ./run.sh -run TestPlanted -plant")
	}
	binaries := languages(t)
	first := binaries[slices.Sorted(maps.Keys(binaries))[0]]
	shared := startBroker(t)
	t.Run("run", func(t *testing.T) {
		for _, s := range scenarios(t) {
			for i := range s.Steps {
				step := &s.Steps[i]
				for _, wrong := range variants(step) {
					t.Run(fmt.Sprintf("%s/line-%d", s.Name, step.Line), func(t *testing.T) {
						t.Parallel()
						planted := *s
						planted.Steps = slices.Clone(s.Steps)
						planted.Steps[i] = wrong
						broker := shared
						if s.OwnBroker() {
							broker = startBroker(t)
						}
						given := map[string]string{}
						for _, driver := range s.Drivers {
							given[driver] = first
						}
						err := newRun(&planted, broker, s.Combinations()[0], given).Do()
						var failure *Failure
						if !errors.As(err, &failure) || failure.Line != step.Line {
							t.Fatalf("want %s, error %s: ended with %v",
								show(wrong.Want), show(wrong.Error), err)
						}
					})
				}
			}
		}
	})
}

// variants are the step with each of its expected values made wrong.
func variants(step *Step) []Step {
	var out []Step
	add := func(want, fails any) {
		wrong := *step
		wrong.Want, wrong.Error = want, fails
		wrong.patience = 500 * time.Millisecond
		out = append(out, wrong)
	}
	for _, w := range wrongs(step.Want) {
		add(w, step.Error)
	}
	for _, e := range wrongs(step.Error) {
		add(step.Want, e)
	}
	return out
}

// wrongs are the values that differ from v in one place and cannot match what v
// matches.
func wrongs(v any) []any {
	switch v := v.(type) {
	case json.Number:
		n, _ := v.Int64()
		return []any{json.Number(fmt.Sprint(n + 1))}
	case string:
		return []any{"planted"}
	case bool:
		return []any{!v}
	case []any:
		var out []any
		for i := range v {
			for _, w := range wrongs(v[i]) {
				list := slices.Clone(v)
				list[i] = w
				out = append(out, list)
			}
		}
		return append(out, append(slices.Clone(v), "planted"))
	case map[string]any:
		var out []any
		for key, field := range v {
			var changed []any
			switch key {
			case "$save", "$any", "$absent", "$not", "$again", "$any_order", "$one_of", "from", "keys":
				// Nothing is wrong with another value here, or not necessarily.
			case "$min":
				changed = []any{json.Number("9000000000000000000")}
			case "$max":
				changed = []any{json.Number("-2")}
			case "$records":
				for _, w := range wrongs(field) {
					if list := w.([]any); list[len(list)-1] != "planted" {
						changed = append(changed, w)
					}
				}
			case "seed":
				if v["size"] != json.Number("0") { // without bytes all seeds are alike
					changed = wrongs(field)
				}
			default:
				changed = wrongs(field)
			}
			for _, w := range changed {
				object := maps.Clone(v)
				object[key] = w
				out = append(out, object)
			}
		}
		return out
	}
	return nil
}
