// Command connect joins two services by a queue: one publishes orders, the other
// bills them.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"

	spillway "spillway.dev/clients/go"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client, err := spillway.Dial(ctx, "") // $SPILLWAY_ADDRESS, or localhost:7420
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(context.Background())
	if _, err := client.Admin().CreateQueue(ctx, "orders"); err != nil && !errors.Is(err, spillway.ErrAlreadyExists) {
		log.Fatal(err)
	}
	if len(os.Args) > 1 && os.Args[1] == "bill" {
		err = bill(ctx, client)
	} else {
		err = order(ctx, client)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// order publishes ten orders. Publish waits for credit, so a slow biller slows it
// down instead of filling anyone's memory.
func order(ctx context.Context, client *spillway.Client) error {
	producer, err := client.Producer(ctx, "orders")
	if err != nil {
		return err
	}
	for i := range 10 {
		offset, err := producer.Publish(ctx, spillway.Message{
			Key: fmt.Appendf(nil, "customer-%d", i%3), Payload: fmt.Appendf(nil, "order %d", i),
		})
		if err != nil {
			return err
		}
		fmt.Println("kept at offset", offset)
	}
	return producer.Close(ctx)
}

// bill handles orders until it is interrupted. An error gives the order back, to
// be tried again later by whichever biller has room.
func bill(ctx context.Context, client *spillway.Client) error {
	consumer, err := client.Consumer(ctx, "orders", "billing", spillway.WithConcurrency(4))
	if err != nil {
		return err
	}
	return consumer.Run(ctx, func(_ context.Context, d *spillway.Delivery) error {
		fmt.Printf("offset %d, attempt %d: %s for %s\n", d.Offset, d.Attempt, d.Payload, d.Key)
		return nil
	})
}
