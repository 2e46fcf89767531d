// Consumer takes the demo's records and writes each to a ledger before it
// acknowledges it. At times it is slower than they come: then the queue fills its
// window, spills, and in the end makes the producer wait.
//
//	consumer ADDRESS QUEUE GROUP LEDGER COUNT
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	spillway "spillway.dev/clients/go"
)

// Of every period it is slow for the last part.
const (
	period    = 10 * time.Second
	fastFor   = 6 * time.Second
	slowPause = 4 * time.Millisecond
)

func main() {
	if len(os.Args) != 6 {
		log.Fatal("usage: consumer ADDRESS QUEUE GROUP LEDGER COUNT")
	}
	count, err := strconv.Atoi(os.Args[5])
	if err == nil {
		err = run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], count)
	}
	if err != nil {
		log.Fatal("consumer: ", err)
	}
}

func run(address, queue, group, ledger string, count int) error {
	ctx := context.Background()
	client, err := spillway.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer client.Close(ctx)
	consumer, err := client.Consumer(ctx, queue, group, spillway.WithMaxInFlight(200))
	if err != nil {
		return err
	}
	file, err := os.Create(ledger)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	begin := time.Now()
	seen := make(map[uint64]bool, count)
	for d, err := range consumer.Deliveries(ctx) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d\t%s\n", d.Offset, d.Payload)
		seen[d.Offset] = true
		if time.Since(begin)%period >= fastFor {
			time.Sleep(slowPause) // the work of a slow consumer
		}
		if err := d.Ack(); err != nil {
			return err
		}
		if len(seen) == count {
			break
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return consumer.Close(ctx)
}
