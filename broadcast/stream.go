package broadcast

import (
	"math"

	"github.com/sockloop/sockloop/internal/budget"
)

// stream is a topic's log in the form of one wire: segments from the oldest that a cursor still needs to the newest.
type stream struct {
	encode        Encoder
	frameBytesMax int
	bytesMax      int
	bytesFull     int // what it grows to for readers that keep pace
	bytesLimit    int // where it waits for nobody
	spareBytes    int
	segmentBytes  int
	pace          pace
	logs          *budget.Account

	first, last *segment
	spare       spares
	kept        int    // memory of the segments, of the spare ones too, as charged
	cursors     int    // subscribers of this wire
	messages    uint64 // messages appended so far
	bytes       uint64 // of elements or frames, likewise
	seq         uint64 // of the newest batch
	aside       int    // of the subscribers, those that stand aside
	missing     uint64 // messages of the newest segment that they miss, in sum, unless they go on
	missed      *uint64
	apart       bool // the next batch is not merged with the newest: something stands between them for a subscriber
}

// pace is Pace for a stream; with a perSecond of 0 nobody is waited for.
type pace struct {
	now       *int64
	perSecond int64
	sum       int64 // that all readers together have to take at most; 0 is no limit
	windowMS  int64
}

// of is what each of so many readers has to take in a second, in bytes.
func (p *pace) of(readers int) int64 {
	if p.sum == 0 {
		return p.perSecond
	}
	return min(p.perSecond, p.sum/int64(readers))
}

// epoch is the clock of topics that have none: it is always 0.
var epoch int64

func (s *stream) setPace(p Pace, bytesLimit int) {
	if p.Now != nil && p.BytesPerSecond > 0 {
		s.bytesFull = max(s.bytesMax, p.BytesMax)
		s.pace = pace{p.Now, int64(p.BytesPerSecond), int64(p.SumBytesPerSecond), p.WindowMS}
	}
	s.bytesLimit = max(orDefault(bytesLimit, s.bytesFull+s.bytesFull/4), s.bytesFull)
}

// keep counts n more bytes of memory.
func (s *stream) keep(n int) {
	s.kept += n
	s.logs.Charge(n)
}

// join places a new subscriber at the end.
func (s *stream) join(c *cursor) {
	c.stream = s
	s.cursors++
	s.place(c)
}

// part takes a subscriber out; without any the stream is empty.
func (s *stream) part(c *cursor) {
	c.leave()
	s.cursors--
	if s.cursors == 0 {
		s.clear()
	}
	s.release()
}

// place moves c to the end of the log. What comes next is an entry of its own, since c must not find itself inside one
// that it has not begun.
func (s *stream) place(c *cursor) {
	if s.last == nil {
		s.link(&segment{}) // costs nothing until something is published
	}
	c.rest(s.last, len(s.last.data))
	s.apart = true
}

// append adds a batch behind the newest one. It never spans segments, so whatever is appended in one turn is usually
// one write. multiTopic tells that subscribers hear other topics too.
//
// Small batches are merged into one entry when nothing that a subscriber is owed from elsewhere bears a number between
// them. Outflows set apart when they are posted something; another topic's batches have taken a number.
func (s *stream) append(x *scratch, seq uint64, multiTopic bool) {
	at := s.last
	if cap(at.data)-len(at.data) < len(x.bytes) {
		at = s.grow(len(x.bytes))
	}
	table := cap(at.entries)
	from, messages := uint32(len(at.data)), uint32(s.messages-at.before)
	at.data = append(at.data, x.bytes...)
	merge := !s.apart && (!multiTopic || seq == s.seq+1)
	for _, f := range x.frames {
		at.add(entry{from + f.end, messages + f.messages, seq}, merge, s.frameBytesMax)
	}
	s.keep(entrySize * (cap(at.entries) - table))
	s.messages += uint64(x.messages)
	s.missing += uint64(x.messages) * uint64(s.aside)
	s.bytes += uint64(len(x.bytes))
	s.seq, s.apart = seq, false
	s.evict()
}

// grow adds a segment with room for n bytes: a spare one, or else the oldest if it must make room anyway, or a new one.
func (s *stream) grow(n int) *segment {
	size := (max(n, 1) + s.segmentBytes - 1) / s.segmentBytes * s.segmentBytes
	at := s.spare.take(size)
	for at == nil && s.shed(size+size/mergeBytes*entrySize) {
		at = s.spare.take(size)
	}
	if at == nil {
		at = newSegment(size)
		s.keep(at.bytes())
	}
	s.link(at)
	s.release()
	return at
}

// link makes at the newest segment. What those who stand aside have missed of the last one they will never see.
func (s *stream) link(at *segment) {
	*s.missed += s.missing
	s.missing = 0
	at.before, at.start, at.madeAt = s.messages, s.bytes, *s.pace.now
	if s.last == nil {
		s.first = at
	} else {
		s.last.next = at
	}
	s.last = at
}

// release takes the segments that every cursor has left off the old end of the log.
func (s *stream) release() {
	for s.first != s.last && s.first.resting == nil {
		at := s.first
		s.first, at.next = at.next, nil
		s.recycle(at)
	}
}

// recycle keeps a segment for reuse, as far as the bounds allow it.
func (s *stream) recycle(at *segment) {
	if cap(at.data) > 0 && s.spare.bytes+at.bytes() <= s.spareBytes {
		s.spare.put(at)
	} else {
		s.keep(-at.bytes())
	}
}

// clear empties the log: nobody reads it any more.
func (s *stream) clear() {
	s.link(&segment{})
	s.release()
	s.first, s.last = nil, nil
}

func (s *stream) dropSpares() {
	s.keep(-s.spare.bytes)
	s.spare = spares{}
}

// full tells whether the log has grown as far as it may because it waits for readers.
func (s *stream) full() bool {
	s.evict()
	return s.kept > s.bytesFull && s.first != s.last
}

// evict makes the log small enough, as far as it may.
func (s *stream) evict() {
	for s.kept > s.bytesMax && s.shed(0) {
	}
}

// shed gives back some memory if the log is too large, or would be with n bytes more. It reports whether it has.
func (s *stream) shed(n int) bool {
	switch {
	case s.kept+n <= s.bytesMax:
		return false
	case s.spare.bytes > 0:
		s.dropSpares()
		return true
	case s.kept+n > s.bytesLimit:
		return s.evictFirst(waitForNone)
	case s.kept+n > s.bytesFull:
		return s.evictFirst(waitForSteady)
	default:
		return s.evictFirst(waitForMoving)
	}
}

// patience says which readers of the oldest segment are waited for.
type patience uint8

const (
	waitForNone   patience = iota
	waitForSteady          // those that take Pace.BytesPerSecond
	waitForMoving          // those that take something
)

// evictFirst frees the oldest segment, unless it is the newest, or a cursor in it is waited for. Other cursors in it
// are evicted. It reports whether the segment is free.
func (s *stream) evictFirst(wait patience) bool {
	at, now := s.first, *s.pace.now
	if at == s.last || wait != waitForNone && at.waitedFor == wait && now < at.waitUntil {
		return false
	}
	at.waitedFor, at.waitUntil = wait, math.MaxInt64
	for c := at.resting; c != nil; {
		next := c.next
		switch until := s.waitUntil(c, wait); {
		case c.off == len(at.data): // it has read the segment, and not looked for the next one yet
			c.rest(at.next, 0)
		case now < until:
			at.waitUntil = min(at.waitUntil, until)
		default:
			c.owner.evicted(c)
		}
		c = next
	}
	s.release()
	return s.first != at
}

// waitUntil is how long a reader of the oldest segment is waited for at least. What it takes can only make it longer.
func (s *stream) waitUntil(c *cursor, wait patience) int64 {
	if c.skipped || wait == waitForNone || s.pace.perSecond == 0 {
		return 0
	}
	stalls := max(c.at.next.madeAt, c.movedAt) + s.pace.windowMS
	if wait == waitForMoving {
		return stalls
	}
	slow, until := c.judge()
	if slow {
		return 0
	}
	return min(stalls, until)
}
