// Package examples holds programs; the test runs them against the fake.
package examples

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"spillway.dev/clients/go/spillwaytest"
)

func TestExamples(t *testing.T) {
	for _, e := range []struct{ name, want string }{
		{"connect", "kept at offset 9"},
		{"tune", "there is room again: kept at offset 10"},
		{"replay", "again: offset 4, payment 4"},
		{"requestreply", "HOW ARE YOU?"},
	} {
		t.Run(e.name, func(t *testing.T) {
			b := spillwaytest.New(t)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "go", "run", "./"+e.name)
			cmd.Env = append(os.Environ(), "SPILLWAY_ADDRESS="+b.Address())
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), e.want) {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
