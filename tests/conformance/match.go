package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// matcher compares answers with expectations and captures values of them.
type matcher struct {
	vars map[string]any
}

// match compares got with want, in which variables are replaced already. An object
// matches one that has at least its fields; a list matches one of the same length;
// an object whose fields begin with `$` is a directive.
func (m *matcher) match(want, got any) error {
	switch want := want.(type) {
	case map[string]any:
		for key := range want {
			if strings.HasPrefix(key, "$") {
				return m.directives(want, got)
			}
		}
		return m.fields(want, got)
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return differ(want, got)
		}
		for i := range want {
			if err := m.match(want[i], list[i]); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	case json.Number:
		number, ok := got.(json.Number)
		if !ok || number != want {
			return differ(want, got)
		}
		return nil
	}
	if want != got {
		return differ(want, got)
	}
	return nil
}

func (m *matcher) fields(want map[string]any, got any) error {
	object, ok := got.(map[string]any)
	if !ok {
		return differ(want, got)
	}
	for key, w := range want {
		g, there := object[key]
		if d, ok := w.(map[string]any); ok && d["$absent"] == true {
			if there {
				return fmt.Errorf("%s is there: %s", key, show(g))
			}
			continue
		}
		if !there {
			return fmt.Errorf("%s is not there", key)
		}
		if err := m.match(w, g); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func (m *matcher) directives(want map[string]any, got any) error {
	if _, ok := want["$records"]; ok {
		return m.matchSpans(want, got)
	}
	for name, arg := range want {
		if err := m.directive(name, arg, got); err != nil {
			return err
		}
	}
	// Only what matched is kept.
	if name, ok := want["$save"].(string); ok {
		m.vars[name] = got
	}
	return nil
}

func (m *matcher) directive(name string, arg, got any) error {
	switch name {
	case "$save", "$any":
		return nil
	case "$min", "$max":
		a, ok1 := number(arg)
		g, ok2 := number(got)
		if !ok1 || !ok2 || name == "$min" && g < a || name == "$max" && g > a {
			return fmt.Errorf("got %s, want %s %s", show(got), name[1:], show(arg))
		}
		return nil
	case "$not":
		if m.match(arg, got) == nil {
			return fmt.Errorf("got %s", show(got))
		}
		return nil
	case "$contains":
		text, _ := got.(string)
		part, _ := arg.(string)
		if part == "" || !strings.Contains(text, part) {
			return fmt.Errorf("%s does not contain %s", show(got), show(arg))
		}
		return nil
	case "$one_of":
		choices, _ := arg.([]any)
		if slices.ContainsFunc(choices, func(c any) bool { return m.match(c, got) == nil }) {
			return nil
		}
		return fmt.Errorf("got %s, want one of %s", show(got), show(arg))
	case "$has":
		list, _ := got.([]any)
		wanted, _ := arg.([]any)
		for _, w := range wanted {
			if !slices.ContainsFunc(list, func(g any) bool { return m.match(w, g) == nil }) {
				return fmt.Errorf("%s has no %s", show(got), show(w))
			}
		}
		return nil
	case "$runs":
		return m.runs(arg, got)
	}
	return fmt.Errorf("no directive %s", name)
}

// runs holds for confirmed offsets: so many, each known and each higher than the
// one before, so that none is confirmed twice.
func (m *matcher) runs(arg, got any) error {
	var list [][2]int64
	if err := convert(got, &list); err != nil {
		return fmt.Errorf("no runs of offsets: %w", err)
	}
	var count, next int64
	for _, run := range list {
		if run[0] < next || run[1] < 1 {
			return fmt.Errorf("offsets do not rise: %s", show(got))
		}
		next = run[0] + run[1]
		count += run[1]
	}
	if err := m.match(arg, json.Number(fmt.Sprint(count))); err != nil {
		return fmt.Errorf("confirmed: %w", err)
	}
	return nil
}

func number(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

func differ(want, got any) error { return fmt.Errorf("got %s, want %s", show(got), show(want)) }

// show cuts, since an answer may hold thousands of records.
func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(text) > 600 {
		return string(text[:600]) + "…"
	}
	return string(text)
}
