package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// addressed is a fake that a program could connect to.
type addressed struct{ *fake }

func (addressed) Address() string { return "127.0.0.1:1" }

// program is a client's program that says this.
func program(t *testing.T, script string) *trial {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	tr := newTrial(addressed{newFake()}, options{load: "e2e", seconds: time.Second, rate: 10}, 100)
	tr.program, tr.window = path, 7
	return tr
}

const twoReadings = `
echo '{"at":"begin"}'
echo '{"at":"end","records":1000,"seconds":0.5}'
echo '{"at":"begin"}'
echo '{"at":"end","records":3000,"seconds":1.5}'
`

func TestNativeAddsUpWhatIsMeasured(t *testing.T) {
	got, err := program(t, twoReadings+`echo '{"at":"done","p50_us":1,"p99_us":2,"p999_us":3}'`).native(t.Context(), "replay")
	if err != nil || got.Records != 4000 || got.Seconds != 2 || got.P50 != 1 || got.P99 != 2 || got.P999 != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNativeArguments(t *testing.T) {
	_, err := program(t, `echo "$*" >&2`).native(t.Context(), "replay", "--count", "9")
	want := "--address 127.0.0.1:1 --topic e2e-100 --workload replay --size 100 --window 7 --lead 200000 " +
		"--warmup 0 --seconds 1 --rate 10 --count 9"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestNativeFailures(t *testing.T) {
	for script, want := range map[string]string{
		twoReadings + "echo no room >&2; exit 1": "ended too early: exit status 1: no room",
		twoReadings:                              "it said nothing",
		twoReadings + `echo '{"at":"error","error":"5 messages came twice"}'; exit 1`: "5 messages came twice",
		"echo hello": `said "hello"`,
		`echo '{"at":"end","records":1}'; echo '{"at":"done"}'`: `said "{`,
		`echo '{"at":"done"}'`: "nothing came",
	} {
		if _, err := program(t, script).native(t.Context(), "e2e"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", script, err, want)
		}
	}
	tr := program(t, "exit 0")
	tr.program += ".gone"
	if _, err := tr.native(t.Context(), "e2e"); err == nil {
		t.Error("a program that there is not was run")
	}
}

func TestMeasuredTimesAddUp(t *testing.T) {
	got := measured{Records: 100, Seconds: 1, CPU: 2, ClientCPU: 1}.plus(measured{Records: 300, Seconds: 2, CPU: 6, ClientCPU: 5})
	if got.Records != 400 || got.Seconds != 3 || got.CPU != 5 || got.ClientCPU != 4 {
		t.Errorf("%+v", got)
	}
	if got := (measured{}).plus(measured{}); got.CPU != 0 {
		t.Errorf("%+v", got)
	}
}

func TestProgramsAreCompiledWhenSourcesChange(t *testing.T) {
	folder := t.TempDir()
	made, source := filepath.Join(folder, "made"), filepath.Join(folder, "source")
	if err := writeFile(source); err != nil {
		t.Fatal(err)
	}
	if isNewest(made, []string{source}) {
		t.Error("what there is not is up to date")
	}
	if err := writeFile(made); err != nil {
		t.Fatal(err)
	}
	if !isNewest(made, []string{source}) {
		t.Error("what was just made is out of date")
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(source, later, later); err != nil {
		t.Fatal(err)
	}
	if isNewest(made, []string{source}) {
		t.Error("what is older than its source is up to date")
	}
}

func TestDropCacheOfAFolder(t *testing.T) {
	folder := t.TempDir()
	if err := writeFile(filepath.Join(folder, "file"), "text"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	if err := dropCache(folder); err != nil {
		t.Error(err)
	}
	if err := dropCache(filepath.Join(folder, "gone")); err != nil {
		t.Error(err)
	}
}
