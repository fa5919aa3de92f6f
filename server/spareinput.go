package server

import (
	"math/bits"
	"slices"
)

// spareInputs are buffers in which input has waited, kept for the next that must. Clients who send as fast as they can
// have some of each read wait for their next share: 25 of them made 24 MB of garbage a second, and while the collector
// marks, each pointer that a message's way sets costs several times as much. What is kept is charged with the inputs.
type spareInputs struct {
	memory  *memory
	buffers [][]byte
	bytes   int
}

const (
	// spareInputsMax is how many bytes are kept in all.
	spareInputsMax = 1 << 20
	// spareInputMin is the smallest buffer that is kept: what is left of a frame or a head takes less.
	spareInputMin = 8 << 10
	// spareShare is how many times as large as what it is for a spare buffer may be.
	spareShare = 4
)

// take returns a buffer for n bytes, which belongs to the caller: a spare one, or a new one. Its length is 0.
func (s *spareInputs) take(n int) []byte {
	for i := len(s.buffers) - 1; i >= 0; i-- {
		if b := s.buffers[i]; cap(b) >= n && cap(b) < spareShare*n {
			s.remove(i)
			return b
		}
	}
	if n < spareInputMin || s.memory.nearlyFull() {
		return make([]byte, 0, n)
	}
	return make([]byte, 0, 1<<bits.Len(uint(n-1))) // so that it serves the next, too
}

// put takes a buffer back, which becomes a spare one and may take the place of those that have been so for longest.
func (s *spareInputs) put(b []byte) {
	if cap(b) < spareInputMin || cap(b) > spareInputsMax || s.memory.nearlyFull() {
		return
	}
	for s.bytes+cap(b) > spareInputsMax {
		s.remove(0)
	}
	s.buffers = append(s.buffers, b[:0])
	s.count(cap(b))
}

// drop gives all of them up.
func (s *spareInputs) drop() {
	s.count(-s.bytes)
	s.buffers = nil
}

func (s *spareInputs) remove(i int) {
	s.count(-cap(s.buffers[i]))
	s.buffers = slices.Delete(s.buffers, i, i+1)
}

func (s *spareInputs) count(n int) {
	s.bytes += n
	s.memory.inputs.Charge(n)
}
