package spillway_test

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	spillway "spillway.dev/clients/go"
)

// proxy passes bytes on between clients and a broker, and can lose what one of the
// sides says before it cuts all connections.
type proxy struct {
	to       string
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	deaf     [2]bool // what clients say, what the broker says
	lost     int     // bytes
}

const (
	fromClients = iota
	fromBroker
)

func startProxy(t *testing.T, to string) *proxy {
	p := &proxy{to: to, listener: must(net.Listen("tcp", "127.0.0.1:0"))}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			a, err := p.listener.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, a, b)
			p.mu.Unlock()
			all.Go(func() { p.pass(fromClients, a, b) })
			all.Go(func() { p.pass(fromBroker, b, a) })
		}
	})
	t.Cleanup(func() {
		p.listener.Close()
		p.cut()
		all.Wait()
	})
	return p
}

func (p *proxy) pass(side int, from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		deaf := p.deaf[side]
		if deaf {
			p.lost += n
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
		if !deaf {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
}

// lose drops what a side says from now on.
func (p *proxy) lose(side int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf[side], p.lost = true, 0
}

func (p *proxy) lostBytes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// cut ends all connections; later ones pass everything.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns, p.deaf = nil, [2]bool{}
}

// Settles that were under way when the connection broke count once, whether the
// broker had taken them or not, and none of their records comes again.
func TestBrokerSettlesUnderWayWhenTheConnectionBreaks(t *testing.T) {
	for _, side := range []struct {
		name string
		side int
	}{{"lost", fromClients}, {"taken", fromBroker}} {
		t.Run(side.name, func(t *testing.T) {
			direct, queue, ctx := real(t)
			proxy := startProxy(t, os.Getenv("SPILLWAY_TEST_ADDRESS"))
			c := must(spillway.Dial(ctx, proxy.listener.Addr().String(), spillway.WithHooks(spillway.Hooks{
				Revoked: func(_ spillway.Stream, r []spillway.OffsetRange, _ spillway.RevokeReason) { t.Error("revoked", r) },
			})))
			defer c.Close(ctx)
			p := must(direct.Producer(ctx, queue))
			const n = 100
			for i := range n {
				must(p.PublishAsync(ctx, payload(fmt.Sprint(i))))
			}
			cons := must(c.Consumer(ctx, queue, "g", spillway.WithAckLinger(0)))
			var ds []*spillway.Delivery
			for range n {
				ds = append(ds, must(cons.Receive(ctx)))
			}
			proxy.lose(side.side)
			for i, d := range ds {
				switch {
				case i%10 == 3:
					d.Nack(spillway.Park, 0, "bad")
				case i%10 == 7:
					d.Nack(spillway.Retry, time.Minute, "later")
				case i%3 != 0:
					d.Ack()
				}
			}
			group := func() *spillway.Group { return must(direct.Admin().ListGroups(ctx, queue))[0] }
			if side.side == fromBroker {
				eventually(t, "settles to arrive", func() bool { g := group(); return g.InFlight == 27 && g.Retrying == 10 })
			} else {
				eventually(t, "settles to be sent", func() bool { return proxy.lostBytes() > 200 })
			}
			before := cons.Session()
			proxy.cut()
			for i, d := range ds {
				if i%10 != 3 && i%10 != 7 && i%3 == 0 {
					d.Ack()
				}
			}
			eventually(t, "all settled", func() bool {
				g := group()
				return cons.Session() != before && g.InFlight == 0 && g.Parked == 10 && g.Retrying == 10
			})
			g := group()
			if g.CursorOffset != 7 || g.Redelivered != 0 || g.LagMessages != 10 {
				t.Fatalf("%+v", g)
			}
			for r, err := range direct.Admin().ListParked(ctx, queue, "g", 0) {
				if err != nil || r.Attempts != 1 || r.Reason != "bad" {
					t.Fatalf("%+v", r)
				}
			}
		})
	}
}
