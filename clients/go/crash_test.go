package spillway_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
)

// daemon runs the program at $SPILLWAY_TEST_BROKER and restarts it on one port.
type daemon struct {
	t    *testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	if os.Getenv("SPILLWAY_TEST_BROKER") == "" {
		t.Skip("no SPILLWAY_TEST_BROKER")
	}
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	d := &daemon{t: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	d.start()
	t.Cleanup(func() {
		d.cmd.Process.Kill()
		d.cmd.Wait()
	})
	return d
}

func (d *daemon) start() {
	d.t.Helper()
	ports := filepath.Join(d.dir, "ports.json")
	os.Remove(ports)
	d.cmd = exec.Command(os.Getenv("SPILLWAY_TEST_BROKER"), "--listen", d.address(), "--http-listen", "",
		"--data-dir", filepath.Join(d.dir, "data"), "--ports-file", ports, "--drain-deadline-ms", "1000")
	log := must(os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, "the broker is up", func() bool {
		var p struct{ Port int }
		b, err := os.ReadFile(ports)
		return err == nil && json.Unmarshal(b, &p) == nil && p.Port == d.port
	})
}

func (d *daemon) address() string { return fmt.Sprintf("127.0.0.1:%d", d.port) }

// stop ends the broker with a signal and waits for its end.
func (d *daemon) stop(s syscall.Signal) {
	d.cmd.Process.Signal(s)
	err := d.cmd.Wait()
	if s == syscall.SIGTERM && err != nil {
		d.t.Errorf("the broker ended with %v after SIGTERM", err)
	}
}

// Every confirmed record is delivered, at the offset that was confirmed, and
// no publish is confirmed twice or lost, whatever ends the broker.
func TestBrokerEndsUnderLoad(t *testing.T) {
	for _, how := range []struct {
		name   string
		signal syscall.Signal
	}{{"kill", syscall.SIGKILL}, {"drain", syscall.SIGTERM}} {
		t.Run(how.name, func(t *testing.T) {
			d := startDaemon(t)
			ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
			defer cancel()
			c := must(spillway.Dial(ctx, d.address(), spillway.WithReconnect(5*time.Millisecond, 100*time.Millisecond, time.Minute),
				spillway.WithRetryBudget(1e6, 1)))
			defer c.Close(ctx)
			eventually(t, "the broker is ready", func() bool {
				_, err := c.Admin().CreateQueue(ctx, "q", spillway.SetAckDeadline(5*time.Second))
				return err == nil
			})

			var mu sync.Mutex
			confirmed := map[uint64]uint64{} // number → offset
			delivered := map[uint64]uint64{}
			again := 0
			var stop atomic.Bool
			var publishers sync.WaitGroup
			for w := range 4 {
				publishers.Go(func() {
					p, err := c.Producer(ctx, "q")
					if err != nil {
						t.Error(err)
						return
					}
					type sent struct {
						n uint64
						f spillway.Future
					}
					var window []sent
					settle := func() {
						off, err := window[0].f.Wait(ctx)
						if err != nil {
							t.Error(err)
							stop.Store(true)
						} else {
							mu.Lock()
							confirmed[window[0].n] = off
							mu.Unlock()
						}
						window = window[1:]
					}
					for i := uint64(0); !stop.Load(); i++ {
						n := uint64(w)<<32 | i
						f, err := p.PublishAsync(ctx, spillway.Message{Payload: binary.BigEndian.AppendUint64(nil, n)})
						if err != nil {
							t.Error(err)
							return
						}
						if window = append(window, sent{n, f}); len(window) > 100 {
							settle()
							time.Sleep(50 * time.Microsecond)
						}
					}
					for len(window) > 0 {
						settle()
					}
				})
			}
			cons := must(c.Consumer(ctx, "q", "g", spillway.WithMaxInFlight(500)))
			run, end := context.WithCancel(ctx)
			consumed := make(chan error, 1)
			go func() {
				consumed <- cons.Run(run, func(_ context.Context, d *spillway.Delivery) error {
					n := binary.BigEndian.Uint64(d.Payload)
					mu.Lock()
					defer mu.Unlock()
					if off, ok := delivered[n]; ok {
						if again++; off != d.Offset {
							t.Errorf("record %x is at offsets %d and %d", n, off, d.Offset)
						}
					}
					delivered[n] = d.Offset
					return nil
				})
			}()
			for range 5 {
				time.Sleep(300 * time.Millisecond)
				d.stop(how.signal)
				d.start()
			}
			time.Sleep(300 * time.Millisecond)
			stop.Store(true)
			publishers.Wait()
			eventually(t, "all confirmed records were delivered", func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(delivered) >= len(confirmed)
			})
			end()
			if err := <-consumed; err != nil {
				t.Error(err)
			}
			offsets := map[uint64]bool{}
			for n, off := range confirmed {
				if off != spillway.UnknownOffset && delivered[n] != off {
					t.Fatalf("record %x: confirmed at %d, delivered at %d", n, off, delivered[n])
				}
				if off != spillway.UnknownOffset && offsets[off] {
					t.Fatalf("offset %d was confirmed twice", off)
				}
				offsets[off] = true
			}
			t.Logf("%d records, %d delivered again", len(confirmed), again)
		})
	}
}
