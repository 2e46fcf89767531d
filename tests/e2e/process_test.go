//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// spillwaydWith runs the binary to its end, with nothing of SPILLWAY_ in its
// environment but `env`.
func spillwaydWith(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv("SPILLWAYD"), args...)
	cmd.Dir = t.TempDir() // a default data folder would lie here
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SPILLWAY_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	var out, errors_ bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors_
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%q: %v: %s%s", args, err, out.String(), errors_.String())
	}
	if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
		t.Errorf("%q left %v, %v", args, left, err)
	}
	return out.String(), errors_.String(), cmd.ProcessState.ExitCode()
}

func configFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spillwayd.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A wrong file is refused before anything is touched: the message names the file, the
// line, the setting, and what would be right.
func TestWrongSettingsAreRefused(t *testing.T) {
	for _, test := range []struct {
		name, file string
		says       string // after the file's name
	}{
		{"an unknown key", "# fine\nmax_queus = 5", ":2: there is no setting max_queus; did you mean max_queues?"},
		{"a key like no other", "colour = 5", ":1: there is no setting colour\n"},
		{"too little", "\n\nmax_queues = 0", ":3: max_queues must be 1 to 1000000; it is 0"},
		{"too much", "drain_deadline_ms = 600001", ":1: drain_deadline_ms must be 0 to 600000; it is 600001"},
		{"a negative number", "max_sessions = -1", `:1: max_sessions is a whole number, not "-1"`},
		{"a text for a number", `max_sessions = "many"`, `:1: max_sessions is a whole number, not "many"`},
		{"a fraction", "max_sessions = 1.5", ":1: max_sessions must be a text, a whole number or true/false"},
		{"a list", "listen = ['a']", ":1: listen must be a text, a whole number or true/false"},
		{"a number for a switch", "insecure = 1", `:1: insecure is true or false, not "1"`},
		{"another level", "log_level = 'infoo'", `:1: log_level is one of debug, info, warn, error; not "infoo"; did you mean info?`},
		{"another format", "log_format = 'xml'", `:1: log_format is one of auto, text, json; not "xml"`},
		{"no port", "listen = 'localhost'", `:1: listen is host:port, as 127.0.0.1:7420; not "localhost"`},
		{"a port that cannot be", "http_listen = '127.0.0.1:65536'", `:1: http_listen is host:port`},
		{"a table", "max_queues = 5\n[server]\nlisten = 'x'", ":2: server is a table; settings are at the top of the file"},
		{"a key twice", "max_queues = 5\nmax_queues = 6", ":2: "},
		{"no value", "max_queues = 5\nlisten =\n", ":2: "},
		{"not TOML", "listen: 127.0.0.1:7420\n", ":1: "},
		{"not text", "max_queues = 5\n\x00\xff\xfe", ":2: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := configFile(t, test.file)
			for _, args := range [][]string{{"--config", path}, {"--config", path, "--check-config"}} {
				out, stderr, code := spillwaydWith(t, nil, args...)
				if code != 2 || out != "" || !strings.HasPrefix(stderr, "spillwayd: file "+path+test.says) || strings.Count(stderr, "\n") != 1 {
					t.Errorf("%q: exit code %d, %q%q, want %q", args, code, out, stderr, test.says)
				}
			}
		})
	}
	t.Run("an address for all without a word", func(t *testing.T) {
		_, stderr, code := spillwaydWith(t, nil, "--config", configFile(t, "listen = '0.0.0.0:7420'"))
		if code != 2 || !strings.Contains(stderr, "listen 0.0.0.0:7420 is not loopback") || !strings.Contains(stderr, "insecure") {
			t.Errorf("%d %q", code, stderr)
		}
	})
	for _, test := range []struct {
		name string
		env  []string
		args []string
		says string
	}{
		{"no file", nil, []string{"--config", "/no/such/file"}, "cannot read the settings in /no/such/file: No such file or directory"},
		{"a folder", nil, []string{"--config", "/"}, "cannot read the settings in /: Is a directory"},
		{"no file, by the environment", []string{"SPILLWAY_CONFIG=/no/such/file"}, nil, "cannot read the settings in /no/such/file"},
		{"the environment", []string{"SPILLWAY_MAX_QUEUES=many"}, nil, `SPILLWAY_MAX_QUEUES: max_queues is a whole number, not "many"`},
		{"a flag", nil, []string{"--max-queues", "0"}, "--max-queues: max_queues must be 1 to 1000000; it is 0"},
		{"a misspelt flag", nil, []string{"--max-queue", "7"}, "Did you mean --max-queues?"},
		{"an argument", nil, []string{"start"}, "not expected: start"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, stderr, code := spillwaydWith(t, test.env, test.args...)
			if code != 2 || !strings.Contains(out+stderr, test.says) {
				t.Errorf("exit code %d: %s%s", code, out, stderr)
			}
		})
	}
}

// --check-config tells every setting, its value, and where that came from: the file's
// line, then the environment, then flags; the later wins.
func TestCheckConfigTellsOrigins(t *testing.T) {
	path := configFile(t, "max_queues = 5\nmax_sessions = 6\n\nlog_level = 'warn'\ninsecure = true\n")
	out, stderr, code := spillwaydWith(t, []string{"SPILLWAY_MAX_SESSIONS=7", "SPILLWAY_LOG_LEVEL=error", "SPILLWAY_ADDRESS=client:1"},
		"--config", path, "--check-config", "--log-level", "debug")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	settings := map[string][2]string{}
	for line := range strings.Lines(out) {
		parts := regexp.MustCompile(`^([a-z_]+) = (.*?) +# (.+)\n$`).FindStringSubmatch(line)
		if parts == nil {
			t.Fatalf("%q is no setting", line)
		}
		settings[parts[1]] = [2]string{parts[2], parts[3]}
	}
	for name, want := range map[string][2]string{
		"max_queues":   {"5", "file " + path + ":1"},
		"insecure":     {"true", "file " + path + ":5"},
		"max_sessions": {"7", "SPILLWAY_MAX_SESSIONS"},
		"log_level":    {`"debug"`, "--log-level"},
		"listen":       {`"127.0.0.1:7420"`, "default"},
	} {
		if settings[name] != want {
			t.Errorf("%s: %q, want %q", name, settings[name], want)
		}
	}
	// What it prints is itself a file of settings that says the same.
	again, stderr, code := spillwaydWith(t, nil, "--config", configFile(t, out), "--check-config")
	value := regexp.MustCompile(` +# .*`)
	if code != 0 || value.ReplaceAllString(again, "") != value.ReplaceAllString(out, "") {
		t.Errorf("read again: %d %s%s", code, again, stderr)
	}
}

// startOn runs the broker on a folder that it must refuse, and returns what it says.
func startOn(t *testing.T, data string) string {
	t.Helper()
	before := tree(t, data)
	_, stderr, code := spillwaydWith(t, nil, "--data-dir", data, "--listen", "127.0.0.1:0", "--http-listen", "")
	if code != 1 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if after := tree(t, data); after != before {
		t.Errorf("the folder was changed from %s to %s", before, after)
	}
	return stderr
}

// tree lists the files of a folder, but for the lock, with their contents.
func tree(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() == "LOCK" {
			return err
		}
		all.WriteString(path + "\n")
		if entry.Type().IsRegular() && entry.Name() != "reserve" {
			content, err := os.ReadFile(path)
			all.Write(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// A folder that this version must not touch is refused with its name and the reason,
// and left as it was.
func TestForeignDataFoldersAreRefused(t *testing.T) {
	broker, client, ctx := start(t)
	create(t, ctx, client, "q")
	publish(t, ctx, producer(t, ctx, client, "q"), 0, 10)
	if err := broker.Stop(25 * time.Second); err != nil {
		t.Fatal(err)
	}
	format := filepath.Join(broker.Data(), "FORMAT")
	ours, err := os.ReadFile(format)
	if err != nil || string(ours) != "spillway-storage 1\n" {
		t.Fatalf("docs/on_disk_format.md says otherwise: %q, %v", ours, err)
	}
	write := func(t *testing.T, path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, format, says string
	}{
		{"of the next version", "spillway-storage 2\n", "is of format 2; this version knows up to 1"},
		{"of a far version", "spillway-storage 1000\n", "is of format 1000"},
		{"of no version", "spillway-storage \n", "FORMAT is not readable"},
		{"of a version that is no number", "spillway-storage 1x\n", "FORMAT is not readable"},
		{"of version 0", "spillway-storage 0\n", "FORMAT is not readable"},
		{"cut off", "spillway-sto", "FORMAT is not readable"},
		{"empty", "", "FORMAT is not readable"},
		{"of another program", "LevelDB 7\n", "FORMAT is not readable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			write(t, format, test.format)
			if says := startOn(t, broker.Data()); !strings.Contains(says, test.says) || !strings.Contains(says, broker.Data()) {
				t.Errorf("%s", says)
			}
		})
	}
	t.Run("without FORMAT", func(t *testing.T) {
		if err := os.Remove(format); err != nil {
			t.Fatal(err)
		}
		if says := startOn(t, broker.Data()); !strings.Contains(says, "FORMAT is missing") {
			t.Errorf("%s", says)
		}
	})
	t.Run("without its mark", func(t *testing.T) {
		write(t, format, string(ours))
		mark := filepath.Join(broker.Data(), "mark")
		if err := os.Rename(mark, mark+".away"); err != nil {
			t.Fatal(err)
		}
		if says := startOn(t, broker.Data()); !strings.Contains(says, "mark is missing or damaged") {
			t.Errorf("%s", says)
		}
		if err := os.Rename(mark+".away", mark); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("made whole again", func(t *testing.T) {
		write(t, format, string(ours))
		if err := broker.Restart(); err != nil {
			t.Fatal(err)
		}
		receive(t, ctx, consumer(t, ctx, client, "q", "g"), 0, 10)
	})
	t.Run("not ours", func(t *testing.T) {
		folder := t.TempDir()
		write(t, filepath.Join(folder, "thesis.txt"), "years of work")
		if says := startOn(t, folder); !strings.Contains(says, folder+" holds files that are not Spillway's") {
			t.Errorf("%s", says)
		}
	})
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		write(t, path, "years of work")
		if says := startOn(t, path); !strings.Contains(says, path) {
			t.Errorf("%s", says)
		}
	})
	t.Run("where nothing can be made", func(t *testing.T) {
		_, stderr, code := spillwaydWith(t, nil, "--data-dir", "/proc/spillway", "--listen", "127.0.0.1:0", "--http-listen", "")
		if code != 1 || !strings.Contains(stderr, "/proc/spillway") {
			t.Errorf("%d %s", code, stderr)
		}
	})
}

// A port that is taken, and one for metrics.
func TestTakenPortsAreNamed(t *testing.T) {
	broker, _, _ := start(t)
	metrics := strings.TrimSuffix(strings.TrimPrefix(broker.MetricsURL(), "http://"), "/metrics")
	for _, args := range [][]string{
		{"--listen", broker.Address(), "--http-listen", ""},
		{"--listen", "127.0.0.1:0", "--http-listen", metrics},
	} {
		_, stderr, code := spillwaydWith(t, nil, append(args, "--data-dir", filepath.Join(t.TempDir(), "data"))...)
		taken := args[1]
		if strings.HasSuffix(taken, ":0") {
			taken = args[3]
		}
		if code != 1 || !strings.Contains(stderr, taken) {
			t.Errorf("%q: %d %s", args, code, stderr)
		}
	}
}
