package broadcast

import (
	"sort"

	"github.com/sockloop/sockloop/codec"
)

// stream is a topic's log in the form of one wire: segments from the oldest that a cursor still needs to the newest.
type stream struct {
	encode        Encoder
	logBytesMax   int
	spareBytes    int
	segmentBytes  int
	frameBytesMax int

	first, last *segment
	cursors     int    // subscribers of this wire
	bytes       int    // memory of the segments in the log
	messages    uint64 // messages appended so far
	frames      []frame
	scratch     []byte // a batch that turned out not to fit its segment
	spare       spares
}

// segment is a stretch of a stream in one piece of memory. What data holds is shared: it is never written again, so a
// write to a socket may read it at any time; only bytes behind len(data) are still free.
type segment struct {
	data    []byte
	frames  []frame
	before  uint64 // messages of the stream before it
	next    *segment
	resting int  // cursors in this segment
	evicted bool // fell off the log while cursors rested here
}

// frame is where a frame lies: a sealed batch is one, or several when it is large.
type frame struct {
	end      int    // offset behind it in the segment
	seq      uint64 // of its batch, as given to Seal
	messages uint64 // messages of the stream up to its end
}

// end is the newest segment, where a new cursor begins.
func (s *stream) end() *segment {
	if s.last == nil {
		s.grow(s.segmentBytes)
	}
	return s.last
}

// append encodes the batch behind the newest one. A batch never spans segments, so whatever is appended in one turn is
// usually one write.
func (s *stream) append(b *codec.Batch, seq uint64) {
	at := s.end()
	from := len(at.data)
	free := at.data[from:from:cap(at.data)]
	encoded := free
	if cap(free) >= len(b.JSON) {
		encoded = s.encodeFrames(free, b)
	}
	switch {
	case len(encoded) > 0 && cap(encoded) == cap(free):
		at.data = at.data[:from+len(encoded)]
	case len(encoded) > 0: // what stands around the messages made it outgrow the rest of the segment
		at, from = s.grow(len(encoded)), 0
		at.data = append(at.data, encoded...)
	default:
		s.scratch = s.encodeFrames(s.scratch[:0], b)
		at, from = s.grow(len(s.scratch)), 0
		at.data = append(at.data, s.scratch...)
	}
	for _, f := range s.frames {
		at.frames = append(at.frames, frame{from + f.end, seq, s.messages + f.messages})
	}
	s.messages += uint64(b.Len())
	s.evict()
}

// encodeFrames appends the batch to dst and notes where its frames end.
func (s *stream) encodeFrames(dst []byte, b *codec.Batch) []byte {
	s.frames = s.frames[:0]
	messages := uint64(0)
	b.Split(s.frameBytesMax, func(part codec.Batch) {
		dst = s.encode(dst, part)
		messages += uint64(part.Len())
		s.frames = append(s.frames, frame{end: len(dst), messages: messages})
	})
	return dst
}

// grow adds a segment with room for at least n bytes.
func (s *stream) grow(n int) *segment {
	size := (max(n, 1) + s.segmentBytes - 1) / s.segmentBytes * s.segmentBytes
	at := s.spare.take(size)
	if at == nil {
		at = &segment{data: make([]byte, 0, size)}
	}
	at.before = s.messages
	if s.last == nil {
		s.first = at
	} else {
		s.last.next = at
	}
	s.last = at
	s.bytes += cap(at.data)
	s.release()
	return at
}

// release takes the segments that every cursor has left off the old end of the log, for reuse.
func (s *stream) release() {
	for s.first != s.last && s.first.resting == 0 {
		if at := s.unlink(); s.spare.bytes+cap(at.data) <= s.spareBytes {
			s.spare.put(at)
		}
	}
}

// evict drops the oldest segments while the log is too large. Cursors in them find out at their next look. An evicted
// segment stays intact for them, but its link is cut, so that it alone is kept alive and not the whole log behind it.
func (s *stream) evict() {
	for s.bytes > s.logBytesMax && s.first != s.last {
		at := s.unlink()
		at.evicted = at.resting > 0
	}
}

func (s *stream) unlink() *segment {
	at := s.first
	s.first, at.next = at.next, nil
	s.bytes -= cap(at.data)
	return at
}

// clear empties the log: nobody reads it any more.
func (s *stream) clear() {
	for s.first != nil {
		at := s.unlink()
		if s.spare.bytes+cap(at.data) <= s.spareBytes {
			s.spare.put(at)
		}
	}
	s.last = nil
}

// frameAt is the index of the first frame that ends behind off.
func (g *segment) frameAt(off int) int {
	if n := len(g.frames); n == 0 || g.frames[n-1].end <= off {
		return n
	}
	return sort.Search(len(g.frames), func(i int) bool { return g.frames[i].end > off })
}

// spares are segments kept for reuse.
type spares struct {
	list  []*segment
	bytes int
}

func (p *spares) put(at *segment) {
	at.data, at.frames = at.data[:0], at.frames[:0]
	p.list = append(p.list, at)
	p.bytes += cap(at.data)
}

// take returns a segment of at least size bytes, nil if there is none.
func (p *spares) take(size int) *segment {
	for i, at := range p.list {
		if cap(at.data) >= size {
			last := len(p.list) - 1
			p.list[i] = p.list[last]
			p.list[last] = nil
			p.list = p.list[:last]
			p.bytes -= cap(at.data)
			return at
		}
	}
	return nil
}

func (p *spares) drop() int {
	n := p.bytes
	*p = spares{}
	return n
}
