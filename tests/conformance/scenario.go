// Package conformance runs one set of scenarios, which are data, against a real
// broker with every client's driver. README.md says how a scenario is written.
package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Scenario is one file: what it proves, who takes part, and the steps.
type Scenario struct {
	Name    string
	Proves  string
	Drivers []string
	// Each is the variables that the scenario runs with every combination of.
	Each  map[string][]any
	Steps []Step
}

// Step is one line: a command of a driver, or of the runner (`do`).
type Step struct {
	Line int
	// Fields is the line but for what is named below; it goes to the driver as it is.
	Fields map[string]any

	To      string // which driver; the first one by default
	Do      string // a command of the runner
	Want    any    // matches the answer
	Error   any    // matches the error of the answer; without it the answer is ok
	Until   bool   // repeat until it matches: for states that no answer announces
	Task    string // go on without waiting; `do: await` reads the answer
	Collect string // appends the answer's records to this list
	Since   string // answer gets since_ms, counted from this mark
	Note    string // for people, shown with failures from here on

	patience time.Duration // instead of the run's, if set
}

var reserved = []string{"to", "do", "want", "error", "until", "task", "collect", "since", "note"}

// Load reads the scenarios of a folder, in order of name.
func Load(folder string) ([]*Scenario, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var out []*Scenario
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s, err := parse(strings.TrimSuffix(filepath.Base(file), ".jsonl"), text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func parse(name string, text []byte) (*Scenario, error) {
	s := &Scenario{Name: name}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		value, err := decode(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		line, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("line %d is no object", n)
		}
		if s.Proves == "" {
			err = s.head(line)
		} else {
			err = s.step(n, line)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(s.Steps) == 0 {
		return nil, fmt.Errorf("no steps")
	}
	return s, lines.Err()
}

func (s *Scenario) head(line map[string]any) error {
	var head struct {
		Proves  string
		Drivers []string
		Each    map[string][]any
	}
	if err := strict(line, &head); err != nil {
		return err
	}
	if head.Proves == "" {
		return fmt.Errorf("the first line says what the scenario `proves`")
	}
	if head.Drivers == nil {
		head.Drivers = []string{"A"}
	}
	s.Proves, s.Drivers, s.Each = head.Proves, head.Drivers, head.Each
	return nil
}

func (s *Scenario) step(n int, line map[string]any) error {
	own := map[string]any{}
	for _, key := range reserved {
		if v, ok := line[key]; ok {
			own[key] = v
			delete(line, key)
		}
	}
	step := Step{Line: n, Fields: line}
	if err := strict(own, &step); err != nil {
		return err
	}
	if step.To == "" {
		step.To = s.Drivers[0]
	}
	_, isCommand := line["cmd"]
	switch {
	case !slices.Contains(s.Drivers, step.To):
		return fmt.Errorf("no driver %q", step.To)
	case isCommand && step.Do != "", !isCommand && step.Do == "" && step.Note == "":
		return fmt.Errorf("a step has either `cmd` or `do`")
	case step.Until && step.Task != "":
		return fmt.Errorf("a task cannot be repeated")
	}
	s.Steps = append(s.Steps, step)
	return nil
}

// OwnBroker says whether the scenario ends or restarts its broker.
func (s *Scenario) OwnBroker() bool {
	return slices.ContainsFunc(s.Steps, func(step Step) bool {
		return slices.Contains([]string{"kill_broker", "stop_broker"}, step.Do)
	})
}

// Combinations are the sets of variables to run with.
func (s *Scenario) Combinations() []map[string]any {
	out := []map[string]any{{}}
	names := make([]string, 0, len(s.Each))
	for name := range s.Each {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var next []map[string]any
		for _, vars := range out {
			for _, value := range s.Each[name] {
				more := map[string]any{name: value}
				for k, v := range vars {
					more[k] = v
				}
				next = append(next, more)
			}
		}
		out = next
	}
	return out
}

// Pairings are all ways to give each driver of the scenario a language.
func (s *Scenario) Pairings(languages []string) []map[string]string {
	out := []map[string]string{{}}
	for _, driver := range s.Drivers {
		var next []map[string]string
		for _, given := range out {
			for _, language := range languages {
				more := map[string]string{driver: language}
				for k, v := range given {
					more[k] = v
				}
				next = append(next, more)
			}
		}
		out = next
	}
	return out
}

// decode keeps numbers as they are written: offsets do not fit a float64.
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("more than one value")
	}
	return v, nil
}

// strict fills out from a decoded value and refuses unknown fields.
func strict(in any, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	d.DisallowUnknownFields()
	return d.Decode(out)
}

var variable = regexp.MustCompile(`\$[a-z][a-z0-9_]*`)

// substitute replaces `$name` in the strings of v: a string that is nothing else by
// the variable's value, one inside a longer string by its text.
func substitute(v any, vars map[string]any) (any, error) {
	switch v := v.(type) {
	case string:
		if name := variable.FindString(v); name != "" && name == v {
			value, ok := vars[name[1:]]
			if !ok {
				return nil, fmt.Errorf("no variable %s", name)
			}
			return value, nil
		}
		var missing error
		text := variable.ReplaceAllStringFunc(v, func(name string) string {
			value, ok := vars[name[1:]]
			if !ok {
				missing = fmt.Errorf("no variable %s", name)
			}
			return fmt.Sprint(value)
		})
		return text, missing
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = substitute(v[i], vars); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			var err error
			if out[k], err = substitute(v[k], vars); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}
