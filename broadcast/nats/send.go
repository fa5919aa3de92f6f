package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockloop/sockloop/codec"
)

// errTooLarge is about a message that no NATS message has room for, or a name that no subject has.
var errTooLarge = errors.New("a message is larger than the broker's max_payload, or its topic's name than 1 KiB")

// send does what is asked for until the broker is closed, and everything has been sent, or ctx is done.
func (b *Broker) send(ctx context.Context) {
	defer close(b.ended)
	defer b.end()
	for {
		select {
		case conn := <-b.connections:
			b.adopt(conn)
		case <-b.closed:
			b.connectAgain(ctx)
		case <-b.wake:
		case <-ctx.Done():
			return
		}
		t := b.take()
		for topic, wanted := range t.changed {
			b.follow(topic, wanted)
		}
		b.round(ctx, t.queue)
		b.through(&t)
		if t.closing {
			return
		}
	}
}

// taken is what the sender does in one go.
type taken struct {
	changed map[string]bool // topics that are wanted now, or not
	queue   []outgoing
	bytes   int // of the queue
	closing bool
}

// take takes what there is to do. What is published later finds the next round.
func (b *Broker) take() taken {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := taken{b.changed, b.queue, b.bytes, b.closing} // the round before is through: all bytes are of the queue
	b.changed, b.queue = map[string]bool{}, nil
	clear(b.places)
	return t
}

// through makes room for as much as was taken: only now its fate is known, and its memory free.
func (b *Broker) through(t *taken) {
	b.mu.Lock()
	b.bytes -= t.bytes
	b.mu.Unlock()
}

// end counts what is left, and ends the connection or the attempts to have one.
func (b *Broker) end() {
	defer b.cancel()
	for _, o := range b.take().queue {
		b.notSent(o.batch.Len())
	}
	for topic := range b.subscriptions {
		b.forget(topic)
	}
	b.conn.Close() // nil is nothing
}

// follow subscribes to a topic or unsubscribes from it, unless it is so already. A new connection begins with all that
// is wanted; what fails is tried again.
func (b *Broker) follow(topic string, wanted bool) {
	s := b.subscriptions[topic]
	if b.conn == nil || wanted == (s != nil) {
		return
	}
	if !wanted {
		b.forget(topic)
		_ = s.Unsubscribe() // an error is that the connection has ended
		return
	}
	s, err := b.subscribe(topic)
	if err != nil {
		b.trouble("subscribing", err)
		if !errors.Is(err, errTooLarge) {
			time.AfterFunc(followInterval, func() { b.followAgain(topic) })
		}
		return
	}
	b.following.Lock()
	defer b.following.Unlock()
	b.subscriptions[topic] = s
}

// followAgain has the sender subscribe to a topic, if it is still wanted.
func (b *Broker) followAgain(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wanted[topic] {
		b.changed[topic] = true
		b.signal()
	}
}

// forget takes a subscription that is about to end out, and keeps what it counted: afterwards it cannot be asked.
func (b *Broker) forget(topic string) {
	b.following.Lock()
	defer b.following.Unlock()
	b.dropped += dropped(b.subscriptions[topic])
	delete(b.subscriptions, topic)
}

func (b *Broker) subscribe(topic string) (*nats.Subscription, error) {
	to, ok := subject(b.config.Prefix, topic)
	if !ok {
		return nil, errTooLarge
	}
	s, err := b.conn.Subscribe(to, func(m *nats.Msg) { b.arrived(topic, m.Data) })
	if err != nil {
		return nil, err
	}
	return s, s.SetPendingLimits(subscriptionBatchesMax, b.queueBytesMax)
}

// arrived gives the server a batch, and counts what becomes of it.
func (b *Broker) arrived(topic string, batch []byte) {
	messages, err := b.receive(topic, batch)
	b.counting.Lock()
	defer b.counting.Unlock()
	switch {
	case errors.Is(err, codec.ErrBrokenJSON):
		b.stats.BatchesMalformed++
	case err != nil:
		b.stats.BatchesDropped++
	default:
		b.stats.BatchesIn++
		b.stats.MessagesIn += uint64(messages)
		b.stats.BytesIn += uint64(len(batch))
	}
}

// sent is what a round has written.
type sent struct{ batches, messages, bytes, not int }

// round sends batches and waits until the broker has them: a connection that is lost takes with it what it was handed
// before, and that has to be known. What is published meanwhile is the next round; it waits for a round trip at most.
func (b *Broker) round(ctx context.Context, queue []outgoing) {
	if len(queue) == 0 {
		return
	}
	var n sent
	if b.conn == nil {
		for _, o := range queue {
			b.notSent(o.batch.Len())
		}
		return
	}
	connections := b.conn.Stats().Reconnects
	for _, o := range queue {
		b.write(o, &n)
	}
	err := b.confirm(ctx, n)
	if err == nil && b.conn.Stats().Reconnects != connections {
		err = nats.ErrConnectionReconnecting // it was lost on the way, and there is another
	}
	b.notSent(n.not)
	b.counting.Lock()
	if err != nil {
		b.stats.MessagesUnconfirmed += uint64(n.messages)
	} else {
		b.stats.BatchesOut += uint64(n.batches)
		b.stats.MessagesOut += uint64(n.messages)
		b.stats.BytesOut += uint64(n.bytes)
	}
	b.counting.Unlock()
	if err != nil {
		b.trouble("sending to the broker", err)
	}
}

// write hands a batch to the connection, in parts that the broker takes.
func (b *Broker) write(o outgoing, n *sent) {
	to, ok := subject(b.config.Prefix, o.topic)
	if !b.conn.IsConnected() {
		n.not += o.batch.Len()
		return
	}
	payloadMax := int(b.conn.MaxPayload())
	o.batch.Split(payloadMax-len("[]"), func(part codec.Batch) {
		payload := codec.AppendJSONArray(nil, part)
		err := errTooLarge
		if ok && len(payload) <= payloadMax {
			if err = b.conn.Publish(to, payload); err == nil {
				n.batches++
				n.messages += part.Len()
				n.bytes += len(payload)
				return
			}
		}
		n.not += part.Len()
		b.trouble("sending to the broker", err)
	})
}

// confirm waits until the broker has read what was written. If that takes too long the connection is given up.
func (b *Broker) confirm(ctx context.Context, n sent) error {
	if n.messages == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.config.roundTimeout)
	defer cancel()
	err := b.conn.FlushWithContext(ctx)
	if cause := b.conn.LastError(); errors.Is(err, nats.ErrConnectionClosed) && cause != nil {
		return fmt.Errorf("%w: %w", err, cause)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		_ = b.conn.ForceReconnect() // an error is that it has ended
		return fmt.Errorf("no answer in %v", b.config.roundTimeout)
	}
	return err
}
