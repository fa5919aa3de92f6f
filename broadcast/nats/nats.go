// Package nats is a broker over core NATS: it carries batches of messages from each process that publishes to a topic
// to all others that have subscribers for it. Delivery is at most once, and in order for each publisher and topic.
//
// A topic's subject is a prefix and the topic's name. A NATS message is a JSON array of strings, ["m1","m2"], so other
// programs can publish and listen too.
package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// Config says which broker, and how to be let in.
type Config struct {
	// URL is nats://host:4222, or tls://host:4222; user:password@ or token@ may stand before the host. Several, divided
	// by commas, are the servers of a cluster.
	URL string
	// Prefix stands before the name of each topic; it ends with a dot, or is empty.
	Prefix      string
	Credentials string // a .creds file with a user's JWT and seed; empty is none
	CA          string // a PEM file with the certificates that the broker's may be signed by; it turns TLS on
	Logger      *slog.Logger

	roundTimeout time.Duration // default: roundTimeout
	pingInterval time.Duration // default: pingInterval
}

const (
	// outgoingCost is what a batch in the queue takes beside its messages and its topic's name, in bytes.
	outgoingCost = 128
	// roundTimeout is how long the broker may take to confirm what it was sent, before the connection is given up.
	roundTimeout = 10 * time.Second
	// writeTimeout is what one write may take.
	writeTimeout = 5 * time.Second
	// pingInterval is how often a connection on which nothing comes is tried; it is given up when two are not answered.
	pingInterval = 5 * time.Second
	// connectTimeout is what one attempt to connect to one server may take, and its first words again.
	connectTimeout = 2 * time.Second
	// backoffMin and backoffMax are the pauses between two attempts, half of it at random.
	backoffMin, backoffMax = 100 * time.Millisecond, 10 * time.Second
	// subscriptionBatchesMax bounds what one subscription has read and receive was not called with yet, in NATS
	// messages.
	subscriptionBatchesMax = 64 << 10
	// followInterval is the pause before a subscription that failed is tried again.
	followInterval = time.Second
	// logInterval is how often the same kind of trouble is logged at most.
	logInterval = time.Second
)

// Broker is a connection to NATS. Publish, Subscribe and Unsubscribe only note what is to be done: one goroutine does
// it, and it alone waits for the broker.
type Broker struct {
	config  Config
	options []nats.Option
	receive func(topic string, batch []byte) (messages int, err error)
	// queueBytesMax bounds what was published and is not confirmed, in bytes, with 9 for each message beside its JSON
	// and outgoingCost for each batch; beyond it messages are not sent, and counted. Batches grow while they wait, so
	// the memory may be up to twice as much. It also bounds the payloads that one subscription has read and receive was
	// not called with yet.
	queueBytesMax int

	cancel context.CancelFunc // ends the sender's waiting, and all connections
	ended  chan struct{}      // closed when the sender has ended
	wake   chan struct{}      // holds a token when there is something to do

	connections chan *nats.Conn // new ones, for the sender
	closed      chan struct{}   // holds a token when the client has ended the connection for good
	adopted     time.Time       // when the sender had its connection; the sender's
	ends        int             // connections that have ended soon, one after the other; the sender's

	mu      sync.Mutex // the loop takes it
	queue   []outgoing
	places  map[string]int  // in the queue, of each topic's batch
	bytes   int             // of the queue and of the round that is not confirmed, of queueBytesMax
	wanted  map[string]bool // all topics that are subscribed to
	changed map[string]bool // topics that were subscribed to or not since the sender looked
	closing bool

	counting sync.Mutex
	stats    broadcast.BrokerStats
	logged   time.Time // when trouble was logged last

	following     sync.Mutex
	conn          *nats.Conn                    // nil while there is none; changed by the sender alone
	subscriptions map[string]*nats.Subscription // by topic; changed by the sender alone
	dropped       uint64                        // of subscriptions that have ended
}

// outgoing is what was published to a topic and waits to be sent.
type outgoing struct {
	topic string
	batch codec.Batch // owned
}

// New checks the configuration; nothing is connected yet.
func New(c Config) (*Broker, error) {
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.roundTimeout = cmp.Or(c.roundTimeout, roundTimeout)
	c.pingInterval = cmp.Or(c.pingInterval, pingInterval)
	if err := c.check(); err != nil {
		return nil, err
	}
	b := &Broker{
		config: c, ended: make(chan struct{}), wake: make(chan struct{}, 1),
		connections: make(chan *nats.Conn), closed: make(chan struct{}, 1),
		places: map[string]int{}, wanted: map[string]bool{}, changed: map[string]bool{},
		subscriptions: map[string]*nats.Subscription{},
	}
	b.stats.Since = time.Now()
	b.options = b.makeOptions()
	return b, nil
}

func (c *Config) check() error {
	for one := range strings.SplitSeq(c.URL, ",") {
		// The URL is not repeated: there may be a password in it.
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Host == "" {
			return errors.New("broker URL: want nats://host:4222 or tls://host:4222, with user:password@ or token@ " +
				"before the host where needed; characters such as @ in a password are written as %40")
		}
	}
	if !legalPrefix(c.Prefix) {
		return fmt.Errorf("broker prefix %q: want words of printable ASCII, each with a dot behind it, as in %q",
			c.Prefix, "sockloop.")
	}
	if c.Credentials != "" {
		if err := checkCredentials(c.Credentials); err != nil {
			return fmt.Errorf("broker credentials: %w", err)
		}
	}
	if c.CA != "" {
		if err := nats.RootCAs(c.CA)(&nats.Options{}); err != nil {
			return fmt.Errorf("broker CA: %s", strings.TrimPrefix(err.Error(), "nats: "))
		}
	}
	return nil
}

// checkCredentials looks into the file now: the client does it when it connects, and would try for ever.
func checkCredentials(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, errJWT := nkeys.ParseDecoratedJWT(content)
	_, errSeed := nkeys.ParseDecoratedUserNKey(content)
	if errJWT != nil || errSeed != nil {
		return fmt.Errorf("%s is no .creds file with a user's JWT and seed, as nsc makes them", file)
	}
	return nil
}

func (b *Broker) makeOptions() []nats.Option {
	c := &b.config
	options := []nats.Option{
		nats.Name("sockloop"), nats.NoEcho(), nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(backoff),
		nats.ReconnectBufSize(-1), // what is published while there is no connection would be old when there is
		nats.PingInterval(c.pingInterval), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(writeTimeout),
		nats.ReconnectHandler(b.connected),
		nats.DisconnectErrHandler(b.disconnected),
		nats.ClosedHandler(b.connectionClosed),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.trouble("connecting to the broker", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.trouble("from the broker", err) }),
	}
	if c.Credentials != "" {
		options = append(options, nats.UserCredentials(c.Credentials))
	}
	if c.CA != "" {
		options = append(options, nats.RootCAs(c.CA))
	}
	return options
}

// backoff is the pause before an attempt to connect.
func backoff(attempts int) time.Duration {
	d := min(backoffMin<<min(max(attempts-1, 0), 10), backoffMax)
	return d/2 + rand.N(d/2)
}

// Open starts to connect, and returns at once. receive is handed what comes, in order for each topic, and must not
// block; the batch is borrowed. queueBytesMax bounds what was published and is not confirmed, and of each topic what
// has come and was not received. It does not fail: New has checked the configuration.
func (b *Broker) Open(receive func(topic string, batch []byte) (messages int, err error), queueBytesMax int) error {
	b.receive, b.queueBytesMax = receive, queueBytesMax
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	go b.connect(ctx, 0)
	go b.send(ctx)
	return nil
}

// Publish has a batch, which is borrowed and no part of one, sent to all other processes that subscribe to the topic.
// It is joined with what of the topic waits already.
func (b *Broker) Publish(topic string, batch codec.Batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, waits := b.places[topic]
	cost := len(batch.JSON) + 9*batch.Len()
	if !waits {
		cost += outgoingCost + len(topic)
	}
	if b.closing || b.bytes+cost > b.queueBytesMax {
		b.notSent(batch.Len())
		return
	}
	if waits {
		b.queue[at].batch.AppendBatch(&batch)
	} else {
		b.places[topic] = len(b.queue)
		b.queue = append(b.queue, outgoing{topic, batch.Clone()})
	}
	b.bytes += cost
	b.signal()
}

// Subscribe asks for what others publish to the topic from now on.
func (b *Broker) Subscribe(topic string) { b.want(topic, true) }

// Unsubscribe ends that.
func (b *Broker) Unsubscribe(topic string) { b.want(topic, false) }

func (b *Broker) want(topic string, wanted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed[topic] = wanted; wanted {
		b.wanted[topic] = true
	} else {
		delete(b.wanted, topic)
	}
	b.signal()
}

// signal wakes the sender.
func (b *Broker) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Stats is the state at the moment. It does not wait for the broker.
func (b *Broker) Stats() broadcast.BrokerStats {
	b.counting.Lock()
	st := b.stats
	b.counting.Unlock()
	b.mu.Lock()
	st.QueueBytes = b.bytes
	b.mu.Unlock()
	b.following.Lock()
	defer b.following.Unlock()
	st.BatchesDropped += b.dropped
	for _, s := range b.subscriptions {
		st.BatchesDropped += dropped(s)
		st.QueueBytes += pending(s)
	}
	return st
}

// dropped is what was read for a subscription and not received, because it came faster than its goroutine ran.
func dropped(s *nats.Subscription) uint64 {
	n, err := s.Dropped()
	if err != nil {
		return 0 // it has just ended
	}
	return uint64(n)
}

// pending is what was read for a subscription and not received yet, in bytes.
func pending(s *nats.Subscription) int {
	_, n, err := s.Pending()
	if err != nil {
		return 0 // it has just ended
	}
	return n
}

// notSent counts messages that are not handed to the broker.
func (b *Broker) notSent(messages int) {
	b.counting.Lock()
	b.stats.MessagesNotSent += uint64(messages)
	b.counting.Unlock()
}

// Close sends what was published, for as long as ctx allows, and ends the connection, or the attempts to have one. The
// error says how many messages were not sent.
func (b *Broker) Close(ctx context.Context) error {
	before := b.lost()
	b.mu.Lock()
	b.closing = true
	b.signal()
	b.mu.Unlock()
	select {
	case <-b.ended:
		b.cancel()
	case <-ctx.Done():
		b.cancel()
		return fmt.Errorf("it was not through with what was published: %w", ctx.Err())
	}
	if lost := b.lost() - before; lost > 0 {
		return fmt.Errorf("%d messages were not sent", lost)
	}
	return nil
}

// lost is the number of messages that others may not have.
func (b *Broker) lost() uint64 {
	b.counting.Lock()
	defer b.counting.Unlock()
	return b.stats.MessagesNotSent + b.stats.MessagesUnconfirmed
}

// connected follows a successful attempt to connect.
func (b *Broker) connected(c *nats.Conn) {
	b.counting.Lock()
	b.stats.Connected, b.stats.Since = c.IsConnected(), time.Now() // it may be lost already, and disconnected follows
	st := b.stats
	b.counting.Unlock()
	b.config.Logger.Info("connected to the broker", "addr", c.ConnectedAddr(),
		"messages_not_sent", st.MessagesNotSent, "messages_unconfirmed", st.MessagesUnconfirmed)
}

// disconnected follows the loss of the connection, or Close.
func (b *Broker) disconnected(_ *nats.Conn, err error) {
	b.mu.Lock()
	closing := b.closing
	b.mu.Unlock()
	if closing {
		return
	}
	b.counting.Lock()
	b.stats.Connected, b.stats.Since = false, time.Now()
	b.stats.Disconnects++
	b.counting.Unlock()
	b.config.Logger.Warn("the connection to the broker is lost; topics are local meanwhile", "error", err)
}

// connectionClosed follows the end of a connection for good.
func (b *Broker) connectionClosed(c *nats.Conn) {
	if err := c.LastError(); err != nil {
		b.trouble("the broker's connection has ended", err)
	}
	select {
	case b.closed <- struct{}{}:
	default:
	}
}

// trouble notes an error, and logs it unless another was just logged.
func (b *Broker) trouble(what string, err error) {
	text := fmt.Sprintf("%s: %v", what, err)
	b.counting.Lock()
	b.stats.LastError = text
	again := time.Since(b.logged) < logInterval
	if !again {
		b.logged = time.Now()
	}
	b.counting.Unlock()
	if !again {
		b.config.Logger.Warn(what, "error", err)
	}
}
