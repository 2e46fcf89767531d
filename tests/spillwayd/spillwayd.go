// Package spillwayd runs the broker's binary for tests and demos: started on free
// ports, killed, restarted on the same ports, and stopped by its own process id.
package spillwayd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Broker is a spillwayd process and its folder.
type Broker struct {
	binary string
	folder string
	args   []string
	ports  struct {
		Port     int `json:"port"`
		HTTPPort int `json:"http_port"`
	}
	cmd  *exec.Cmd
	done chan error
}

// Start runs the binary on a temporary folder and free ports, and returns once it
// listens. The binary is named by SPILLWAYD.
func Start(args ...string) (*Broker, error) {
	return StartBinary(os.Getenv("SPILLWAYD"), args...)
}

// StartBinary is Start of another binary.
func StartBinary(binary string, args ...string) (*Broker, error) {
	if binary == "" {
		return nil, errors.New("SPILLWAYD must name the broker's binary")
	}
	folder, err := os.MkdirTemp("", "spillway-test-")
	if err != nil {
		return nil, err
	}
	b := &Broker{binary: binary, folder: folder, args: args}
	if err := b.start(); err != nil {
		b.Remove()
		return nil, err
	}
	return b, nil
}

// Address is where clients connect.
func (b *Broker) Address() string { return "127.0.0.1:" + strconv.Itoa(b.ports.Port) }

// MetricsURL is where Prometheus would scrape.
func (b *Broker) MetricsURL() string {
	return "http://127.0.0.1:" + strconv.Itoa(b.ports.HTTPPort) + "/metrics"
}

// Data is the data folder.
func (b *Broker) Data() string { return filepath.Join(b.folder, "data") }

// Log is what the broker has written, for failures.
func (b *Broker) Log() string {
	text, _ := os.ReadFile(filepath.Join(b.folder, "log"))
	return string(text)
}

// PID is the process id of the running broker.
func (b *Broker) PID() int { return b.cmd.Process.Pid }

func (b *Broker) start() error {
	portsFile := filepath.Join(b.folder, "ports")
	_ = os.Remove(portsFile)
	log, err := os.OpenFile(filepath.Join(b.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{
		"--listen", "127.0.0.1:" + strconv.Itoa(b.ports.Port),
		"--http-listen", "127.0.0.1:" + strconv.Itoa(b.ports.HTTPPort),
		"--data-dir", b.Data(), "--ports-file", portsFile,
	}, b.args...)
	b.cmd = exec.Command(b.binary, args...)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	// The broker must not outlive whoever tests it.
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	b.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(b.cmd, b.done)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if text, err := os.ReadFile(portsFile); err == nil && json.Unmarshal(text, &b.ports) == nil {
			return nil
		}
		select {
		case err := <-b.done:
			b.done <- err
			return fmt.Errorf("spillwayd ended at its start (%v): %s", err, b.Log())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return errors.New("spillwayd did not listen within 30 s")
}

// Kill ends the process as a crash would (SIGKILL).
func (b *Broker) Kill() {
	_ = b.cmd.Process.Kill()
	<-b.done
}

// Use makes another binary the one that Restart starts.
func (b *Broker) Use(binary string) { b.binary = binary }

// Restart starts it again on the same folder and ports. Call after Kill or Stop.
func (b *Broker) Restart() error { return b.start() }

// Stop asks for a clean stop (SIGTERM) and returns the exit's error, if any.
func (b *Broker) Stop(within time.Duration) error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-b.done:
		return err
	case <-time.After(within):
		b.Kill()
		return fmt.Errorf("spillwayd did not stop within %v", within)
	}
}

// Remove kills the broker if it runs, and removes its folder.
func (b *Broker) Remove() {
	if b.cmd != nil && b.cmd.Process != nil {
		_ = b.cmd.Process.Kill()
	}
	_ = os.RemoveAll(b.folder)
}
