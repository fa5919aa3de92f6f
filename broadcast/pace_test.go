package broadcast

import (
	"runtime"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/internal/budget"
)

// clocked is a topic with a clock, whose log of 512 KiB grows to 1 MiB for readers, and then waits for those of 1
// MiB/s. They are judged over 300 ms.
func clocked() (*Topic, *int64) {
	now := new(int64)
	*now = 1000
	return NewTopic(Config{
		Wires: []Encoder{lines}, LogBytesMax: 1 << 19,
		Pace: Pace{Now: now, BytesMax: 1 << 20, BytesPerSecond: 1 << 20, WindowMS: 300},
	}), now
}

// publishBytes publishes n bytes, about, and seals them.
func publishBytes(topic *Topic, seq uint64, n int) {
	m := codec.Text([]byte(strings.Repeat("x", 999)))
	for range n / 1000 {
		topic.Publish(&m)
	}
	topic.Seal(seq)
}

// A publisher of 15 MB/s that waits while the log is full cuts off nobody who takes 5 MB/s, and comes to the same rate.
// A reader that stalls is not waited for.
func TestPublisherIsHeldForReadersThatKeepPace(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	c := OutflowConfig{}
	var steady []*reader
	for range 3 {
		steady = append(steady, newReader(&c, topic))
	}
	stalled, skips := newReader(&c, topic), newReader(&OutflowConfig{Skip: true}, topic)
	seq, held, published, highest := uint64(1), 0, 0, 0
	for range 20_000 { // ms
		*now++
		if topic.Full() {
			held++
		} else {
			seq++
			publishBytes(topic, seq, 15_000)
			published += 15_000
		}
		for _, r := range steady {
			r.read(5_000)
		}
		if *now < 2000 {
			stalled.read(5_000)
			skips.read(5_000)
		}
		highest = max(highest, topic.LogBytes())
	}
	for _, r := range steady {
		if r.Lost() || r.evicted > 0 {
			t.Error("a steady reader was evicted")
		}
	}
	if !stalled.Lost() || skips.evicted == 0 {
		t.Error("a stalled reader was not evicted")
	}
	if published < 19*5_000_000 || published > 22*5_000_000 || held < 10_000 {
		t.Errorf("%d bytes were published in 20 s, held for %d ms", published, held)
	}
	if highest > 1<<20+2*SegmentBytes+1<<17 {
		t.Errorf("the log had %d bytes", highest)
	}
}

// A log that has room grows for whoever takes something, however little.
func TestLogGrowsForWhoeverTakesSomething(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	r := newReader(&OutflowConfig{}, topic)
	for seq := uint64(2); seq < 14; seq++ { // less than 1 MiB in all
		publishBytes(topic, seq, 60_000)
		for range 10 {
			*now += 200
			r.read(100)
		}
	}
	if topic.LogBytes() < 700_000 || topic.Full() || r.Lost() {
		t.Errorf("%d bytes, full: %v, lost: %v", topic.LogBytes(), topic.Full(), r.Lost())
	}
}

// A full log waits only for readers that keep the pace of 1 MiB/s: whoever takes less is judged after a window, and
// evicted.
func TestFullLogWaitsForSteadyReadersOnly(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	c := OutflowConfig{}
	slow, steady := newReader(&c, topic), newReader(&c, topic)
	seq := uint64(2)
	for ; !topic.Full() && seq < 100; seq++ {
		publishBytes(topic, seq, 60_000)
	}
	keepFull(topic, now, seq, func() {
		slow.read(8_000) // 0.8 MB/s
		steady.read(11_000)
	})
	if !slow.Lost() || steady.Lost() {
		t.Errorf("the slow one is lost: %v, the steady one: %v", slow.Lost(), steady.Lost())
	}
}

// Where readers are so many that they cannot all be sent BytesPerSecond, each is given its part of the sum.
func TestFullLogWaitsForTheirPartOfTheSum(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	topic.streams[0].pace.sum = 1_000_000
	c := OutflowConfig{}
	slow, steady := newReader(&c, topic), newReader(&c, topic)
	seq := uint64(2)
	for ; !topic.Full() && seq < 100; seq++ {
		publishBytes(topic, seq, 60_000)
	}
	seq = keepFull(topic, now, seq, func() {
		slow.read(4_000) // 0.4 MB/s, and half of the sum is 0.5
		steady.read(6_000)
	})
	if !slow.Lost() || steady.Lost() {
		t.Errorf("the slow one is lost: %v, the steady one: %v", slow.Lost(), steady.Lost())
	}
	slow.Close()
	keepFull(topic, now, seq, func() { steady.read(9_000) }) // the sum is its own now
	if !steady.Lost() {
		t.Error("a reader alone is waited for at less than the sum")
	}
}

// keepFull publishes for a second, as fast as the log lets it, and reads every 10 ms.
func keepFull(topic *Topic, now *int64, seq uint64, read func()) uint64 {
	for range 100 {
		*now += 10
		read()
		for !topic.Full() && seq < 500 {
			publishBytes(topic, seq, 60_000)
			seq++
		}
	}
	return seq
}

func TestStalledReaderIsEvictedInTime(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	r, other := newReader(&OutflowConfig{}, topic), newReader(&OutflowConfig{}, topic)
	seq := uint64(2)
	for ; !topic.Full() && seq < 1000; seq++ {
		publishBytes(topic, seq, 60_000)
	}
	*now += 299
	other.read(400_000)
	_, from := r.Next()
	r.Advance(from, 0) // its socket takes nothing
	if !topic.Full() || r.Lost() {
		t.Error("it is evicted too early")
	}
	*now++
	if topic.Full() || !r.Lost() || other.Lost() {
		t.Errorf("lost: %v, and who took something: %v", r.Lost(), other.Lost())
	}
}

// A topic was quiet for an hour and its segment is old; a burst makes nobody late who was up to date before.
func TestQuietTopicMakesNobodyLate(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	r := newReader(&OutflowConfig{}, topic)
	seal(topic, 2, "first")
	r.read(all)
	*now += 3_600_000
	seq := uint64(3)
	for ; !topic.Full() && seq < 1000; seq++ {
		publishBytes(topic, seq, 10_000)
	}
	if *now += 299; !topic.Full() || r.Lost() {
		t.Error("a reader was evicted that had nothing to read before")
	}
}

// A log that becomes too large by the batch that is sealed is small again when Seal returns.
func TestSealLeavesNoLogTooLarge(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}, LogBytesMax: 100_000})
	r := newReader(&OutflowConfig{}, topic)
	publishBytes(topic, 2, 60_000)
	if r.Lost() {
		t.Error("a reader of the only segment is lost")
	}
	publishBytes(topic, 3, 60_000)
	if !r.Lost() || topic.streams[0].kept > 100_000 {
		t.Errorf("lost: %v, %d bytes", r.Lost(), topic.streams[0].kept)
	}
}

// Nobody is evicted while there are spare segments to give back.
func TestSparesGoBeforeReaders(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}, LogBytesMax: 1 << 20})
	r := newReader(&OutflowConfig{}, topic)
	for seq := range uint64(12) {
		publishBytes(topic, seq+2, 60_000)
	}
	r.read(all)
	if topic.streams[0].spare.bytes < 700_000 {
		t.Errorf("%d bytes are spare", topic.streams[0].spare.bytes)
	}
	for seq := range uint64(5) {
		publishBytes(topic, seq+20, 120_000) // needs larger segments
	}
	if r.Lost() || topic.streams[0].kept > 1<<20 {
		t.Errorf("lost: %v, %d bytes", r.Lost(), topic.streams[0].kept)
	}
}

// Whoever has read a segment is not evicted with it, though he has not looked for the next one.
func TestReaderAtTheEndOfASegmentIsNotEvicted(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}, LogBytesMax: 200_000})
	r := newReader(&OutflowConfig{}, topic)
	for seq := range uint64(100) {
		publishBytes(topic, seq+2, 120_000) // two do not fit
		if p, from := r.Next(); len(p) != 120_000 {
			t.Fatalf("%d bytes are due, lost: %v", len(p), r.Lost())
		} else {
			r.Advance(from, len(p))
		}
	}
}

// A segment is free as soon as its last reader has taken everything, whenever that looks for more.
func TestReadSegmentIsFreeAtOnce(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, topic)
	publishBytes(topic, 2, 60_000)
	publishBytes(topic, 3, 60_000)
	p, from := r.Next()
	r.Advance(from, len(p))
	if s := &topic.streams[0]; len(p) != 60_000 || s.first != s.last || s.spare.bytes == 0 {
		t.Errorf("%d bytes were read, and %d are spare", len(p), s.spare.bytes)
	}
}

func TestNobodyIsWaitedForBeyondTheLimit(t *testing.T) {
	t.Parallel()
	topic, _ := clocked()
	r, up := newReader(&OutflowConfig{}, topic), newReader(&OutflowConfig{}, topic)
	for seq := uint64(2); seq < 100; seq++ {
		publishBytes(topic, seq, 60_000)
		up.read(all)
		if n := topic.LogBytes(); n > 5<<18+200_000 || r.Lost() != (n < int(seq-2)*60_000) {
			t.Fatalf("%d bytes, lost: %v", n, r.Lost())
		}
	}
	if !r.Lost() || up.Lost() {
		t.Errorf("lost: %v and %v", r.Lost(), up.Lost())
	}
}

// Without Pace the log waits for nobody and is never full.
func TestNobodyIsWaitedForWithoutPace(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}, LogBytesMax: 1 << 20})
	r := newReader(&OutflowConfig{Skip: true}, topic)
	for seq := range uint64(100) {
		publishBytes(topic, seq+2, 60_000)
		if seq%20 == 0 {
			r.Next() // it goes on, and takes nothing
		}
		if topic.Full() || topic.streams[0].kept > 1<<20 {
			t.Fatalf("full: %v, %d bytes", topic.Full(), topic.LogBytes())
		}
	}
	if r.evicted < 4 {
		t.Errorf("%d evictions", r.evicted)
	}
}

func TestShrinkEvictsTheOldestOfTheLargest(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines, double}})
	c := OutflowConfig{Skip: true}
	small, large := newReader(&c, topic), newReader(&c)
	large.Subscribe(topic, 1, 1)
	for seq := range uint64(50) {
		publishBytes(topic, seq+2, 60_000)
	}
	topic.Trim()
	first := topic.streams[1].first
	before := topic.LogBytes()
	if n := topic.Shrink(100_000); n < 100_000 || topic.LogBytes() != before-n {
		t.Errorf("%d bytes given back, %d less", n, before-topic.LogBytes())
	}
	if small.evicted != 0 || large.evicted != 1 || topic.streams[1].first == first {
		t.Errorf("%d and %d evictions", small.evicted, large.evicted)
	}
	topic.Shrink(1 << 30)
	for i := range topic.streams {
		if s := &topic.streams[i]; s.first != s.last || s.first == nil {
			t.Error("not only the newest segment is left")
		}
	}
	if small.evicted != 1 || topic.Shrink(1) != 0 {
		t.Errorf("%d evictions", small.evicted)
	}
}

// However many stall, the log costs what it says.
func TestStalledReadersShareOneLog(t *testing.T) {
	var b budget.Budget
	for _, skip := range []bool{false, true} {
		logs := b.Account()
		topic := NewTopic(Config{Wires: []Encoder{lines}, LogBytesMax: 1 << 20, Logs: logs})
		c := OutflowConfig{Skip: skip, Outboxes: b.Account()}
		readers := make([]*reader, 2000)
		for i := range readers {
			readers[i] = newReader(&c, topic)
		}
		before := heap()
		for seq := range uint64(2000) {
			publishBytes(topic, seq+2, 60_000)
			r := readers[seq]
			r.read(1000 * int(seq%50)) // they stall at different places, between two messages
		}
		grown := heap() - before
		if kept := b.Used(); grown > kept+kept/10 || logs.Bytes() > 1<<20+200_000 {
			t.Errorf("skip %v: the heap has grown by %d bytes, charged are %d, for logs %d", skip, grown, kept,
				logs.Bytes())
		}
		for _, r := range readers {
			r.Close()
		}
		topic.Close()
		if b.Used() != 0 {
			t.Errorf("%d bytes are charged at the end", b.Used())
		}
	}
}

// heap is the size of what lives, in bytes.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Readers are judged over a window, not from moment to moment: one that reads in bursts keeps the pace.
func TestReaderInBurstsKeepsThePace(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	c := OutflowConfig{}
	bursts, even := newReader(&c, topic), newReader(&c, topic)
	seq := uint64(2)
	for ; !topic.Full() && seq < 100; seq++ {
		publishBytes(topic, seq, 60_000)
	}
	bursts.read(100_000) // it is ahead: it becomes one of the last whenever the other has caught up
	n := 0
	keepFull(topic, now, seq, func() {
		even.read(14_000)
		if n++; n%5 == 0 {
			bursts.read(70_000) // 1.4 MB/s, and never less than 1.1 in a window
		}
	})
	if bursts.Lost() || even.Lost() {
		t.Errorf("lost: %v and %v, though both take more than 1 MiB/s", bursts.Lost(), even.Lost())
	}
}

// A socket that is asked and takes nothing has not moved.
func TestTakingNothingIsNoMove(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	r := newReader(&OutflowConfig{}, topic)
	for seq := uint64(2); seq < 14 && !r.Lost(); seq++ {
		publishBytes(topic, seq, 60_000)
		*now += 200
		_, from := r.Next()
		r.Advance(from, 0)
	}
	if !r.Lost() {
		t.Errorf("a log of %d bytes waits for who takes nothing", topic.LogBytes())
	}
}

// skippedReader is a reader that the log has waited for once, in vain, and the number of the next batch.
func skippedReader(t *testing.T, topic *Topic, now *int64) (r *reader, seq uint64) {
	t.Helper()
	r = newReader(&OutflowConfig{Skip: true}, topic)
	for seq = 2; !topic.Full() && seq < 100; seq++ {
		publishBytes(topic, seq, 60_000)
	}
	if *now += 1000; topic.Full() || r.evicted != 1 {
		t.Fatalf("%d evictions", r.evicted)
	}
	return r, seq
}

// For who was skipped nothing is kept, however long it takes nothing: the log is what the others need. Then it has
// missed everything up to the newest segment, and goes on with that.
func TestNothingIsKeptForWhoWasSkipped(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	r, seq := skippedReader(t, topic, now)
	quick := newReader(&OutflowConfig{}, topic)
	before := topic.Published()
	for range 100 {
		publishBytes(topic, seq, 60_000)
		if quick.read(all); topic.streams[0].first != topic.streams[0].last {
			t.Fatalf("a log of %d bytes is kept for a reader that was skipped", topic.LogBytes())
		}
		seq++
	}
	if n := r.Lag(); n != topic.Published()-before {
		t.Errorf("it lags by %d messages", n)
	}
	if n := r.Unread(topic); n != 0 { // so it is not held for it
		t.Errorf("the log keeps %d bytes for it", n)
	}
	if n := topic.FanOut(1000); n < 990 || n > 1002 {
		t.Errorf("1000 bytes become %d for the one that hears them", n)
	}
	if n := *r.missed; n != topic.Published()-60 { // of the newest segment it will hear
		t.Errorf("%d messages were missed of %d", n, topic.Published())
	}
	if p, _ := r.Next(); len(p) != 60_000 || *r.missed != topic.Published()-60 || r.evicted != 1 || r.Lag() != 60 {
		t.Errorf("%d bytes, %d messages missed of %d, %d evictions", len(p), *r.missed, topic.Published(), r.evicted)
	}
	r.read(60_000)
	seal(topic, seq, "next")
	r.expect(t, all, "next\n")
}

// Who was skipped is waited for again when it has gone on for a window.
func TestSkippedReaderIsWaitedForAfterAWindow(t *testing.T) {
	t.Parallel()
	for passes, waits := range map[int64]bool{299: false, 300: true} {
		topic, now := clocked()
		r, seq := skippedReader(t, topic, now)
		r.Next()
		publishBytes(topic, seq, 60_000)
		*now += passes
		r.read(1000)
		for range 20 { // the log may have half of a mebibyte without waiting
			seq++
			publishBytes(topic, seq, 30_000)
		}
		if waited := r.evicted == 1; waited != waits {
			t.Errorf("%d ms after it went on it is waited for: %v", passes, waited)
		}
	}
}

// Without a clock nobody can be waited for.
func TestPaceWithoutAClockIsNone(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{
		Wires: []Encoder{lines}, LogBytesMax: 1 << 18, Pace: Pace{BytesPerSecond: 1 << 20, WindowMS: 300},
	})
	r := newReader(&OutflowConfig{}, topic)
	for seq := range uint64(20) {
		publishBytes(topic, seq+2, 60_000)
	}
	if !r.Lost() || topic.Full() {
		t.Errorf("lost: %v, full: %v", r.Lost(), topic.Full())
	}
}

// Whom a full log waits for can be changed, and holds at once: nobody, if no pace is fast enough.
func TestPaceCanBeChanged(t *testing.T) {
	t.Parallel()
	topic, now := clocked()
	c := OutflowConfig{}
	r := newReader(&c, topic)
	for seq := uint64(2); !topic.Full(); seq++ {
		publishBytes(topic, seq, 15_000)
		r.read(5_000)
		*now++
	}
	topic.SetPace(Pace{Now: now, BytesMax: 2 << 20, BytesPerSecond: 1 << 20, WindowMS: 300}, 0)
	if topic.Full() {
		t.Error("the log is full of half of what it may keep now")
	}
}

// What a batch of another process takes is charged as that of messages is.
func TestBatchesAreCharged(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	var b codec.Batch
	m := codec.Text([]byte(strings.Repeat("x", 5000)))
	b.Append(&m)
	before := topic.LogBytes()
	if topic.PublishBatch(&b); topic.LogBytes()-before < 5000 {
		t.Errorf("%d bytes are charged for a message of 5000", topic.LogBytes()-before)
	}
}
