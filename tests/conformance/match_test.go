package conformance

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	const records = `[{"offset":4,"attempt":1,"key":"a","size":8,"fnv":"F0"},{"offset":5,"attempt":2,"key":"b","size":8,"fnv":"F1"}]`
	for _, test := range []struct {
		want, got string
		fails     string // part of what the mismatch says; empty if it matches
	}{
		{`{"a":1}`, `{"a":1,"b":2}`, ""},
		{`{"a":1}`, `{"a":2}`, "a: got 2, want 1"},
		{`{"a":1}`, `{"b":1}`, "a is not there"},
		{`{"a":{"$absent":true}}`, `{"a":0}`, "a is there"},
		{`{"a":{"$absent":true}}`, `{}`, ""},
		{`[1,2]`, `[1,2]`, ""},
		{`[1,2]`, `[1,2,3]`, "got [1,2,3]"},
		{`[]`, `[1]`, "got [1]"},
		{`18446744073709551615`, `18446744073709551615`, ""},
		{`18446744073709551615`, `18446744073709551614`, "got"},
		{`1`, `"1"`, "got"},
		{`true`, `false`, "got"},
		{`{"$min":3,"$max":5}`, `4`, ""},
		{`{"$min":3}`, `2`, "want min 3"},
		{`{"$max":3}`, `4`, "want max 3"},
		{`{"$min":3}`, `"text"`, "want min 3"},
		{`{"$contains":"mid"}`, `"amidst"`, ""},
		{`{"$contains":"mid"}`, `"other"`, "does not contain"},
		{`{"$one_of":["A","B"]}`, `"B"`, ""},
		{`{"$one_of":["A","B"]}`, `"C"`, "one of"},
		{`{"$has":[{"x":1}]}`, `[{"x":2},{"x":1,"y":3}]`, ""},
		{`{"$has":[{"x":1}]}`, `[{"x":2}]`, "has no"},
		{`{"$has":[{"x":1}]}`, `[]`, "has no"},
		{`{"$not":{"$has":[{"x":1}]}}`, `[{"x":2}]`, ""},
		{`{"$not":{"$has":[{"x":1}]}}`, `[{"x":1}]`, "got"},
		{`{"$runs":5}`, `[[0,3],[7,2]]`, ""},
		{`{"$runs":5}`, `[[0,3],[2,2]]`, "do not rise"},
		{`{"$runs":5}`, `[[0,3]]`, "confirmed"},
		{`{"$runs":2}`, `[[-1,1],[0,1]]`, "do not rise"},
		{`{"$typo":5}`, `5`, "no directive"},
		{`{"$records":[{"offset":4,"count":2,"seed":9,"size":8,"keys":["a","b"],"attempt":{"$min":1}}]}`, records, ""},
		{`{"$records":[{"offset":4,"count":1,"seed":9,"size":8,"keys":["a"]},{"offset":5,"from":1,"count":1,"seed":9,"size":8,"keys":["a","b"],"attempt":2}]}`, records, ""},
		{`{"$records":[{"offsets":[[4,1],[5,1]],"count":2,"seed":9,"size":8,"keys":["a","b"],"attempt":{"$max":2}}]}`, records, ""},
		{`{"$records":[{"offset":4,"count":2,"seed":9,"size":8,"keys":["a","b"]}]}`, records, "record 1, attempt"},
		{`{"$records":[{"offset":4,"count":2,"seed":8,"size":8,"keys":["a","b"],"attempt":{"$any":1}}]}`, records, "record 0 is"},
		{`{"$records":[{"offset":4,"count":2,"seed":9,"size":8,"keys":["b","a"],"attempt":{"$any":1}}]}`, records, "record 0 is"},
		{`{"$records":[{"offset":4,"count":3,"seed":9,"size":8,"keys":["a","b"]}]}`, records, "2 records came, want 3"},
		{`{"$records":[{"offset":4,"count":2,"seed":9,"siz":8}]}`, records, "unknown field"},
		{`{"$records":[{"offset":4,"count":2,"seed":9,"size":8,"keys":["a","b"]}],"$any_order":true}`, records, ""},
		{`{"$records":[{"offset":4,"count":3,"seed":9,"size":8,"keys":["a","b"]}],"$any_order":true}`, records, "offset 6 did not come"},
		{`{"$records":[{"offset":4,"count":1,"seed":9,"size":8,"keys":["a","b"]}],"$any_order":true}`, records, "was not expected"},
	} {
		fill := strings.NewReplacer("F0", Fnv(Payload(9, 0, 8)), "F1", Fnv(Payload(9, 1, 8)))
		want, err := decode([]byte(test.want))
		if err != nil {
			t.Fatal(test.want, err)
		}
		got, err := decode([]byte(fill.Replace(test.got)))
		if err != nil {
			t.Fatal(test.got, err)
		}
		m := &matcher{vars: map[string]any{}}
		err = m.match(want, got)
		if test.fails == "" && err != nil || test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)) {
			t.Errorf("%s with %s: %v, want %q", test.want, test.got, err, test.fails)
		}
	}
}

func TestRepetitionsAreCounted(t *testing.T) {
	one := Record{Offset: 7}
	if err := matchSet([]Record{one}, []Record{one, one}, 0); err == nil {
		t.Error("a repetition went unseen")
	}
	if err := matchSet([]Record{one}, []Record{one, one}, 1); err != nil {
		t.Error(err)
	}
}

func TestExpectationsThatOverlap(t *testing.T) {
	one := Record{Offset: 7}
	if err := matchSet([]Record{one, one}, []Record{one}, 0); err == nil {
		t.Error("an offset that is expected twice passed")
	}
}

func TestVariables(t *testing.T) {
	m := &matcher{vars: map[string]any{"queue": "q-1"}}
	want, _ := decode([]byte(`{"offsets":{"$save":"runs"}}`))
	got, _ := decode([]byte(`{"offsets":[[0,3]]}`))
	if err := m.match(want, got); err != nil {
		t.Fatal(err)
	}
	in, _ := decode([]byte(`{"a":"$runs","b":"$queue.dead","c":["$queue"]}`))
	out, err := substitute(in, m.vars)
	if text := show(out); err != nil || text != `{"a":[[0,3]],"b":"q-1.dead","c":["q-1"]}` {
		t.Error(text, err)
	}
	in, _ = decode([]byte(`["$nobody"]`))
	if _, err := substitute(in, m.vars); err == nil {
		t.Error("an unknown variable passed")
	}
}

func TestParse(t *testing.T) {
	const head = `{"proves":"x","drivers":["A","B"],"each":{"d":[1,2],"e":["u","v"]}}` + "\n"
	s, err := parse("s", []byte(head+`{"to":"B","cmd":"close","want":{"a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	if n, p := len(s.Combinations()), len(s.Pairings([]string{"go", "rust"})); n != 4 || p != 4 {
		t.Error(n, p)
	}
	if s.Steps[0].To != "B" || s.Steps[0].Line != 2 || len(s.Steps[0].Fields) != 1 {
		t.Errorf("%+v", s.Steps[0])
	}
	for _, bad := range []string{
		`{"steps":[]}`, head, head + `{"to":"C","cmd":"close"}`, head + `{"cmd":"close","do":"now"}`,
		head + `{"queue":"q"}`, head + `{"cmd":"close"} {}`, head + `[]`,
	} {
		if _, err := parse("s", []byte(bad)); err == nil {
			t.Errorf("%s passed", bad)
		}
	}
}

// The two numbers that README.md's formula can be checked with by hand.
func TestPayload(t *testing.T) {
	if n := mix(0); n != 0xe220a8397b1dcdaf { // the first output of SplitMix64 with seed 0
		t.Errorf("%x", n)
	}
	if f := Fnv(nil); f != "cbf29ce484222325" { // the offset basis
		t.Error(f)
	}
	if a, b := Payload(1, 0, 100), Payload(1, 0, 3); string(a[:3]) != string(b) || len(a) != 100 {
		t.Error(a, b)
	}
}
