// Command conformance drives the Go client for the shared conformance suite; see
// tests/conformance/README.md for the lines that it reads and writes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"log"
	"os"
	"time"

	spillway "spillway.dev/clients/go"
)

type answer map[string]any

type driver struct {
	client    *spillway.Client
	producers map[string]*producer
	consumers map[string]*consumer
	replays   map[string]*replay
}

type producer struct {
	*spillway.Producer
	pending []spillway.Future
}

type consumer struct {
	*spillway.Consumer
	held map[uint64]*spillway.Delivery
}

type replay struct {
	next   func() (*spillway.Delivery, error, bool)
	stop   func()
	cancel context.CancelFunc
	found  chan found // what next gave, one at a time
	asked  bool
}

type found struct {
	d   *spillway.Delivery
	err error
}

func main() {
	d := &driver{producers: map[string]*producer{}, consumers: map[string]*consumer{}, replays: map[string]*replay{}}
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 1 {
			var c command
			var a answer
			if bad := json.Unmarshal(line, &c); bad != nil {
				log.Fatal("not a command: ", bad)
			}
			a = d.answer(&c)
			a["id"] = c.ID
			if bad := out.Encode(a); bad != nil {
				log.Fatal(bad)
			}
		}
		if err != nil {
			d.close(context.Background(), "")
			return
		}
	}
}

func (d *driver) answer(c *command) answer {
	timeout := 10 * time.Second
	if c.TimeoutMs > 0 {
		timeout = time.Duration(c.TimeoutMs) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	a, err := d.do(ctx, c)
	if a == nil {
		a = answer{}
	}
	a["ok"] = err == nil
	if err != nil {
		a["error"] = describe(err)
	}
	return a
}

func describe(err error) answer {
	out := answer{"message": err.Error()}
	var e *spillway.Error
	switch {
	case errors.Is(err, spillway.ErrNoCredit):
		out["kind"] = "NO_CREDIT"
	case errors.Is(err, io.EOF):
		out["kind"] = "END"
	case errors.Is(err, context.DeadlineExceeded):
		out["kind"] = "TIMEOUT"
	case errors.As(err, &e):
		out["kind"] = e.Kind.String()
		out["message"] = e.Message
		for k, v := range map[string]uint64{"limit": e.Limit, "actual": e.Actual, "head_offset": e.HeadOffset,
			"tail_offset": e.TailOffset, "retry_after_ms": uint64(e.RetryAfter.Milliseconds())} {
			if v != 0 {
				out[k] = v
			}
		}
		for k, v := range map[string]string{"queue": e.Queue, "field": e.Field} {
			if v != "" {
				out[k] = v
			}
		}
	default:
		out["kind"] = "INTERNAL"
	}
	return out
}

func (d *driver) do(ctx context.Context, c *command) (answer, error) {
	if d.client == nil && c.Cmd != "dial" {
		return nil, errors.New("dial first")
	}
	switch c.Cmd {
	case "dial":
		client, err := spillway.Dial(ctx, c.Address, spillway.WithClientName("conformance"))
		d.client = client
		return nil, err
	case "create_queue", "update_queue":
		t, err := tuning(c.Tuning)
		if err != nil {
			return nil, err
		}
		var q *spillway.Queue
		if c.Cmd == "create_queue" {
			q, err = d.client.Admin().CreateQueue(ctx, c.Queue, t)
		} else {
			q, err = d.client.Admin().UpdateQueue(ctx, c.Queue, c.Revision, t)
		}
		if err != nil {
			return nil, err
		}
		return answer{"revision": q.Revision}, nil
	case "producer":
		p, err := d.client.Producer(ctx, c.Queue, spillway.WithProducerID(c.ProducerID),
			spillway.WithLinger(time.Duration(c.LingerMs)*time.Millisecond))
		if err != nil {
			return nil, err
		}
		d.producers[c.As] = &producer{Producer: p}
		return answer{"producer_id": p.ID()}, nil
	case "publish", "try_publish", "confirm", "credit":
		p := d.producers[c.On]
		if p == nil {
			return nil, fmt.Errorf("no producer %q", c.On)
		}
		return p.do(ctx, c)
	case "consumer":
		opts := []spillway.ConsumerOption{spillway.WithStart(c.Start.position())}
		switch c.Mode {
		case "SHARED":
			opts = append(opts, spillway.WithMode(spillway.Shared))
		case "EXCLUSIVE":
			opts = append(opts, spillway.WithMode(spillway.Exclusive))
		}
		if c.MaxInFlight > 0 {
			opts = append(opts, spillway.WithMaxInFlight(c.MaxInFlight))
		}
		if c.MaxInFlightBytes > 0 {
			opts = append(opts, spillway.WithMaxInFlightBytes(c.MaxInFlightBytes))
		}
		n, err := d.client.Consumer(ctx, c.Queue, c.Group, opts...)
		if err != nil {
			return nil, err
		}
		d.consumers[c.As] = &consumer{n, map[uint64]*spillway.Delivery{}}
		return answer{"start_offset": n.StartOffset(), "mode": n.Mode().String()}, nil
	case "replay":
		opts := []spillway.ReplayOption{c.Start.position(), spillway.Rate(c.Rate)}
		if c.Stop != nil {
			opts = append(opts, c.Stop.option())
		}
		r := &replay{found: make(chan found, 1)}
		rctx, cancel := context.WithCancel(context.Background())
		r.cancel = cancel
		r.next, r.stop = iter.Pull2(d.client.Replay(rctx, c.Queue, opts...))
		d.replays[c.As] = r
		return nil, nil
	case "receive":
		return d.receive(ctx, c)
	case "settle":
		n := d.consumers[c.On]
		if n == nil {
			return nil, fmt.Errorf("no consumer %q", c.On)
		}
		return nil, n.settle(c)
	case "explain":
		e, err := d.client.Admin().Explain(ctx, c.Queue)
		if err != nil {
			return nil, err
		}
		stalls := []answer{}
		for _, s := range e.Stalls {
			stalls = append(stalls, answer{"subject": s.Subject, "reason": s.Reason})
		}
		return answer{"stalls": stalls}, nil
	case "seek":
		g, err := d.client.Admin().Seek(ctx, c.Queue, c.Group, c.Start.position())
		if err != nil {
			return nil, err
		}
		return answer{"cursor_offset": g.CursorOffset}, nil
	case "list_parked":
		parked := []answer{}
		for p, err := range d.client.Admin().ListParked(ctx, c.Queue, c.Group, 0) {
			if err != nil {
				return nil, err
			}
			parked = append(parked, answer{"offset": p.Offset, "attempts": p.Attempts, "reason": p.Reason})
		}
		return answer{"parked": parked}, nil
	case "release_parked":
		n, err := d.client.Admin().ReleaseParked(ctx, c.Queue, c.Group)
		if err != nil {
			return nil, err
		}
		return answer{"released": n}, nil
	case "close":
		return nil, d.close(ctx, c.On)
	}
	return nil, fmt.Errorf("no command %q", c.Cmd)
}

func (p *producer) do(ctx context.Context, c *command) (answer, error) {
	switch c.Cmd {
	case "credit":
		n, open := p.Credit()
		b, blocked := p.Blocked()
		return answer{"open": open, "messages": n.Messages, "bytes": n.Bytes, "blocked": blocked, "reason": b.Reason.String()}, nil
	case "confirm":
		return p.confirm(ctx)
	case "try_publish":
		var stopped error
		for i := 0; i < max(c.Count, 1) && stopped == nil; i++ {
			f, err := p.TryPublish(c.record(i))
			if stopped = err; err == nil {
				p.pending = append(p.pending, f)
			}
		}
		a, err := p.confirm(ctx)
		return a, errors.Join(stopped, err)
	}
	for i := range max(c.Count, 1) {
		f, err := p.PublishAsync(ctx, c.record(i))
		if err != nil {
			a, _ := p.confirm(ctx)
			return a, err
		}
		p.pending = append(p.pending, f)
	}
	if c.Wait != nil && !*c.Wait {
		return answer{"pending": len(p.pending)}, nil
	}
	return p.confirm(ctx)
}

func (p *producer) confirm(ctx context.Context) (answer, error) {
	runs := [][2]int64{}
	for len(p.pending) > 0 {
		off, err := p.pending[0].Wait(ctx)
		if err != nil && ctx.Err() != nil {
			return answer{"offsets": runs}, err
		}
		p.pending = p.pending[1:]
		if err != nil {
			return answer{"offsets": runs}, err
		}
		o := int64(off)
		if n := len(runs); n > 0 && o >= 0 && runs[n-1][0]+runs[n-1][1] == o {
			runs[n-1][1]++
		} else {
			runs = append(runs, [2]int64{o, 1})
		}
	}
	return answer{"offsets": runs}, nil
}

func show(d *spillway.Delivery) answer {
	h := fnv.New64a()
	h.Write(d.Payload)
	return answer{"offset": d.Offset, "attempt": d.Attempt, "key": string(d.Key), "size": len(d.Payload),
		"fnv": fmt.Sprintf("%016x", h.Sum64())}
}

func (d *driver) receive(ctx context.Context, c *command) (answer, error) {
	var next func(context.Context) (*spillway.Delivery, error)
	if n := d.consumers[c.On]; n != nil {
		next = func(ctx context.Context) (*spillway.Delivery, error) {
			v, err := n.Receive(ctx)
			if err == nil {
				n.held[v.Offset] = v
			}
			return v, err
		}
	} else if r := d.replays[c.On]; r != nil {
		next = r.take
	} else {
		return nil, fmt.Errorf("no consumer or replay %q", c.On)
	}
	records := []answer{}
	for len(records) < max(c.Count, 1) {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if c.IdleMs > 0 {
			wait, cancel = context.WithTimeout(ctx, time.Duration(c.IdleMs)*time.Millisecond)
		}
		v, err := next(wait)
		idle := wait.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil {
			if idle || errors.Is(err, io.EOF) && len(records) > 0 {
				break
			}
			return answer{"records": records}, err
		}
		records = append(records, show(v))
	}
	return answer{"records": records}, nil
}

func (r *replay) take(ctx context.Context) (*spillway.Delivery, error) {
	if !r.asked {
		r.asked = true
		go func() {
			d, err, ok := r.next()
			if !ok {
				err = io.EOF
			}
			r.found <- found{d, err}
		}()
	}
	select {
	case f := <-r.found:
		r.asked = false
		return f.d, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *consumer) settle(c *command) error {
	for _, run := range c.Offsets {
		for o := run[0]; o < run[0]+run[1]; o++ {
			d := n.held[o]
			if d == nil {
				return fmt.Errorf("offset %d was not received, or is settled", o)
			}
			delete(n.held, o)
			var err error
			delay := time.Duration(c.DelayMs) * time.Millisecond
			switch c.Action {
			case "ACK":
				err = d.Ack()
			case "RETRY":
				err = d.Nack(spillway.Retry, delay, c.Reason)
			case "PARK":
				err = d.Nack(spillway.Park, 0, c.Reason)
			case "SKIP":
				err = d.Nack(spillway.Skip, 0, c.Reason)
			default:
				err = fmt.Errorf("no action %q", c.Action)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *driver) close(ctx context.Context, on string) error {
	var errs []error
	for name, r := range d.replays {
		if on == "" || on == name {
			r.cancel()
			if r.asked {
				<-r.found
			}
			r.stop()
			delete(d.replays, name)
		}
	}
	for name, p := range d.producers {
		if on == "" || on == name {
			errs = append(errs, p.Close(ctx))
			delete(d.producers, name)
		}
	}
	for name, n := range d.consumers {
		if on == "" || on == name {
			errs = append(errs, n.Close(ctx))
			delete(d.consumers, name)
		}
	}
	if on == "" && d.client != nil {
		errs = append(errs, d.client.Close(ctx))
		d.client = nil
	}
	return errors.Join(errs...)
}
