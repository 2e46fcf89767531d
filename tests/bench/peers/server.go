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
	c := &child{log: filepath.Join(folder, filepath.Base(binary)+".log")}
	c.cmd = exec.Command(binary, args...)
	c.cmd.Dir, c.cmd.Env = folder, append(os.Environ(), env...)
	return c, c.start()
}

func (c *child) start() error {
	log, err := os.Create(c.log)
	if err != nil {
		return err
	}
	defer log.Close()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(c.cmd, c.done)
	return nil
}

// restart ends the process, and runs it again as it was.
func (c *child) restart() error {
	c.Stop()
	again := exec.Command(c.cmd.Path, c.cmd.Args[1:]...)
	again.Dir, again.Env = c.cmd.Dir, c.cmd.Env
	c.cmd = again
	return c.start()
}

// Cool is enough for servers that leave caching to the kernel.
func (c *child) Cool(context.Context) error { return dropCache(filepath.Dir(c.log)) }

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
