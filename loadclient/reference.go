package loadclient

import (
	"bytes"
	"math"
)

// The size of a piece of a reference: less where there are many of them.
const (
	blockBytesMax = 4 << 20
	blockBytesMin = 8 << 10
)

// reference is the stream of messages that a worker's connections are receiving, kept once, from the slowest of them
// on. A broadcast gives every connection the same bytes, so whoever is first adds them here, where they are parsed, and
// all others need only compare: that checks every byte of every connection, and costs a fraction of parsing it again.
//
// Positions count the messages' bytes, with a separator behind every one, whatever frames they came in; so servers that
// cut their frames differently from connection to connection are compared all the same.
type reference struct {
	quoted     bool  // messages are JSON strings
	form       *form // of the messages
	blockBytes int
	room       audience
	framing    *framing // with permessage-deflate; else nil
	frames     []frameAt
	conns      []*conn // the worker's that hear it

	blocks  []*block // nil where all have passed
	passed  int      // that many
	spare   []*block
	end     int
	tally   *tally
	heard   func(sender, count int, stamp int64, end int) // called for each message, with the position behind it
	passes  []passing                                     // places at which arrival is timed, in order
	strayed int                                           // of the connections
	readers int                                           // of them, those that are neither strayed nor skimmed

	complete int    // position behind the last message that is complete
	partial  []byte // its bytes, when they do not lie in one block
}

// block is a piece of the stream, and what came before it: so that a connection that strays here can be counted from
// here on.
type block struct {
	bytes    []byte
	before   tally // of the messages that are complete before it
	complete int   // position behind the last one that is
}

// audience is who hears whom: connections from first on.
type audience struct{ first, size int }

// number is the room's, from 0 on.
func (m audience) number() int { return m.first / m.size }

// passing is where a message is complete, and when it was due.
type passing struct {
	end int
	due int64 // ns
}

func newReference(f *form, m audience, blockBytes int) *reference {
	r := &reference{form: f, quoted: f.quoted, room: m, blockBytes: blockBytes}
	r.reset(newTally(0, 0))
	r.heard = func(int, int, int64, int) {}
	return r
}

// What stands behind a message: behind a JSON string the comma of its array, behind any other text a byte that is in
// none (RFC 3629 section 1).
var (
	comma   = []byte{','}
	textEnd = []byte{0xff}
)

// separator is what stands behind a message.
func (r *reference) separator() []byte {
	if r.quoted {
		return comma
	}
	return textEnd
}

// reset empties the reference and keeps its memory.
func (r *reference) reset(t *tally) {
	r.spare = append(r.spare, r.blocks[r.passed:]...)
	r.blocks, r.passed = r.blocks[:0], 0
	r.end, r.complete, r.tally, r.passes, r.strayed = 0, 0, t, r.passes[:0], 0
	t.form = r.form
	r.partial, r.frames = r.partial[:0], r.frames[:0]
}

// at is what the reference holds from a position on, as far as it lies in one piece.
func (r *reference) at(pos int) []byte {
	return r.blocks[pos/r.blockBytes].bytes[pos%r.blockBytes : min(r.blockBytes, r.end-pos+pos%r.blockBytes)]
}

// append adds bytes that nobody had received yet.
func (r *reference) append(p []byte) {
	for len(p) > 0 {
		if r.end == len(r.blocks)*r.blockBytes {
			r.release()
			r.blocks = append(r.blocks, r.block())
		}
		n := copy(r.blocks[r.end/r.blockBytes].bytes[r.end%r.blockBytes:], p)
		r.end += n
		p = p[n:]
		r.parse()
	}
}

// release makes blocks spare that all have passed: memory that is used again stays in the cache, and the client does
// not grow by what it receives. The one before the slowest's is kept for the message that may have begun there.
func (r *reference) release() {
	for keep := min(r.slowest(), r.complete)/r.blockBytes - 1; r.passed < keep; r.passed++ {
		r.spare = append(r.spare, r.blocks[r.passed])
		r.blocks[r.passed] = nil
	}
}

// block is an empty one for the reference's end.
func (r *reference) block() *block {
	var b *block
	if n := len(r.spare); n > 0 {
		b = r.spare[n-1]
		r.spare = r.spare[:n-1]
	} else {
		b = &block{bytes: make([]byte, r.blockBytes)}
	}
	r.tally.copyTo(&b.before)
	b.complete = r.complete
	return b
}

// unparsed is what follows the last message that was complete, in one piece: shared bytes, or scratch.
func (r *reference) unparsed() []byte {
	rest := r.at(r.complete)
	if r.complete+len(rest) == r.end {
		return rest
	}
	r.partial = r.partial[:0]
	for pos := r.complete; pos < r.end; { // across blocks
		piece := r.at(pos)
		r.partial = append(r.partial, piece...)
		pos += len(piece)
	}
	return r.partial
}

// parse takes the messages that are complete.
func (r *reference) parse() {
	if r.framing != nil {
		r.parseRecords()
		return
	}
	for r.complete < r.end {
		text, size := cutMessage(r.unparsed(), r.quoted)
		if size == 0 {
			return
		}
		if text != nil {
			r.add(text, r.complete+size)
		}
		r.complete += size
	}
}

// add counts a message that is complete at a position.
func (r *reference) add(text []byte, end int) {
	if m := r.tally.add(text); m.sender >= 0 {
		r.heard(r.room.first+m.sender, r.tally.senders[m.sender].count, m.stamp, end)
	}
}

// countReaders counts the connections that are read.
func (r *reference) countReaders() int {
	n := 0
	for _, c := range r.conns {
		if !c.skims {
			n++
		}
	}
	return n
}

// wholeLength is the size of everything that was sent, as one received it who lacks nothing and has nothing twice: the
// reference, or, where that was begun by a connection with a fault, another one that was read. It is 0 if there is
// none.
func (r *reference) wholeLength(sent []senderTally) int {
	if r.tally.whole(sent) {
		return r.end
	}
	for _, c := range r.conns {
		if c.alone != nil && c.alone.tally.whole(sent) {
			return c.pos
		}
	}
	return 0
}

// slowest is the position that all connections which compare have reached.
func (r *reference) slowest() int {
	pos := math.MaxInt
	for _, c := range r.conns {
		if c.alone == nil {
			pos = min(pos, c.pos)
		}
	}
	return pos
}

// countAt is how many messages are complete at a position; where they have commas of their own, it may be one off.
// Ahead of the reference, where nobody has looked at the bytes yet, it is what so many bytes had so far.
func (r *reference) countAt(pos int) int {
	switch {
	case pos == r.end:
		return r.tally.messages
	case pos > r.end:
		return int(float64(r.tally.messages) * float64(pos) / float64(max(r.end, 1)))
	}
	if r.framing != nil {
		return r.messagesBefore(pos)
	}
	b := r.blocks[pos/r.blockBytes]
	n := bytes.Count(b.bytes[:pos%r.blockBytes], r.separator())
	if r.quoted {
		n /= 1 + r.form.commas
	}
	return b.before.messages + n
}

// cutMessage takes a message off the front of p, or a comma, for which text is nil. A size of 0 means that p ends
// before the message does. Quoted messages are complete with their closing quote, others with the byte behind them.
func cutMessage(p []byte, quoted bool) (text []byte, size int) {
	if !quoted {
		end := bytes.IndexByte(p, textEnd[0])
		if end < 0 {
			return nil, 0
		}
		return p[:end], end + 1
	}
	if p[0] != '"' {
		return nil, 1
	}
	for i := 1; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '"':
			return p[1:i], i + 1
		}
	}
	return nil, 0
}
