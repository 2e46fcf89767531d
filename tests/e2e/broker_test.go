//go:build e2e

package e2e

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
)

func TestDrainAndReturnGoUnnoticed(t *testing.T) {
	broker, client, ctx := start(t)
	for _, durability := range durabilities {
		create(t, ctx, client, "q-"+durability.String(), spillway.SetDurability(durability))
	}
	var producers []*spillway.Producer
	var consumers []*spillway.Consumer
	for _, durability := range durabilities {
		producers = append(producers, producer(t, ctx, client, "q-"+durability.String()))
		consumers = append(consumers, consumer(t, ctx, client, "q-"+durability.String(), "g"))
	}
	for _, p := range producers {
		publish(t, ctx, p, 0, 100)
	}
	begin := time.Now()
	if err := broker.Stop(25 * time.Second); err != nil {
		t.Fatalf("SIGTERM: %v", err)
	}
	t.Logf("stopped in %v", time.Since(begin))
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	// The same producers and consumers go on; even what was in memory is there.
	for _, p := range producers {
		publish(t, ctx, p, 100, 100)
	}
	for _, n := range consumers {
		got := map[uint64]bool{}
		for len(got) < 200 {
			d, err := n.Receive(ctx)
			if err != nil {
				t.Fatalf("after %d: %v", len(got), err)
			}
			if string(d.Payload) != string(payload(int(d.Offset))) {
				t.Fatalf("offset %d holds %q", d.Offset, d.Payload)
			}
			got[d.Offset] = true
			if err := d.Ack(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTuningChangesWhileItRuns(t *testing.T) {
	_, client, ctx := start(t)
	create(t, ctx, client, "q", spillway.SetOverflow(spillway.Block), spillway.SetWindowMessages(10))
	p := producer(t, ctx, client, "q")
	consumer(t, ctx, client, "q", "g", spillway.WithMaxInFlight(1))
	done := make(chan error, 1)
	go func() {
		for i := range 50 {
			if _, err := p.PublishAsync(ctx, spillway.Message{Payload: payload(i)}); err != nil {
				done <- err
				return
			}
		}
		done <- p.Flush(ctx)
	}()
	eventually(t, ctx, "the producer waits", func() bool { _, waits := p.Blocked(); return waits })
	if _, err := client.Admin().UpdateQueue(ctx, "q", 9, spillway.SetWindowMessages(100)); !errors.Is(err, spillway.ErrRevisionMismatch) {
		t.Errorf("a stale revision: %v", err)
	}
	q, err := client.Admin().UpdateQueue(ctx, "q", 1, spillway.SetWindowMessages(100))
	if err != nil || q.Revision != 2 {
		t.Fatal(q, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := client.Admin().UpdateQueue(ctx, "q", 0, spillway.SetWindowBytes(1)); !errors.Is(err, spillway.ErrInvalidArgument) {
		t.Errorf("an impossible window: %v", err)
	}
}

func TestOpenMistakesAreTyped(t *testing.T) {
	_, client, ctx := start(t)
	if _, err := client.Producer(ctx, "typo"); !errors.Is(err, spillway.ErrNotFound) {
		t.Errorf("an unknown queue: %v", err)
	}
	if _, err := client.Admin().CreateQueue(ctx, "../etc"); !errors.Is(err, spillway.ErrInvalidArgument) {
		t.Errorf("a path for a name: %v", err)
	}
	create(t, ctx, client, "q", spillway.SetMaxMessageBytes(2048))
	if _, err := client.Admin().CreateQueue(ctx, "q"); !errors.Is(err, spillway.ErrAlreadyExists) {
		t.Errorf("a second creation: %v", err)
	}
	p := producer(t, ctx, client, "q")
	if _, err := p.Publish(ctx, spillway.Message{Payload: make([]byte, 4096)}); !errors.Is(err, spillway.ErrTooLarge) {
		t.Errorf("a large record: %v", err)
	}
	publish(t, ctx, p, 0, 1) // and the stream lives
}

func TestMetrics(t *testing.T) {
	broker, client, ctx := start(t)
	create(t, ctx, client, "q")
	publish(t, ctx, producer(t, ctx, client, "q"), 0, 10)
	eventually(t, ctx, "the metrics show the records", func() bool {
		response, err := http.Get(broker.MetricsURL())
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return err == nil && strings.Contains(string(text), `spillway_queue_depth_messages{queue="q"} 10`)
	})
}

func TestTheProcessRefusesClearly(t *testing.T) {
	broker, _, _ := start(t)
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a data folder in use", []string{"--data-dir", broker.Data(), "--listen", "127.0.0.1:0", "--http-listen", ""}, 1, "IN_USE"},
		{"an unknown flag", []string{"--no-such-flag"}, 2, "no-such-flag"},
		{"an impossible value", []string{"--max-queues", "0"}, 2, "max_queues must be 1 to"},
		{"an open address", []string{"--listen", "0.0.0.0:0"}, 2, "insecure"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command(os.Getenv("SPILLWAYD"), test.args...)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != test.code || !strings.Contains(string(out), test.says) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
