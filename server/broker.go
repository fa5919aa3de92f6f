package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// Broker carries what is published to topics to the servers of other processes, and what is published there to this
// one: Config.Broker. It knows a topic by its name. Publish, Subscribe, Unsubscribe and Stats are called on the loop:
// they may not block, and a panic of theirs ends the process. What they cannot do at once they do later, or count as
// not done.
type Broker interface {
	// Open starts the broker. From then on it hands what others published to receive, and counts what receive returns.
	// Of what is published it may keep about queueBytesMax bytes until it is sent, and of each topic as much of what
	// comes: BrokerStats.QueueBytes says how much that is, and counts against Config.MemoryBytesMax.
	Open(receive Receive, queueBytesMax int) error
	// Publish carries a batch of at least one message to all others that subscribe to the topic. It is borrowed.
	Publish(topic string, b codec.Batch)
	// Subscribe asks for what others publish to the topic from now on, and Unsubscribe for no more of it.
	Subscribe(topic string)
	Unsubscribe(topic string)
	// Stats may be called from any goroutine at any time.
	Stats() BrokerStats
	// Close sends what was published, for as long as ctx allows, and ends the broker. The error says what was not sent.
	Close(ctx context.Context) error
}

// Receive takes a batch that another process published: a JSON array of strings, which is borrowed. It may be called
// from any goroutine and does not block. It returns the number of messages that will be published here. The error is
// codec.ErrBrokenJSON if it is no such array, else the batch is more than the loop can take.
type Receive = func(topic string, batch []byte) (messages int, err error)

// BrokerStats is the state of a broker, see broadcast.BrokerStats.
type BrokerStats = broadcast.BrokerStats

// ErrTooMuch is why a batch from a broker is dropped: as much as the loop may have waiting is waiting, or the batch
// alone would push everybody off the topic's log.
var ErrTooMuch = errors.New("server: more comes from the broker than the loop can take")

const (
	// brokerQueueBytesMax bounds what waits on its way to the broker, and what has come from it and was not published
	// yet (see arrival.size), each: what a loop can publish to some subscribers within 10 ms. It is less where it would
	// be more than brokerQueueShare of the budget.
	brokerQueueBytesMax = 8 << 20
	brokerQueueShare    = 16
	// waitingShare is the part of it that may wait for the readers of one topic, so that the others have room, and
	// flushShare the part that one batch for the broker may take, so that several fit where it arrives.
	waitingShare = 4
	flushShare   = 8
	// arrivalBytes is what an arrival takes beside its messages, in bytes.
	arrivalBytes = 128
	// joinedBytesMax is the size up to which an arrival takes in the next of its topic: a turn is not much exceeded.
	joinedBytesMax = 1 << 10
	// arrivalCost is what an arrival costs of a turn beside its messages, in units of share.
	arrivalCost = 8
	// brokerCloseTimeout is what a server waits for its broker to have everything, when it ends.
	brokerCloseTimeout = 2 * time.Second
)

// BrokerStats is the state of Config.Broker; false if there is none. It may be called from any goroutine.
func (s *Server) BrokerStats() (BrokerStats, bool) {
	if s.cfg.Broker == nil {
		return BrokerStats{}, false
	}
	st := s.cfg.Broker.Stats()
	k := s.loop.brokerSide
	k.mu.Lock()
	st.BatchesDropped += k.dropped
	k.mu.Unlock()
	return st, true
}

// closeBroker has the broker send out what it was handed.
func (s *Server) closeBroker() {
	ctx, cancel := context.WithTimeout(context.Background(), brokerCloseTimeout)
	defer cancel()
	if err := s.cfg.Broker.Close(ctx); err != nil {
		s.cfg.Logger.Warn("the broker does not have everything that was published", "error", err)
	}
}

// brokerSide is the loop's side of the broker. What arrives takes the way of whoever publishes from outside the loop,
// and waits where a publisher would be held: for the next turn, or for room in the topic's log.
type brokerSide struct {
	loop   *loop
	broker Broker
	topics map[string]*Topic // that the broker carries
	later  []arrival         // waits for the next turn

	charged       int // of what waits on either side, as the budget knows it
	queued        int // of it, what the broker keeps
	queueBytesMax int
	batchBytesMax int // of JSON; the loop's configuration may not be read where batches arrive

	mu      sync.Mutex
	arrived []arrival // not taken by the loop yet
	bytes   int       // of all arrivals that were not published yet, of queueBytesMax
	dropped uint64    // arrivals that waited for room in the log of a topic, too many of them
}

// arrival is a batch from the broker.
type arrival struct {
	topic string
	batch codec.Batch // owned
}

// size is the memory that the arrival takes, in bytes.
func (a *arrival) size() int { return arrivalBytes + cap(a.batch.JSON) + 8*cap(a.batch.Ends) }

// cost is what publishing it costs, in units of share, whoever listens.
func (a *arrival) cost() int {
	return arrivalCost + messageCost*a.batch.Len() + len(a.batch.JSON)>>byteShift
}

// join takes in what came next of the same topic, so that small ones take less; false if it is not to.
func (a *arrival) join(next *arrival) bool {
	if a.topic != next.topic || a.size()+next.size() > joinedBytesMax {
		return false
	}
	a.batch.AppendBatch(&next.batch)
	return true
}

// newBrokerSide is nil without a broker.
func newBrokerSide(l *loop) *brokerSide {
	if l.cfg.Broker == nil {
		return nil
	}
	return &brokerSide{
		loop: l, broker: l.cfg.Broker, topics: map[string]*Topic{}, batchBytesMax: l.cfg.LogBytesMax / 2,
		queueBytesMax: min(brokerQueueBytesMax, l.cfg.MemoryBytesMax/brokerQueueShare),
	}
}

// open starts the broker.
func (k *brokerSide) open() error { return k.broker.Open(k.receive, k.queueBytesMax) }

// tick asks the broker what it keeps.
func (k *brokerSide) tick() {
	if k != nil {
		k.queued = k.broker.Stats().QueueBytes
	}
}

// charge tells the budget what waits on its way to other processes and from them.
func (k *brokerSide) charge() {
	if k == nil {
		return
	}
	k.mu.Lock()
	kept := k.bytes + k.queued
	k.mu.Unlock()
	k.loop.memory.broker.Charge(kept - k.charged)
	k.charged = kept
}

// receive is a Receive.
func (k *brokerSide) receive(topic string, payload []byte) (int, error) {
	b, err := readBatch(payload)
	if err != nil || b.Len() == 0 {
		return 0, err
	}
	a := arrival{topic, b}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bytes+a.size() > k.queueBytesMax || len(b.JSON) > k.batchBytesMax {
		return 0, ErrTooMuch
	}
	if len(k.arrived) == 0 { // one post a burst
		if err := k.loop.mailbox.post(k.takeArrived); err != nil {
			return 0, err
		}
	}
	k.keep(&a)
	return b.Len(), nil
}

// keep has an arrival wait for the loop.
func (k *brokerSide) keep(a *arrival) {
	if n := len(k.arrived); n > 0 {
		last := &k.arrived[n-1]
		if before := last.size(); last.join(a) {
			k.bytes += last.size() - before
			return
		}
	}
	k.bytes += a.size()
	k.arrived = append(k.arrived, *a)
}

// readBatch checks a payload, which is borrowed, and makes it ours: no process can make another send what is illegal.
func readBatch(payload []byte) (b codec.Batch, err error) {
	var a codec.Array
	if err := a.Begin(payload); err != nil {
		return b, err
	}
	b.JSON = make([]byte, 0, len(payload))
	for m := a.Next(); m != nil; m = a.Next() {
		b.Append(m)
	}
	return b, nil
}

// takeArrived runs on the loop.
func (k *brokerSide) takeArrived() {
	k.mu.Lock()
	arrived := k.arrived
	k.arrived = nil
	k.mu.Unlock()
	k.later = append(k.later, arrived...)
	k.publishLater()
	if k.behind() {
		k.loop.arm() // perhaps nothing was published, and there would be no next turn
	}
}

// publishLater publishes what half a turn can do and send out: the other half is for those who are here.
func (k *brokerSide) publishLater() {
	share := &k.loop.share
	done := 0
	for done < len(k.later) && share.fanOut > share.fanOutMax/2 && share.turn > turnCost/2 {
		a := k.later[done]
		done++
		share.turn -= a.cost()
		t := k.topics[a.topic] // nil if it was closed
		if t != nil && (t.awaited || t.log.Full()) {
			t.remote.wait(a)
			continue
		}
		if t != nil {
			t.publishBatch(&a.batch)
		}
		k.release(&a)
	}
	clear(k.later[:done])
	if k.later = k.later[done:]; len(k.later) == 0 {
		k.later = nil
	}
}

// behind tells that arrivals wait for the next turn.
func (k *brokerSide) behind() bool { return k != nil && len(k.later) > 0 }

// nextTurn goes on with them.
func (k *brokerSide) nextTurn() {
	if k.behind() {
		k.publishLater()
		k.loop.arm() // also if there was nobody to publish to: what waits must not wait for another's turn
	}
}

// release forgets an arrival.
func (k *brokerSide) release(a *arrival) {
	k.mu.Lock()
	k.bytes -= a.size()
	k.mu.Unlock()
}

// drop counts an arrival that is not published.
func (k *brokerSide) drop() {
	k.mu.Lock()
	k.dropped++
	k.mu.Unlock()
}

// carry has the broker carry a topic.
func (k *brokerSide) carry(t *Topic) {
	if k.topics[t.name] != nil {
		panic(fmt.Sprintf("server: there is a topic %q already, and a broker knows topics by their names: "+
			"name this one differently or make it TopicOptions.Local", t.name))
	}
	k.topics[t.name] = t
	t.remote = &remote{side: k, topic: t}
}

// remote is what a topic that the broker carries has beside the others.
type remote struct {
	side    *brokerSide
	topic   *Topic
	own     codec.Batch // what was published here in this turn, however often the topic was sealed
	kept    int         // memory of own, as charged to the logs
	waiting []arrival   // for room in the log
	bytes   int         // of them, of a part of what may wait in all
}

// occupied tells the broker whether anybody here listens.
func (r *remote) occupied(occupied bool) {
	if occupied {
		r.side.broker.Subscribe(r.topic.name)
	} else {
		r.side.broker.Unsubscribe(r.topic.name)
	}
}

// published keeps a message for the broker.
func (r *remote) published(m *Message) {
	r.own.Append(m)
	r.account()
	if len(r.own.JSON)+8*len(r.own.Ends) >= min(r.side.loop.cfg.BatchBytesMax, r.side.queueBytesMax/flushShare) {
		r.flush()
	}
}

// flush gives the broker what was published here.
func (r *remote) flush() {
	if r.own.Len() > 0 {
		r.side.broker.Publish(r.topic.name, r.own)
		r.own.Reset()
	}
}

func (r *remote) account() {
	n := cap(r.own.JSON) + 8*cap(r.own.Ends)
	r.side.loop.memory.logs.Charge(n - r.kept)
	r.kept = n
}

// wait keeps an arrival until there is room in the log, as if its publisher was held.
func (r *remote) wait(a arrival) {
	if r.bytes+a.size() > r.side.queueBytesMax/waitingShare {
		r.side.release(&a)
		r.side.drop()
		return
	}
	r.bytes += a.size()
	if r.waiting = append(r.waiting, a); len(r.waiting) == 1 {
		r.side.loop.awaitRoom(r.topic, r)
	}
}

// roomMade goes on with what waits.
func (r *remote) roomMade() {
	waiting := r.waiting
	r.waiting, r.bytes = nil, 0
	r.side.later = append(waiting, r.side.later...) // those came before
	r.side.loop.arm()
}

// gone tells that it waits for nothing any more.
func (r *remote) gone() bool { return len(r.waiting) == 0 }

// close ends the topic's part.
func (r *remote) close() {
	r.flush()
	for i := range r.waiting {
		r.side.release(&r.waiting[i])
	}
	r.own, r.waiting, r.bytes = codec.Batch{}, nil, 0
	r.account()
	delete(r.side.topics, r.topic.name)
}
