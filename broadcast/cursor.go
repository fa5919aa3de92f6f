package broadcast

// Cursor is a subscriber's place in a topic. The zero value is ready for Topic.Subscribe.
type Cursor struct {
	topic    *Topic
	stream   *stream
	receiver Receiver
	index    int // among the topic's members
	at       *segment
	off      int
}

// NoSeq is what Seq reports when there is nothing to read.
const NoSeq = ^uint64(0)

// rest places the cursor.
func (c *Cursor) rest(at *segment, off int) {
	at.resting++
	c.at, c.off = at, off
}

// leave gives up a segment in which the cursor rested, which may free it. A cursor that moves rests on the new one first,
// or that might be freed too.
func (c *Cursor) leave(at *segment) {
	at.resting--
	if at.resting == 0 && at == c.stream.first {
		c.stream.release()
	}
}

// settle moves a cursor that has read its segment to the next one.
func (c *Cursor) settle() {
	for c.off == len(c.at.data) && c.at.next != nil {
		read := c.at
		c.rest(read.next, 0)
		c.leave(read)
	}
}

// Evicted tells that the subscriber is a slow consumer: the log went on without it, and messages are lost to it. What
// Unread still returns is the rest of a frame that it had begun, if it had; then the owner must close it or Skip.
func (c *Cursor) Evicted() bool { return c.at.evicted }

// Unread is what the subscriber has not read, as far as it lies in one piece: shared bytes, not to be written to. Empty
// means that it is up to date, or evicted.
func (c *Cursor) Unread() []byte {
	if c.at.evicted {
		return c.at.data[c.off:c.begun()]
	}
	c.settle()
	return c.at.data[c.off:]
}

// begun is the offset behind the frame in which the cursor stands, or the cursor's own between two frames.
func (c *Cursor) begun() int {
	i := c.at.frameAt(c.off)
	if i == len(c.at.frames) || i == 0 && c.off == 0 || i > 0 && c.at.frames[i-1].end == c.off {
		return c.off
	}
	return c.at.frames[i].end
}

// Seq is the sequence number of the batch in which the next unread byte lies, NoSeq when there is none.
func (c *Cursor) Seq() uint64 {
	if len(c.Unread()) == 0 {
		return NoSeq
	}
	return c.at.frames[c.at.frameAt(c.off)].seq
}

// Ahead looks at what is unread without reading it. It is valid until the topic or the cursor changes.
type Ahead struct {
	at  *segment
	off int
}

// Ahead begins at the next unread byte.
func (c *Cursor) Ahead() Ahead {
	c.Unread() // settles it
	return Ahead{c.at, c.off}
}

// Frame is the size and the sequence number of the next frame, or of what is unread of it; 0 and NoSeq at the end.
func (a *Ahead) Frame() (size int, seq uint64) {
	for a.at != nil {
		if i := a.at.frameAt(a.off); i < len(a.at.frames) {
			return a.at.frames[i].end - a.off, a.at.frames[i].seq
		}
		a.at, a.off = a.at.next, 0
	}
	return 0, NoSeq
}

// Pass goes on to the frame behind the next one, whose size is given.
func (a *Ahead) Pass(size int) { a.off += size }

// UnreadBefore is Unread up to the first batch whose sequence number is at least seq.
func (c *Cursor) UnreadBefore(seq uint64) []byte {
	p := c.Unread()
	from := c.off
	end := from
	for _, b := range c.at.frames[c.at.frameAt(from):] {
		if b.seq >= seq {
			break
		}
		end = b.end
	}
	return p[:min(end-from, len(p))]
}

// InFrame tells whether the cursor stands in the middle of a frame, which must be finished before anything else is sent.
func (c *Cursor) InFrame() bool { return c.begun() != c.off }

// RestOfFrame is what is unread of the frame that the cursor stands in.
func (c *Cursor) RestOfFrame() []byte { return c.at.data[c.off:c.begun()] }

// Advance marks n bytes of what Unread returned as read.
func (c *Cursor) Advance(n int) { c.off += n }

// Skip moves an evicted cursor to the end of the log and reports how many messages it never saw. The frame that it had
// begun must have been read to its end.
func (c *Cursor) Skip() (dropped uint64) {
	seen := c.at.before
	if i := c.at.frameAt(c.off); i > 0 {
		seen = c.at.frames[i-1].messages
	}
	s, lost := c.stream, c.at
	c.rest(s.end(), len(s.end().data))
	c.leave(lost)
	return s.messages - seen
}
