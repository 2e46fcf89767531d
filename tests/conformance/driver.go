package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Driver is a process that speaks the lines of README.md.
type Driver struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan []byte
	stderr lockedBuffer
	next   int
	busy   bool
}

// grace is what a driver gets beyond a command's own time before it counts as hung.
const grace = 20 * time.Second

func startDriver(name, binary string) (*Driver, error) {
	d := &Driver{name: name, cmd: exec.Command(binary), lines: make(chan []byte, 1)}
	d.cmd.Stderr = &d.stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(d.lines)
		reader := bufio.NewReader(out)
		for {
			line, err := reader.ReadBytes('\n')
			if err != nil {
				return
			}
			d.lines <- line
		}
	}()
	return d, nil
}

// send writes a command; its answer must be read before the next one.
func (d *Driver) send(fields map[string]any) error {
	if d.busy {
		return fmt.Errorf("driver %s still works on a task", d.name)
	}
	d.next++
	line := map[string]any{"id": d.next}
	for k, v := range fields {
		line[k] = v
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err := d.in.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("driver %s: %w; %s", d.name, err, d.stderr.String())
	}
	d.busy = true
	return nil
}

// answer waits for what the driver says to the last command.
func (d *Driver) answer(within time.Duration) (map[string]any, error) {
	select {
	case line, ok := <-d.lines:
		if !ok {
			return nil, fmt.Errorf("driver %s ended: %s", d.name, d.stderr.String())
		}
		d.busy = false
		value, err := decode(line)
		if err != nil {
			return nil, fmt.Errorf("driver %s said %q: %w", d.name, line, err)
		}
		answer, ok := value.(map[string]any)
		if !ok || answer["id"] != json.Number(fmt.Sprint(d.next)) {
			return nil, fmt.Errorf("driver %s said %s to command %d", d.name, line, d.next)
		}
		return answer, nil
	case <-time.After(within):
		return nil, fmt.Errorf("driver %s did not answer within %v; %s", d.name, within, d.stderr.String())
	}
}

// end closes the driver's input; it must leave by itself and without complaint.
func (d *Driver) end() error {
	_ = d.in.Close()
	for {
		select {
		case _, more := <-d.lines:
			if more {
				continue
			}
			if err := d.cmd.Wait(); err != nil {
				return fmt.Errorf("driver %s: %w; %s", d.name, err, d.stderr.String())
			}
			return nil
		case <-time.After(grace + 10*time.Second):
			d.kill()
			return fmt.Errorf("driver %s did not end; %s", d.name, d.stderr.String())
		}
	}
}

// kill ends the process as a crash would.
func (d *Driver) kill() {
	_ = d.cmd.Process.Kill()
	for range d.lines {
	}
	var exit *exec.ExitError
	if err := d.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		panic(err) // killing a child of our own cannot fail otherwise
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
