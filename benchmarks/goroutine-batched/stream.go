package main

import (
	"sync/atomic"

	"github.com/sockloop/sockloop/codec"
)

const (
	// segmentBytes is also the most that a writer sends in one call.
	segmentBytes = 256 << 10
	// frameBytesMax is how long the elements of a frame of several messages may be, as in sockloop.
	frameBytesMax = 64 << 10
	// frameOverhead is what a frame adds to its elements: the longest header, a[ and ].
	frameOverhead = 10 + len("a[]")
)

// segment is a piece of the log: frames as they go over the wire. The hub appends; writers read what is before end.
type segment struct {
	number uint64
	bytes  []byte
	end    atomic.Int64
	next   atomic.Pointer[segment]
}

// reader is a place in the log. It belongs to one writer.
type reader struct {
	at     *segment
	offset int64
	number atomic.Uint64 // of the segment: what the hub may see
}

// unread is what the reader may send now: whole frames that lie in one segment. There is nothing when it has reached
// the end.
func (r *reader) unread() []byte {
	for {
		next := r.at.next.Load() // before end, which does not move once there is a next segment
		end := r.at.end.Load()
		if r.offset < end {
			return r.at.bytes[r.offset:end:end]
		}
		if next == nil {
			return nil
		}
		r.at, r.offset = next, 0
		r.number.Store(next.number)
	}
}

// skip goes on behind what has been sent.
func (r *reader) skip(n int) { r.offset += int64(n) }

// stream is the log. It is the hub's, but for what segments say of themselves.
type stream struct {
	oldest, tail *segment
	free         []*segment // that nobody reads any more
	segmentsMax  uint64
}

func newStream(bytesMax int) *stream {
	s := &segment{bytes: make([]byte, segmentBytes)}
	return &stream{oldest: s, tail: s, segmentsMax: uint64(bytesMax / segmentBytes)}
}

// room tells whether so many bytes fit in the last segment.
func (s *stream) room(n int) bool { return len(s.tail.bytes)-int(s.tail.end.Load()) >= n }

// extend appends a segment that has room for n bytes.
func (s *stream) extend(n int) {
	var next *segment
	if last := len(s.free) - 1; last >= 0 && n <= segmentBytes {
		next, s.free = s.free[last], s.free[:last]
	} else {
		next = &segment{bytes: make([]byte, max(n, segmentBytes))}
	}
	next.number = s.tail.number + 1
	s.tail.next.Store(next)
	s.tail = next
}

// release takes back the segments before the one with that number, which nobody reads any more.
func (s *stream) release(before uint64) {
	for s.oldest.number < before {
		g := s.oldest
		s.oldest = g.next.Load()
		if len(g.bytes) == segmentBytes {
			g.end.Store(0)
			g.next.Store(nil)
			s.free = append(s.free, g)
		}
	}
}

// full tells whether the log has as many segments as it may.
func (s *stream) full() bool { return s.tail.number-s.oldest.number+1 >= s.segmentsMax }

// append appends a frame for which there is room.
func (s *stream) append(frame func(dst []byte) []byte) {
	end := s.tail.end.Load()
	p := frame(s.tail.bytes[:end])
	s.tail.end.Store(int64(len(p)))
}

// appendArray appends a part of a batch as one frame.
func (s *stream) appendArray(part codec.Batch) {
	s.append(func(dst []byte) []byte { return codec.AppendWebSocketArray(dst, part) })
}
