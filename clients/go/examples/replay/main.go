// Command replay repairs what a bug has spoilt: it reads the records of the last
// hour again without disturbing anybody, and then sends the group back to where it
// went wrong.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	spillway "spillway.dev/clients/go"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	client, err := spillway.Dial(ctx, "")
	if err != nil {
		return err
	}
	defer client.Close(ctx)
	// Retention by limits keeps what was settled, so that it can be read again.
	_, err = client.Admin().CreateQueue(ctx, "payments",
		spillway.SetRetention(spillway.Limits), spillway.SetRetentionAge(24*time.Hour))
	if err != nil && !errors.Is(err, spillway.ErrAlreadyExists) {
		return err
	}
	producer, err := client.Producer(ctx, "payments")
	if err != nil {
		return err
	}
	for i := range 5 {
		if _, err := producer.PublishAsync(ctx, spillway.Message{Payload: fmt.Appendf(nil, "payment %d", i)}); err != nil {
			return err
		}
	}
	if err := producer.Flush(ctx); err != nil {
		return err
	}

	var wrong uint64
	found := false
	for d, err := range client.Replay(ctx, "payments", spillway.FromTime(time.Now().Add(-time.Hour)), spillway.UntilTail(), spillway.Rate(1000)) {
		if err != nil {
			return err
		}
		if !found && bytes.HasSuffix(d.Payload, []byte("3")) {
			wrong, found = d.Offset, true
		}
	}
	fmt.Println("the first bad payment is at offset", wrong)

	consumer, err := client.Consumer(ctx, "payments", "ledger") // the group is made here, if it is new
	if err != nil {
		return err
	}
	if _, err := client.Admin().Seek(ctx, "payments", "ledger", spillway.FromOffset(wrong)); err != nil {
		return err
	}
	for d, err := range consumer.Deliveries(ctx) {
		if err != nil {
			return err
		}
		if d.Offset < wrong { // delivered before the group was moved
			continue
		}
		fmt.Printf("again: offset %d, %s\n", d.Offset, d.Payload)
		d.Ack()
		if bytes.HasSuffix(d.Payload, []byte("4")) {
			break
		}
	}
	return consumer.Close(ctx)
}
