// Command tune changes a queue's window while it runs, and shows why a producer
// waits.
package main

import (
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
	client, err := spillway.Dial(ctx, "", spillway.WithHooks(spillway.Hooks{
		Blocked:   func(s spillway.Stream, b spillway.Blocked) { fmt.Println(s.Queue, "waits:", b.Reason) },
		Unblocked: func(s spillway.Stream, waited time.Duration) { fmt.Println(s.Queue, "waited", waited) },
	}))
	if err != nil {
		return err
	}
	defer client.Close(ctx)
	admin := client.Admin()
	small := []spillway.TuningOption{spillway.SetWindowMessages(10), spillway.SetOverflow(spillway.Block)}
	queue, err := admin.CreateQueue(ctx, "tuned", small...)
	if errors.Is(err, spillway.ErrAlreadyExists) {
		queue, err = admin.UpdateQueue(ctx, "tuned", 0, small...)
	}
	if err != nil {
		return err
	}
	producer, err := client.Producer(ctx, "tuned")
	if err != nil {
		return err
	}
	for {
		full, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		_, err := producer.Publish(full, spillway.Message{Payload: []byte("x")})
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break // nobody consumes, and the window is full
		} else if err != nil {
			return err
		}
	}
	why, err := admin.Explain(ctx, "tuned")
	if err != nil {
		return err
	}
	for _, s := range why.Stalls {
		fmt.Printf("%s: %s for %v; ends when %s\n", s.Subject, s.Reason, s.Age, s.EndsWhen)
	}
	// A larger window, unless somebody else has changed the queue since.
	if _, err := admin.UpdateQueue(ctx, "tuned", queue.Revision, spillway.SetWindowMessages(100)); err != nil {
		return err
	}
	offset, err := producer.Publish(ctx, spillway.Message{Payload: []byte("x")})
	fmt.Println("there is room again: kept at offset", offset)
	return err
}
