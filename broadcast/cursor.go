package broadcast

// cursor is an outflow's place in a topic.
type cursor struct {
	owner      *Outflow
	topic      *Topic
	stream     *stream
	at         *segment // nil when it has fallen off the log, stands aside, or was taken out of the topic
	off        int
	movedAt    int64   // when it last took something, on the clock of Pace
	from       mark    // where it stepped aside: the end of the stream at that time
	wentOnAt   int64   // when it had a place again
	prev, next *cursor // among those in its segment
	markAt     int64   // when the window began over which it is judged
	took       int64   // bytes since then
	index      int     // among the topic's members
	aside      bool    // it was skipped, and has no place in the log until its receiver can take something
	skipped    bool    // it was, and has not gone on for a window since
	slow       bool    // it took too little in the last window
}

// mark is a place in a stream.
type mark struct{ messages, bytes uint64 }

// NoSeq is a number higher than all.
const NoSeq = ^uint64(0)

// rest moves the cursor to a place.
func (c *cursor) rest(at *segment, off int) {
	c.leave()
	c.at, c.off, c.next = at, off, at.resting
	if c.next != nil {
		c.next.prev = c
	}
	at.resting = c
}

// leave takes the cursor off its segment, or ends its standing aside. Whoever calls it calls the stream's release, too.
func (c *cursor) leave() {
	if c.aside {
		*c.stream.missed += c.comeBack()
	}
	if c.at == nil {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		c.at.resting = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.at, c.prev, c.next = nil, nil, nil
}

// settle moves a cursor that has read its segment to the next one.
func (c *cursor) settle() {
	for c.off == len(c.at.data) && c.at.next != nil {
		c.rest(c.at.next, 0)
	}
	c.stream.release()
}

// unread is what the cursor has not read, as far as it lies in one piece: shared bytes. Empty means up to date.
func (c *cursor) unread() []byte {
	if c.at == nil {
		return nil
	}
	if c.off == len(c.at.data) && c.at.next != nil {
		c.settle()
	}
	return c.at.data[c.off:]
}

// unreadBefore is unread up to the first entry whose number is at least seq.
func (c *cursor) unreadBefore(seq uint64) []byte {
	p := c.unread()
	return p[:c.at.begin(c.at.from(seq))-c.off]
}

// number is that of the next unread byte, NoSeq when there is none.
func (c *cursor) number() uint64 {
	if len(c.unread()) == 0 {
		return NoSeq
	}
	return c.at.entries[c.at.at(c.off)].seq
}

// advance marks n bytes, more than none, of what unread returned as read.
func (c *cursor) advance(n int) {
	if c.at == nil {
		return
	}
	c.off += n
	c.took += int64(n)
	c.movedAt = *c.stream.pace.now
	c.skipped = c.skipped && c.movedAt-c.wentOnAt < c.stream.pace.windowMS
	if c.off == len(c.at.data) && c.at.next != nil {
		c.settle()
	}
}

// judge tells whether the cursor, which is in the oldest segment, reads too slowly to be waited for, and until when
// that holds at least. A window begins when the segment was full, or later: before, there may have been nothing to
// read.
func (c *cursor) judge() (slow bool, until int64) {
	p, now := &c.stream.pace, *c.stream.pace.now
	c.markAt = max(c.markAt, c.at.next.madeAt)
	if elapsed := now - c.markAt; elapsed >= p.windowMS && elapsed > 0 {
		c.slow = c.took*1000 < p.of(c.stream.cursors)*elapsed
		c.markAt, c.took = now, 0
	}
	return c.slow, c.markAt + p.windowMS
}

// remainder is what is unread of an entry that has begun.
func (c *cursor) remainder() []byte {
	if c.at == nil {
		return nil
	}
	i := c.at.at(c.off)
	if i == len(c.at.entries) || c.at.begin(i) == c.off {
		return nil
	}
	return c.at.data[c.off:c.at.entries[i].end]
}

// stepAside takes a cursor that has begun nothing out of the log, which keeps nothing for it, until goOn. What comes
// next is an entry of its own, since it may go on there. Whoever calls it calls the stream's release, too.
func (c *cursor) stepAside() {
	c.leave()
	c.aside, c.skipped, c.from = true, true, mark{c.stream.messages, c.stream.bytes}
	c.stream.aside++
	c.topic.aside++
	c.stream.apart = true
}

// comeBack ends that, and returns the number of messages of the newest segment that came meanwhile.
func (c *cursor) comeBack() uint64 {
	missing := c.stream.messages - max(c.from.messages, c.stream.last.before)
	c.aside = false
	c.stream.aside--
	c.topic.aside--
	c.stream.missing -= missing
	return missing
}

// goOn gives a cursor that stands aside a place in the newest segment, which holds the last batch at least.
func (c *cursor) goOn() {
	c.comeBack() // it hears them
	c.wentOnAt = *c.stream.pace.now
	at, off := c.stream.last, uint64(0)
	if c.from.bytes > at.start {
		off = c.from.bytes - at.start
	}
	c.rest(at, int(off))
}

// lag is the number of messages that have not left, those since it stepped aside included.
func (c *cursor) lag() uint64 {
	switch {
	case c.aside:
		return c.stream.messages - c.from.messages
	case c.at != nil:
		return c.stream.messages - c.at.messagesBefore(c.at.at(c.off))
	}
	return 0
}

// messagesBefore is the number of the stream's messages before the first that bears the number cut or a higher one, of
// those that the cursor has not read.
func (c *cursor) messagesBefore(cut uint64) uint64 {
	if cut == NoSeq {
		return c.stream.messages
	}
	for at := c.at; at != nil; at = at.next {
		if i := at.from(cut); i < len(at.entries) {
			return at.messagesBefore(i)
		}
	}
	return c.stream.messages
}

// look is a place ahead of a cursor, for planning. It is valid until the topic or the cursor changes.
type look struct {
	at    *segment
	entry int
	off   int
	from  *cursor
}

// look begins at the next unread byte.
func (c *cursor) look() look { return look{c.at, c.at.at(c.off), c.off, c} }

// frame is the size and the number of the next entry, or of what is unread of it; 0 and NoSeq at the end.
func (l *look) frame() (size int, seq uint64) {
	for l.entry == len(l.at.entries) {
		if l.at.next == nil {
			return 0, NoSeq
		}
		*l = look{at: l.at.next, from: l.from}
	}
	e := l.at.entries[l.entry]
	return int(e.end) - l.off, e.seq
}

// pass goes on to the entry behind.
func (l *look) pass() {
	l.off = int(l.at.entries[l.entry].end)
	l.entry++
}
