// Demo runs the product's main job on real input: a producer replays the
// arrivals of a public trace into a small queue, a consumer in another process,
// at times slower than the bursts, takes them out, the broker is killed in the
// middle, and a reader replays everything. Every record is verified by its content.
package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	spillway "spillway.dev/clients/go"
	"spillway.dev/tests/spillwayd"
)

const (
	queue = "requests"
	group = "serving"
)

type row struct {
	at   time.Time
	text string
}

func main() {
	consumer := flag.String("consumer", "", "the consumer's binary")
	data := flag.String("data", "", "the folder of the trace")
	length := flag.Duration("length", 45*time.Second, "how long the trace is replayed for")
	flag.Parse()
	if err := run(*consumer, *data, *length); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(consumer, data string, length time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), length+3*time.Minute)
	defer cancel()
	rows, err := readTrace(data)
	if err != nil {
		return err
	}
	broker, err := spillwayd.Start()
	if err != nil {
		return err
	}
	defer broker.Remove()
	fmt.Printf("demo: spillwayd on %s; %d requests of an hour in %v\n", broker.Address(), len(rows), length)

	client, err := spillway.Dial(ctx, broker.Address())
	if err != nil {
		return err
	}
	defer client.Close(ctx)
	// A window of a few hundred records, so that bursts spill, and a quota that the
	// longest pause of the consumer reaches, so that the producer has to wait.
	if _, err := client.Admin().CreateQueue(ctx, queue,
		spillway.SetDurability(spillway.Synced), spillway.SetWindowBytes(128<<10),
		spillway.SetMaxMessageBytes(4<<10), spillway.SetDiskQuotaBytes(96<<10),
		spillway.SetRetention(spillway.Limits)); err != nil {
		return err
	}

	ledger, err := os.CreateTemp("", "spillway-demo-ledger-")
	if err != nil {
		return err
	}
	defer os.Remove(ledger.Name())
	taker, err := startConsumer(ctx, consumer, broker.Address(), ledger.Name(), len(rows))
	if err != nil {
		return err
	}
	defer taker.Process.Kill()

	var published atomic.Int64
	show, stopShow := context.WithCancel(ctx)
	defer stopShow()
	producer, err := client.Producer(ctx, queue)
	if err != nil {
		return err
	}
	go watch(show, client, producer, &published, len(rows))

	produced := make(chan error, 1)
	offsets := make([]uint64, len(rows))
	go func() { produced <- produce(ctx, producer, rows, length, offsets, &published) }()

	// The crash: when half of it is out.
	if err := waitFor(ctx, func() bool { return published.Load() >= int64(len(rows)/2) }); err != nil {
		return err
	}
	broker.Kill()
	fmt.Println("demo: broker killed (SIGKILL) and restarted on its data")
	if err := broker.Restart(); err != nil {
		return err
	}
	if err := <-produced; err != nil {
		return err
	}
	if err := taker.Wait(); err != nil {
		return fmt.Errorf("the consumer ended with %w", err)
	}
	stopShow()

	delivered, err := readLedger(ledger.Name(), rows, offsets)
	if err != nil {
		return err
	}
	all, err := replay(ctx, client, rows, offsets, 0)
	if err != nil {
		return err
	}
	middle := uint64(len(rows) / 2)
	half, err := replay(ctx, client, rows, offsets, middle)
	if err != nil {
		return err
	}
	fmt.Printf("demo: replayed again from offset %d: %d records\n", middle, half.distinct)
	if err := broker.Stop(25 * time.Second); err != nil {
		return err
	}
	lost := len(rows) - delivered.distinct + len(rows) - all.distinct + len(rows) - int(middle) - half.distinct
	outOfOrder := delivered.outOfOrder + all.outOfOrder + half.outOfOrder
	fmt.Printf("demo: published %d, delivered %d, replayed %d, lost %d, duplicated %d (redeliveries), out of order %d\n",
		len(rows), delivered.distinct, all.distinct, lost, delivered.repeated, outOfOrder)
	if lost != 0 || outOfOrder != 0 || all.repeated+half.repeated != 0 {
		return errors.New("records are missing, doubled in a replay, or out of order")
	}
	return nil
}

// readTrace returns the rows of both services in order of arrival.
func readTrace(folder string) ([]row, error) {
	var rows []row
	for _, name := range []string{"code.csv", "conv.csv"} {
		f, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		r := csv.NewReader(bufio.NewReader(f))
		for line := 0; ; line++ {
			record, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			if line == 0 {
				continue
			}
			at, err := time.Parse("2006-01-02 15:04:05.9999999", record[0])
			if err != nil {
				return nil, fmt.Errorf("%s line %d: %w", name, line+1, err)
			}
			rows = append(rows, row{at, strings.TrimSuffix(name, ".csv") + "," + strings.Join(record, ",")})
		}
		f.Close()
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].at.Before(rows[j].at) })
	if len(rows) == 0 {
		return nil, errors.New("the trace is empty")
	}
	return rows, nil
}

func startConsumer(ctx context.Context, binary, address, ledger string, count int) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, binary, address, queue, group, ledger, fmt.Sprint(count))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, cmd.Start()
}

// produce publishes each row at its time, scaled to `length`, and waits for every
// confirmation. What the broker's restart broke is sent again by the client.
func produce(ctx context.Context, p *spillway.Producer, rows []row, length time.Duration,
	offsets []uint64, published *atomic.Int64) error {
	span := rows[len(rows)-1].at.Sub(rows[0].at)
	begin := time.Now()
	futures := make([]spillway.Future, 0, len(rows))
	for _, r := range rows {
		due := begin.Add(time.Duration(float64(r.at.Sub(rows[0].at)) / float64(span) * float64(length)))
		if wait := time.Until(due); wait > time.Millisecond {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		f, err := p.PublishAsync(ctx, spillway.Message{Payload: []byte(r.text)})
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		futures = append(futures, f)
		published.Add(1)
	}
	for i, f := range futures {
		offset, err := f.Wait(ctx)
		if err != nil {
			return fmt.Errorf("confirmation of record %d: %w", i, err)
		}
		offsets[i] = offset
	}
	return p.Close(ctx)
}

// watch prints a line a second: credit, window, what spilled and came back, and
// why the producer waits.
func watch(ctx context.Context, c *spillway.Client, p *spillway.Producer, published *atomic.Int64, count int) {
	fmt.Printf("%9s %9s %8s %9s %9s %9s %9s  %s\n",
		"published", "delivered", "backlog", "window", "on disk", "spilled", "drained", "producer")
	var delivered, spilled, drained total
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		q, err := c.Admin().GetQueue(ctx, queue)
		if err != nil {
			if ctx.Err() == nil {
				fmt.Println("          (the broker is away)")
			}
			continue
		}
		state := "has credit"
		if credit, open := p.Credit(); open {
			state = fmt.Sprintf("has credit for %d", credit.Messages)
		}
		if b, blocked := p.Blocked(); blocked {
			state = fmt.Sprintf("waits: %v for %.1f s", b.Reason, time.Since(b.Since).Seconds())
		}
		s := q.Stats
		fmt.Printf("%5.1f %%   %9d %8d %6d KB %6d KB %9d %9d  %s\n",
			100*float64(published.Load())/float64(count), delivered.add(s.DeliveredMessages), s.DepthMessages,
			s.ResidentBytes>>10, s.DiskBytes>>10, spilled.add(s.SpilledMessages),
			drained.add(s.UnspilledMessages), state)
	}
}

// A total goes on when the broker that counts has started again.
type total struct{ before, last uint64 }

func (t *total) add(count uint64) uint64 {
	if count < t.last {
		t.before += t.last
	}
	t.last = count
	return t.before + count
}

func waitFor(ctx context.Context, done func() bool) error {
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// seen counts what arrived, and checks it against what was published.
type seen struct {
	distinct, repeated, outOfOrder int
	next                           uint64
	texts                          map[uint64]bool
}

func (s *seen) add(offset uint64, text string, want map[uint64]string) error {
	if want[offset] != text {
		return fmt.Errorf("offset %d holds %q, published was %q", offset, text, want[offset])
	}
	if s.texts[offset] {
		s.repeated++
		return nil
	}
	s.texts[offset] = true
	s.distinct++
	if offset < s.next {
		s.outOfOrder++
	}
	s.next = offset + 1
	return nil
}

func expected(rows []row, offsets []uint64) map[uint64]string {
	want := make(map[uint64]string, len(rows))
	for i, r := range rows {
		want[offsets[i]] = r.text
	}
	return want
}

// readLedger reads what the consumer wrote: offset, tab, payload.
func readLedger(path string, rows []row, offsets []uint64) (*seen, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &seen{texts: map[uint64]bool{}}
	want := expected(rows, offsets)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		offsetText, text, found := strings.Cut(lines.Text(), "\t")
		var offset uint64
		if _, err := fmt.Sscan(offsetText, &offset); err != nil || !found {
			return nil, fmt.Errorf("the ledger holds %q", lines.Text())
		}
		if err := s.add(offset, text, want); err != nil {
			return nil, fmt.Errorf("delivered: %w", err)
		}
	}
	return s, lines.Err()
}

func replay(ctx context.Context, c *spillway.Client, rows []row, offsets []uint64, from uint64) (*seen, error) {
	s := &seen{texts: map[uint64]bool{}, next: from}
	want := expected(rows, offsets)
	for d, err := range c.Replay(ctx, queue, spillway.FromOffset(from), spillway.UntilTail()) {
		if err != nil {
			return nil, fmt.Errorf("replay from %d: %w", from, err)
		}
		if err := s.add(d.Offset, string(d.Payload), want); err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
	}
	return s, nil
}
