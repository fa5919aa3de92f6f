package server

import (
	"slices"
	"time"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// Topic is a stream of messages that sessions subscribe to. Its methods may be called on the loop only: from a Service,
// or from a function posted with Server.Post.
type Topic struct {
	loop    *loop
	name    string
	log     *broadcast.Topic
	dirty   bool // published to in this turn
	closed  bool
	options TopicOptions
	remote  *remote  // nil unless the broker carries the topic
	awaited bool     // among the loop's full topics
	full    bool     // its log was when the last batch was sealed
	deep    bool     // its log was so large then that somebody may be behind, see behindShare
	waiting []waiter // publishers that wait for room in the log

	gathering bool          // dirty, and among the loop's gathering
	notBefore time.Duration // of the loop's time: it sends nothing before
}

// waiter is who published to a topic whose log is full.
type waiter interface {
	// roomMade tells that it may go on.
	roomMade()
	// gone tells that it waits for nothing any more.
	gone() bool
}

// TopicOptions are a topic's own. The zero value is the default.
type TopicOptions struct {
	// NoCompression sends the topic's messages as they are, whatever is negotiated. It is for topics that have secrets
	// in them beside what strangers publish: how long a compressed batch is tells whoever sees its length whether both
	// have something in common (the attack BREACH).
	NoCompression bool
	// Gather is how long messages are gathered after some have left, before the next leave: the first after a pause
	// leaves at once. It buys CPU and small frames with latency: see Config.Gather, which is the default. GatherAuto
	// is as long as Config.GatherP99 allows.
	Gather time.Duration
	// Local keeps the topic to this process, when there is a broker: see Config.Broker.
	Local bool
}

// logBytesLimit leaves room for what many publishers send before they are known to be.
func (l *loop) logBytesLimit() int { return l.cfg.MemoryBytesMax / 2 }

// pace is whom full logs wait for.
func (l *loop) pace() broadcast.Pace {
	return broadcast.Pace{
		Now: &l.readerClock, BytesMax: min(logGrowth*l.cfg.LogBytesMax, l.cfg.MemoryBytesMax/4),
		BytesPerSecond: max(l.cfg.ReaderBytesPerSecond, 0), SumBytesPerSecond: readersBytesPerSecond,
		WindowMS: readerWindowMS,
	}
}

func newTopic(l *loop, name string, o TopicOptions) *Topic {
	t := &Topic{loop: l, name: name, options: o}
	var occupied func(bool)
	if l.brokerSide != nil && !o.Local {
		l.brokerSide.carry(t)
		occupied = t.remote.occupied
	}
	t.log = broadcast.NewTopic(broadcast.Config{
		LogBytesMax:   l.cfg.LogBytesMax,
		LogBytesLimit: l.logBytesLimit(),
		FrameBytesMax: l.cfg.FrameBytesMax,
		Pace:          l.pace(),
		Logs:          l.memory.logs,
		Missed:        &l.stats.MessagesSkipped,
		Wires:         encoders(l.deflater),
		Occupied:      occupied,
	})
	t.log.Data = t
	l.topics = append(l.topics, t)
	return t
}

const (
	// logGrowth is how many times LogBytesMax a log may grow to for readers that take something.
	logGrowth = 4
	// readersBytesPerSecond is what any loop can send to all readers together, on a slow machine too.
	readersBytesPerSecond = 512 << 20
	// readerWindowMS is the time over which readers are judged.
	readerWindowMS = 1000
)

// Name is the name that the topic was made with.
func (t *Topic) Name() string { return t.name }

// Publish sends a message to every subscriber, the publisher included if it is one. It copies m, and that is the only
// copy: everything published in one turn of the loop leaves at its end, encoded once for all.
func (t *Topic) Publish(m *Message) {
	l := t.loop
	if t.closed {
		return
	}
	l.stats.MessagesPublished++
	l.published = t
	t.begin(m.Len())
	size := t.log.Publish(m)
	if t.remote != nil {
		t.remote.published(m)
	}
	t.appended(size)
	if t.awaited || t.full && t.log.Full() {
		l.foundFull = t
	}
}

// publishBatch publishes what another process has published: the broker carried it, and is not handed it.
func (t *Topic) publishBatch(b *codec.Batch) {
	t.begin(len(b.JSON))
	t.appended(t.log.PublishBatch(b))
}

// begin makes ready for so many bytes of messages.
func (t *Topic) begin(bytes int) {
	l := t.loop
	if l.multiTopic > 0 && l.lastPublished != nil && l.lastPublished != t {
		l.lastPublished.seal() // somebody hears both, in the order of publication
	}
	l.lastPublished = t
	l.share.publish(t.log.FanOut(bytes))
}

// appended makes sure that the open batch, which has so many bytes now, leaves in time.
func (t *Topic) appended(size int) {
	l := t.loop
	if !t.dirty {
		t.dirty = true
		l.dirty = append(l.dirty, t)
		l.arm()
	}
	if size >= l.cfg.BatchBytesMax {
		t.hurry()
		l.deliver()
	}
}

// Len is the number of subscribers.
func (t *Topic) Len() int { return t.log.Len() }

// Close ends the topic: all are unsubscribed, its memory is free, and what is published to it goes nowhere.
func (t *Topic) Close() {
	l := t.loop
	if t.closed {
		return
	}
	t.closed = true
	if t.remote != nil {
		t.remote.close()
	}
	t.log.Each(func(r broadcast.Receiver) {
		if r.(*subscriber).outflow.Len() == 2 {
			l.multiTopic--
		}
	})
	t.log.Close()
	l.topics = slices.DeleteFunc(l.topics, func(other *Topic) bool { return other == t })
	for _, list := range []*[]*Topic{&l.dirty, &l.gathering.topics} {
		*list = slices.DeleteFunc(*list, func(other *Topic) bool { return other == t })
	}
	if l.lastPublished == t {
		l.lastPublished = nil
	}
	t.release()
}

func (t *Topic) seal() {
	if t.log.IsOpen() {
		before := t.log.Published()
		t.log.Seal(t.loop.nextSeq())
		t.full = t.log.Full() // it grows here and nowhere else
		t.deep = t.log.LogBytes() > t.loop.cfg.LogBytesMax/behindShare
		n := t.log.Published() - before
		t.loop.stats.MessagesDelivered += n * uint64(t.log.Len())
		t.loop.stats.BatchMessages.observe(float64(n))
	}
}
