// Command requestreply asks a service over one queue and gets the answer over
// another: the request names it, and a correlation id, in its headers.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	spillway "spillway.dev/clients/go"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	client, err := spillway.Dial(ctx, "")
	if err != nil {
		return err
	}
	defer client.Close(context.Background())
	for _, queue := range []string{"requests", "replies"} {
		// Memory is enough: a lost request is asked again.
		_, err := client.Admin().CreateQueue(ctx, queue, spillway.SetDurability(spillway.Memory))
		if err != nil && !errors.Is(err, spillway.ErrAlreadyExists) {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		if err := serve(ctx, client); err != nil {
			log.Print(err)
		}
	})
	answer, err := ask(ctx, client, []byte("how are you?"))
	fmt.Printf("%s\n", answer)
	return err
}

func header(d *spillway.Delivery, name string) []byte {
	for _, h := range d.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return nil
}

// serve answers requests in capitals.
func serve(ctx context.Context, client *spillway.Client) error {
	requests, err := client.Consumer(ctx, "requests", "service")
	if err != nil {
		return err
	}
	replies, err := client.Producer(ctx, "replies")
	if err != nil {
		return err
	}
	return requests.Run(ctx, func(ctx context.Context, d *spillway.Delivery) error {
		_, err := replies.Publish(ctx, spillway.Message{
			Payload: bytes.ToUpper(d.Payload),
			Headers: []spillway.Header{{Name: "correlation-id", Value: header(d, "correlation-id")}},
		})
		return err
	})
}

// ask waits for the reply to one request. The reader begins at the tail before the
// request is sent, so it cannot miss the reply, and needs no group.
func ask(ctx context.Context, client *spillway.Client, question []byte) ([]byte, error) {
	tail, err := client.Admin().GetQueue(ctx, "replies")
	if err != nil {
		return nil, err
	}
	requests, err := client.Producer(ctx, "requests")
	if err != nil {
		return nil, err
	}
	id := fmt.Appendf(nil, "%s-%d", requests.ID(), time.Now().UnixNano())
	if _, err := requests.Publish(ctx, spillway.Message{
		Payload: question, Headers: []spillway.Header{{Name: "correlation-id", Value: id}},
	}); err != nil {
		return nil, err
	}
	for d, err := range client.Replay(ctx, "replies", spillway.FromOffset(tail.Stats.TailOffset)) {
		if err != nil {
			return nil, err
		}
		if bytes.Equal(header(d, "correlation-id"), id) {
			return d.Clone(), nil
		}
	}
	return nil, errors.New("no reply")
}
