// Package broadcast decides who must receive which bytes, and when: topics, their logs, the cursors of their
// subscribers, and for each receiver the order of everything that it is owed. It knows no sockets and no JSON; how a
// batch of messages looks on a wire is an Encoder's business.
//
// A topic is a log. What is published between two seals is one batch; sealing encodes the batch once for each wire that
// has subscribers and appends it to that wire's stream; every subscriber of the wire is handed the same bytes. A
// subscriber that cannot take them leaves its cursor where it is. An Outflow is the cursors of one receiver, and an
// outbox for what is meant for it alone.
//
// Sequence numbers say in which order things were sent. They begin at 1, come from one counter for all topics and
// outflows that meet, and each is used once.
//
// Nothing here locks: topics and outflows belong to one goroutine, the loop.
package broadcast

import (
	"slices"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/internal/budget"
)

// Wire names an encoding, as an index into Config.Wires.
type Wire int

// Encoder appends a batch, or a part of a large one, to dst in the form of one wire: what it appends is one frame,
// which is sent whole or not at all. The batch is borrowed.
type Encoder func(dst []byte, b codec.Batch) []byte

// Config is what a topic is made with. Zero sizes stand for the defaults.
type Config struct {
	Wires         []Encoder // one per Wire; each is called at most once a frame
	FrameBytesMax int       // messages of a frame, in bytes of their JSON form, unless a single one is longer
	// LogBytesMax is the memory of one wire in bytes: segments, the tables of their frames, and what is kept for reuse,
	// all by capacity. Beyond it the oldest readers are evicted, except for those that Pace waits for.
	LogBytesMax int
	// LogBytesLimit is where nobody is waited for any more, in bytes; default: a quarter above Pace.BytesMax.
	LogBytesLimit int
	SpareBytes    int             // memory of a wire kept for reuse when its subscribers have caught up, in bytes
	SegmentBytes  int             // size of a segment of the log, in bytes; a larger batch gets a larger one
	Pace          Pace            // whom a full log waits for; zero is nobody
	Logs          *budget.Account // is charged with LogBytes; nil is none
	// Missed counts the messages that subscribers will never see, since they were skipped; nil is nobody. It may be
	// shared.
	Missed *uint64
	// Occupied is told when the first subscriber comes, and when the last has gone; nil is nobody. It may only note it.
	Occupied func(occupied bool)
}

// Pace says which readers a log that is too large waits for. It waits for those that take something within WindowMS,
// and grows meanwhile up to BytesMax. From there on it waits only for those that take BytesPerSecond, measured over
// windows of WindowMS, and is Full until they have made room.
type Pace struct {
	Now            *int64 // the loop's clock in milliseconds
	BytesMax       int    // memory of one wire up to which it grows for its readers; default: LogBytesMax
	BytesPerSecond int    // the slowest reader that a full log waits for; 0 waits for nobody, and grows for nobody
	// SumBytesPerSecond is what all readers of a wire together are taken to be sent at least: one that takes its part
	// of it is not slow, whatever BytesPerSecond says. 0 is no limit.
	SumBytesPerSecond int
	WindowMS          int64 // the time over which readers are judged; it begins when what they read next was complete
}

// Defaults of Config.
const (
	FrameBytesMax = 64 << 10
	LogBytesMax   = 16 << 20
	SpareBytes    = 4 << 20
	SegmentBytes  = 64 << 10
)

// Receiver owns an Outflow.
type Receiver interface {
	// Ready tells whether it could take something now.
	Ready() bool
	// Deliver tells one that is ready that a topic may have something new. It must not subscribe or unsubscribe
	// anybody.
	Deliver()
	// Evicted tells that a cursor fell off its log: the outflow is Lost, or misses messages until its receiver can take
	// something again. It is called from within Seal, what seals, Full and Shrink: the owner may only note it.
	Evicted()
}

// Topic is a stream of messages with subscribers.
type Topic struct {
	Data any // for the owner to use

	streams    []stream
	members    []*cursor
	open       codec.Batch
	scratch    scratch
	logs       *budget.Account
	kept       int // memory of open and scratch, as charged
	aside      int // members that stand aside: they are sent nothing
	multiTopic int // members whose outflows subscribe to several topics
	published  uint64
	occupied   func(bool)
	growth     float64 // what a byte of the last batch became on the wires, in the mean of the subscribers
	closed     bool
}

// NewTopic makes an empty topic.
func NewTopic(c Config) *Topic {
	t := &Topic{streams: make([]stream, len(c.Wires)), logs: c.Logs, occupied: c.Occupied, growth: 1}
	logBytesMax := orDefault(c.LogBytesMax, LogBytesMax)
	if c.Missed == nil {
		c.Missed = new(uint64)
	}
	for i, encode := range c.Wires {
		t.streams[i] = stream{
			encode:        encode,
			frameBytesMax: orDefault(c.FrameBytesMax, FrameBytesMax),
			bytesMax:      logBytesMax,
			spareBytes:    orDefault(c.SpareBytes, SpareBytes),
			segmentBytes:  orDefault(c.SegmentBytes, SegmentBytes),
			bytesFull:     logBytesMax,
			pace:          pace{now: &epoch},
			logs:          c.Logs,
			missed:        c.Missed,
		}
		t.streams[i].setPace(c.Pace, c.LogBytesLimit)
	}
	return t
}

// SetPace changes whom a full log waits for, and where nobody is waited for any more (Config.LogBytesLimit). A pace of
// nobody leaves the last one as it is.
func (t *Topic) SetPace(p Pace, logBytesLimit int) {
	for i := range t.streams {
		t.streams[i].setPace(p, logBytesLimit)
	}
}

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// Publish appends a message to the open batch: the one copy of it. It reports the size of the batch in bytes.
func (t *Topic) Publish(m *codec.Message) int {
	if t.closed {
		return 0
	}
	t.open.Append(m)
	t.account()
	return len(t.open.JSON)
}

// PublishBatch appends all messages of b, which is borrowed, as Publish does with each.
func (t *Topic) PublishBatch(b *codec.Batch) int {
	if t.closed {
		return 0
	}
	t.open.AppendBatch(b)
	t.account()
	return len(t.open.JSON)
}

// FanOut estimates how many bytes so many bytes of messages become for all subscribers together, by what became of the
// last batch.
func (t *Topic) FanOut(bytes int) int { return int(float64(bytes*(len(t.members)-t.aside)) * t.growth) }

// Published is the number of messages sealed so far.
func (t *Topic) Published() uint64 { return t.published }

// IsOpen tells whether messages were published since the last seal.
func (t *Topic) IsOpen() bool { return t.open.Len() > 0 }

// Seal closes the open batch and appends it to the stream of each wire that has subscribers, with the number seq.
func (t *Topic) Seal(seq uint64) {
	if !t.IsOpen() {
		return
	}
	t.published += uint64(t.open.Len())
	sent, hearing := 0, len(t.members)-t.aside
	for i := range t.streams {
		if s := &t.streams[i]; s.cursors > 0 {
			t.scratch.encode(s.encode, &t.open, s.frameBytesMax)
			sent += len(t.scratch.bytes) * (s.cursors - s.aside)
			s.append(&t.scratch, seq, t.multiTopic > 0)
		}
	}
	if hearing > 0 {
		t.growth = float64(sent) / float64(hearing*len(t.open.JSON))
	}
	t.open.Reset()
	t.account()
}

// askedAhead is how many subscribers are asked whether they are ready before the first of them is handed something. A
// subscriber is a chain of objects that nobody has touched since the last batch. One that is asked does not wait for
// memory until the next is, so those of a group are fetched at the same time.
const askedAhead = 16

// Deliver tells every subscriber that is ready that there may be something new.
func (t *Topic) Deliver() {
	var ready [askedAhead]Receiver
	for group := range slices.Chunk(t.members, askedAhead) {
		n := 0
		for _, c := range group {
			if r := c.owner.receiver; r.Ready() {
				ready[n] = r
				n++
			}
		}
		for _, r := range ready[:n] {
			r.Deliver()
		}
	}
}

// Full tells that the log is too large because of readers that it waits for: whoever publishes should wait too. Readers
// that need not be waited for any more are evicted first. While the log is not too large it costs a comparison a wire.
func (t *Topic) Full() bool {
	full := false
	for i := range t.streams {
		if t.streams[i].full() {
			full = true
		}
	}
	return full
}

// Len is the number of subscribers.
func (t *Topic) Len() int { return len(t.members) }

// Each calls f with every subscriber; f must not subscribe or unsubscribe any.
func (t *Topic) Each(f func(Receiver)) {
	for _, c := range t.members {
		f(c.owner.receiver)
	}
}

// Close unsubscribes everybody and frees all memory. Afterwards Publish and Subscribe do nothing.
func (t *Topic) Close() {
	for len(t.members) > 0 {
		t.members[len(t.members)-1].owner.Unsubscribe(t)
	}
	t.closed = true
	t.open, t.scratch, t.members = codec.Batch{}, scratch{}, nil
	t.Trim()
}

// LogBytes is all memory that the topic occupies, in bytes: what its streams keep, the open batch and the scratch.
func (t *Topic) LogBytes() int {
	n := t.kept
	for i := range t.streams {
		n += t.streams[i].kept
	}
	return n
}

// Trim gives back the memory kept for reuse and reports how many bytes that was.
func (t *Topic) Trim() int {
	before := t.LogBytes()
	for i := range t.streams {
		t.streams[i].dropSpares()
	}
	if !t.IsOpen() && t.kept > SegmentBytes {
		t.open, t.scratch = codec.Batch{}, scratch{}
	}
	t.account()
	return before - t.LogBytes()
}

// Shrink gives back at least so many bytes, if it can: first what is kept for reuse, then the oldest segments of its
// largest streams, whoever reads there. The newest segment of each stream stays. It reports how many bytes that was.
func (t *Topic) Shrink(bytes int) int {
	freed := t.Trim()
	for freed < bytes {
		s := t.largest()
		if s == nil {
			break
		}
		before := s.kept
		s.evictFirst(waitForNone)
		s.dropSpares()
		freed += before - s.kept
	}
	return freed
}

// largest is the stream that keeps most, of those with more than one segment; nil if there is none.
func (t *Topic) largest() *stream {
	var found *stream
	for i := range t.streams {
		if s := &t.streams[i]; s.first != s.last && (found == nil || s.kept > found.kept) {
			found = s
		}
	}
	return found
}

// join makes c a member that reads the wire from the end of its stream on.
func (t *Topic) join(c *cursor, w Wire) {
	c.topic, c.index = t, len(t.members)
	t.members = append(t.members, c)
	t.streams[w].join(c)
	if len(t.members) == 1 && t.occupied != nil {
		t.occupied(true)
	}
}

// remove takes c out; it holds on to nothing of the log afterwards.
func (t *Topic) remove(c *cursor) {
	last := len(t.members) - 1
	t.members[c.index] = t.members[last]
	t.members[c.index].index = c.index
	t.members[last] = nil
	t.members = t.members[:last]
	c.stream.part(c)
	if last == 0 && t.occupied != nil {
		t.occupied(false)
	}
}

// account charges what the open batch and the scratch have grown by.
func (t *Topic) account() {
	n := cap(t.open.JSON) + 8*cap(t.open.Ends) + t.scratch.capacity()
	if n != t.kept {
		t.logs.Charge(n - t.kept)
		t.kept = n
	}
}

// scratch is a batch in the form of one wire, before it is appended.
type scratch struct {
	bytes    []byte
	frames   []entry
	messages uint32
}

func (x *scratch) encode(encode Encoder, b *codec.Batch, frameBytesMax int) {
	x.bytes, x.frames, x.messages = x.bytes[:0], x.frames[:0], 0
	b.Split(frameBytesMax, func(part codec.Batch) {
		x.bytes = encode(x.bytes, part)
		x.messages += uint32(part.Len())
		x.frames = append(x.frames, entry{end: uint32(len(x.bytes)), messages: x.messages})
	})
}

func (x *scratch) capacity() int { return cap(x.bytes) + entrySize*cap(x.frames) }
