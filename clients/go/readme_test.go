package spillway_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway.dev/clients/go/spillwaytest"
)

// The first program of the README runs as printed, and prints what it says.
func TestReadme(t *testing.T) {
	text := string(must(os.ReadFile("README.md")))
	_, text, _ = strings.Cut(text, "```go\n")
	program, _, _ := strings.Cut(text, "```\n")
	b := spillwaytest.New(t)
	program = strings.Replace(program, "localhost:7420", b.Address(), 1)
	dir := must(os.MkdirTemp(".", "readme"))
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "run", "./"+dir).CombinedOutput()
	if err != nil || string(out) != "kept at offset 0\n0: hello\n" {
		t.Fatalf("%v\n%s", err, out)
	}
}
