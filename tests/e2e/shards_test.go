//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// Queues are spread over shards by name; each start may have another number of them.
func TestAnyNumberOfShardsFindsTheQueues(t *testing.T) {
	t.Setenv("SPILLWAY_SHARDS", "3")
	broker, client, ctx := start(t)
	const queues, records = 12, 20
	name := func(i int) string { return fmt.Sprintf("q%02d", i) }
	for i := range queues {
		create(t, ctx, client, name(i))
	}
	for round, shards := range []string{"3", "1", "2", "3"} {
		if round > 0 {
			t.Setenv("SPILLWAY_SHARDS", shards)
			if err := broker.Stop(25 * time.Second); err != nil {
				t.Fatalf("SIGTERM: %v", err)
			}
			if err := broker.Restart(); err != nil {
				t.Fatal(err)
			}
			client = dial(t, ctx, broker)
		}
		for i := range queues {
			p := producer(t, ctx, client, name(i))
			publish(t, ctx, p, round*records, records)
			if err := p.Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for i := range queues {
			n := consumer(t, ctx, client, name(i), "g")
			receive(t, ctx, n, round*records, records)
			if err := n.Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
}
