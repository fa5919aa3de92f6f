package broadcast

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/internal/budget"
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

// reader is a receiver that notes what it is told.
type reader struct {
	Outflow
	busy      bool
	delivered int
	evicted   int
	missed    *uint64 // what all readers of its first topic have missed
}

func (r *reader) Ready() bool { return !r.busy }
func (r *reader) Deliver()    { r.delivered++ }

func (r *reader) Evicted() { r.evicted++ }

// newReader makes a reader that subscribes to the topics' first wire.
func newReader(c *OutflowConfig, topics ...*Topic) *reader {
	r := &reader{}
	r.Init(c, r)
	for _, t := range topics {
		r.Subscribe(t, 0, 1)
	}
	if len(topics) > 0 {
		r.missed = topics[0].streams[0].missed
	}
	return r
}

func publish(t *Topic, text string) {
	m := codec.Text([]byte(text))
	t.Publish(&m)
}

// seal publishes a text as a batch of its own.
func seal(t *Topic, seq uint64, text string) {
	publish(t, text)
	t.Seal(seq)
}

func (r *reader) post(t *testing.T, seq uint64, text string) {
	t.Helper()
	if err := r.Post(append(r.Outbox(), text...), seq); err != nil {
		t.Fatal(err)
	}
}

// read takes up to n bytes, in the pieces that Next gives.
func (r *reader) read(n int) string {
	var b strings.Builder
	for n > 0 {
		p, from := r.Next()
		if len(p) == 0 {
			break
		}
		p = p[:min(n, len(p))]
		b.Write(p)
		r.Advance(from, len(p))
		n -= len(p)
	}
	return b.String()
}

func (r *reader) expect(t *testing.T, n int, want string) {
	t.Helper()
	if got := r.read(n); got != want {
		t.Errorf("read %q, want %q", got, want)
	}
}

const all = 1 << 30

func TestSubscribersReceiveFromTheirSubscriptionOn(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines, loud}})
	var c OutflowConfig
	early, late, other := newReader(&c, topic), newReader(&c), newReader(&c)
	publish(topic, "one")
	late.Subscribe(topic, 0, 2) // seals one: it was published before
	other.Subscribe(topic, 1, 3)
	publish(topic, "two")
	publish(topic, "three")
	topic.Seal(4)
	early.expect(t, all, "one\ntwo\nthree\n")
	late.expect(t, all, "two\nthree\n")
	other.expect(t, all, "TWO\nTHREE\n")
	if topic.Published() != 3 || topic.Len() != 3 {
		t.Errorf("%d published, %d subscribers", topic.Published(), topic.Len())
	}
}

func TestDeliverAndEachReachEverySubscriber(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines, loud}})
	var c OutflowConfig
	one, two, gone := newReader(&c, topic), newReader(&c), newReader(&c, topic)
	two.Subscribe(topic, 1, 2)
	gone.Unsubscribe(topic)
	topic.Deliver()
	topic.Each(func(r Receiver) { r.Deliver() })
	if one.delivered != 2 || two.delivered != 2 || gone.delivered != 0 {
		t.Errorf("told %d, %d and %d times", one.delivered, two.delivered, gone.delivered)
	}
}

// Who is not ready is not told, whoever is asked with it.
func TestDeliverReachesThoseThatAreReady(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	readers := make([]*reader, 2*askedAhead+3)
	for i := range readers {
		readers[i] = newReader(&OutflowConfig{}, topic)
		readers[i].busy = i%3 == 0 || i/askedAhead == 1
	}
	topic.Deliver()
	for i, r := range readers {
		if want := map[bool]int{true: 0, false: 1}[r.busy]; r.delivered != want {
			t.Errorf("reader %d was told %d times, want %d", i, r.delivered, want)
		}
	}
}

// Two subscribers of a wire read the same memory.
func TestBytesAreShared(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	var c OutflowConfig
	a, b := newReader(&c, topic), newReader(&c, topic)
	seal(topic, 2, "x")
	p, _ := a.Next()
	q, _ := b.Next()
	if &p[0] != &q[0] {
		t.Error("two copies")
	}
}

func TestEncodersRunOncePerBatch(t *testing.T) {
	t.Parallel()
	calls := 0
	counted := func(dst []byte, b codec.Batch) []byte { calls++; return lines(dst, b) }
	topic := NewTopic(Config{Wires: []Encoder{counted, loud}})
	var c OutflowConfig
	for range 100 {
		newReader(&c, topic)
	}
	seal(topic, 2, "x")
	if calls != 1 {
		t.Errorf("%d encodings for 100 subscribers", calls)
	}
}

func TestLastSubscriberLeavesNothing(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, topic)
	seal(topic, 2, strings.Repeat("x", 100_000))
	r.Unsubscribe(topic)
	r.Unsubscribe(topic) // and again, without harm
	topic.Trim()
	if topic.LogBytes() != 0 || topic.Len() != 0 || r.Len() != 0 {
		t.Errorf("%d bytes, %d subscribers", topic.LogBytes(), topic.Len())
	}
}

// A topic to which nothing was published has no log, whoever subscribes.
func TestSilentTopicsCostNothing(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	newReader(&OutflowConfig{}, topic)
	if topic.LogBytes() != 0 {
		t.Errorf("%d bytes", topic.LogBytes())
	}
}

func TestClosedTopicIsGone(t *testing.T) {
	t.Parallel()
	var b budget.Budget
	logs := b.Account()
	topic := NewTopic(Config{Wires: []Encoder{lines, loud}, Logs: logs})
	var c OutflowConfig
	one, two := newReader(&c, topic), newReader(&c)
	two.Subscribe(topic, 1, 2)
	seal(topic, 3, "first")
	one.expect(t, 2, "fi")
	publish(topic, "open")
	topic.Close()
	topic.Close() // and again, without harm
	publish(topic, "late")
	topic.Seal(4)
	if topic.Len() != 0 || topic.LogBytes() != 0 || logs.Bytes() != 0 || topic.IsOpen() || topic.Published() != 1 {
		t.Errorf("%d subscribers, %d bytes, %d charged", topic.Len(), topic.LogBytes(), logs.Bytes())
	}
	if one.Subscribe(topic, 0, 5) || topic.Len() != 0 || one.Len() != 0 {
		t.Error("somebody subscribes to a closed topic")
	}
	one.expect(t, all, "rst\n") // what had begun
	two.expect(t, all, "")
}

// A large batch is several frames, which lie in one piece; a plan is as many of them as it may be.
func TestLargeBatchesAreSeveralFrames(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}, FrameBytesMax: 10, SegmentBytes: 32})
	r := newReader(&OutflowConfig{}, topic)
	seal(topic, 2, "early")
	for i := range 10 {
		publish(topic, fmt.Sprintf("%07d", i)) // with quotes nine bytes: one a frame
	}
	topic.Seal(3)
	r.expect(t, len("early\n")+9, "early\n0000000\n0")
	if !r.Begun() {
		t.Error("nothing has begun")
	}
	if n := r.Plan(5); n != 7 {
		t.Errorf("%d bytes of the frame that had begun are planned", n)
	}
	r.expect(t, r.Planned(), "000001\n")
	if r.Begun() {
		t.Error("between two frames something has begun")
	}
	if p, _ := r.Next(); len(p) != 64 {
		t.Errorf("%d bytes in one piece", len(p))
	}
	if n := r.Plan(23); n != 16 {
		t.Errorf("%d bytes are planned", n)
	}
	r.expect(t, r.Planned(), "0000002\n0000003\n")
	r.expect(t, all, "0000004\n0000005\n0000006\n0000007\n0000008\n0000009\n")
}

// A stream of tiny batches keeps its table below a tenth of its memory, and of what it describes.
func TestTablesOfTinyBatchesAreSmall(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{codec.AppendWebSocketArray}})
	newReader(&OutflowConfig{}, topic)
	other := NewTopic(Config{Wires: []Encoder{codec.AppendWebSocketArray}})
	newReader(&OutflowConfig{}, other)
	for seq := uint64(1); topic.streams[0].kept < 4<<20; seq += 2 {
		seal(topic, seq, "")
		seal(other, seq+1, "") // nobody hears both
	}
	data, tables := 0, 0
	for at := topic.streams[0].first; at != nil; at = at.next {
		if cap(at.data) > 0 && cap(at.entries) != SegmentBytes/mergeBytes {
			t.Errorf("a table has room for %d entries", cap(at.entries))
		}
		data += len(at.data)
		tables += entrySize * cap(at.entries)
	}
	if tables*10 > data || data+tables > topic.LogBytes() {
		t.Errorf("tables of %d bytes for %d bytes of data, in all %d", tables, data, topic.LogBytes())
	}
}

// Where order forbids that entries are merged, what their table occupies counts.
func TestTablesCount(t *testing.T) {
	t.Parallel()
	var b budget.Budget
	topic := NewTopic(Config{Wires: []Encoder{codec.AppendWebSocketArray}, LogBytesMax: 1 << 20, Logs: b.Account()})
	r := newReader(&OutflowConfig{Skip: true}, topic)
	for seq := uint64(1); seq < 400_000; seq += 2 {
		seal(topic, seq, "")
		r.post(t, seq+1, ".")
		if r.Waiting() > 1000 {
			r.read(100)
		}
		if topic.LogBytes() > 1<<20+4096 || b.Used() != topic.LogBytes() {
			t.Fatalf("the log occupies %d bytes, charged are %d", topic.LogBytes(), b.Used())
		}
	}
}

func TestTrimGivesBackWhatIsKeptForReuse(t *testing.T) {
	t.Parallel()
	var b budget.Budget
	topic := NewTopic(Config{Wires: []Encoder{lines}, Logs: b.Account()})
	r := newReader(&OutflowConfig{}, topic)
	for seq := range uint64(8) {
		for range 10_000 {
			publish(topic, "0123456789")
		}
		topic.Seal(seq + 2)
	}
	r.read(all)
	before := topic.LogBytes()
	if n := topic.Trim(); n < 900_000 || topic.LogBytes() != before-n || b.Used() != before-n {
		t.Errorf("%d of %d bytes given back, %d left, %d charged", n, before, topic.LogBytes(), b.Used())
	}
	publish(topic, strings.Repeat("x", 100_000))
	topic.Trim()
	topic.Seal(100)
	if got := r.read(all); len(got) != 100_001 {
		t.Errorf("of an open batch of 100,000 bytes %d are left", len(got))
	}
}

func BenchmarkPublishSealRead(b *testing.B) {
	topic := NewTopic(Config{Wires: []Encoder{codec.AppendWebSocketArray}})
	readers := make([]reader, 100)
	var c OutflowConfig
	for i := range readers {
		readers[i].Init(&c, &readers[i])
		readers[i].Subscribe(topic, 0, 1)
	}
	m := codec.Text([]byte("17:1700000000000"))
	m.JSON()
	seq := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		for range 10 {
			topic.Publish(&m)
		}
		seq++
		topic.Seal(seq)
		for i := range readers {
			p, from := readers[i].Next()
			readers[i].Advance(from, len(p))
		}
	}
}

// BenchmarkOutflowNextAdvance is a turn of 2000 outflows that take 16 KiB each of a log of 64 segments. The figure is
// for all of them.
func BenchmarkOutflowNextAdvance(b *testing.B) {
	topic := NewTopic(Config{Wires: []Encoder{codec.AppendWebSocketArray}})
	readers := make([]*reader, 2000)
	var c OutflowConfig
	for i := range readers {
		readers[i] = newReader(&c, topic)
	}
	m := codec.Text(bytes.Repeat([]byte{'x'}, 1000))
	m.JSON()
	seq := uint64(1)
	turn := func() {
		for range 16 {
			topic.Publish(&m)
		}
		seq++
		topic.Seal(seq)
	}
	for range 64 * 4 {
		turn()
	}
	b.ReportAllocs()
	for b.Loop() {
		turn()
		for _, r := range readers {
			p, from := r.Next()
			r.Advance(from, min(len(p), 16<<10))
		}
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	now := int64(0)
	for _, logBytesMax := range []int{16 << 20, 300_000} { // the second evicts the stalled reader every few turns
		one := NewTopic(Config{
			Wires: []Encoder{lines}, LogBytesMax: logBytesMax,
			Pace: Pace{Now: &now, BytesPerSecond: 1000, WindowMS: 1000},
		})
		two := NewTopic(Config{Wires: []Encoder{lines}})
		c := OutflowConfig{Skip: true}
		quick, stalled := newReader(&c, one, two), newReader(&c)
		if logBytesMax < 1<<20 {
			stalled.Subscribe(one, 0, 1)
		}
		m := codec.Text([]byte("17:1700000000000"))
		m.JSON()
		seq := uint64(1)
		turn := func() {
			for range 3000 {
				one.Publish(&m)
			}
			now += 1000
			seq++
			one.Seal(seq)
			one.Deliver()
			for topic := range quick.Topics() {
				seq++
				if topic == two {
					two.Publish(&m)
				}
				topic.Seal(seq)
			}
			seq++
			if err := quick.Post(append(quick.Outbox(), "pong"...), seq); err != nil {
				t.Fatal(err)
			}
			stalled.Next() // once it was skipped it goes on, and takes nothing
			quick.Plan(1000)
			for p, from := quick.Next(); len(p) > 0; p, from = quick.Next() {
				quick.Advance(from, len(p))
			}
			one.Full()
		}
		for range 400 {
			turn()
		}
		if n := testing.AllocsPerRun(100, turn); n != 0 {
			t.Errorf("log of %d bytes: %v allocations a turn", logBytesMax, n)
		}
		if stalled.Len() > 0 && stalled.evicted < 100 {
			t.Errorf("%d evictions", stalled.evicted)
		}
	}
}

// smallSegments is a log of segments of 256 bytes, which cost 272 with their tables.
var smallSegments = Config{Wires: []Encoder{lines}, SegmentBytes: 256}

const smallSegmentSize = 256 + entrySize

func TestBatchFillsItsSegment(t *testing.T) {
	t.Parallel()
	topic := NewTopic(smallSegments)
	r := newReader(&OutflowConfig{}, topic)
	seal(topic, 2, strings.Repeat("x", 127))
	seal(topic, 3, strings.Repeat("x", 127))
	if p, _ := r.Next(); len(p) != 256 || topic.streams[0].kept != smallSegmentSize {
		t.Errorf("%d bytes in one piece, the log has %d", len(p), topic.streams[0].kept)
	}
	seal(topic, 4, strings.Repeat("x", 255))
	if n := topic.streams[0].kept; n != 2*smallSegmentSize {
		t.Errorf("a batch of a segment's size makes the log %d bytes", n)
	}
}

// A log may be as large as its bound, and so may what is kept for reuse.
func TestLogFillsItsBound(t *testing.T) {
	t.Parallel()
	c := smallSegments
	c.LogBytesMax, c.SpareBytes = 3*smallSegmentSize, smallSegmentSize
	topic := NewTopic(c)
	r := newReader(&OutflowConfig{}, topic)
	seal(topic, 2, strings.Repeat("x", 255))
	seal(topic, 3, strings.Repeat("x", 255))
	seal(topic, 4, strings.Repeat("x", 255))
	if r.Lost() || topic.streams[0].kept != c.LogBytesMax {
		t.Errorf("lost: %v, %d bytes", r.Lost(), topic.streams[0].kept)
	}
	if r.read(all); topic.streams[0].spare.bytes != smallSegmentSize {
		t.Errorf("%d bytes are kept for reuse", topic.streams[0].spare.bytes)
	}
}

func TestShrinkByNothingEvictsNobody(t *testing.T) {
	t.Parallel()
	topic := NewTopic(smallSegments)
	r := newReader(&OutflowConfig{}, topic)
	for seq := range uint64(5) {
		seal(topic, seq+2, strings.Repeat("x", 255))
	}
	if n := topic.Shrink(0); n != 0 || r.Lost() {
		t.Errorf("%d bytes given back, lost: %v", n, r.Lost())
	}
}

// Segments without memory are not kept for reuse, whoever comes and goes.
func TestComingAndGoingKeepsNothing(t *testing.T) {
	t.Parallel()
	topic := NewTopic(smallSegments)
	r := newReader(&OutflowConfig{})
	for seq := range uint64(100) {
		r.Subscribe(topic, 0, seq+1)
		r.Unsubscribe(topic)
	}
	if n := len(topic.streams[0].spare.list); n != 0 {
		t.Errorf("%d segments are kept", n)
	}
}

func TestPublishTellsTheSizeOfTheBatch(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	m := codec.Text([]byte("abc"))
	if one, two := topic.Publish(&m), topic.Publish(&m); one != 5 || two != 11 {
		t.Errorf("%d, then %d bytes", one, two)
	}
	topic.Close()
	if n := topic.Publish(&m); n != 0 {
		t.Errorf("a closed topic has %d bytes", n)
	}
}

// What messages will become on the wires is told by what the last batch became there.
func TestFanOut(t *testing.T) {
	t.Parallel()
	halved := func(dst []byte, b codec.Batch) []byte { return append(dst, b.JSON[:len(b.JSON)/2]...) }
	topic := NewTopic(Config{Wires: []Encoder{halved, double}})
	var c OutflowConfig
	readers := []*reader{newReader(&c, topic), newReader(&c, topic), newReader(&c, topic)}
	if n := topic.FanOut(100); n != 300 {
		t.Errorf("before anything was sent, 100 bytes are %d", n)
	}
	publish(topic, strings.Repeat("x", 998))
	topic.Seal(2)
	if n := topic.FanOut(100); n != 150 {
		t.Errorf("100 bytes are %d, when all get half of each", n)
	}
	readers[0].Close()
	if n := topic.FanOut(100); n != 100 {
		t.Errorf("100 bytes are %d for two", n)
	}
	readers[1].Close()
	readers[2].Close()
	publish(topic, "nobody")
	topic.Seal(3)
	if n := topic.FanOut(100); n != 0 {
		t.Errorf("100 bytes are %d for nobody", n)
	}
}

// A batch that somebody else made leaves with what was published before and after it.
func TestBatchesArePublishedWhole(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, topic)
	var b codec.Batch
	for _, text := range []string{"b", "c"} {
		m := codec.Text([]byte(text))
		b.Append(&m)
	}
	publish(topic, "a")
	if size := topic.PublishBatch(&b); size != len(`"a","b","c"`) {
		t.Errorf("the batch has %d bytes", size)
	}
	publish(topic, "d")
	topic.Seal(2)
	r.expect(t, 100, "a\nb\nc\nd\n")
	if topic.Published() != 4 {
		t.Errorf("%d messages", topic.Published())
	}
	topic.Close()
	if size := topic.PublishBatch(&b); size != 0 || topic.LogBytes() != 0 {
		t.Errorf("a closed topic keeps %d bytes, %d of them open", topic.LogBytes(), size)
	}
}

// The first subscriber and the end of the last are told of, and nothing between them.
func TestOccupiedIsToldOfTheFirstAndTheLast(t *testing.T) {
	t.Parallel()
	var told []bool
	topic := NewTopic(Config{Wires: []Encoder{lines, loud}, Occupied: func(o bool) { told = append(told, o) }})
	expect := func(want ...bool) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Fatalf("told %v, want %v", told, want)
		}
	}
	a, b := newReader(&OutflowConfig{}, topic), newReader(&OutflowConfig{}, topic)
	expect(true)
	a.Unsubscribe(topic)
	a.Unsubscribe(topic)
	expect(true)
	if err := b.Rewire(1, nil, 2); err != nil {
		t.Fatal(err)
	}
	expect(true)
	b.Close()
	expect(true, false)
	a.Subscribe(topic, 0, 1)
	topic.Close()
	expect(true, false, true, false)
}
