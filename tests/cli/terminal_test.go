//go:build e2e

package cli

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// terminal opens a pseudo-terminal of 24 lines; what is written to its other end
// collects in the output.
func terminal(t *testing.T, columns uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	t.Cleanup(func() { master.Close() })
	control := func(request uintptr, argument unsafe.Pointer) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(argument)); errno != 0 {
			t.Fatal(errno)
		}
	}
	var unlock, number int32
	control(syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	control(syscall.TIOCGPTN, unsafe.Pointer(&number))
	size := [4]uint16{24, columns}
	control(syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// onTerminal runs a command with a terminal for everything.
func (c *tool) onTerminal(columns uint16, args ...string) (p *process, keyboard *os.File) {
	c.Helper()
	master, slave := terminal(c.T, columns)
	p = &process{t: c.T, cmd: c.command(args...)}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr.Setsid = true
	p.cmd.SysProcAttr.Setctty = true
	p.start()
	slave.Close()
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			_, _ = p.out.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	return p, master
}

func TestTopOnATerminal(t *testing.T) {
	c := start(t)
	for i := range 40 {
		c.ok("queue", "create", fmt.Sprintf("queue-%02d", i))
	}
	c.ok("pub", "queue-00", "x", "-n", "3")
	p, keyboard := c.onTerminal(60, "top", "--interval", "100ms")
	// A first screen on a clear terminal, and one over it.
	c.says(p, "\x1b[2J\x1b[H\x1b[1mspillway")
	c.says(p, "\x1b[J\x1b[H\x1b[1mspillway")
	fmt.Fprint(keyboard, "\x03")
	if r := p.wait(); r.code != exitOK {
		t.Errorf("Ctrl-C: %+v", r)
	}
	screen := strings.SplitN(p.out.String(), "\x1b[J", 2)[0]
	lines := strings.Split(strings.TrimSuffix(screen, "\r\n"), "\r\n")
	if len(lines) != 23 || !strings.HasPrefix(lines[22], "and 23 more; spillway top QUEUE shows one") {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	style := regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")
	for _, line := range lines {
		if plain := style.ReplaceAllString(line, ""); len(plain) > 60 {
			t.Errorf("%d columns: %q", len(plain), plain)
		}
	}
}

func TestColoursFollowTheTerminal(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	p, _ := c.onTerminal(120, "queue", "ls")
	if r := p.wait(); r.code != exitOK {
		t.Errorf("%+v", r)
	}
	c.says(p, "\x1b[1mNAME")
	c.env = append(c.env, "NO_COLOR=1")
	p, _ = c.onTerminal(120, "queue", "ls")
	p.wait()
	c.says(p, "NAME")
	if strings.Contains(p.out.String(), "\x1b[") {
		t.Errorf("NO_COLOR: %q", p.out.String())
	}
}

// A person is asked; the answer counts.
func TestDeletingAsksAPerson(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	for _, test := range []struct {
		answer string
		code   int
	}{{"n\n", exitUsage}, {"\n", exitUsage}, {"y\n", exitOK}} {
		p, keyboard := c.onTerminal(120, "queue", "rm", "q")
		c.says(p, "Delete queue q with 0 unsettled records? [y/N] ")
		fmt.Fprint(keyboard, test.answer)
		if r := p.wait(); r.code != test.code {
			t.Errorf("%q: %+v", test.answer, r)
		}
	}
	if queues := c.list("queue", "ls"); len(queues) != 0 {
		t.Errorf("it is still there: %v", queues)
	}
}

// Ctrl-C of the keyboard, and why a publisher waits.
func TestAPublisherOnATerminalShowsWhyItWaits(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--overflow", "block", "--window-messages", "3")
	p, keyboard := c.onTerminal(200, "pub", "q", "x", "-n", "10")
	c.says(p, "waits for credit: WINDOW_FULL for ")
	c.says(p, "ends when consumers settle")
	fmt.Fprint(keyboard, "\x03")
	if r := p.wait(); r.code != exitInterrupted {
		t.Errorf("%+v", r)
	}
	c.says(p, "3 records, offsets 0 to 2")
}
