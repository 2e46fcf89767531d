// Package release checks that a data folder moves between the broker of
// `./dev build` and that of `./dev build --release`, whose RocksDB is a newer one.
package release

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/tests/spillwayd"
)

// More than memory holds before a flush, so that both builds read tables of the other, too.
const (
	recordsAStep = 70_000
	recordBytes  = 2 << 10
)

// payload of a record is a matter of its offset.
func payload(offset uint64) []byte {
	out := make([]byte, recordBytes)
	source := rand.NewPCG(offset, 7)
	for i := 0; i < len(out); i += 8 {
		binary.LittleEndian.PutUint64(out[i:], source.Uint64())
	}
	return out
}

func TestADataFolderMovesBetweenTheBuilds(t *testing.T) {
	release := os.Getenv("SPILLWAYD_RELEASE")
	if release == "" {
		t.Skip("SPILLWAYD_RELEASE does not name a broker; ./dev build --release runs this")
	}
	broker, err := spillwayd.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Remove()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	debian := os.Getenv("SPILLWAYD")
	var kept uint64
	create(ctx, t, broker)
	for step, move := range []struct {
		to     string
		killed bool
	}{{release, false}, {debian, false}, {release, true}, {debian, true}, {debian, false}} {
		write(ctx, t, broker, kept)
		kept += recordsAStep
		if move.killed {
			broker.Kill()
		} else if err := broker.Stop(time.Minute); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		broker.Use(move.to)
		if err := broker.Restart(); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if err := read(ctx, broker, kept); err != nil {
			t.Fatalf("step %d: %v\n%s", step, err, broker.Log())
		}
		if newer := !strings.HasPrefix(rocksdb(t, broker), "7."); newer != (move.to == release) {
			t.Fatalf("step %d: %s runs RocksDB %s", step, move.to, rocksdb(t, broker))
		}
	}
}

// rocksdb is the version that has the folder open, as its own log says.
func rocksdb(t *testing.T, broker *spillwayd.Broker) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(broker.Data(), "*", "LOG"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("RocksDB's logs are %v (%v), not one", logs, err)
	}
	text, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "RocksDB version: ")
	version, _, _ := strings.Cut(after, "\n")
	return version
}

func client(ctx context.Context, broker *spillwayd.Broker) (*spillway.Client, error) {
	return spillway.Dial(ctx, broker.Address())
}

func create(ctx context.Context, t *testing.T, broker *spillwayd.Broker) {
	t.Helper()
	c, err := client(ctx, broker)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Admin().CreateQueue(ctx, "q", spillway.SetDurability(spillway.Synced),
		spillway.SetRetention(spillway.Limits)); err != nil {
		t.Fatal(err)
	}
}

func write(ctx context.Context, t *testing.T, broker *spillwayd.Broker, from uint64) {
	t.Helper()
	c, err := client(ctx, broker)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	p, err := c.Producer(ctx, "q")
	if err != nil {
		t.Fatal(err)
	}
	var last spillway.Future
	for i := range uint64(recordsAStep) {
		if last, err = p.PublishAsync(ctx, spillway.Message{Payload: payload(from + i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if offset, err := last.Wait(ctx); err != nil || offset != from+recordsAStep-1 {
		t.Fatalf("the last record is at offset %d (%v), not at %d", offset, err, from+recordsAStep-1)
	}
}

// read checks every record.
func read(ctx context.Context, broker *spillwayd.Broker, want uint64) error {
	c, err := client(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var next uint64
	for d, err := range c.Replay(ctx, "q", spillway.Earliest(), spillway.UntilOffset(want)) {
		if err != nil {
			return err
		}
		if d.Offset != next || string(d.Payload) != string(payload(next)) {
			return fmt.Errorf("offset %d where %d was expected, or another payload", d.Offset, next)
		}
		next++
	}
	if next != want {
		return fmt.Errorf("%d records, not %d", next, want)
	}
	return nil
}
