//go:build e2e

package cli

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Any bytes come out as they went in: through replay, sub and JSON.
func TestBytesGoRound(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--retention", "limits")
	large := make([]byte, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range large {
		large[i] = byte(random.Uint32())
	}
	payloads := [][]byte{{}, []byte("text"), []byte("two\nlines\n"), {0, 0xff, '\n', 0, '\r'}, []byte("zażółć 🌊"), large}
	for i, payload := range payloads {
		if out := c.ok("pub", "q", "--file", file(t, payload)); out != fmt.Sprintf("offset %d (SYNCED)\n", i) {
			t.Errorf("pub: %q", out)
		}
	}
	if out := c.okWith(string(payloads[3]), "pub", "q", "-f", "-"); out != "offset 6 (SYNCED)\n" {
		t.Errorf("pub of stdin: %q", out)
	}
	payloads = append(payloads, payloads[3])
	for i, payload := range payloads {
		offset := fmt.Sprint(i)
		if out := c.ok("replay", "q", "--from", offset, "-n", "1", "--format", "raw"); out != string(payload) {
			t.Errorf("replay of %d: %d bytes, want %d", i, len(out), len(payload))
		}
		if out := c.ok("replay", "q", "--from", offset, "-n", "1"); out != string(payload)+"\n" {
			t.Errorf("replay of %d as a line: %d bytes", i, len(out))
		}
	}
	if out := c.ok("sub", "q", "-n", fmt.Sprint(len(payloads)), "--format", "raw"); out != string(bytes.Join(payloads, nil)) {
		t.Errorf("sub: %d bytes", len(out))
	}
	for i, record := range c.lines("replay", "q") {
		got, isText := record["payload"].(string)
		if !isText {
			decoded, err := base64.StdEncoding.DecodeString(record["payload_base64"].(string))
			if err != nil {
				t.Fatal(err)
			}
			got = string(decoded)
		}
		if got != string(payloads[i]) || record["offset"] != float64(i) {
			t.Errorf("record %d: %d bytes", i, len(got))
		}
	}
}

func TestPublishWhatIsGiven(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	want := []string{}
	check := func(what, out, says string, more ...string) {
		t.Helper()
		want = append(want, more...)
		if !strings.Contains(out, says) {
			t.Errorf("%s: %q, without %q", what, out, says)
		}
	}
	check("a message", c.ok("pub", "q", "hello"), "offset 0 (SYNCED)\n", "hello")
	check("messages", c.ok("pub", "q", "a", "", "-5"), "3 records, offsets 1 to 3 (SYNCED)", "a", "", "-5")
	check("repeated", c.ok("pub", "q", "x", "y", "--count", "2"), "4 records", "x", "y", "x", "y")
	check("lines", c.okWith("l1\n\nl3", "pub", "q"), "3 records, offsets 8 to 10", "l1", "", "l3")
	check("lines of a file", c.ok("pub", "q", "--lines", "-f", file(t, []byte("f1\nf2\n"))), "2 records", "f1", "f2")
	check("a repeated file", c.ok("pub", "q", "-n", "2", "-f", file(t, []byte("f1\nf2\n"))), "2 records", "f1\nf2\n", "f1\nf2\n")
	check("after --", c.ok("pub", "q", "--", "--odd"), "offset 15", "--odd")
	r := c.run("", "pub", "q")
	if r.code != exitOK || r.out != "" || r.err != "nothing was published\n" {
		t.Errorf("nothing: %+v", r)
	}
	report := c.json("pub", "q", "j", "-n", "100")
	for range 100 {
		want = append(want, "j")
	}
	if report["confirmed"] != 100.0 || report["failed"] != 0.0 || report["first_offset"] != 16.0 ||
		report["last_offset"] != 115.0 || report["durability"] != "SYNCED" {
		t.Errorf("json: %v", report)
	}
	if got := c.payloads("q"); !reflect.DeepEqual(got, want) {
		t.Errorf("the queue holds %q, want %q", got, want)
	}
}

func TestKeysAndHeaders(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	c.ok("pub", "q", "one", "two", "--key", "k\xff", "-H", "trace=4bf9", "-H", "empty=", "--header", "trace=a=b")
	for _, d := range c.kept("q") {
		var headers []string
		for _, h := range d.Headers {
			headers = append(headers, h.Name+"="+string(h.Value))
		}
		if string(d.Key) != "k\xff" || !reflect.DeepEqual(headers, []string{"trace=4bf9", "empty=", "trace=a=b"}) {
			t.Errorf("key %q, headers %q", d.Key, headers)
		}
	}
	full := c.ok("peek", "q", "-n", "1", "--format", "full")
	if !strings.Contains(full, `  k\xff  trace=4bf9  empty=  trace=a=b  one`) {
		t.Errorf("full: %q", full)
	}
	for _, header := range []string{"odd", "=x"} {
		c.fails(exitUsage, []string{"pub", "q", "x", "-H", header}, "is not a header; write name=value")
	}
}

// A queue is carried to another with keys, headers and bytes.
func TestJSONLinesCarryRecords(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "from")
	c.ok("queue", "create", "to")
	c.ok("pub", "from", "text", "-k", "key", "-H", "a=1", "-H", "b=\xfe")
	c.ok("pub", "from", "-f", file(t, []byte{0, 1, 0xff, '\n'}))
	c.ok("pub", "from", "")
	c.okWith(c.ok("replay", "from", "--json"), "pub", "to", "--json-lines", "--key", "default")
	from, to := c.kept("from"), c.kept("to")
	if len(to) != len(from) {
		t.Fatalf("%d of %d records", len(to), len(from))
	}
	for i := range from {
		key := from[i].Key
		if len(key) == 0 {
			key = []byte("default")
		}
		if !bytes.Equal(from[i].Payload, to[i].Payload) || !bytes.Equal(key, to[i].Key) ||
			!reflect.DeepEqual(from[i].Headers, to[i].Headers) {
			t.Errorf("record %d: %v, want %v", i, to[i], from[i])
		}
	}
	// What came before a broken line is published; it and what follows are not.
	r := c.run("{\"payload\": \"good\"}\n{\"paylod\": \"typo\"}\n{\"payload\": \"late\"}\n", "pub", "to", "--json-lines")
	if r.code != exitUsage || !strings.Contains(r.err, "line 2: a record has no 'paylod'; did you mean 'payload'?") ||
		!strings.Contains(r.out, "offset 3") {
		t.Errorf("a broken line: %+v", r)
	}
	if got := c.payloads("to"); len(got) != 4 || got[3] != "good" {
		t.Errorf("%q", got)
	}
}

func TestPublishingIsRefusedClearly(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q", "--max-message-bytes", "1KiB")
	c.ok("queue", "create", "small", "--overflow", "reject", "--window-messages", "3")
	c.ok("queue", "create", "blocked", "--overflow", "block", "--window-messages", "3")
	c.fails(exitUsage, []string{"pub", "q", strings.Repeat("x", 2000)},
		"TOO_LARGE", "max_message_bytes", "limit 1,024", "actual 2,003")
	c.fails(exitUsage, []string{"pub", "q", "-f", "/no/such/file"}, "cannot read /no/such/file: No such file")
	c.fails(exitUsage, []string{"pub", "q", "-f", "/"}, "cannot read /: Is a directory")
	c.fails(exitUsage, []string{"pub", "q", "x", "-f", "/etc/hostname"}, "not both")
	c.fails(exitUsage, []string{"pub", "q", "-n", "2"}, "--count repeats messages or a file")
	c.fails(exitUsage, []string{"pub", "q", "x", "-n", "0"}, "--count: must be 1 or more")
	c.fails(exitUsage, []string{"pub", "q", "x", "--rate", "0"}, "--rate: must be above 0")
	c.fails(exitNotFound, []string{"pub", "none", "x"}, "NOT_FOUND", "spillway queue create none")

	r := c.run("", "pub", "small", "x", "-n", "10")
	if r.code != exitFull || !strings.Contains(r.err, "QUEUE_FULL") || !strings.Contains(r.err, "spillway explain small") ||
		!strings.Contains(r.out, "3 records, offsets 0 to 2") {
		t.Errorf("a full queue: %+v", r)
	}
	r = c.run("", "pub", "blocked", "x", "-n", "10", "--timeout", "300ms", "--json")
	e := parse[object](t, r.err)["error"].(object)
	if r.code != exitTimedOut || e["kind"] != "TIMED_OUT" || !strings.Contains(e["message"].(string), "WINDOW_FULL") ||
		!strings.Contains(e["hint"].(string), "spillway explain blocked") ||
		parse[object](t, r.out)["confirmed"] != 3.0 {
		t.Errorf("a blocked queue: %+v", r)
	}
	if got := len(c.payloads("q")) + len(c.payloads("small")) + len(c.payloads("blocked")); got != 6 {
		t.Errorf("%d records are kept, want 6", got)
	}
}

func TestPublishCreatesWhenAsked(t *testing.T) {
	c := start(t)
	for range 2 {
		c.ok("pub", "new", "hello", "--create")
	}
	if got := c.payloads("new"); !reflect.DeepEqual(got, []string{"hello", "hello"}) {
		t.Errorf("%q", got)
	}
}

// The same producer id goes on where it was; no record is taken twice or lost.
func TestProducerIDNamesTheProducer(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	c.ok("pub", "q", "a", "--producer-id", "importer")
	c.ok("pub", "q", "b", "--producer-id", "importer")
	if got := c.payloads("q"); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
}

func TestRateIsKept(t *testing.T) {
	c := start(t)
	c.ok("queue", "create", "q")
	report := c.json("pub", "q", "x", "-n", "21", "--rate", "100")
	if report["confirmed"] != 21.0 || report["seconds"].(float64) < 0.2 {
		t.Errorf("21 records at 100/s: %v", report)
	}
}
