package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func TestFlameOf(t *testing.T) {
	root := flameOf(map[string]int{"a;f;g": 3, "a;f": 1, "b;f": 2})
	a := root.children["a"]
	switch {
	case root.samples != 6 || len(root.children) != 2:
		t.Errorf("root: %+v", root)
	case a.samples != 4 || a.children["f"].samples != 4 || a.children["f"].children["g"].samples != 3:
		t.Errorf("a: %+v", a)
	case root.children["b"].children["f"].samples != 2:
		t.Error("the same name below another caller is another frame")
	}
}

func TestWriteFlame(t *testing.T) {
	var out strings.Builder
	if err := writeFlame(&out, "a < b", map[string]int{"t;std::vector<int>;f": 75, "t;copy_[k]": 25}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v\n%s", err, text)
		}
	}
	for _, want := range []string{
		"a &lt; b",
		"<title>all: 100 samples, 100.0 %</title>",
		"<title>std::vector&lt;int&gt;: 75 samples, 75.0 %</title>",
		// After a quarter of the width come the three others, above those they were called by.
		`<title>f: 75 samples, 75.0 %</title><rect x="410.0" y="34" width="1200.0"`,
		`<title>copy_[k]: 25 samples, 25.0 %</title><rect x="10.0" y="51" width="400.0"`,
		`<title>all: 100 samples, 100.0 %</title><rect x="10.0" y="85" width="1600.0"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestFlameLeavesOutWhatIsTooNarrow(t *testing.T) {
	var out strings.Builder
	if err := writeFlame(&out, "", map[string]int{"t;wide": 100_000, "t;rare;deep": 1}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "rare") || !strings.Contains(text, "wide") {
		t.Errorf("\n%s", text)
	}
}

func TestFitted(t *testing.T) {
	for width, want := range map[float64]string{0: "", 20: "", 40: "abc..", 80: "abcdefgh"} {
		if got := fitted("abcdefgh", width); got != want {
			t.Errorf("%v pixels hold %q", width, got)
		}
	}
}
