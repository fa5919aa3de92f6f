package broadcast

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/internal/budget"
)

func newTopics(c Config) (one, two *Topic) { return NewTopic(c), NewTopic(c) }

func TestWhatBearsTheLowestNumberLeavesFirst(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, one, two)
	seal(one, 2, "2")
	seal(one, 3, "3")
	r.post(t, 4, "4\n")
	seal(two, 5, "5")
	seal(one, 6, "6")
	seal(two, 7, "7")
	r.post(t, 8, "8\n")
	seal(two, 9, "9")
	r.expect(t, all, "2\n3\n4\n5\n6\n7\n8\n9\n")
}

func TestBegunFrameLeavesBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, one, two)
	seal(one, 2, "first")
	r.expect(t, 3, "fir")
	r.post(t, 3, "post\n")
	seal(two, 4, "other")
	seal(one, 5, "second")
	r.CutOff(6)
	if !r.Begun() {
		t.Error("nothing has begun")
	}
	r.expect(t, 3, "st\n")
	if r.Begun() {
		t.Error("between two frames something has begun")
	}
	r.expect(t, 2, "po")
	if !r.Begun() {
		t.Error("half a post has not begun")
	}
	r.Unsubscribe(one)
	r.expect(t, all, "st\nother\n")
}

// Frames that are merged leave as one, but nobody who has not begun them finds himself inside.
func TestSubscriberBeginsNoMergedFrame(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}})
	var c OutflowConfig
	newReader(&c, one)
	late := newReader(&c, two)
	seal(one, 2, "early")
	seal(two, 3, "two")
	late.Subscribe(one, 0, 4)
	seal(one, 5, "late")
	if late.Begun() {
		t.Error("something has begun")
	}
	late.expect(t, all, "two\nlate\n")
}

func TestUnsubscribeFinishesWhatHasBegun(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}, FrameBytesMax: 8})
	r := newReader(&OutflowConfig{}, one, two)
	seal(one, 2, "begun")
	seal(one, 3, "never")
	seal(two, 4, "other")
	r.expect(t, 2, "be")
	r.Unsubscribe(two)
	r.Unsubscribe(one)
	if !r.Begun() || r.Len() != 0 {
		t.Errorf("begun %v, %d topics", r.Begun(), r.Len())
	}
	r.Subscribe(two, 0, 5)
	seal(two, 6, "new")
	r.expect(t, all, "gun\nnew\n")
}

// The rest of a frame in the outbox stands before what the other topics publish then.
func TestRestOfAFrameKeepsLaterBatchesApart(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, one, two)
	seal(one, 2, "read")
	seal(two, 3, "begun")
	r.expect(t, 7, "read\nbe")
	r.Unsubscribe(two)
	seal(one, 4, "not begun")
	r.Unsubscribe(one)
	r.expect(t, all, "gun\n")
}

func TestUnsubscribeKeepsThePlan(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}, FrameBytesMax: 8})
	r := newReader(&OutflowConfig{}, one, two)
	seal(one, 2, "first")
	seal(two, 3, "second")
	seal(one, 4, "third")
	if n := r.Plan(14); n != 13 || !r.Begun() {
		t.Fatalf("%d bytes are planned, begun %v", n, r.Begun())
	}
	r.expect(t, 4, "firs")
	r.Unsubscribe(two)
	r.Unsubscribe(one)
	if r.Planned() != 9 || r.Plan(1) != 9 {
		t.Errorf("%d bytes are planned", r.Planned())
	}
	r.post(t, 5, "behind\n")
	r.expect(t, r.Planned(), "t\nsecond\n")
	r.expect(t, all, "behind\n")
}

// The scratch of a plan holds no log.
func TestPlanHoldsNothing(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}})
	c := OutflowConfig{}
	r := newReader(&c, one, two)
	seal(one, 2, "one")
	r.Plan(10)
	if looks := c.looks[:cap(c.looks)]; len(looks) < 2 || looks[0] != (look{}) || looks[1] != (look{}) {
		t.Errorf("it holds %v", looks)
	}
}

// evictingConfig is a log that keeps little more than a segment, and merges nothing.
var evictingConfig = Config{Wires: []Encoder{lines}, FrameBytesMax: 40, SegmentBytes: 256, LogBytesMax: 600}

// flood publishes until the readers of everything before are evicted, and returns the number of messages and the next
// sequence number.
func flood(topic *Topic, seq uint64) (messages, next uint64) {
	for range 30 {
		seal(topic, seq, strings.Repeat("f", 30))
		seq++
	}
	return 30, seq
}

// Bytes of another topic never fill a frame whose topic was evicted in its middle.
func TestSkipKeepsThePlan(t *testing.T) {
	t.Parallel()
	one, two := newTopics(evictingConfig)
	r := newReader(&OutflowConfig{Skip: true}, one, two)
	seal(one, 2, "planned in topic one")
	seal(two, 3, "planned in topic two")
	seal(one, 4, "missed")
	seal(two, 5, "not missed")
	r.Plan(45)
	r.expect(t, 10, "planned in")
	total, _ := flood(one, 6)
	if r.evicted == 0 || *r.missed > total || r.Lost() {
		t.Fatalf("%d evictions, %d skipped", r.evicted, *r.missed)
	}
	r.expect(t, r.Planned(), " topic one\nplanned in topic two\n")
	got := r.read(all)
	if n := uint64(strings.Count(got, "f\n")); n+*r.missed != total+1 || !strings.HasPrefix(got, "not missed\n") {
		t.Errorf("%d skipped, read %q", *r.missed, got)
	}
}

func TestSkipMissesWhatItCounts(t *testing.T) {
	t.Parallel()
	one, two := newTopics(evictingConfig)
	r := newReader(&OutflowConfig{Skip: true}, one, two)
	seal(one, 2, "first line of one")
	seal(two, 3, "first line of two")
	r.expect(t, 4, "firs")
	total, seq := flood(one, 4)
	got := r.read(all)
	if !strings.HasPrefix(got, "t line of one\nfirst line of two\n") || r.Begun() {
		t.Errorf("read %q", got)
	}
	if n := uint64(strings.Count(got, "f\n")); n+*r.missed != total || *r.missed == 0 {
		t.Errorf("%d read and %d skipped of %d", n, *r.missed, total)
	}
	seal(one, seq, "after")
	r.expect(t, all, "after\n")
}

// What readers miss that never come back is counted too.
func TestSkippedReadersThatLeaveHaveMissedEverything(t *testing.T) {
	t.Parallel()
	one, two := newTopics(evictingConfig)
	r, other := newReader(&OutflowConfig{Skip: true}, one), newReader(&OutflowConfig{Skip: true}, one, two)
	total, _ := flood(one, 2)
	r.Close()
	other.Unsubscribe(one)
	if *r.missed != 2*total {
		t.Errorf("%d messages were missed, of %d", *r.missed, 2*total)
	}
}

// Of readers that stopped inside a frame its rest is kept as far as there is room, and the others are lost.
func TestRestsOfFramesAreBounded(t *testing.T) {
	t.Parallel()
	var b budget.Budget
	topic := NewTopic(evictingConfig)
	for _, tt := range []struct {
		c     OutflowConfig
		loses bool
	}{
		{OutflowConfig{Skip: true, Outboxes: b.Account(), SkipBytesMax: 30}, false},
		{OutflowConfig{Skip: true, Outboxes: b.Account(), SkipBytesMax: 29}, true},
		{OutflowConfig{Skip: true, Outboxes: b.Account(), OutboxBytesMax: 30}, false},
		{OutflowConfig{Skip: true, Outboxes: b.Account(), OutboxBytesMax: 29}, true},
	} {
		r := newReader(&tt.c, topic)
		seal(topic, 2, strings.Repeat("x", 30))
		r.expect(t, 1, "x")
		flood(topic, 3)
		if r.Lost() != tt.loses || r.evicted != 1 {
			t.Errorf("%+v: lost: %v, %d evictions", tt.c, r.Lost(), r.evicted)
		}
		r.Close()
	}
}

// Under the other policy an eviction is the end, and gives everything back.
func TestEvictionLosesTheOutflow(t *testing.T) {
	t.Parallel()
	var b budget.Budget
	c := OutflowConfig{Outboxes: b.Account()}
	one, two := newTopics(evictingConfig)
	r := newReader(&c, one, two)
	quick := newReader(&c, two)
	seal(one, 2, "first")
	seal(two, 3, "second")
	r.post(t, 4, "third")
	r.Plan(10)
	r.expect(t, 3, "fir")
	for range 3 {
		seal(two, 5, strings.Repeat("y", 200))
		quick.read(all)
	}
	flood(one, 6)
	if !r.Lost() || r.evicted != 1 || *r.missed != 0 {
		t.Fatalf("lost %v, %d evictions, %d skipped", r.Lost(), r.evicted, *r.missed)
	}
	if p, _ := r.Next(); len(p) > 0 || r.Planned() > 0 || r.Plan(1000) > 0 || r.Waiting() > 0 || b.Used() > 0 {
		t.Error("a lost outflow is owed something")
	}
	if two.streams[0].first != two.streams[0].last {
		t.Error("a lost outflow holds the log of its other topic")
	}
	if err := r.Post([]byte("x"), 100); !errors.Is(err, ErrLost) {
		t.Errorf("posted: %v", err)
	}
	if r.Subscribe(NewTopic(Config{}), 0, 101) || r.Rewire(0, nil, 102) != ErrLost {
		t.Error("a lost outflow goes on")
	}
	r.Close()
	if one.Len() != 0 || two.Len() != 1 {
		t.Errorf("%d and %d subscribers", one.Len(), two.Len())
	}
}

// entries is the number of table entries of the topic's first wire.
func entries(t *Topic) int {
	n := 0
	for at := t.streams[0].first; at != nil; at = at.next {
		n += len(at.entries)
	}
	return n
}

func TestSmallBatchesAreMergedUnlessOrderForbidsIt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		between func(t *testing.T, one, two *Topic, r *reader) (seq uint64)
		want    int
	}{
		"nothing": {func(*testing.T, *Topic, *Topic, *reader) uint64 { return 50 }, 1},
		"a post": {func(t *testing.T, _, _ *Topic, r *reader) uint64 {
			r.post(t, 3, "x")
			return 4
		}, 2},
		"another topic that nobody has": {func(_ *testing.T, _, two *Topic, _ *reader) uint64 {
			seal(two, 3, "x")
			return 4
		}, 1},
		"another topic": {func(_ *testing.T, _, two *Topic, r *reader) uint64 {
			r.Subscribe(two, 0, 3)
			seal(two, 4, "x")
			return 5
		}, 2},
		"nothing, and there is another topic": {func(_ *testing.T, _, two *Topic, r *reader) uint64 {
			r.Subscribe(two, 0, 2)
			return 3
		}, 1},
		"another topic that is left again": {func(_ *testing.T, _, two *Topic, r *reader) uint64 {
			r.Subscribe(two, 0, 3)
			seal(two, 4, "x")
			r.Unsubscribe(two)
			return 5
		}, 1},
		"a subscriber": {func(_ *testing.T, one, _ *Topic, _ *reader) uint64 {
			newReader(&OutflowConfig{}, one)
			return 3
		}, 2},
		"an end": {func(_ *testing.T, _, _ *Topic, r *reader) uint64 { r.CutOff(3); return 4 }, 2},
		"a large batch": {func(_ *testing.T, one, _ *Topic, _ *reader) uint64 {
			seal(one, 3, strings.Repeat("x", 300))
			return 4
		}, 2},
		"a batch that fills the frame": {func(_ *testing.T, one, _ *Topic, _ *reader) uint64 {
			seal(one, 3, strings.Repeat("x", 1000-len("before\n")-1))
			return 4
		}, 2},
		"a batch up to where merging ends": {func(_ *testing.T, one, _ *Topic, _ *reader) uint64 {
			seal(one, 3, strings.Repeat("x", mergeBytes-len("before\n")-1))
			return 4
		}, 2},
		"a larger one": {func(_ *testing.T, one, _ *Topic, _ *reader) uint64 {
			seal(one, 3, strings.Repeat("x", 995))
			return 4
		}, 3},
	} {
		one, two := newTopics(Config{Wires: []Encoder{lines}, FrameBytesMax: 1000})
		r := newReader(&OutflowConfig{}, one)
		seal(one, 2, "before")
		seq := tt.between(t, one, two, r)
		seal(one, seq, "after")
		if n := entries(one); n != tt.want {
			t.Errorf("%s between: %d entries, want %d", name, n, tt.want)
		}
	}
}

func TestSmallPostsAreMergedUnlessOrderForbidsIt(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{FrameBytesMax: 500}, topic)
	want := 0
	post := func(seq uint64, size, parcels int) {
		t.Helper()
		r.post(t, seq, strings.Repeat("p", size))
		if want += size; r.Waiting() != want+parcelSize*parcels {
			t.Errorf("post %d: %d bytes wait, want %d in %d parcels", seq, r.Waiting(), want, parcels)
		}
	}
	post(2, 100, 1)
	post(3, 100, 1)
	post(5, 100, 1) // now it is large
	post(6, 100, 2)
	seal(topic, 7, "x")
	post(8, 100, 3)
	post(9, 450, 4) // would be larger than a frame
	post(10, 1, 5)
	r.expect(t, all, strings.Repeat("p", 400)+"x\n"+strings.Repeat("p", 551))
}

// What waits in an outbox is bounded with its parcels.
func TestOutboxIsBounded(t *testing.T) {
	t.Parallel()
	var b budget.Budget
	c := OutflowConfig{OutboxBytesMax: 1000, Outboxes: b.Account()}
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	r := newReader(&c, topic)
	posts := 0
	for seq := uint64(2); ; seq += 2 {
		seal(topic, seq, "x")
		if err := r.Post(append(r.Outbox(), "pp"...), seq+1); err != nil {
			if !errors.Is(err, ErrOutboxFull) {
				t.Error(err)
			}
			break
		}
		posts++
	}
	if posts != 1000/18 || r.Waiting() != 18*posts {
		t.Errorf("%d posts, %d bytes wait", posts, r.Waiting())
	}
	if kept := cap(r.outbox.bytes) + 16*cap(r.outbox.parcels); b.Used() != kept {
		t.Errorf("%d bytes are charged, kept are %d", b.Used(), kept)
	}
	r.expect(t, 2, "x\n")
	r.expect(t, 2, "pp")
	r.post(t, 1000, "q") // there is room again
	if got := r.read(all); strings.Count(got, "p") != 2*posts-2 || !strings.HasSuffix(got, "q") {
		t.Errorf("read %q", got)
	}
}

func TestOutboxGivesUpItsMemory(t *testing.T) {
	t.Parallel()
	var b budget.Budget
	r := newReader(&OutflowConfig{Outboxes: b.Account()})
	r.post(t, 1, "small")
	r.read(all)
	if small := b.Used(); small == 0 || small > outboxKept {
		t.Errorf("an empty outbox keeps %d bytes", small)
	}
	r.post(t, 2, strings.Repeat("x", 1000))
	if b.Used() < 1000 {
		t.Errorf("%d bytes are charged", b.Used())
	}
	r.read(all)
	if b.Used() != 0 {
		t.Errorf("an empty outbox keeps %d bytes", b.Used())
	}
}

// An outbox that is never empty does not grow by what has left.
func TestOutboxForgetsWhatHasLeft(t *testing.T) {
	t.Parallel()
	r := newReader(&OutflowConfig{})
	piece := strings.Repeat("x", 99) + "\n"
	r.post(t, 1, piece)
	for seq := range uint64(1000) {
		r.post(t, seq+2, piece)
		r.expect(t, 50, piece[:50])
		r.expect(t, 50, piece[50:])
	}
	if n := r.outbox.capacity(); n > 8192 {
		t.Errorf("it keeps %d bytes", n)
	}
}

func TestRewireConvertsWhatIsDue(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines, loud}})
	r := newReader(&OutflowConfig{}, one, two)
	seal(one, 2, "one")
	r.post(t, 3, "post\n")
	seal(two, 4, "two")
	publish(two, "open")
	upper := func(dst, p []byte) []byte { return append(dst, bytes.ToUpper(p)...) }
	if err := r.Rewire(1, upper, 5); err != nil {
		t.Fatal(err)
	}
	seal(one, 6, "new")
	if n := r.Plan(all); n != 22 {
		t.Errorf("%d bytes are due", n)
	}
	r.expect(t, all, "ONE\nPOST\nTWO\nOPEN\nNEW\n")
	r.expect(t, all, "")
	if one.streams[0].cursors != 0 || one.streams[1].cursors != 1 || one.Len() != 1 {
		t.Error("the subscription has not moved")
	}
}

// What is too much for the outbox is not converted; what becomes too much ends the outflow.
func TestRewireIsBounded(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines, loud}})
	sixfold := func(calls *int) func(dst, p []byte) []byte {
		return func(dst, p []byte) []byte { *calls++; return append(dst, bytes.Repeat(p, 6)...) }
	}
	for _, tt := range []struct {
		name          string
		bytes, called int
		want          error
		lost          bool
	}{
		{"little", 150, 1, nil, false},
		{"too much in the new form", 900, 1, ErrOutboxFull, true},
		{"too much", 1000, 0, ErrOutboxFull, false},
	} {
		r := newReader(&OutflowConfig{OutboxBytesMax: 1000}, topic)
		seal(topic, 2, strings.Repeat("x", tt.bytes))
		calls := 0
		err := r.Rewire(1, sixfold(&calls), 3)
		if !errors.Is(err, tt.want) || calls != tt.called || r.Lost() != tt.lost {
			t.Errorf("%s: %v, %d conversions, lost %v", tt.name, err, calls, r.Lost())
		}
		r.Close()
	}
}

func TestRewireNoticesTheEviction(t *testing.T) {
	t.Parallel()
	c := evictingConfig
	c.Wires = []Encoder{lines, loud}
	topic := NewTopic(c)
	r := newReader(&OutflowConfig{}, topic)
	flood(topic, 2)
	if err := r.Rewire(1, nil, 100); !errors.Is(err, ErrLost) {
		t.Errorf("rewired: %v", err)
	}
}

func TestCutOffEndsBehindWhatWasSent(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, one, two)
	seal(one, 2, "two")
	r.post(t, 3, "three\n")
	r.CutOff(4)
	seal(one, 5, "five")
	r.post(t, 6, "six\n")
	seal(two, 7, "seven")
	if r.Waiting() != 6+parcelSize {
		t.Errorf("%d bytes wait", r.Waiting())
	}
	if n := r.Plan(all); n != 10 {
		t.Errorf("%d bytes are due", n)
	}
	r.expect(t, all, "two\nthree\n")
}

// Whoever has everything up to its end is not evicted, and what came later was not missed.
func TestCutOffCountsNothingAsMissed(t *testing.T) {
	t.Parallel()
	topic := NewTopic(evictingConfig)
	r, skips := newReader(&OutflowConfig{}, topic), newReader(&OutflowConfig{Skip: true}, topic)
	seal(topic, 2, strings.Repeat("x", 30))
	seal(topic, 3, strings.Repeat("x", 30))
	r.read(all)
	r.CutOff(4)
	skips.CutOff(4)
	flood(topic, 5)
	if r.evicted != 0 || r.Lost() || skips.evicted != 1 || *skips.missed != 2 {
		t.Errorf("%d evictions; %d and %d skipped", r.evicted, skips.evicted, *skips.missed)
	}
	if p, _ := r.Next(); len(p) > 0 {
		t.Errorf("%q is due", p)
	}
}

// A lost outflow keeps nothing of any log, also of those of which it had everything up to its end.
func TestLostOutflowTakesNoPlaceAgain(t *testing.T) {
	t.Parallel()
	one, two := newTopics(evictingConfig)
	r := newReader(&OutflowConfig{}, one, two)
	seal(two, 2, "due")
	r.CutOff(3)
	_, seq := flood(one, 4) // nothing of it is meant for r
	if r.Lost() {
		t.Fatal("it is lost, and was owed nothing more of the first topic")
	}
	flood(two, seq)
	if r.Next(); !r.Lost() || one.streams[0].last.resting != nil || r.Lag() != 0 || r.Unread(one) != 0 {
		t.Errorf("lost: %v, it lags by %d", r.Lost(), r.Lag())
	}
}

func TestCloseGivesEverythingBack(t *testing.T) {
	t.Parallel()
	var b budget.Budget
	logs := b.Account()
	one, two := newTopics(Config{Wires: []Encoder{lines}, Logs: logs})
	r := newReader(&OutflowConfig{Outboxes: b.Account()}, one, two)
	seal(one, 2, "first")
	r.post(t, 3, strings.Repeat("x", 100))
	seal(two, 4, "second")
	r.Plan(100)
	r.expect(t, 2, "fi")
	r.Close()
	r.Close() // and again, without harm
	if one.Len()+two.Len()+r.Len() != 0 || b.Used() != logs.Bytes() {
		t.Errorf("%d and %d subscribers, %d bytes in the outbox", one.Len(), two.Len(), b.Used()-logs.Bytes())
	}
	if r.Subscribe(one, 0, 5) || r.Post([]byte("x"), 6) != ErrLost || r.Lost() {
		t.Error("a closed outflow goes on")
	}
	one.Close()
	two.Close()
	if b.Used() != 0 {
		t.Errorf("%d bytes are charged", b.Used())
	}
}

func TestTopicsOfAnOutflow(t *testing.T) {
	one, two := newTopics(Config{Wires: []Encoder{lines}})
	other := NewTopic(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, one, two)
	if r.Subscribe(one, 0, 2) || r.Len() != 2 || one.Len() != 1 {
		t.Error("subscribed twice")
	}
	if !r.Subscribed(one) || !r.Subscribed(two) || r.Subscribed(other) {
		t.Error("the wrong topics")
	}
	n := 0
	if allocs := testing.AllocsPerRun(10, func() {
		for topic := range r.Topics() {
			if topic == one || topic == two {
				n++
			}
		}
	}); allocs != 0 || n != 22 {
		t.Errorf("%d topics in 11 rounds, %v allocations", n, allocs)
	}
}

// Waiting is what has not left of the outbox, in bytes, with 16 for each parcel.
func (o *Outflow) Waiting() int { return o.outbox.waiting() }

func TestPostsAreMergedAtTheirBorders(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		sizes []int
		want  int // parcels
	}{
		"small ones behind a large one": {[]int{300, 10, 10}, 2},
		"up to where merging ends":      {[]int{mergeBytes, 1}, 2},
		"up to a whole frame":           {[]int{100, 400}, 1},
		"beyond a frame":                {[]int{100, 401}, 2},
	} {
		topic := NewTopic(Config{Wires: []Encoder{lines}})
		r := newReader(&OutflowConfig{FrameBytesMax: 500}, topic)
		seal(topic, 2, "x") // before all of them: it stands between none
		total := 0
		for i, size := range tt.sizes {
			r.post(t, uint64(3+i), strings.Repeat("p", size))
			total += size
		}
		if r.Waiting() != total+parcelSize*tt.want {
			t.Errorf("%s: %d bytes wait, want %d in %d parcels", name, r.Waiting(), total, tt.want)
		}
	}
}

func TestPostsAreMergedByDefault(t *testing.T) {
	t.Parallel()
	var b budget.Budget
	r := newReader(&OutflowConfig{Outboxes: b.Account()})
	r.post(t, 1, "one")
	r.post(t, 2, "two")
	if r.Waiting() != 6+parcelSize || r.Memory() != b.Used() || r.Memory() < r.Waiting() {
		t.Errorf("%d bytes wait in %d, charged are %d", r.Waiting(), r.Memory(), b.Used())
	}
}

func TestNothingHasBegunBetweenTwoParcels(t *testing.T) {
	t.Parallel()
	r := newReader(&OutflowConfig{})
	r.post(t, 1, strings.Repeat("p", 300))
	r.post(t, 2, strings.Repeat("q", 300))
	r.read(300)
	if r.Begun() {
		t.Error("between two parcels something has begun")
	}
	if r.read(1); !r.Begun() {
		t.Error("a parcel has left in part and has not begun")
	}
}

// An outbox forgets most of what it held in one go, too.
func TestOutboxForgetsALargePart(t *testing.T) {
	t.Parallel()
	r := newReader(&OutflowConfig{})
	r.post(t, 1, strings.Repeat("a", 1000))
	r.post(t, 2, strings.Repeat("b", 3000))
	r.read(3500)
	for seq := range uint64(200) {
		r.post(t, seq+3, strings.Repeat("c", 500))
		r.read(500)
	}
	if n := r.outbox.capacity(); n > 16<<10 || r.Waiting() > 600+2*parcelSize {
		t.Errorf("%d bytes wait in %d", r.Waiting(), n)
	}
}

// The end's own number is behind it.
func TestCutOffEndsAtItsNumber(t *testing.T) {
	t.Parallel()
	topic := NewTopic(evictingConfig)
	r, posted := newReader(&OutflowConfig{}, topic), newReader(&OutflowConfig{})
	seal(topic, 2, "two")
	r.read(all)
	r.CutOff(4)
	posted.CutOff(4)
	if posted.post(t, 4, "four"); posted.Waiting() != 0 {
		t.Errorf("%d bytes wait", posted.Waiting())
	}
	seal(topic, 4, "four")
	if p, _ := r.Next(); len(p) > 0 || r.Plan(all) > 0 {
		t.Errorf("%q is due", p)
	}
	if flood(topic, 5); r.evicted != 0 || r.Lost() {
		t.Errorf("%d evictions, lost: %v", r.evicted, r.Lost())
	}
}

// Of several sources, what leaves before the others' lies in one piece.
func TestNextIsAsMuchAsLiesInOnePiece(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, one, two)
	for seq := uint64(2); seq < 5; seq++ {
		seal(one, seq, strings.Repeat("x", 299))
	}
	seal(two, 5, "two")
	if p, _ := r.Next(); len(p) != 900 {
		t.Errorf("%d bytes in one piece", len(p))
	}
}

// What is pinned is a parcel, and no empty one is beside it.
func TestPinnedParcels(t *testing.T) {
	t.Parallel()
	for _, plan := range []bool{false, true} {
		topic := NewTopic(Config{Wires: []Encoder{lines}})
		r := newReader(&OutflowConfig{}, topic)
		seal(topic, 2, "begun")
		if plan {
			r.Plan(1)
		}
		r.expect(t, 2, "be")
		r.Unsubscribe(topic)
		if r.Waiting() != len("gun\n")+parcelSize {
			t.Errorf("planned %v: %d bytes wait", plan, r.Waiting())
		}
		r.expect(t, all, "gun\n")
	}
}

func TestRewireAtTheBound(t *testing.T) {
	t.Parallel()
	half := func(dst, p []byte) []byte { return append(dst, p[:len(p)/2]...) }
	same := func(dst, p []byte) []byte { return append(dst, p...) }
	for name, tt := range map[string]struct {
		bytes   int
		convert func(dst, p []byte) []byte
	}{
		"as much as may be due, and less in the new form": {1000, half},
		"as much as may wait":                             {1000 - parcelSize, same},
	} {
		topic := NewTopic(Config{Wires: []Encoder{lines, loud}})
		r := newReader(&OutflowConfig{OutboxBytesMax: 1000}, topic)
		seal(topic, 2, strings.Repeat("x", tt.bytes-1))
		if err := r.Rewire(1, tt.convert, 3); err != nil || r.Lost() {
			t.Errorf("%s: %v, lost: %v", name, err, r.Lost())
		}
	}
}

func TestRewireMergesWhatItConverts(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines, loud}})
	r := newReader(&OutflowConfig{FrameBytesMax: 500}, one, two)
	seal(one, 2, strings.Repeat("a", 99))
	seal(two, 3, strings.Repeat("b", 99))
	seal(one, 4, strings.Repeat("c", 99))
	if err := r.Rewire(1, func(dst, p []byte) []byte { return append(dst, p...) }, 5); err != nil {
		t.Fatal(err)
	}
	if r.Waiting() != 300+parcelSize {
		t.Errorf("%d bytes wait, want 300 in one parcel", r.Waiting())
	}
}

func TestRewireInsideAPlannedFramePanics(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines, loud}})
	r := newReader(&OutflowConfig{}, topic)
	seal(topic, 2, "x")
	r.Plan(10)
	defer func() {
		if recover() == nil {
			t.Error("half a frame was converted")
		}
	}()
	_ = r.Rewire(1, func(dst, _ []byte) []byte { return dst }, 3)
}

// Whoever is closed by what was sent hears afterwards how much of it was taken.
func TestAdvanceAfterClose(t *testing.T) {
	t.Parallel()
	topic := NewTopic(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, topic)
	seal(topic, 2, "x")
	p, from := r.Next()
	r.Close()
	if r.Advance(from, len(p)); r.Waiting() != 0 {
		t.Errorf("%d bytes wait", r.Waiting())
	}
}

func TestTopicsCanBeLeftEarly(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}})
	r := newReader(&OutflowConfig{}, one, two)
	n := 0
	for range r.Topics() {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d topics", n)
	}
}

// A reader lags by the messages of all its topics that have not left for it.
func TestLagIsOfAllTopics(t *testing.T) {
	t.Parallel()
	one, two := newTopics(Config{Wires: []Encoder{lines}, FrameBytesMax: 8})
	r := newReader(&OutflowConfig{}, one, two)
	if n := r.Lag(); n != 0 {
		t.Errorf("%d messages behind, and nothing was published", n)
	}
	seal(one, 2, "first")
	seal(two, 3, "second")
	seal(one, 4, "third")
	if n := r.Lag(); n != 3 {
		t.Errorf("%d messages behind, want 3", n)
	}
	r.expect(t, 6, "first\n")
	if n := r.Lag(); n != 2 {
		t.Errorf("%d messages behind, want 2", n)
	}
	r.expect(t, all, "second\nthird\n")
	if n := r.Lag(); n != 0 {
		t.Errorf("%d messages behind, and everything has left", n)
	}
}
