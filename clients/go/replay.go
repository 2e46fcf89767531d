package spillway

import (
	"context"
	"io"
	"iter"
)

// Replay yields the kept records of a queue from a Position (FromOffset, FromTime,
// Earliest, Latest, Last; default Earliest) up to a stop (UntilOffset, UntilTime,
// UntilTail; default none), without any effect on groups. It ends without an error
// at the stop; any other end is yielded last, with a nil delivery: ctx's end, or
// ErrOutOfRange when the start is not kept. Broken streams go on where they were.
// A replay uses no goroutine once its loop is left.
func (c *Client) Replay(ctx context.Context, queue string, opts ...ReplayOption) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		n := newConsumer(c, queue)
		n.replay = &replayOptions{maxMessages: defaultReplayMessages, maxBytes: defaultMaxInFlightBytes}
		for _, o := range opts {
			o.replay(n.replay)
		}
		n.opt = consumerOptions{maxMessages: n.replay.maxMessages, maxBytes: n.replay.maxBytes}
		if err := n.begin(ctx); err != nil {
			yield(nil, err)
			return
		}
		defer func() {
			n.cancel(io.EOF)
			<-n.done
		}()
		n.Deliveries(ctx)(yield)
	}
}
