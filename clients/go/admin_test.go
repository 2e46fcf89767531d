package spillway_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
)

func TestAdmin(t *testing.T) {
	_, c, ctx := setup(t)
	a := c.Admin()
	q := must(a.CreateQueue(ctx, "a", spillway.SetOverflow(spillway.Block), spillway.SetRetentionAge(time.Hour)))
	if q.Tuning.Overflow != spillway.Block || q.Tuning.RetentionAge != time.Hour || q.Tuning.MaxAttempts != 5 || q.Tuning.WindowBytes != 64<<20 {
		t.Fatalf("%+v", q.Tuning)
	}
	if _, err := a.CreateQueue(ctx, "a"); !errors.Is(err, spillway.ErrAlreadyExists) {
		t.Fatal(err)
	}
	p := must(c.Producer(ctx, "a"))
	must(p.Publish(ctx, payload("x")))
	q2 := must(a.UpdateQueue(ctx, "a", q.Revision, spillway.SetMaxMessageBytes(2048)))
	if _, err := a.UpdateQueue(ctx, "a", q.Revision, spillway.SetMaxAttempts(9)); !errors.Is(err, spillway.ErrRevisionMismatch) {
		t.Fatal(err)
	}
	eventually(t, "told of the tuning", func() bool { return p.Tuning().MaxMessageBytes == 2048 })
	must(a.CreateQueue(ctx, "b", q2.Tuning.Options()...))
	var names []string
	for q, err := range a.ListQueues(ctx, "") {
		names = append(names, must(q, err).Name)
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Fatal(names)
	}
	if m := must(a.Peek(ctx, "a", spillway.Earliest(), 5)); len(m) != 1 || string(m[0].Payload) != "x" {
		t.Fatal(m)
	}
	must(c.Consumer(ctx, "a", "g", spillway.WithStart(spillway.Latest())))
	if g := must(a.Seek(ctx, "a", "g", spillway.Earliest())); g.CursorOffset != 0 {
		t.Fatal(g)
	}
	kinds := map[string]int{}
	var producer string
	for s, err := range a.ListSessions(ctx, "a") {
		kinds[must(s, err).Kind]++
		if s.Kind == "PRODUCER" {
			producer = s.ID
		}
	}
	if kinds["PRODUCER"] != 1 || kinds["CONSUMER"] != 1 || producer != p.Session() {
		t.Fatal(kinds)
	}
	must(a.Explain(ctx, "a"))
	must(a.ExplainSession(ctx, producer))
	n := 0
	for s, err := range a.Watch(ctx, "", 100*time.Millisecond) {
		if len(must(s, err).Queues) != 2 {
			t.Fatal(s)
		}
		if n++; n == 2 {
			break
		}
	}
	if err := a.CloseSession(ctx, producer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "closed by the operator", func() bool {
		_, err := p.Publish(ctx, payload("x"))
		return errors.Is(err, spillway.ErrClosed)
	})
	if n := must(a.PurgeQueue(ctx, "a")); n == 0 {
		t.Fatal(n)
	}
	if err := a.DeleteGroup(ctx, "a", "g"); err != nil {
		t.Fatal(err)
	}
}
