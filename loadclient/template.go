package loadclient

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
)

// stencils are a worker's prebuilt frames: one for each size, and for each number of digits that an id may have. To
// send one is to write over the digits of id, time and sequence number, masked as the rest, and to copy it.
type stencils struct {
	layout  []piece
	dialect dialect
	masked  bool
	sizes   []int
	byWidth map[int][]frame // by the number of an id's digits
	order   *deck
}

// frame is one of them. Places count from the frame's beginning; that of something that it has not got is 0.
type frame struct {
	bytes         []byte
	id, time, seq int
	mask          [4]byte
	masked        int   // where the mask begins
	stamp         int64 // the time that it bears
}

func newStencils(t Target) *stencils {
	s := &stencils{
		layout: t.Payload.layout(), dialect: declared(t.Protocol).dialect, masked: !streams(t.Protocol),
		sizes: t.Payload.sizes, byWidth: map[int][]frame{},
	}
	if s.sizes == nil {
		s.sizes = []int{0}
	}
	if len(s.sizes) > 1 {
		s.order = newDeck(len(s.sizes))
	}
	return s
}

// template is a connection's view of the stencils.
type template struct {
	frames []frame // shared by the worker's connections whose ids have as many digits
	order  *deck   // of frames; nil when there is only one
	id     []byte
	seq    int64
}

// template makes one for a connection.
func (s *stencils) template(id int) template {
	text := strconv.Itoa(id)
	frames, known := s.byWidth[len(text)]
	if !known {
		for _, size := range s.sizes {
			frames = append(frames, s.frame(len(text), size))
		}
		s.byWidth[len(text)] = frames
	}
	return template{frames: frames, order: s.order, id: []byte(text), seq: seqFirst}
}

// frame builds the frame of a message of size bytes at least, before it is quoted.
func (s *stencils) frame(width, size int) frame {
	var f frame
	text := 0 // bytes without padding
	for _, p := range s.layout {
		text += len(p.text) + p.width()
		if p.kind == idPiece {
			text += width
		}
	}
	b := []byte(s.dialect.sendBefore)
	for _, p := range s.layout {
		zeros := p.width()
		switch p.kind {
		case literal:
			if s.dialect.quoted {
				p.text = quote(p.text)
			}
			b = append(b, p.text...)
		case idPiece:
			f.id, zeros = len(b), width
		case timeOf:
			f.time = len(b)
		case seqPiece:
			f.seq = len(b)
		case padPiece:
			b = append(b, strings.Repeat(padding, max(0, size-text))...)
		}
		b = append(b, strings.Repeat("0", zeros)...)
	}
	b = append(b, s.dialect.sendAfter...)
	if !s.masked {
		f.bytes = b
		return f
	}
	key := rand.Uint32()
	f.mask = [4]byte{byte(key), byte(key >> 8), byte(key >> 16), byte(key >> 24)}
	f.bytes = codec.AppendMaskedFrame(nil, ws.OpText, b, f.mask)
	f.masked = len(f.bytes) - len(b)
	f.id, f.time = f.id+f.masked, f.time+f.masked
	if f.seq > 0 {
		f.seq += f.masked
	}
	return f
}

// put writes digits over those at a place.
func (f *frame) put(at int, digits []byte) {
	for i, c := range digits {
		f.bytes[at+i] = c ^ f.mask[(at+i-f.masked)&3]
	}
}

// append appends n messages that bear a time.
func (t *template) append(dst []byte, stamp int64, n int) []byte {
	var f *frame
	for range n {
		if f == nil || t.order != nil || f.seq > 0 { // else it is the same once more
			f = t.next(stamp)
		}
		dst = append(dst, f.bytes...)
	}
	return dst
}

// next is the frame of the next message.
func (t *template) next(stamp int64) *frame {
	var scratch [20]byte
	f := &t.frames[0]
	if t.order != nil {
		f = &t.frames[t.order.draw()]
	}
	f.put(f.id, t.id)
	if f.stamp != stamp {
		f.stamp = stamp
		f.put(f.time, strconv.AppendInt(scratch[:0], stamp, 10))
	}
	if f.seq > 0 {
		f.put(f.seq, strconv.AppendInt(scratch[:0], t.seq, 10))
		if t.seq++; t.seq == seqFirst*10 {
			t.seq = seqFirst
		}
	}
	return f
}

// deck deals numbers in a random order, each as often as the others, and in the same order in each run.
type deck struct {
	cards []int
	dealt int
	rand  *rand.Rand
}

func newDeck(n int) *deck {
	d := &deck{cards: make([]int, n), dealt: n, rand: rand.New(rand.NewPCG(2011, 9))}
	for i := range d.cards {
		d.cards[i] = i
	}
	return d
}

func (d *deck) draw() int {
	if d.dealt == len(d.cards) {
		d.dealt = 0
		d.rand.Shuffle(len(d.cards), func(i, j int) { d.cards[i], d.cards[j] = d.cards[j], d.cards[i] })
	}
	d.dealt++
	return d.cards[d.dealt-1]
}
