package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"spillway.dev/tests/bench/proc"
)

// child is a server's process.
type child struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// startChild runs a program that ends with us, and writes what it says to a file.
func startChild(folder string, env []string, binary string, args ...string) (*child, error) {
	log, err := os.Create(filepath.Join(folder, filepath.Base(binary)+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := &child{cmd: exec.Command(binary, args...), log: log.Name(), done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.Dir = log, log, folder
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

func (c *child) Process() proc.Process { return proc.Process(c.cmd.Process.Pid) }

// Log is the end of what the process wrote.
func (c *child) Log() string {
	text, _ := os.ReadFile(c.log)
	return string(text[max(0, len(text)-4000):])
}

// Stop ends the process and those that it started; their data is removed anyway.
func (c *child) Stop() {
	if c == nil {
		return
	}
	for _, p := range c.Process().Tree() {
		_ = syscall.Kill(int(p), syscall.SIGKILL)
	}
	<-c.done
}

// ready calls try until it succeeds.
func (c *child) ready(ctx context.Context, within time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("it ended at its start: %s", lastLine(c.Log()))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("it was not ready within %v", within), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// freePorts are free on loopback at this moment.
func freePorts(n int) ([]int, error) {
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until all are known
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out, nil
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
