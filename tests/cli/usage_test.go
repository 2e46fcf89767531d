//go:build e2e

package cli

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Commands below each group, as its help lists them.
var groups = map[string][]string{
	"queue":    {"ls", "info", "create", "edit", "rm", "purge"},
	"group":    {"ls", "seek", "rm", "parked", "release"},
	"sessions": {"ls", "close"},
	"bench":    {"pub", "sub", "e2e", "latency"},
}

var single = []string{"pub", "sub", "replay", "peek", "explain", "top", "check", "completion", "version", "help"}

// Nothing here needs a broker.
func offline(t *testing.T) *tool {
	return &tool{T: t, env: environment("SPILLWAY_ADDRESS=127.0.0.1:1")}
}

func commands() [][]string {
	var all [][]string
	for group, names := range groups {
		for _, name := range names {
			all = append(all, []string{group, name})
		}
	}
	for _, name := range single {
		all = append(all, []string{name})
	}
	return all
}

func TestEveryCommandExplainsItself(t *testing.T) {
	c := offline(t)
	root := c.ok("--help")
	for _, name := range single {
		if !regexp.MustCompile(`(?m)^  ` + name + `  `).MatchString(root) {
			t.Errorf("--help does not list %s", name)
		}
	}
	for _, command := range commands() {
		help := c.ok(append(command, "--help")...)
		name := "spillway " + strings.Join(command, " ")
		for _, want := range []string{"Usage: " + name, "Examples:\n", "  spillway ", "Options of every command"} {
			if !strings.Contains(help, want) {
				t.Errorf("%s --help lacks %q", name, want)
			}
		}
		if other := c.ok(append([]string{"help"}, command...)...); other != help {
			t.Errorf("help %q differs from --help", command)
		}
	}
	r := c.run("")
	if r.code != exitUsage || !strings.Contains(r.out, "Subcommands:") {
		t.Errorf("no arguments: %+v", r)
	}
	c.fails(exitUsage, []string{"help", "quee"}, "there is no help on 'quee'; did you mean 'queue'?")
}

func TestTyposAreSuggested(t *testing.T) {
	c := offline(t)
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"quue", "ls"}, "spillway has no command 'quue'; did you mean 'queue'?"},
		{[]string{"queue", "craete", "q"}, "spillway queue has no command 'craete'; did you mean 'create'?"},
		{[]string{"queue"}, "spillway queue needs a command: ls, info, create, edit, rm, purge"},
		{[]string{"--json"}, "spillway needs a command: queue, pub"},
		{[]string{"--adress", "x", "queue", "ls"}, "did you mean '--address'?"},
		{[]string{"sub", "q", "--grup", "g"}, "spillway sub takes no --grup; did you mean '--group'?"},
		{[]string{"queue", "info"}, "QUEUE is required"},
		{[]string{"queue", "info", "a", "b"}, "not expected: b"},
		{[]string{"-o", "yaml", "queue", "ls"}, "yaml"},
		{[]string{"--timeout", "5", "queue", "ls"}, "'5' is not a duration; write it like 250ms"},
		{[]string{"completion", "tcsh"}, "tcsh"},
	} {
		c.fails(exitUsage, test.args, "INVALID_ARGUMENT", test.says)
	}
	r := c.run("", "quue", "--json")
	if e := parse[object](t, r.err)["error"].(object); r.code != exitUsage || e["kind"] != "INVALID_ARGUMENT" || e["exit_code"] != 2.0 {
		t.Errorf("json: %+v", r)
	}
}

func TestNoBrokerIsOneClearLine(t *testing.T) {
	c := offline(t)
	const says = "spillway: UNAVAILABLE: no broker answers at 127.0.0.1:1 (Connection refused); start spillwayd there, or name another with --address or SPILLWAY_ADDRESS\n"
	for _, args := range [][]string{
		{"queue", "ls"}, {"queue", "create", "q"}, {"pub", "q", "x"}, {"sub", "q"}, {"replay", "q"}, {"peek", "q"},
		{"group", "ls", "q"}, {"explain", "q"}, {"top"}, {"sessions", "ls"}, {"bench", "pub", "q"}, {"bench", "latency", "q"},
	} {
		if r := c.run("", args...); r.code != exitUnavailable || r.out != "" || r.err != says {
			t.Errorf("%q: %+v", args, r)
		}
	}
	c.fails(exitUnavailable, []string{"queue", "ls", "--address", "no-such-host.invalid:7420"}, "no broker answers at no-such-host.invalid:7420 (")
	c.fails(exitUsage, []string{"queue", "ls", "--ca-file", "/no/such/file"}, "INVALID_ARGUMENT", "/no/such/file")
}

// What comes from the environment, and what wins over it.
func TestTheAddressComesFromWhereItShould(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	nowhere := offline(t)
	if out := nowhere.ok("queue", "ls", "-q", "--address", c.broker.Address()); out != "q\n" {
		t.Errorf("--address: %q", out)
	}
	if out := nowhere.ok("--address="+c.broker.Address(), "queue", "ls", "-q"); out != "q\n" {
		t.Errorf("in front: %q", out)
	}
	none := &tool{T: t, env: environment("SPILLWAY_ADDRESS=")}
	if r := none.run("", "queue", "ls"); r.code == exitUnavailable && !strings.Contains(r.err, "localhost:7420") {
		t.Errorf("the default: %+v", r)
	}
}

// The process of the broker speaks, but not this protocol.
func TestAnotherServerIsNotABroker(t *testing.T) {
	c := start(t)
	address := strings.TrimSuffix(strings.TrimPrefix(c.broker.MetricsURL(), "http://"), "/metrics")
	r := c.run("", "queue", "ls", "--address", address, "--timeout", "2s")
	if r.code == exitOK || r.out != "" || !strings.HasPrefix(r.err, "spillway: ") {
		t.Errorf("%+v", r)
	}
}

// docs/cli.md lists the exit codes that the program lists, and these tests use.
func TestExitCodesAreDocumented(t *testing.T) {
	c := offline(t)
	listed := regexp.MustCompile(`(?m)^ +(\d+)  `).FindAllStringSubmatch(c.ok("help", "exit-codes"), -1)
	if len(listed) != 10 {
		t.Fatalf("%d codes are listed", len(listed))
	}
	doc, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range listed {
		if !strings.Contains(string(doc), "\n| "+code[1]+" | ") {
			t.Errorf("docs/cli.md has no exit code %s", code[1])
		}
	}
	for _, command := range commands() {
		if !strings.Contains(string(doc), "spillway "+strings.Join(command, " ")) {
			t.Errorf("docs/cli.md does not show %q", command)
		}
	}
}

// Loads a completion script into its shell, and asks it for words.
func complete(t *testing.T, c *tool, shell, script string) []string {
	t.Helper()
	binary, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("%s is not installed", shell)
	}
	folder := t.TempDir()
	cli, err := filepath.Abs(os.Getenv("SPILLWAY_CLI"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(cli, filepath.Join(folder, "spillway")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-c", script)
	cmd.Env = append(c.env, "PATH="+folder+":"+os.Getenv("PATH"), "HOME="+folder)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", shell, err, out)
	}
	var words []string
	for scanner := bufio.NewScanner(strings.NewReader(string(out))); scanner.Scan(); {
		words = append(words, strings.SplitN(scanner.Text(), "\t", 2)[0])
	}
	return words
}

func TestCompletion(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "orders")
	c.ok("queue", "create", "audit")
	for _, test := range []struct {
		line        string // the last word is being completed
		want, never string
	}{
		{"spillway que", "queue", "pub"},
		{"spillway queue cre", "create", "orders"},
		{"spillway queue create x --dura", "--durability", "--follow"},
		{"spillway queue create x --durability s", "synced", "orders"},
		{"spillway pub o", "orders", "audit"},
		{"spillway --address 127.0.0.1 sub a", "audit", "orders"},
		{"spillway queue update a", "audit", "orders"},
		{"spillway -o j", "json", "queue"},
		{"spillway completion b", "bash", "zsh"},
	} {
		t.Run(test.line, func(t *testing.T) {
			for shell, script := range map[string]string{
				"bash": `source <(spillway completion bash); COMP_WORDS=(` + test.line + `); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _spillway; printf '%s\n' "${COMPREPLY[@]}"`,
				// Outside of a completion widget compadd and compdef are not there.
				"zsh":  `compdef() { :; }; compadd() { shift; local w; for w in "$@"; do [[ $w == ${words[CURRENT]}* ]] && print -r -- $w; done; return 0 }; source <(spillway completion zsh); words=(` + test.line + `); CURRENT=${#words}; _spillway`,
				"fish": `spillway completion fish | source; complete -C '` + test.line + `'`,
			} {
				t.Run(shell, func(t *testing.T) {
					words := complete(t, c.in(t), shell, script)
					got := " " + strings.Join(words, " ") + " "
					if !strings.Contains(got, " "+test.want+" ") || strings.Contains(got, " "+test.never+" ") {
						t.Errorf("%q: %q, want %s without %s", test.line, words, test.want, test.never)
					}
				})
			}
		})
	}
}

func TestCompletionScriptsAreSound(t *testing.T) {
	c := offline(t)
	for shell, check := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}} {
		t.Run(shell, func(t *testing.T) {
			script := c.in(t).ok("completion", shell)
			if binary, err := exec.LookPath(shell); err == nil {
				path := filepath.Join(t.TempDir(), "script")
				if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command(binary, append(check, path)...).CombinedOutput(); err != nil || len(out) > 0 {
					t.Errorf("%v: %s", err, out)
				}
			} else if shell == "bash" {
				t.Error("bash is not there")
			}
			for _, command := range commands() {
				if !strings.Contains(script, command[len(command)-1]) {
					t.Errorf("%s is missing", command)
				}
			}
		})
	}
}
