//go:build e2e

package cli

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReplay(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--retention", "limits")
	c.ok("pub", "q", "a", "b", "c")
	time.Sleep(20 * time.Millisecond) // a break in time, so that a time can be asked for
	c.ok("pub", "q", "d", "e")
	appended := make([]string, 5)
	for i, record := range c.lines("replay", "q") {
		appended[i] = record["appended_at"].(string)
	}
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"all", nil, "abcde"},
		{"earliest", []string{"--from", "earliest", "--until", "tail"}, "abcde"},
		{"from an offset", []string{"--from", "3"}, "de"},
		{"between offsets", []string{"--from", "1", "--until", "3"}, "bc"},
		{"from a time", []string{"--from", appended[3]}, "de"},
		{"until a time", []string{"--until", appended[3]}, "abc"},
		{"from an age", []string{"--from", "-1h"}, "abcde"},
		{"from later than all", []string{"--from", "2100-01-01"}, ""},
		{"the last", []string{"--from", "last:2"}, "de"},
		{"more than there are", []string{"--from", "last:200"}, "abcde"},
		{"so many", []string{"-n", "2"}, "ab"},
		{"at a rate", []string{"--rate", "100"}, "abcde"},
		{"from the tail", []string{"--from", "5"}, ""},
		{"latest", []string{"--from", "latest"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := c.in(t).ok(append([]string{"replay", "q"}, test.args...)...)
			if got := strings.ReplaceAll(out, "\n", ""); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	c.fails(exitOutOfRange, []string{"replay", "q", "--from", "6"}, "OUT_OF_RANGE", "field open.reader.start.offset", "kept are offsets 0 to 4")
	c.fails(exitUsage, []string{"replay", "q", "--from", "yesterday"}, "'yesterday' is not a place to begin")
	c.fails(exitUsage, []string{"replay", "q", "--until", "5x"}, "'5x' is not a place to end")
	c.fails(exitUsage, []string{"replay", "q", "--until", "3", "--follow"}, "--until excludes --follow")
	if groups := c.list("group", "ls", "q"); len(groups) != 0 {
		t.Errorf("a replay left a group: %v", groups)
	}
	r := c.run("", "replay", "q", "--from", "6", "--json")
	if e := parse[object](t, r.err)["error"].(object); e["head_offset"] != 0.0 || e["tail_offset"] != 5.0 {
		t.Errorf("json: %v", e)
	}
}

func TestPeek(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	c.ok("pub", "q", "a", "b", "c\n\x1b[31m")
	if out := c.ok("peek", "q"); out != "a\nb\nc\n\x1b[31m\n" {
		t.Errorf("all: %q", out)
	}
	if out := c.ok("peek", "q", "--from", "last:1", "--format", "full"); !strings.HasPrefix(out, "2  2") || !strings.HasSuffix(out, `  c\n\x1b[31m`+"\n") {
		t.Errorf("full escapes what could drive a terminal: %q", out)
	}
	records := c.lines("peek", "q", "--from", "1", "-n", "1")
	if len(records) != 1 || records[0]["offset"] != 1.0 || records[0]["payload"] != "b" {
		t.Errorf("json: %v", records)
	}
	c.fails(exitOutOfRange, []string{"peek", "q", "--from", "4"}, "OUT_OF_RANGE")
	c.fails(exitUsage, []string{"peek", "q", "-n", "0"}, "--count")
	if r := c.run("", "peek", "q", "--from", "3"); r.code != exitOK || r.err != "nothing is kept from there on\n" {
		t.Errorf("the tail: %+v", r)
	}
	if queue := c.json("queue", "info", "q"); get(queue, "stats", "depth_messages") != 3.0 || get(queue, "stats", "groups") != 0.0 {
		t.Errorf("peeking changed %v", queue)
	}
}

func TestSubscribeSettles(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--retention", "limits", "--backoff-initial", "1ms")
	c.ok("pub", "q", "a", "b", "c", "d")
	if out := c.ok("sub", "q", "-n", "2"); out != "a\nb\n" {
		t.Errorf("first: %q", out)
	}
	// No more than two were sent: the others have used no attempt.
	if group := c.list("group", "ls", "q")[0]; group["retrying_messages"] != 0.0 || group["cursor_offset"] != 2.0 {
		t.Errorf("after two: %v", group)
	}
	// Another group begins where it says, and has a place of its own.
	if out := c.ok("sub", "q", "-n", "1", "-g", "other", "--from", "last:1"); out != "d\n" {
		t.Errorf("another group: %q", out)
	}
	if out := c.ok("sub", "q", "-n", "1", "--settle", "none"); out != "c\n" {
		t.Errorf("without a settle: %q", out)
	}
	records := c.lines("sub", "q", "-n", "2")
	if len(records) != 2 || records[0]["payload"] != "c" || records[0]["attempt"] != 2.0 || records[1]["attempt"] != 1.0 {
		t.Errorf("again: %v", records)
	}
	r := c.run("", "sub", "q", "-n", "1", "--wait", "100ms")
	if r.code != exitTimedOut || r.out != "" || !strings.Contains(r.err, "0 of 1 records came before 100 ms passed") {
		t.Errorf("nothing is left: %+v", r)
	}
	if r := c.run("", "sub", "q", "--wait", "100ms"); r.code != exitOK || r.out != "" || r.err != "" {
		t.Errorf("without a count that is no error: %+v", r)
	}
	c.fails(exitUsage, []string{"sub", "q", "--settle", "eat"}, "--settle")
	c.fails(exitUsage, []string{"sub", "q", "-g", "new", "--from", "x"}, "'x' is not a place to begin")
	c.fails(exitUsage, []string{"sub", "q", "-g", "../x"}, "INVALID_ARGUMENT")
}

func TestParkedRecordsAreReleased(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	c.ok("pub", "q", "a", "b", "c")
	c.ok("sub", "q", "-n", "3", "--settle", "park", "--reason", "bad\x07total")
	if r := c.run("", "sub", "q", "-n", "1", "--wait", "100ms"); r.code != exitTimedOut {
		t.Errorf("parked records came: %+v", r)
	}
	parked := c.list("group", "parked", "q", "cli")
	if len(parked) != 3 || parked[1]["offset"] != 1.0 || parked[1]["reason"] != "bad\atotal" || parked[1]["attempts"] != 1.0 {
		t.Errorf("parked: %v", parked)
	}
	if text := c.ok("group", "parked", "q", "cli", "--from", "2"); !strings.Contains(text, `bad\x07total`) || strings.Count(text, "\n") != 2 {
		t.Errorf("from an offset: %q", text)
	}
	if out := c.ok("group", "release", "q", "cli", "1"); out != "1 record is delivered again\n" {
		t.Errorf("release: %q", out)
	}
	if out := c.ok("sub", "q", "-n", "1"); out != "b\n" {
		t.Errorf("released: %q", out)
	}
	if released := c.json("group", "release", "q", "cli"); released["released_messages"] != 2.0 {
		t.Errorf("the others: %v", released)
	}
	got := strings.Fields(c.ok("sub", "q", "-n", "2"))
	if !reflect.DeepEqual(got, []string{"a", "c"}) {
		t.Errorf("released: %q", got)
	}
	c.fails(exitUsage, []string{"group", "release", "q", "cli", "9-3"}, "'9-3' is not a range of offsets")
	c.fails(exitNotFound, []string{"group", "parked", "q", "none"}, "no group none")
}

func TestGroups(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--retention", "limits")
	if r := c.run("", "group", "ls", "q"); r.code != exitOK || !strings.Contains(r.err, "spillway sub q --group NAME") {
		t.Errorf("no groups: %+v", r)
	}
	c.ok("pub", "q", "a", "b", "c", "d")
	c.ok("sub", "q", "-g", "billing", "-n", "3")
	groups := c.list("group", "ls", "q")
	if len(groups) != 1 || groups[0]["name"] != "billing" || groups[0]["cursor_offset"] != 3.0 || groups[0]["lag_messages"] != 1.0 {
		t.Errorf("groups: %v", groups)
	}
	if text := c.ok("group", "list", "q"); !strings.Contains(text, "billing  SHARED        0       3    1") {
		t.Errorf("table: %q", text)
	}
	if out := c.ok("group", "seek", "q", "billing", "1"); out != "group billing continues at offset 1; 3 to go\n" {
		t.Errorf("seek: %q", out)
	}
	if out := c.ok("sub", "q", "-g", "billing", "-n", "1"); out != "b\n" {
		t.Errorf("after the seek: %q", out)
	}
	if group := c.json("group", "seek", "q", "billing", "-1h"); group["cursor_offset"] != 0.0 {
		t.Errorf("seek to a time: %v", group)
	}
	if group := c.json("group", "seek", "q", "billing", "latest"); group["lag_messages"] != 0.0 {
		t.Errorf("seek to the end: %v", group)
	}
	c.fails(exitOutOfRange, []string{"group", "seek", "q", "billing", "99"}, "OUT_OF_RANGE")
	c.fails(exitNotFound, []string{"group", "seek", "q", "biling", "0"}, "no group biling", "field group")
	c.fails(exitUsage, []string{"group", "rm", "q", "billing"}, "say --yes")
	c.ok("group", "rm", "q", "billing", "--yes")
	c.fails(exitNotFound, []string{"group", "rm", "q", "billing", "--yes"}, "no group billing")
}

func TestAnExclusiveGroupHasOneMember(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	first := c.begin(nil, "sub", "q", "--exclusive")
	c.eventually("the first member is there", func() bool { return len(c.list("sessions", "ls", "q")) == 1 })
	c.fails(exitConflict, []string{"sub", "q"}, "EXCLUSIVE", "spillway sessions ls q")
	first.interrupt()
	if r := first.wait(); r.code != exitOK {
		t.Errorf("Ctrl-C: %+v", r)
	}
}

func TestAGapIsTold(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	c.ok("pub", "q", "a", "b", "c")
	p := c.begin(nil, "sub", "q", "--settle", "none", "--max-in-flight", "1")
	c.says(p, "a\n")
	c.ok("queue", "purge", "q", "--before", "2", "-y")
	c.eventually("the gap is told", func() bool { return p.err.String() != "" })
	p.interrupt()
	// The first one is in hand; it may still be settled.
	if r := p.wait(); r.code != exitOK || r.err != "spillway: offsets 1 to 1 are gone (PURGED)\n" {
		t.Errorf("%+v", r)
	}
}
