//go:build e2e

// Package cli drives the command line as people and scripts do: its real binary
// against a real broker, judged by stdout, stderr and exit code.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/tests/spillwayd"
)

// What docs/cli.md promises.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitFull        = 5
	exitUnavailable = 6
	exitTimedOut    = 7
	exitOutOfRange  = 8
	exitInterrupted = 130
)

// A broker, and the command line pointed at it.
type tool struct {
	*testing.T
	broker *spillwayd.Broker
	env    []string
}

func start(t *testing.T, args ...string) *tool {
	t.Helper()
	broker, err := spillwayd.Start(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Remove)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(broker.Log())
		}
	})
	return &tool{t, broker, environment("SPILLWAY_ADDRESS=" + broker.Address())}
}

// The environment without what would change how the command line behaves.
func environment(more ...string) []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SPILLWAY_") && !strings.HasPrefix(variable, "NO_COLOR=") {
			env = append(env, variable)
		}
	}
	return append(env, more...)
}

// in is the same tool within a subtest.
func (c *tool) in(t *testing.T) *tool { return &tool{t, c.broker, c.env} }

type result struct {
	out, err string
	code     int
}

// run gives the command `input` on stdin and waits for its end.
func (c *tool) run(input string, args ...string) result {
	c.Helper()
	p := c.begin(strings.NewReader(input), args...)
	return p.wait()
}

// ok runs a command that must succeed, and returns its stdout.
func (c *tool) ok(args ...string) string {
	c.Helper()
	return c.okWith("", args...)
}

func (c *tool) okWith(input string, args ...string) string {
	c.Helper()
	r := c.run(input, args...)
	if r.code != exitOK {
		c.Fatalf("%q: exit code %d: %s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// fails runs a command that must end with that code and say all of that on stderr,
// and nothing on stdout.
func (c *tool) fails(code int, args []string, says ...string) {
	c.Helper()
	r := c.run("", args...)
	if r.code != code {
		c.Errorf("%q: exit code %d, want %d: %s%s", args, r.code, code, r.out, r.err)
	}
	for _, text := range says {
		if !strings.Contains(r.err, text) {
			c.Errorf("%q says %q, without %q", args, r.err, text)
		}
	}
	if r.out != "" {
		c.Errorf("%q failed and wrote to stdout: %q", args, r.out)
	}
}

// object is a JSON object of a command's output.
type object = map[string]any

func (c *tool) json(args ...string) object {
	c.Helper()
	return parse[object](c.T, c.ok(append(args, "--json")...))
}

func (c *tool) list(args ...string) []object {
	c.Helper()
	return parse[[]object](c.T, c.ok(append(args, "--json")...))
}

// lines parses JSON lines.
func (c *tool) lines(args ...string) []object {
	c.Helper()
	var out []object
	for line := range strings.Lines(c.ok(append(args, "--json")...)) {
		out = append(out, parse[object](c.T, line))
	}
	return out
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return value
}

// get follows names through objects: get(o, "stats", "depth_messages").
func get(o object, path ...string) any {
	for _, name := range path[:len(path)-1] {
		o, _ = o[name].(object)
	}
	return o[path[len(path)-1]]
}

// process is a command that runs until it ends or is told to.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err output
	done     chan error
}

// output is what a process has written, which tests read while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// begin starts a command with its output collected.
func (c *tool) begin(stdin io.Reader, args ...string) *process {
	c.Helper()
	p := &process{t: c.T, cmd: c.command(args...)}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, &p.out, &p.err
	p.start()
	return p
}

func (c *tool) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Getenv("SPILLWAY_CLI"), args...)
	cmd.Env = c.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (p *process) start() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan error, 1)
	go func() { p.done <- p.cmd.Wait() }()
}

// wait returns what the command came to; one that hangs fails the test.
func (p *process) wait() result {
	p.t.Helper()
	select {
	case err := <-p.done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			p.t.Fatalf("%q: %v", p.cmd.Args, err)
		}
		return result{p.out.String(), p.err.String(), p.cmd.ProcessState.ExitCode()}
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
		p.t.Fatalf("%q hangs: %s%s", p.cmd.Args, p.out.String(), p.err.String())
		panic("unreachable")
	}
}

func (p *process) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
}

// says waits until the process has written that to stdout.
func (c *tool) says(p *process, text string) {
	c.Helper()
	c.eventually("stdout has "+text, func() bool { return strings.Contains(p.out.String(), text) })
}

// eventually waits for a state that the broker reaches by itself.
func (c *tool) eventually(what string, reached func() bool) {
	c.Helper()
	for deadline := time.Now().Add(20 * time.Second); !reached(); {
		if time.Now().After(deadline) {
			c.Fatal("never: ", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// client is for what the command line is checked against.
func (c *tool) client() (*spillway.Client, context.Context) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	c.Cleanup(cancel)
	client, err := spillway.Dial(ctx, c.broker.Address())
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = client.Close(context.Background()) })
	return client, ctx
}

// kept reads everything that a queue keeps, through the Go client.
func (c *tool) kept(queue string) []*spillway.Delivery {
	c.Helper()
	client, ctx := c.client()
	var out []*spillway.Delivery
	for d, err := range client.Replay(ctx, queue, spillway.Earliest(), spillway.UntilTail()) {
		if err != nil {
			c.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

func (c *tool) payloads(queue string) []string {
	c.Helper()
	var out []string
	for _, d := range c.kept(queue) {
		out = append(out, string(d.Payload))
	}
	return out
}
