package spillway_test

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	spillway "spillway.dev/clients/go"
	pb "spillway.dev/clients/go/spillwaypb"
)

// returned are the totals that producers have said they gave back.
func returned(sent *frames[*pb.PublishRequest]) (out []spillway.Credit) {
	for _, m := range sent.list() {
		if r := m.GetDemand().GetReturned(); r != nil {
			out = append(out, spillway.Credit{Messages: r.GetMessages(), Bytes: r.GetBytes()})
		}
	}
	return out
}

// An idle producer gives back what others wait for; else they would starve.
func TestGivesBackWhatOthersWaitFor(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	b.GrantExactly("q", spillway.Credit{Messages: 10, Bytes: 1000})
	sent := record[*pb.PublishRequest](b)
	p := must(c.Producer(ctx, "q"))
	must(p.Publish(ctx, spillway.Message{Payload: make([]byte, 98)}))
	gives := func(want ...spillway.Credit) {
		t.Helper()
		b.WithholdCredit("q", true, spillway.ReasonFairShare)
		eventually(t, "credit to be given back", func() bool { return len(returned(sent)) >= len(want) })
		b.WithholdCredit("q", false, 0)
		if got := returned(sent); !slices.Equal(got, want) {
			t.Fatalf("gave back %v, not %v", got, want)
		}
	}
	gives(spillway.Credit{Messages: 9, Bytes: 900})
	if have, ok := p.Credit(); !ok || have != (spillway.Credit{}) {
		t.Fatal("keeps what it has given back:", have, ok)
	}
	if _, err := p.TryPublish(payload("")); err == nil {
		t.Fatal("sent with credit that it had given back")
	}

	// A grant that crossed the return on the wire means the same to both.
	b.GrantExactly("q", spillway.Credit{Messages: 12, Bytes: 1200})
	eventually(t, "credit", func() bool {
		have, _ := p.Credit()
		return have == spillway.Credit{Messages: 2, Bytes: 200}
	})
	must(p.Publish(ctx, spillway.Message{Payload: make([]byte, 98)}))

	// What waits and does not fit leaves the rest unused: that goes back, too. The
	// total is stated from then on with every demand.
	done := make(chan error, 1)
	go func() {
		_, err := p.Publish(ctx, spillway.Message{Payload: make([]byte, 248)})
		done <- err
	}()
	eventually(t, "a demand", func() bool { return len(returned(sent)) == 2 })
	gives(spillway.Credit{Messages: 9, Bytes: 900}, spillway.Credit{Messages: 9, Bytes: 900},
		spillway.Credit{Messages: 10, Bytes: 1000})
	b.GrantByWindow("q")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A producer gets a quarter of what is free, so that the next one finds some.
func TestTheFakeSharesItsWindow(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q", spillway.SetWindowMessages(100), spillway.SetOverflow(spillway.Block))
	for _, want := range []uint64{25, 19, 14} {
		p := must(c.Producer(ctx, "q"))
		eventually(t, "credit", func() bool { have, _ := p.Credit(); return have.Messages == want })
	}
}

// The limit of headers is one of encoded bytes: names and values with their tags
// and lengths.
func TestHeadersAreMeasuredAsTheBrokerDoes(t *testing.T) {
	b, c, ctx := setup(t)
	b.MustCreateQueue("q")
	p := must(c.Producer(ctx, "q"))
	headers := func(bytes int) spillway.Message {
		m := spillway.Message{}
		for range 2 { // a tag and a length for name and value, and the name
			m.Headers = append(m.Headers, spillway.Header{Name: "n", Value: make([]byte, bytes/2-6)})
		}
		encoded := 0
		for _, h := range m.Headers {
			encoded += proto.Size(&pb.Header{Name: h.Name, Value: h.Value})
		}
		if encoded != bytes {
			t.Fatalf("%d bytes of headers, not %d", encoded, bytes)
		}
		return m
	}
	_, err := p.Publish(ctx, headers(16<<10+2))
	var e *spillway.Error
	if !errors.Is(err, spillway.ErrTooLarge) || !errors.As(err, &e) || e.Field != "headers" || e.Limit != 16<<10 || e.Actual != 16<<10+2 {
		t.Fatal(err)
	}
	must(p.Publish(ctx, headers(16<<10)))
}
