package nats

import (
	"context"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// connect makes a connection, tries until it has one or ctx is done, and hands it to the sender. It pauses before an
// attempt when so many have failed, or connections ended, before.
func (b *Broker) connect(ctx context.Context, failed int) {
	options := append(slices.Clip(b.options), nats.SetCustomDialer(dialer{ctx}))
	for ; ; failed++ {
		if failed > 0 && !pause(ctx, backoff(failed)) {
			return
		}
		conn, err := nats.Connect(b.config.URL, options...)
		switch {
		case err == nil:
			select {
			case b.connections <- conn:
			case <-ctx.Done():
				conn.Close()
			}
			return
		case ctx.Err() == nil:
			b.trouble("connecting to the broker", err)
		}
	}
}

// pause waits; false if ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// adopt sends on a new connection from here on. It has no subscriptions yet.
func (b *Broker) adopt(conn *nats.Conn) {
	b.following.Lock()
	b.conn = conn
	b.following.Unlock()
	b.adopted = time.Now()
	b.connected(conn)
	b.mu.Lock()
	b.changed = maps.Clone(b.wanted)
	b.mu.Unlock()
}

// connectAgain follows the end of a connection: the client tries one that is lost for ever, but ends one over an error
// from the broker that it does not know.
func (b *Broker) connectAgain(ctx context.Context) {
	for topic := range b.subscriptions {
		b.forget(topic)
	}
	b.following.Lock()
	b.conn = nil
	b.following.Unlock()
	if time.Since(b.adopted) > backoffMax {
		b.ends = 0
	}
	b.ends++
	go b.connect(ctx, b.ends)
}

// dialer makes connections that end with its context, also while they wait for the broker's first words.
type dialer struct{ ctx context.Context }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &bound{c, context.AfterFunc(d.ctx, func() { _ = c.Close() })}, nil
}

// bound is a connection that ends with a context. The client compares connections: it is used by pointer.
type bound struct {
	net.Conn
	unbind func() bool
}

func (c *bound) Close() error {
	c.unbind()
	return c.Conn.Close()
}
