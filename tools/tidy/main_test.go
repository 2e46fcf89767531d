package main

import (
	"os"
	"path/filepath"
	"testing"
)

// What must and what must not make clang-tidy look again.
func TestKey(t *testing.T) {
	c := command{File: "broker/a.cc", Arguments: []string{"gcc", "-c", "broker/a.cc"}}
	tree := map[string]string{
		".clang-tidy":               "Checks: '*'",
		"proto/spillway/v1/a.proto": "message A {}",
		"broker/a.cc":               "#include <vector>\n#include \"broker/a.h\"\n",
		"broker/a.h":                "#include \"broker/b.h\"\n#include \"spillway/v1/a.pb.h\"\n",
		"broker/b.h":                "#include \"broker/a.h\"\n", // a cycle must not hang
		"broker/c.h":                "",
	}
	key := func(change, text, salt string, c command) string {
		t.Helper()
		t.Chdir(t.TempDir())
		for path, old := range tree {
			if path == change {
				old = text
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		k, err := newKeys(salt)
		if err != nil {
			t.Fatal(err)
		}
		return k.of(c)
	}
	first := key("", "", "salt", c)
	if again := key("broker/c.h", "changed", "salt", c); again != first {
		t.Error("a header that is not included changed the key")
	}
	for _, path := range []string{".clang-tidy", "proto/spillway/v1/a.proto", "broker/a.cc", "broker/a.h", "broker/b.h"} {
		if changed := key(path, "changed", "salt", c); changed == first {
			t.Errorf("%s did not change the key", path)
		}
	}
	if key("", "", "other", c) == first {
		t.Error("the salt did not change the key")
	}
	c.Arguments = append(c.Arguments, "-DX")
	if key("", "", "salt", c) == first {
		t.Error("the command did not change the key")
	}
}
