//go:build e2e

package conformance

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"spillway.dev/tests/spillwayd"
)

var plant = flag.Bool("plant", false, "show that every expectation can fail: see TestPlanted")

// languages are the drivers to run, from DRIVERS ("go=/path rust=/path").
func languages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, one := range strings.Fields(os.Getenv("DRIVERS")) {
		name, binary, ok := strings.Cut(one, "=")
		if !ok {
			t.Fatalf("DRIVERS: %q is not name=binary", one)
		}
		out[name] = binary
	}
	if len(out) == 0 {
		t.Fatal("DRIVERS names no driver; run.sh sets it")
	}
	return out
}

func scenarios(t *testing.T) []*Scenario {
	t.Helper()
	all, err := Load("scenarios")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no scenarios")
	}
	return all
}

func startBroker(t *testing.T) *spillwayd.Broker {
	t.Helper()
	broker, err := spillwayd.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Remove)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(broker.Log())
		}
	})
	return broker
}

var queues atomic.Int64

// newRun fills in what differs from run to run: the queue's name.
func newRun(s *Scenario, broker *spillwayd.Broker, vars map[string]any, binaries map[string]string) *Run {
	vars = maps.Clone(vars)
	vars["queue"] = fmt.Sprintf("%s-%d", s.Name, queues.Add(1))
	return &Run{Scenario: s, Broker: broker, Vars: vars, Binaries: binaries}
}

func title(vars map[string]any) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		words = append(words, fmt.Sprint(vars[name]))
	}
	return strings.Join(words, "-")
}

// TestScenarios runs each scenario with every set of variables and every pairing
// of languages.
func TestScenarios(t *testing.T) {
	binaries := languages(t)
	names := slices.Sorted(maps.Keys(binaries))
	shared := startBroker(t)
	var alike alike
	t.Run("run", func(t *testing.T) {
		for _, s := range scenarios(t) {
			for _, vars := range s.Combinations() {
				for _, pairing := range s.Pairings(names) {
					var words []string
					given := map[string]string{}
					for _, driver := range s.Drivers {
						words = append(words, pairing[driver])
						given[driver] = binaries[pairing[driver]]
					}
					name := strings.Trim(s.Name+"/"+title(vars)+"/"+strings.Join(words, "-"), "/")
					t.Run(strings.ReplaceAll(name, "//", "/"), func(t *testing.T) {
						t.Parallel()
						broker := shared
						if s.OwnBroker() {
							broker = startBroker(t)
						}
						run := newRun(s, broker, vars, given)
						run.Shapes = map[int]any{}
						if err := run.Do(); err != nil {
							t.Fatalf("%s: scenarios/%s.jsonl, %v", s.Proves, s.Name, err)
						}
						if len(words) == 1 {
							alike.add(s.Name+" "+title(vars), words[0], run.Shapes)
						}
					})
				}
			}
		}
	})
	t.Run("alike", alike.compare)
}

// alike collects how each language answered the steps of a scenario.
type alike struct {
	mu   sync.Mutex
	runs map[string]map[string]map[int]any
}

func (a *alike) add(scenario, language string, shapes map[int]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.runs == nil {
		a.runs = map[string]map[string]map[int]any{}
	}
	if a.runs[scenario] == nil {
		a.runs[scenario] = map[string]map[int]any{}
	}
	a.runs[scenario][language] = shapes
}

func (a *alike) compare(t *testing.T) {
	for _, scenario := range slices.Sorted(maps.Keys(a.runs)) {
		languages := slices.Sorted(maps.Keys(a.runs[scenario]))
		first := a.runs[scenario][languages[0]]
		for _, language := range languages[1:] {
			for line, shape := range a.runs[scenario][language] {
				if !reflect.DeepEqual(shape, first[line]) {
					t.Errorf("%s, line %d:\n%s answers %s\n%s answers %s", scenario, line,
						languages[0], show(first[line]), language, show(shape))
				}
			}
		}
	}
}
