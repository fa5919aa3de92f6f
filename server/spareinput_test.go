package server

import (
	"testing"
	"unsafe"
)

func same(a, b []byte) bool { return unsafe.SliceData(a) == unsafe.SliceData(b) }

func TestSpareInputs(t *testing.T) {
	t.Parallel()
	var m memory
	m.init(64 << 20)
	s := &m.spare
	small, large := s.take(spareInputMin-1), s.take(9000)
	if len(small)+len(large) != 0 || cap(small) < spareInputMin-1 || cap(large) != 16384 || m.budget.Used() != 0 {
		t.Fatalf("%d, %d of %d, %d bytes; %d charged", len(small), len(large), cap(small), cap(large), m.budget.Used())
	}
	s.put(nil)
	s.put(small)
	s.put(make([]byte, spareInputsMax+1))
	s.put(large[:100])
	if m.inputs.Bytes() != 16384 {
		t.Errorf("%d bytes are charged, want those of one", m.inputs.Bytes())
	}
	if b := s.take(16385); same(b, large) || cap(b) < 16385 {
		t.Errorf("one of %d bytes for 16385", cap(b))
	}
	if b := s.take(4096); same(b, large) {
		t.Error("one of 16 KiB for 4")
	}
	if b := s.take(16384); !same(b, large) || len(b) != 0 || m.inputs.Bytes() != 0 {
		t.Errorf("not the spare one: %d of %d, %d charged", len(b), cap(b), m.inputs.Bytes())
	}
	s.put(large)
	for range spareInputsMax / 65536 {
		s.put(make([]byte, 65536))
	}
	if m.inputs.Bytes() != spareInputsMax || same(s.take(16384), large) {
		t.Errorf("%d bytes are kept, want %d, without the oldest", m.inputs.Bytes(), spareInputsMax)
	}
	if s.drop(); m.inputs.Bytes() != 0 || len(s.buffers) != 0 {
		t.Errorf("%d bytes and %d buffers are left", m.inputs.Bytes(), len(s.buffers))
	}
	m.connections.Charge(m.low() + 1)
	if s.put(large); m.inputs.Bytes() != 0 || cap(s.take(33_000)) >= 65536 {
		t.Error("one is kept, or more than is needed, though newcomers are refused")
	}
}

// Who waits for his share of a turn leaves what waits in a buffer that serves the next; a turn that ends somebody for
// the memory he takes gives such buffers up first.
func TestInputThatWaitsHasASpareBuffer(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	l := s.loop
	c := &conn{loop: l, protocol: &wastingNothing{}, hold: holdShare, watched: watchIn}
	c.take(make([]byte, 10_000))
	waits := c.input
	if len(waits) != 10_000 || l.memory.inputs.Bytes() != cap(waits) {
		t.Fatalf("%d bytes wait, %d are charged", len(waits), l.memory.inputs.Bytes())
	}
	c.taken = len(c.input)
	c.settle()
	if c.input != nil || l.memory.spare.bytes != cap(waits) || l.memory.inputs.Bytes() != cap(waits) {
		t.Errorf("%d bytes are spare, and %d charged", l.memory.spare.bytes, l.memory.inputs.Bytes())
	}
	longer := &conn{loop: l, protocol: &wastingNothing{}, hold: holdResponse, watched: watchIn}
	if longer.take(make([]byte, 10_000)); same(longer.input, waits) {
		t.Error("who waits behind a response has it")
	}
	if c.take(make([]byte, 9000)); !same(c.input, waits) {
		t.Error("the next has a buffer of its own")
	}
	c.taken = len(c.input)
	c.settle()
	if l.giveBack(); l.memory.spare.bytes != 0 {
		t.Errorf("%d bytes are spare while nothing happens", l.memory.spare.bytes)
	}
	c.take(make([]byte, 9000))
	c.taken = len(c.input)
	c.settle()
	l.memory.connections.Charge(l.memory.budget.BytesMax)
	if l.shed(); l.memory.spare.bytes != 0 {
		t.Errorf("%d bytes are spare while there is no memory", l.memory.spare.bytes)
	}
}

// A connection that is forgotten lets go of what waits, though it may stand in a queue for some turns.
func TestForgottenConnectionKeepsNothing(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	l := s.loop
	c := &conn{loop: l, protocol: &wastingNothing{}, hold: holdShare, watched: watchIn, output: []byte("left")}
	l.conns, l.byFD = []*conn{c}, []*conn{c}
	c.take(make([]byte, 10_000))
	if l.forget(c); c.input != nil || c.output != nil || l.memory.inputs.Bytes() != 0 {
		t.Errorf("%d and %d bytes are kept, %d charged", cap(c.input), cap(c.output), l.memory.inputs.Bytes())
	}
}

// wastingNothing is a protocol that keeps nothing, of a connection that waits.
type wastingNothing struct{ protocol }

func (*wastingNothing) kept() int        { return 0 }
func (*wastingNothing) unfinished() bool { return false }
