//go:build e2e

package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// What was shown is settled, and nothing else.
func TestInterruptedSubscriberSettlesWhatItShowed(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--retention", "limits")
	c.ok("pub", "q", "x", "-n", "20000")
	p := c.begin(nil, "sub", "q", "--max-in-flight", "100")
	c.says(p, strings.Repeat("x\n", 500))
	p.interrupt()
	r := p.wait()
	shown := strings.Count(r.out, "x\n")
	if r.code != exitOK || r.err != "" {
		t.Errorf("Ctrl-C: exit code %d, %q", r.code, r.err)
	}
	group := c.list("group", "ls", "q")[0]
	if group["cursor_offset"] != float64(shown) || group["parked_messages"] != 0.0 {
		t.Errorf("%d records were shown, and the group is %v", shown, group)
	}
	// With a number to reach, an early end is not a success.
	p = c.begin(nil, "sub", "q", "-n", "1,000,000")
	c.says(p, "x\n")
	p.interrupt()
	if r := p.wait(); r.code != exitInterrupted {
		t.Errorf("before the count: %d %q", r.code, r.err)
	}
}

func TestInterruptedPublisherConfirmsWhatItRead(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	stdin, lines := io.Pipe()
	defer lines.Close()
	p := c.begin(stdin, "pub", "q")
	fmt.Fprint(lines, "a\nb\nc\nunfinish")
	c.eventually("they are kept", func() bool {
		return get(c.json("queue", "info", "q"), "stats", "depth_messages") == 3.0
	})
	p.interrupt()
	// The copying goroutine of exec waits for stdin's end.
	c.eventually("the process ends", func() bool { return !strings.Contains(processState(p), "running") })
	lines.Close()
	if r := p.wait(); r.code != exitInterrupted || !strings.HasPrefix(r.out, "3 records, offsets 0 to 2") || r.err != "" {
		t.Errorf("Ctrl-C: %+v", r)
	}
	if got := c.payloads("q"); len(got) != 3 {
		t.Errorf("%q", got)
	}
}

// processState says "running" until the process has ended, reaped or not.
func processState(p *process) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil || strings.Contains(string(stat), ") Z ") {
		return "ended"
	}
	return "running"
}

func TestInterruptEndsEveryWait(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--retention", "limits")
	c.ok("queue", "create", "full", "--overflow", "block", "--window-messages", "3")
	c.ok("pub", "q", "x", "-n", "10")
	for _, test := range []struct {
		name string
		args []string
		says string // on stdout, before Ctrl-C
		code int
	}{
		{"a follower", []string{"replay", "q", "--follow"}, "x\nx\n", exitOK},
		{"a replay before its end", []string{"replay", "q", "--rate", "1"}, "x\n", exitInterrupted},
		{"top", []string{"top", "--interval", "1m"}, "depth=", exitOK},
		{"a publisher at a slow rate", []string{"pub", "q", "y", "-n", "2", "--rate", "0.001"}, "", exitInterrupted},
		{"a publisher without credit", []string{"pub", "full", "y", "-n", "9"}, "", exitInterrupted},
		{"a benchmark", []string{"bench", "pub", "full", "--duration", "1m", "--batch", "1"}, "", exitOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := c.in(t)
			sessions := len(c.list("sessions", "ls"))
			p := c.begin(nil, test.args...)
			c.says(p, test.says)
			if test.says == "" {
				c.eventually("it is connected", func() bool { return len(c.list("sessions", "ls")) > sessions })
			}
			begin := time.Now()
			p.interrupt()
			r := p.wait()
			if r.code != test.code || strings.Contains(r.err, "spillway:") && test.code == exitOK {
				t.Errorf("%+v", r)
			}
			if took := time.Since(begin); took > 12*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A reader that goes away ends the command without a word, and what it did not
// read is not settled.
func TestABrokenPipeEndsQuietly(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--retention", "limits")
	c.ok("pub", "q", strings.Repeat("x", 1000), "-n", "2000")
	for _, args := range [][]string{
		{"replay", "q"}, {"replay", "q", "--json"}, {"sub", "q"}, {"sub", "q", "-n", "2000"}, {"top", "--interval", "100ms"},
	} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p := &process{t: t, cmd: c.command(args...)}
		p.cmd.Stdout, p.cmd.Stderr = write, &p.err
		p.start()
		write.Close()
		if _, err := io.ReadFull(read, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		read.Close()
		if r := p.wait(); r.code != exitOK || r.err != "" {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if group := c.list("group", "ls", "q")[0]; group["cursor_offset"].(float64) >= 2000 {
		t.Errorf("records that nobody read were settled: %v", group)
	}
}

func TestAFullDiskIsAnError(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--retention", "limits")
	c.ok("pub", "q", "x")
	for _, args := range [][]string{{"queue", "ls"}, {"replay", "q"}, {"sub", "q", "-n", "1"}, {"--help"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		p := &process{t: t, cmd: c.command(args...)}
		p.cmd.Stdout, p.cmd.Stderr = full, &p.err
		p.start()
		full.Close()
		if r := p.wait(); r.code != exitFailed || !strings.Contains(r.err, "cannot write to stdout") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if group := c.list("group", "ls", "q")[0]; group["cursor_offset"] != 0.0 {
		t.Errorf("what was not written was settled: %v", group)
	}
}

// The broker goes away and comes back: the command goes on.
func TestARestartIsSurvived(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	sub := c.begin(nil, "sub", "q", "-n", "3")
	stdin, lines := io.Pipe()
	pub := c.begin(stdin, "pub", "q")
	fmt.Fprintln(lines, "a")
	c.says(sub, "a\n")
	if err := c.broker.Stop(25 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := c.broker.Restart(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(lines, "b")
	fmt.Fprintln(lines, "c")
	lines.Close()
	if r := pub.wait(); r.code != exitOK || !strings.HasPrefix(r.out, "3 records") {
		t.Errorf("pub: %+v", r)
	}
	if r := sub.wait(); r.code != exitOK || r.out != "a\nb\nc\n" {
		t.Errorf("sub: %+v", r)
	}
}
