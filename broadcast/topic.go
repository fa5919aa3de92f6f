// Package broadcast decides who must receive which bytes: topics, their logs, and the cursors of their subscribers. It
// knows no sockets and no JSON; how a batch of messages looks on a wire is an Encoder's business.
//
// A topic is a log and a subscriber is a cursor in it. What is published between two seals is one batch; sealing encodes
// the batch once for each wire that has subscribers and appends it to that wire's stream; every subscriber of the wire
// is handed the same bytes. A subscriber that cannot take them leaves its cursor where it is, which costs nothing.
//
// Nothing here locks: a topic and its cursors belong to one goroutine, the loop.
package broadcast

import "github.com/sockloop/sockloop/codec"

// Wire names an encoding, as an index into Config.Wires.
type Wire int

// Encoder appends a batch, or a part of a large one, to dst in the form of one wire: what it appends is one frame, which
// is sent whole or not at all. The batch is borrowed.
type Encoder func(dst []byte, b codec.Batch) []byte

// Config is what a topic is made with.
type Config struct {
	Wires         []Encoder // one per Wire; each is called at most once a frame
	FrameBytesMax int       // messages of a frame, in bytes of their JSON form, unless a single one is longer
	LogBytesMax   int       // memory of the log of one wire, in bytes; beyond it the oldest bytes are evicted
	SpareBytes    int       // memory of a wire kept for reuse when all of its subscribers have caught up, in bytes
	SegmentBytes  int       // size of a segment of the log, in bytes; a larger batch gets a larger one
}

// Defaults of Config.
const (
	FrameBytesMax = 64 << 10
	LogBytesMax   = 16 << 20
	SpareBytes    = 2 << 20
	SegmentBytes  = 64 << 10
)

// Receiver is told that a topic it subscribes to has something new. It must not unsubscribe anybody from within.
type Receiver interface{ Deliver() }

// Topic is a stream of messages with subscribers.
type Topic struct {
	streams   []stream
	members   []*Cursor
	open      codec.Batch
	published uint64
}

// NewTopic makes an empty topic; zero sizes in the configuration stand for the defaults.
func NewTopic(c Config) *Topic {
	t := &Topic{streams: make([]stream, len(c.Wires))}
	for i, encode := range c.Wires {
		t.streams[i] = stream{
			encode:        encode,
			frameBytesMax: orDefault(c.FrameBytesMax, FrameBytesMax),
			logBytesMax:   orDefault(c.LogBytesMax, LogBytesMax),
			spareBytes:    orDefault(c.SpareBytes, SpareBytes),
			segmentBytes:  orDefault(c.SegmentBytes, SegmentBytes),
		}
	}
	return t
}

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// Publish appends a message to the open batch: the one copy of it. It reports the size of the batch in bytes.
func (t *Topic) Publish(m *codec.Message) int {
	t.open.Append(m)
	return len(t.open.JSON)
}

// Published is the number of messages sealed so far.
func (t *Topic) Published() uint64 { return t.published }

// IsOpen tells whether messages were published since the last seal.
func (t *Topic) IsOpen() bool { return t.open.Len() > 0 }

// Seal closes the open batch and appends it to the stream of each wire that has subscribers. seq orders it among the
// batches of other topics and whatever else a subscriber is sent: it never decreases.
func (t *Topic) Seal(seq uint64) {
	if !t.IsOpen() {
		return
	}
	t.published += uint64(t.open.Len())
	for i := range t.streams {
		if s := &t.streams[i]; s.cursors > 0 {
			s.append(&t.open, seq)
		}
	}
	t.open.Reset()
}

// Deliver tells every subscriber that there may be something new.
func (t *Topic) Deliver() {
	for _, c := range t.members {
		c.receiver.Deliver()
	}
}

// Subscribe places c at the end of the topic: it receives what is published from now on. Messages of the open batch were
// published before, so the batch is sealed with seq.
func (t *Topic) Subscribe(c *Cursor, w Wire, r Receiver, seq uint64) {
	t.Seal(seq)
	s := &t.streams[w]
	*c = Cursor{topic: t, stream: s, receiver: r, index: len(t.members)}
	t.members = append(t.members, c)
	s.cursors++
	c.rest(s.end(), len(s.end().data))
}

// Unsubscribe takes c out; it holds on to nothing of the log afterwards.
func (t *Topic) Unsubscribe(c *Cursor) {
	if c.topic != t {
		return
	}
	last := len(t.members) - 1
	t.members[c.index] = t.members[last]
	t.members[c.index].index = c.index
	t.members[last] = nil
	t.members = t.members[:last]
	c.leave(c.at)
	c.stream.cursors--
	if c.stream.cursors == 0 {
		c.stream.clear()
	}
	*c = Cursor{}
}

// Len is the number of subscribers.
func (t *Topic) Len() int { return len(t.members) }

// LogBytes is the memory that the topic's log occupies, in bytes, what it keeps for reuse included.
func (t *Topic) LogBytes() int {
	n := 0
	for i := range t.streams {
		n += t.streams[i].bytes + t.streams[i].spare.bytes
	}
	return n
}

// Trim gives back the memory kept for reuse and reports how many bytes that was.
func (t *Topic) Trim() int {
	n := 0
	for i := range t.streams {
		n += t.streams[i].spare.drop()
	}
	if cap(t.open.JSON) > SegmentBytes && !t.IsOpen() {
		n += cap(t.open.JSON) + 8*cap(t.open.Ends)
		t.open = codec.Batch{}
	}
	return n
}
