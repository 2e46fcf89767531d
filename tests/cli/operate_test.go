//go:build e2e

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A producer that waits: explain says why, check warns, sessions shows it, and a
// consumer ends it.
func TestAStalledProducerIsExplained(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--overflow", "block", "--window-messages", "5")
	if out := c.ok("explain", "q"); !strings.HasPrefix(out, "nothing waits\n") || !strings.Contains(out, "window_messages 5") {
		t.Errorf("before: %q", out)
	}
	p := c.begin(nil, "pub", "q", "x", "-n", "20", "--producer-id", "importer")
	c.eventually("the producer waits", func() bool { return len(c.json("explain", "q")["stalls"].([]any)) == 1 })
	stall := c.json("explain", "q")["stalls"].([]any)[0].(object)
	if stall["subject"] != "producer importer" || stall["reason"] != "WINDOW_FULL" ||
		!strings.Contains(stall["ends_when"].(string), "consumers settle") || get(stall, "numbers", "waiting_messages") != 1.0 {
		t.Errorf("the stall: %v", stall)
	}
	text := c.ok("explain", "q", "--numbers")
	for _, want := range []string{"producer importer waits: WINDOW_FULL for ", "\n  ends when: consumers settle", "depth_messages 5"} {
		if !strings.Contains(text, want) {
			t.Errorf("explain: %q, without %q", text, want)
		}
	}
	sessions := c.list("sessions", "ls", "q")
	if len(sessions) != 1 || sessions[0]["kind"] != "PRODUCER" || sessions[0]["name"] != "importer" {
		t.Fatalf("sessions: %v", sessions)
	}
	id := sessions[0]["id"].(string)
	if text := c.ok("explain", id); !strings.Contains(text, "WINDOW_FULL") {
		t.Errorf("explain of the session: %q", text)
	}
	if text := c.ok("queue", "info", "q"); !strings.Contains(text, "producers wait  WINDOW_FULL") {
		t.Errorf("info: %q", text)
	}
	if r := c.run("", "check", "--warn-blocked", "1ms"); r.code != 1 || !strings.HasPrefix(r.out, "SPILLWAY WARNING - q producers wait (WINDOW_FULL) for ") {
		t.Errorf("check: %+v", r)
	}
	if r := c.run("", "check", "--crit-blocked", "1ms"); r.code != 2 {
		t.Errorf("check: %+v", r)
	}
	c.ok("sub", "q", "-n", "20")
	if r := p.wait(); r.code != exitOK || !strings.HasPrefix(r.out, "20 records, offsets 0 to 19 (SYNCED)") {
		t.Errorf("pub: %+v", r)
	}
	c.fails(exitNotFound, []string{"explain", "--session", "s-none"}, "NOT_FOUND", "no such session")
}

func TestSessionsAreListedAndClosed(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	if r := c.run("", "sessions", "ls"); r.code != exitOK || r.err != "no sessions\n" {
		t.Errorf("none: %+v", r)
	}
	p := c.begin(nil, "sub", "q", "-g", "billing")
	c.eventually("the consumer is there", func() bool { return len(c.list("sessions", "ls")) == 1 })
	session := c.list("sessions", "ls", "q")[0]
	id := session["id"].(string)
	if session["kind"] != "CONSUMER" || session["name"] != "billing" || !strings.Contains(c.ok("sessions", "list"), id) {
		t.Errorf("%v", session)
	}
	c.fails(exitNotFound, []string{"sessions", "close", "s-none"}, "NOT_FOUND", "no such session")
	if out := c.ok("sessions", "close", id); out != "session "+id+" closed\n" {
		t.Errorf("close: %q", out)
	}
	if r := p.wait(); r.code != exitFailed || !strings.Contains(r.err, "CLOSED") {
		t.Errorf("the closed one: %+v", r)
	}
	c.eventually("it is gone", func() bool { return len(c.list("sessions", "ls")) == 0 })
}

func TestCheckFollowsMonitoringPlugins(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	c.ok("queue", "create", "idle")
	c.ok("pub", "q", "x", "-n", "10")
	for _, test := range []struct {
		args []string
		code int
		out  string
	}{
		{nil, 0, "SPILLWAY OK - 2 queues, up "},
		{[]string{"q", "--warn-depth", "11"}, 0, "SPILLWAY OK - 1 queue, up"},
		{[]string{"--warn-depth", "10"}, 1, "SPILLWAY WARNING - q depth 10 (limit 10)\n"},
		{[]string{"--warn-depth", "5", "--crit-depth", "10"}, 2, "SPILLWAY CRITICAL - q depth 10 (limit 10)\n"},
		{[]string{"idle", "--crit-depth", "1"}, 0, "SPILLWAY OK"},
		{[]string{"--warn-age", "1ms"}, 1, "SPILLWAY WARNING - q oldest record "},
		{[]string{"--crit-age", "1ms"}, 2, "SPILLWAY CRITICAL - q oldest record "},
		{[]string{"none"}, 3, "SPILLWAY UNKNOWN - NOT_FOUND"},
		{[]string{"--address", "127.0.0.1:1"}, 2, "SPILLWAY CRITICAL - UNAVAILABLE: no broker answers at 127.0.0.1:1"},
	} {
		r := c.run("", append([]string{"check"}, test.args...)...)
		if r.code != test.code || !strings.HasPrefix(r.out, test.out) || r.err != "" {
			t.Errorf("check %q: %+v", test.args, r)
		}
	}
	// A wrong command line is UNKNOWN, too: 2 would be CRITICAL.
	for _, args := range [][]string{{"--warn-depth", "x"}, {"--warn-dept", "1"}, {"--timeout", "5"}} {
		c.fails(3, append([]string{"check"}, args...), "INVALID_ARGUMENT")
	}
	r := c.run("", "check", "--json", "--warn-depth", "1")
	verdict := parse[object](t, r.out)
	if r.code != 1 || verdict["level"] != "WARNING" || len(verdict["findings"].([]any)) != 1 {
		t.Errorf("json: %+v", r)
	}
}

func TestTopPiped(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "a")
	c.ok("queue", "create", "b")
	c.ok("pub", "a", "x", "-n", "3")
	lines := strings.Split(strings.TrimSpace(c.ok("top", "-n", "2", "--interval", "100ms")), "\n")
	if len(lines) != 4 || !strings.Contains(lines[2], " a in/s=0 out/s=0 settled/s=0 depth=3 ") || strings.Contains(lines[0], "\x1b") {
		t.Errorf("lines: %q", lines)
	}
	snapshots := c.lines("top", "b", "-n", "2", "--interval", "100ms")
	if len(snapshots) != 2 || len(snapshots[0]["queues"].([]any)) != 1 {
		t.Fatalf("json: %v", snapshots)
	}
	broker := snapshots[1]["broker"].(object)
	version := c.json("version")
	if broker["version"] != version["version"] || broker["connections"].(float64) < 1 || broker["memory_budget_bytes"].(float64) == 0 {
		t.Errorf("broker: %v", broker)
	}
	c.fails(exitUsage, []string{"top", "--interval", "1ms"}, "interval_ms must be 100 to 60000", "field interval_ms")
}

// Monitoring runs check for years: the broker must be as it was afterwards.
func TestCommandsLeaveNothingBehind(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--retention", "limits")
	sockets := func() int {
		folder := fmt.Sprintf("/proc/%d/fd", c.broker.PID())
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, entry := range entries {
			if to, _ := os.Readlink(filepath.Join(folder, entry.Name())); strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		return n
	}
	c.eventually("the creation's connection is closed", func() bool { return sockets() <= 2 })
	for range 5 {
		c.ok("check")
		c.ok("top", "-n", "1")
		c.ok("pub", "q", "x")
		c.ok("sub", "q", "-n", "1")
		c.ok("replay", "q")
		c.ok("explain", "q")
	}
	// The two that listen are left.
	c.eventually("every connection is closed", func() bool { return sockets() <= 2 })
}

func TestBench(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--durability", "memory")
	if pub := c.json("bench", "pub", "q", "-n", "1000", "--batch", "50", "--size", "1KiB"); pub["records"] != 1000.0 ||
		get(pub, "confirm", "count") != 20.0 || get(pub, "confirm", "p50_us").(float64) <= 0 {
		t.Errorf("pub: %v", pub)
	}
	if depth := get(c.json("queue", "info", "q"), "stats", "depth_messages"); depth != 1000.0 {
		t.Errorf("%v records are there", depth)
	}
	if sub := c.json("bench", "sub", "q", "-n", "1000"); sub["records"] != 1000.0 {
		t.Errorf("sub: %v", sub)
	}
	// Nothing is left: it ends by itself.
	c.fails(exitTimedOut, []string{"bench", "sub", "q", "--timeout", "200ms"}, "no record came")
	c.ok("pub", "q", "x", "-n", "10")
	if sub := c.json("bench", "sub", "q", "--duration", "200ms"); sub["records"] != 10.0 {
		t.Errorf("sub of few: %v", sub)
	}
	both := c.json("bench", "e2e", "q", "--duration", "500ms")
	if get(both, "published", "records").(float64) < 1 || get(both, "received", "records").(float64) < 1 {
		t.Errorf("e2e: %v", both)
	}
	latency := c.json("bench", "latency", "q", "--duration", "300ms", "--rate", "500")
	if latency["sent"].(float64) < 100 || get(latency, "delivery", "count") != latency["sent"] {
		t.Errorf("latency: %v", latency)
	}
	if text := c.ok("bench", "pub", "q", "-n", "100"); !strings.Contains(text, "published  100 records") || !strings.Contains(text, "confirmed in  p50 ") {
		t.Errorf("text: %q", text)
	}
	// A queue that refuses shows in the result.
	c.ok("queue", "create", "small", "--overflow", "reject", "--window-messages", "10")
	r := c.run("", "bench", "pub", "small", "-n", "100", "--batch", "10")
	if r.code != exitFull || !strings.Contains(r.err, "QUEUE_FULL") {
		t.Errorf("a full queue: %+v", r)
	}
	c.fails(exitUsage, []string{"bench", "pub", "q", "--batch", "0"}, "--batch")
	c.fails(exitUsage, []string{"bench", "pub", "q", "--duration", "5"}, "'5' is not a duration")
}
