package broadcast

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/codec"
)

// lines is a wire for tests: each message and a newline. A batch is several of them.
func lines(dst []byte, b codec.Batch) []byte {
	for text := range bytes.SplitSeq(b.Elements(), []byte{','}) {
		dst = append(append(dst, bytes.Trim(text, `"`)...), '\n')
	}
	return dst
}

// loud is another wire.
func loud(dst []byte, b codec.Batch) []byte { return append(dst, bytes.ToUpper(lines(nil, b))...) }

type silent struct{}

func (silent) Deliver() {}

func publish(t *Topic, text string) {
	m := codec.Text([]byte(text))
	t.Publish(&m)
}

// readAll reads up to n bytes, in the pieces that the cursor gives.
func readAll(c *Cursor, n int) string {
	var b strings.Builder
	for n > 0 {
		p := c.Unread()
		if len(p) == 0 {
			break
		}
		p = p[:min(n, len(p))]
		b.Write(p)
		c.Advance(len(p))
		n -= len(p)
	}
	return b.String()
}

func TestSubscribersReceiveFromTheirSubscriptionOn(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines, loud}})
	var early, late, other Cursor
	topic.Subscribe(&early, 0, silent{}, 1)
	publish(topic, "one")
	topic.Subscribe(&late, 0, silent{}, 2) // seals one: it was published before
	topic.Subscribe(&other, 1, silent{}, 3)
	publish(topic, "two")
	publish(topic, "three")
	topic.Seal(4)
	for _, tt := range []struct {
		c    *Cursor
		want string
	}{{&early, "one\ntwo\nthree\n"}, {&late, "two\nthree\n"}, {&other, "TWO\nTHREE\n"}} {
		if got := readAll(tt.c, 1000); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if topic.Published() != 3 || topic.Len() != 3 {
		t.Errorf("%d published, %d subscribers", topic.Published(), topic.Len())
	}
}

// Two subscribers of a wire read the same memory.
func TestBytesAreShared(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	var a, b Cursor
	topic.Subscribe(&a, 0, silent{}, 1)
	topic.Subscribe(&b, 0, silent{}, 1)
	publish(topic, "x")
	topic.Seal(2)
	if &a.Unread()[0] != &b.Unread()[0] {
		t.Error("two copies")
	}
}

func TestEncodersRunOncePerBatch(t *testing.T) {
	t.Parallel()
	calls := 0
	topic := NewTopic(Config{Wires: []Encoder{func(dst []byte, b codec.Batch) []byte { calls++; return lines(dst, b) }, loud}})
	cursors := make([]Cursor, 100)
	for i := range cursors {
		topic.Subscribe(&cursors[i], 0, silent{}, 1)
	}
	publish(topic, "x")
	topic.Seal(2)
	if calls != 1 {
		t.Errorf("%d encodings for 100 subscribers", calls)
	}
}

func TestSlowConsumerIsEvictedAndCanSkip(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}, SegmentBytes: 64, LogBytesMax: 256})
	var slow, quick Cursor
	topic.Subscribe(&slow, 0, silent{}, 1)
	topic.Subscribe(&quick, 0, silent{}, 1)
	const total = 200
	begun := ""
	for i := range total {
		publish(topic, fmt.Sprintf("message %03d", i))
		topic.Seal(uint64(i + 2))
		readAll(&quick, 1000)
		if i == 0 {
			begun = readAll(&slow, 5) // in the middle of a batch
		}
	}
	if quick.Evicted() || !slow.Evicted() {
		t.Fatalf("evicted: quick %v, slow %v", quick.Evicted(), slow.Evicted())
	}
	if topic.LogBytes() > 256+SpareBytes {
		t.Errorf("the log holds %d bytes", topic.LogBytes())
	}
	if begun += readAll(&slow, 1000); begun != "message 000\n" {
		t.Errorf("the batch that had begun reads %q", begun)
	}
	if dropped := slow.Skip(); dropped != total-1 {
		t.Errorf("%d dropped, want %d", dropped, total-1)
	}
	publish(topic, "after")
	topic.Seal(1000)
	if got := readAll(&slow, 1000); got != "after\n" || slow.Evicted() {
		t.Errorf("after the skip: %q, evicted %v", got, slow.Evicted())
	}
}

// An evicted cursor keeps its own segment alive, and not the log behind it.
func TestEvictedSegmentIsCutOff(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}, SegmentBytes: 64, LogBytesMax: 128})
	var slow Cursor
	topic.Subscribe(&slow, 0, silent{}, 1)
	for i := range 100 {
		publish(topic, "0123456789")
		topic.Seal(uint64(i + 2))
	}
	if !slow.Evicted() || slow.at.next != nil {
		t.Errorf("evicted %v, link %p", slow.Evicted(), slow.at.next)
	}
}

func TestLastSubscriberLeavesNothing(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	var c Cursor
	topic.Subscribe(&c, 0, silent{}, 1)
	publish(topic, strings.Repeat("x", 100_000))
	topic.Seal(2)
	topic.Unsubscribe(&c)
	topic.Unsubscribe(&c) // and again, without harm
	topic.Trim()
	if topic.LogBytes() != 0 || topic.Len() != 0 {
		t.Errorf("%d bytes, %d subscribers", topic.LogBytes(), topic.Len())
	}
}

func TestSequenceNumbers(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	var c Cursor
	topic.Subscribe(&c, 0, silent{}, 1)
	if c.Seq() != NoSeq {
		t.Error("an empty topic has a number")
	}
	for i, s := range []string{"a", "b", "c"} {
		publish(topic, s)
		topic.Seal(uint64(10 * (i + 1)))
	}
	if c.Seq() != 10 || string(c.UnreadBefore(30)) != "a\nb\n" || string(c.UnreadBefore(10)) != "" {
		t.Errorf("%d %q", c.Seq(), c.UnreadBefore(30))
	}
	c.Advance(1)
	if !c.InFrame() || string(c.RestOfFrame()) != "\n" || c.Seq() != 10 {
		t.Errorf("%v %q %d", c.InFrame(), c.RestOfFrame(), c.Seq())
	}
	c.Advance(1)
	if c.InFrame() || c.Seq() != 20 || string(c.UnreadBefore(30)) != "b\n" {
		t.Errorf("%v %d %q", c.InFrame(), c.Seq(), c.UnreadBefore(30))
	}
}

// A large batch is several frames, which lie in one piece; a look ahead sees them all.
func TestLargeBatchesAreSeveralFrames(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}, FrameBytesMax: 10, SegmentBytes: 32})
	var c Cursor
	topic.Subscribe(&c, 0, silent{}, 1)
	publish(topic, "early")
	topic.Seal(2)
	for i := range 10 {
		publish(topic, fmt.Sprintf("%04d", i)) // with quotes six bytes: one a frame
	}
	topic.Seal(3)
	ahead := c.Ahead()
	sizes, numbers := []int{}, []uint64{}
	for size, seq := ahead.Frame(); size > 0; size, seq = ahead.Frame() {
		sizes, numbers = append(sizes, size), append(numbers, seq)
		ahead.Pass(size)
	}
	if fmt.Sprint(sizes) != "[6 5 5 5 5 5 5 5 5 5 5]" || fmt.Sprint(numbers) != "[2 3 3 3 3 3 3 3 3 3 3]" {
		t.Errorf("frames of %v bytes with numbers %v", sizes, numbers)
	}
	if _, seq := ahead.Frame(); seq != NoSeq {
		t.Errorf("behind the end: %d", seq)
	}
	readAll(&c, len("early\n")+7)
	if !c.InFrame() || string(c.RestOfFrame()) != "01\n" {
		t.Errorf("in the second frame: %v %q", c.InFrame(), c.RestOfFrame())
	}
	if len(c.Unread()) != 50-7 {
		t.Errorf("%d bytes in one piece", len(c.Unread()))
	}
	ahead = c.Ahead()
	if size, _ := ahead.Frame(); size != 3 {
		t.Errorf("%d bytes are unread of the frame", size)
	}
}

// model is a topic as one would write it without a thought for cost: every subscriber has a copy of what it is to get.
type model struct {
	open  string
	due   map[*Cursor]string
	wires map[*Cursor]Wire
}

func (m *model) seal() {
	for c := range m.due {
		if m.wires[c] == 0 {
			m.due[c] += m.open
		} else {
			m.due[c] += strings.ToUpper(m.open)
		}
	}
	m.open = ""
}

// FuzzTopic runs random operations on a topic and on the model. No log is large enough to evict, so both must agree on
// every byte.
func FuzzTopic(f *testing.F) {
	f.Add(uint64(1), uint16(200))
	f.Add(uint64(2), uint16(2000))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		r := rand.New(rand.NewPCG(seed, 0))
		topic := NewTopic(Config{Wires: []Encoder{lines, loud}, SegmentBytes: 32, SpareBytes: 128, LogBytesMax: 1 << 40})
		m := model{due: map[*Cursor]string{}, wires: map[*Cursor]Wire{}}
		var cursors []*Cursor
		seq := uint64(0)
		for step := range int(steps) % 3000 {
			seq++
			switch r.IntN(7) {
			case 0:
				c := &Cursor{}
				w := Wire(r.IntN(2))
				topic.Subscribe(c, w, silent{}, seq)
				m.seal()
				m.due[c], m.wires[c] = "", w
				cursors = append(cursors, c)
			case 1:
				if len(cursors) > 0 {
					i := r.IntN(len(cursors))
					topic.Unsubscribe(cursors[i])
					delete(m.due, cursors[i])
					cursors = append(cursors[:i], cursors[i+1:]...)
				}
			case 2, 3:
				text := fmt.Sprintf("m%d%s", step, strings.Repeat("x", r.IntN(40)))
				publish(topic, text)
				m.open += text + "\n"
			case 4:
				topic.Seal(seq)
				m.seal()
			default:
				if len(cursors) > 0 {
					c := cursors[r.IntN(len(cursors))]
					got := readAll(c, r.IntN(100))
					if !strings.HasPrefix(m.due[c], got) {
						t.Fatalf("seed %d step %d: read %q, due %q", seed, step, got, m.due[c])
					}
					m.due[c] = m.due[c][len(got):]
				}
			}
		}
		for _, c := range cursors {
			if got := readAll(c, 1<<30); got != m.due[c] {
				t.Fatalf("seed %d: the rest is %q, due %q", seed, got, m.due[c])
			}
		}
	})
}

// FuzzEviction checks what must hold when the log is too small: whoever is not evicted misses nothing, and what is read
// and what is dropped add up.
func FuzzEviction(f *testing.F) {
	f.Add(uint64(1))
	f.Add(uint64(99))
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		topic := NewTopic(Config{Wires: []Encoder{lines}, SegmentBytes: 64, SpareBytes: 64, LogBytesMax: 256})
		cursors := make([]Cursor, 5)
		got := make([]string, len(cursors))
		dropped := make([]uint64, len(cursors))
		for i := range cursors {
			topic.Subscribe(&cursors[i], 0, silent{}, 1)
		}
		published := 0
		for seq := range uint64(500) {
			for range 1 + r.IntN(3) {
				publish(topic, fmt.Sprintf("%d", published))
				published++
			}
			topic.Seal(seq + 2)
			for i := range cursors {
				c := &cursors[i]
				got[i] += readAll(c, r.IntN(12*(i+1)))
				if c.Evicted() && len(c.Unread()) == 0 {
					dropped[i] += c.Skip()
				}
			}
		}
		for i := range cursors {
			c := &cursors[i]
			got[i] += readAll(c, 1<<30)
			if c.Evicted() {
				dropped[i] += c.Skip()
			}
			next := 0
			read := strings.Split(strings.TrimSuffix(got[i], "\n"), "\n")
			for _, s := range read {
				var n int
				if _, err := fmt.Sscanf(s, "%d", &n); err != nil || n < next {
					t.Fatalf("seed %d: cursor %d read %q after %d", seed, i, s, next-1)
				}
				next = n + 1
			}
			if len(read)+int(dropped[i]) != published {
				t.Fatalf("seed %d: cursor %d read %d and dropped %d of %d", seed, i, len(read), dropped[i], published)
			}
		}
	})
}

func BenchmarkPublishSealRead(b *testing.B) {
	topic := NewTopic(Config{Wires: []Encoder{codec.AppendWebSocketArray}})
	cursors := make([]Cursor, 100)
	for i := range cursors {
		topic.Subscribe(&cursors[i], 0, silent{}, 0)
	}
	m := codec.Text([]byte("17:1700000000000"))
	m.JSON()
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		for range 10 {
			topic.Publish(&m)
		}
		seq++
		topic.Seal(seq)
		for i := range cursors {
			c := &cursors[i]
			c.Advance(len(c.Unread()))
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	var c Cursor
	topic.Subscribe(&c, 0, silent{}, 0)
	m := codec.Text([]byte("17:1700000000000"))
	m.JSON()
	seq := uint64(0)
	turn := func() {
		for range 1000 {
			topic.Publish(&m)
		}
		seq++
		topic.Seal(seq)
		for p := c.Unread(); len(p) > 0; p = c.Unread() {
			c.Advance(len(p))
		}
	}
	for range 100 {
		turn()
	}
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations a turn of 1000 messages", n)
	}
}
