package vectors

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the files")

// TestFresh holds the committed files to what the protos and rules say.
func TestFresh(t *testing.T) {
	for name, want := range Files() {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what `go test ./vectors -update` writes (%v)", name, err)
		}
	}
}
