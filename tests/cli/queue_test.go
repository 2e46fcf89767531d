//go:build e2e

package cli

import (
	"fmt"
	"strings"
	"testing"
)

func TestQueueIsCreatedWithEveryTunable(t *testing.T) {
	c := start(t)
	tunables := []struct {
		flag, text, name string
		value            any
	}{
		{"--window-messages", "1,000", "window_messages", 1000.0},
		{"--window-bytes", "32MiB", "window_bytes", 33554432.0},
		{"--max-message-bytes", "1MB", "max_message_bytes", 1e6},
		{"--durability", "persisted", "durability", "PERSISTED"},
		{"--overflow", "drop-oldest", "overflow", "DROP_OLDEST"},
		{"--disk-quota-bytes", "1.5GiB", "disk_quota_bytes", 1610612736.0},
		{"--retention", "LIMITS", "retention", "LIMITS"},
		{"--retention-age", "7d", "retention_age_ms", 604800000.0},
		{"--retention-bytes", "2GiB", "retention_bytes", 2147483648.0},
		{"--ack-deadline", "1m30s", "ack_deadline_ms", 90000.0},
		{"--max-attempts", "7", "max_attempts", 7.0},
		{"--backoff-initial", "50ms", "backoff_initial_ms", 50.0},
		{"--backoff-max", "2m", "backoff_max_ms", 120000.0},
		{"--max-in-flight-messages", "500", "max_in_flight_messages", 500.0},
		{"--max-in-flight-bytes", "8MiB", "max_in_flight_bytes", 8388608.0},
	}
	args := []string{"queue", "create", "orders"}
	for _, tunable := range tunables {
		args = append(args, tunable.flag, tunable.text)
	}
	if out := c.ok(args...); !strings.Contains(out, "queue orders created: PERSISTED, window 32 MiB") {
		t.Errorf("created: %q", out)
	}
	queue := c.json("queue", "info", "orders")
	if got := len(queue["tuning"].(object)); got != len(tunables) {
		t.Errorf("%d tunables, and %d are tested here", got, len(tunables))
	}
	text := c.ok("queue", "info", "orders")
	for _, tunable := range tunables {
		if got := get(queue, "tuning", tunable.name); got != tunable.value {
			t.Errorf("%s %s: %v, want %v", tunable.flag, tunable.text, got, tunable.value)
		}
		if !strings.Contains(text, tunable.flag) {
			t.Errorf("queue info does not name %s", tunable.flag)
		}
	}
	if queue["revision"] != 1.0 || queue["name"] != "orders" {
		t.Errorf("%v", queue)
	}
}

func TestQueueCreationIsRefusedClearly(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "orders")
	c.fails(exitConflict, []string{"queue", "create", "orders"}, "ALREADY_EXISTS", "field name")
	c.ok("queue", "create", "orders", "--exists-ok")
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"../etc"}, "a queue's name is"},
		{[]string{"q", "--window-bytes", "12x"}, "'12x' is not a size"},
		{[]string{"q", "--window-bytes", "1"}, "may be 1 KiB to 1 TiB, not 1 B"},
		{[]string{"q", "--window-bytes", "1"}, "(field tuning.window_bytes; limit 1,024; actual 1)"},
		{[]string{"q", "--durability", "persistd"}, "did you mean 'PERSISTED'?"},
		{[]string{"q", "--retention-age", "5"}, "'5' is not a duration"},
		{[]string{"q", "--max-attempts", "many"}, "'many' is not a whole number"},
		{[]string{"q", "--windw-bytes", "1MiB"}, "did you mean '--window-bytes'?"},
		// A relation that only the broker knows.
		{[]string{"q", "--window-bytes", "1MiB", "--max-message-bytes", "2MiB"}, "tuning.max_message_bytes"},
	} {
		c.fails(exitUsage, append([]string{"queue", "create"}, test.args...), "INVALID_ARGUMENT", test.says)
	}
	if queues := c.list("queue", "ls"); len(queues) != 1 {
		t.Errorf("a refused creation left something: %v", queues)
	}
}

func TestQueueList(t *testing.T) {
	c := start(t)
	if r := c.run("", "queue", "ls"); r.code != exitOK || r.out != "" || !strings.Contains(r.err, "spillway queue create NAME") {
		t.Errorf("no queues: %+v", r)
	}
	if out := c.ok("queue", "ls", "--json"); out != "[]\n" {
		t.Errorf("no queues: %q", out)
	}
	for _, name := range []string{"orders.eu", "orders.us", "audit"} {
		c.ok("queue", "create", name)
	}
	c.ok("pub", "audit", "a", "b")
	if out := c.ok("queue", "ls", "--quiet"); out != "audit\norders.eu\norders.us\n" {
		t.Errorf("names: %q", out)
	}
	if out := c.ok("queue", "list", "orders.", "-q"); out != "orders.eu\norders.us\n" {
		t.Errorf("of a prefix: %q", out)
	}
	table := strings.Split(c.ok("queue", "ls"), "\n")
	if !strings.HasPrefix(table[0], "NAME") || !strings.HasPrefix(table[1], "audit          2") {
		t.Errorf("table: %q", table)
	}
	if queues := c.list("queue", "ls", "audit"); len(queues) != 1 || get(queues[0], "stats", "depth_messages") != 2.0 {
		t.Errorf("json: %v", queues)
	}
}

// More queues than a page of ListQueues holds.
func TestQueueListGoesOnOverPages(t *testing.T) {
	c := start(t)
	client, ctx := c.client()
	const count = 1100
	for i := range count {
		if _, err := client.Admin().CreateQueue(ctx, fmt.Sprintf("q%04d", i)); err != nil {
			t.Fatal(err)
		}
	}
	names := strings.Fields(c.ok("queue", "ls", "-q"))
	if len(names) != count || names[count-1] != "q1099" {
		t.Errorf("%d names", len(names))
	}
}

func TestTuningChangesWithARevision(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--window-bytes", "16MiB")
	out := c.ok("queue", "edit", "q", "--window-bytes", "32MiB", "--overflow", "block", "--dry-run")
	if !strings.Contains(out, "would change") || !strings.Contains(out, "window_bytes  16 MiB  32 MiB") {
		t.Errorf("dry run: %q", out)
	}
	if queue := c.json("queue", "info", "q"); queue["revision"] != 1.0 || get(queue, "tuning", "overflow") != "SPILL" {
		t.Errorf("a dry run changed %v", queue)
	}
	out = c.ok("queue", "edit", "q", "--window-bytes", "32MiB", "--revision", "1")
	if !strings.Contains(out, "queue q is at revision 2") || !strings.Contains(out, "window_bytes  16 MiB  32 MiB") {
		t.Errorf("edit: %q", out)
	}
	for _, extra := range [][]string{nil, {"--dry-run"}} {
		c.fails(exitConflict, append([]string{"queue", "update", "q", "--max-attempts", "3", "--revision", "1"}, extra...),
			"REVISION_MISMATCH", "at revision 2", "expected_revision", "spillway queue info q")
	}
	queue := c.json("queue", "edit", "q", "--max-attempts", "3")
	if queue["revision"] != 3.0 || get(queue, "tuning", "max_attempts") != 3.0 || get(queue, "tuning", "window_bytes") != 33554432.0 {
		t.Errorf("edit: %v", queue)
	}
	c.fails(exitUsage, []string{"queue", "edit", "q"}, "nothing to change")
	c.fails(exitNotFound, []string{"queue", "edit", "typo", "--max-attempts", "3"}, "NOT_FOUND")
}

func TestQueuePurgeAndDelete(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	c.ok("pub", "q", "x", "--count", "10")
	// What cannot be taken back needs a word, which a script must give.
	for _, args := range [][]string{{"queue", "purge", "q"}, {"queue", "rm", "q"}} {
		c.fails(exitUsage, args, "say --yes")
	}
	if out := c.ok("queue", "purge", "q", "--before", "4", "--yes"); out != "4 records removed; the queue begins at offset 4\n" {
		t.Errorf("purge: %q", out)
	}
	c.fails(exitOutOfRange, []string{"queue", "purge", "q", "--before", "99", "-y"}, "OUT_OF_RANGE", "kept are offsets 4 to 9")
	if purged := c.json("queue", "purge", "q", "-y"); purged["purged_messages"] != 6.0 || purged["head_offset"] != 10.0 {
		t.Errorf("purge: %v", purged)
	}
	c.fails(exitOutOfRange, []string{"replay", "q", "--from", "3"}, "nothing is kept; the next record gets offset 10")
	c.fails(exitConflict, []string{"queue", "rm", "q", "-y", "--revision", "9"}, "REVISION_MISMATCH")
	if out := c.ok("queue", "delete", "q", "-y"); out != "queue q deleted\n" {
		t.Errorf("delete: %q", out)
	}
	c.fails(exitNotFound, []string{"queue", "rm", "q", "-y"}, "NOT_FOUND")
}

func TestAMissingQueueIsSuggested(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "orders")
	for _, args := range [][]string{
		{"queue", "info", "ordres"}, {"pub", "ordres", "x"}, {"sub", "ordres"}, {"replay", "ordres"},
		{"peek", "ordres"}, {"explain", "ordres"}, {"group", "ls", "ordres"}, {"top", "ordres"},
		{"bench", "pub", "ordres"}, {"queue", "purge", "ordres", "-y"},
	} {
		c.fails(exitNotFound, args, "NOT_FOUND", "did you mean 'orders'?", "spillway queue create ordres")
	}
	r := c.run("", "queue", "info", "ordres", "--json")
	e := parse[object](t, r.err)["error"].(object)
	if r.code != exitNotFound || e["kind"] != "NOT_FOUND" || e["queue"] != "ordres" || e["exit_code"] != 3.0 ||
		!strings.Contains(e["hint"].(string), "'orders'") {
		t.Errorf("%+v", r)
	}
}
