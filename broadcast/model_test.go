package broadcast

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/internal/budget"
)

// double is a wire that needs more room than the messages: lines with each byte twice.
func double(dst []byte, b codec.Batch) []byte { return appendForm(dst, lines(nil, b), 2) }

// appendForm gives text the form of a test's wire.
func appendForm(dst, text []byte, w Wire) []byte {
	switch w {
	case 1:
		return append(dst, bytes.ToUpper(text)...)
	case 2:
		for _, c := range text {
			dst = append(dst, c, c)
		}
		return dst
	default:
		return append(dst, text...)
	}
}

// textOf undoes appendForm.
func textOf(p []byte, w Wire) []byte {
	switch w {
	case 1:
		return bytes.ToLower(p)
	case 2:
		var text []byte
		for i := 0; i < len(p); i += 2 {
			if p[i] != p[i+1] {
				panic("half a byte was to be converted")
			}
			text = append(text, p[i])
		}
		return text
	default:
		return p
	}
}

// item is a frame or a post as the model owes it.
type item struct {
	topic    *modelTopic // nil: the outbox, or the rest of a frame whose topic has gone on
	seq      uint64
	bytes    string // that have not left
	begun    bool   // some have
	messages int
	at       int64 // when it was sealed
}

// modelTopic is a topic and the messages of its open batch.
type modelTopic struct {
	*Topic
	config Config
	open   codec.Batch // what the implementation has too
}

// modelReader is an outflow and, in order, what it must yield.
type modelReader struct {
	reader
	m       *model
	wire    Wire
	greed   int // bytes that it reads at most
	due     []item
	planned int
	cut     uint64
	lost    bool
	movedAt map[*modelTopic]int64
	skipped map[*modelTopic]*modelSkip // topics of which it has missed something, until it is waited for again
}

// modelSkip is what a reader has missed of a topic since it stepped aside, as it was told.
type modelSkip struct {
	aside    bool
	wentOnAt int64
}

// model runs random operations on topics and outflows, and says what must come of them. What it takes from the
// implementation is how far frames were merged, which only decides how much of them leaves as one.
type model struct {
	t        *testing.T
	seed     uint64
	step     int
	r        *rand.Rand
	now      int64
	seq      uint64
	logs     *budget.Account
	outboxes *budget.Account
	budget   budget.Budget
	policies [2]OutflowConfig
	topics   []*modelTopic
	readers  []*modelReader
	missed   uint64 // messages that readers will never see, as the implementation counts them
	missing  uint64 // as the model does
	skips    int
	losses   int
	pins     int

	current   *modelTopic // in which somebody may be evicted just now
	sealing   uint64      // the number of the batch on its way, 0 if there is none
	shrinking bool
	segments  map[*segment]*stream // of current, before
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 7))}
	m.logs, m.outboxes = m.budget.Account(), m.budget.Account()
	frame, outbox := 40+m.r.IntN(1000), 300+m.r.IntN(3000)
	for i := range m.policies {
		m.policies[i] = OutflowConfig{FrameBytesMax: frame, OutboxBytesMax: outbox, Skip: i == 1, Outboxes: m.outboxes}
	}
	for range 1 + m.r.IntN(3) {
		m.topics = append(m.topics, m.newTopic(frame))
	}
	return m
}

func (m *model) newTopic(frame int) *modelTopic {
	c := Config{
		Wires: []Encoder{lines, loud, double}, Logs: m.logs, Missed: &m.missed, FrameBytesMax: frame,
		SegmentBytes: 32 + m.r.IntN(600), LogBytesMax: 500 + m.r.IntN(4000), SpareBytes: 1 + m.r.IntN(1500),
	}
	if m.r.IntN(3) > 0 {
		c.Pace = Pace{
			Now: &m.now, BytesPerSecond: c.LogBytesMax * (1 + m.r.IntN(5)), WindowMS: int64(50 + m.r.IntN(400)),
			BytesMax: c.LogBytesMax * (1 + m.r.IntN(3)), SumBytesPerSecond: m.r.IntN(2) * c.LogBytesMax * m.r.IntN(9),
		}
		c.LogBytesLimit = c.LogBytesMax * (1 + m.r.IntN(4))
	}
	return &modelTopic{Topic: NewTopic(c), config: c}
}

func (m *model) failf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("seed %d, step %d: %s", m.seed, m.step, fmt.Sprintf(format, args...))
}

func (m *model) next() uint64 {
	m.seq += 1 + uint64(m.r.IntN(2)*m.r.IntN(2)) // mostly successors
	return m.seq
}

func (m *model) anyReader() *modelReader {
	if len(m.readers) == 0 {
		return m.add()
	}
	return m.readers[m.r.IntN(len(m.readers))]
}

func (m *model) anyTopic() *modelTopic { return m.topics[m.r.IntN(len(m.topics))] }

func (m *model) add() *modelReader {
	r := &modelReader{
		m: m, wire: Wire(m.r.IntN(3)), cut: NoSeq,
		movedAt: map[*modelTopic]int64{}, skipped: map[*modelTopic]*modelSkip{},
	}
	r.greed = []int{10, 100, 1000}[m.r.IntN(3)]
	r.Init(&m.policies[m.r.IntN(2)], r)
	m.readers = append(m.readers, r)
	return r
}

func (r *modelReader) subscribed(t *modelTopic) bool { _, ok := r.movedAt[t]; return ok }

func (r *modelReader) dueBytes() int {
	n := 0
	for _, i := range r.due {
		n += len(i.bytes)
	}
	return n
}

// owe adds an item, unless it comes after the end.
func (r *modelReader) owe(i item) {
	if !r.lost && i.seq < r.cut && i.bytes != "" {
		r.due = append(r.due, i)
	}
}

// publish adds a message to a topic's open batch.
func (m *model) publish(t *modelTopic) {
	text := fmt.Sprintf("m%d%s", m.step, strings.Repeat("x", m.r.IntN(1+m.r.IntN(60))))
	if m.r.IntN(20) == 0 {
		text += strings.Repeat("y", m.r.IntN(1500))
	}
	msg := codec.Text([]byte(text))
	t.Publish(&msg)
	if !t.closed {
		t.open.Append(&msg)
	}
}

// evicting does what may evict subscribers of t.
func (m *model) evicting(t *modelTopic, do func()) {
	m.segments = map[*segment]*stream{}
	for i := range t.streams {
		for at := t.streams[i].first; at != nil; at = at.next {
			m.segments[at] = &t.streams[i]
		}
	}
	m.current = t
	do()
	m.current = nil
}

// freed is the size of the segments that have left the log since.
func (m *model) freed(s *stream) int {
	n, linked := 0, map[*segment]bool{}
	for at := s.first; at != nil; at = at.next {
		linked[at] = true
	}
	for at, of := range m.segments {
		if of == s && !linked[at] {
			n += at.bytes()
		}
	}
	return n
}

// seal ends the open batch: every subscriber is owed its frames. do is what makes the implementation seal.
func (m *model) seal(t *modelTopic, seq uint64, do func()) {
	for _, r := range m.readers {
		if t.open.Len() == 0 || !r.subscribed(t) {
			continue
		}
		t.open.Split(t.config.FrameBytesMax, func(part codec.Batch) {
			frame := t.config.Wires[r.wire](nil, part)
			r.owe(item{topic: t, seq: seq, bytes: string(frame), messages: part.Len(), at: m.now})
		})
	}
	m.sealing = seq
	m.evicting(t, do)
	m.sealing = 0
	t.open.Reset()
}

// sealTopics seals what a reader subscribes to, as one must before it is posted anything.
func (m *model) sealTopics(r *modelReader) {
	for _, t := range m.topics {
		if r.subscribed(t) && t.IsOpen() {
			seq := m.next()
			m.seal(t, seq, func() { t.Seal(seq) })
		}
	}
}

// Evicted checks that the eviction is legal, and removes from what is due what the reader will never see.
func (r *modelReader) Evicted() {
	m, t := r.m, r.m.current
	if t == nil || !r.subscribed(t) || r.lost {
		m.failf("an eviction out of place")
	}
	s := &t.streams[r.wire]
	included := m.sealing == 0 || s.seq == m.sealing
	m.checkEviction(r, t, s, included)
	if !r.config.Skip || r.Lost() && r.mustKeep() > r.config.OutboxBytesMax {
		m.losses++
		r.lost, r.due, r.planned = true, nil, 0
		if !r.Lost() {
			m.failf("it is not lost")
		}
		return
	}
	m.skips++
	missed := r.pin(func(i item) bool { return i.topic != t || i.seq == m.sealing && !included })
	m.missing += missed
	r.skipped[t] = &modelSkip{aside: r.cut == NoSeq} // else it has everything that it was owed
	if r.Lost() {
		m.failf("it skips, and is lost")
	}
}

// mustKeep is what must be in the outbox, at most, when a reader that skips is evicted.
func (r *modelReader) mustKeep() int {
	bytes := r.planned
	if len(r.due) > 0 && r.due[0].begun {
		bytes = max(bytes, len(r.due[0].bytes))
	}
	for _, i := range r.due {
		if i.topic == nil {
			bytes += len(i.bytes) + parcelSize
		}
	}
	return bytes
}

// goesOn is called before a reader takes something, or might: of topics of which it was skipped it has missed what came
// since, but for what the newest segment holds.
func (m *model) goesOn(r *modelReader) {
	for t, skip := range r.skipped {
		if skip.aside {
			skip.aside, skip.wentOnAt = false, m.now
			messages, bytes := r.missing(t, len(t.streams[r.wire].last.data))
			m.missing += messages
			r.due = slices.DeleteFunc(r.due, func(i item) bool {
				drop := i.topic == t && bytes > 0
				if drop {
					bytes -= len(i.bytes)
				}
				return drop
			})
		}
	}
}

// missing is what is due of a topic before the newest bytes of it.
func (r *modelReader) missing(t *modelTopic, newest int) (messages uint64, bytes int) {
	unread := 0
	for _, i := range r.due {
		if i.topic == t {
			unread += len(i.bytes)
		}
	}
	for _, i := range r.due {
		if i.topic == t && unread-bytes > newest {
			messages += uint64(i.messages)
			bytes += len(i.bytes)
		}
	}
	return messages, bytes
}

// missesAll follows the end of a subscription.
func (m *model) missesAll(r *modelReader, t *modelTopic) {
	if skip := r.skipped[t]; skip != nil && skip.aside {
		messages, _ := r.missing(t, 0)
		m.missing += messages
	}
}

// checkEviction holds an eviction against the rules, seen from outside: the log is too large, and the reader has taken
// nothing for too long, or the log is full, or beyond its limit.
func (m *model) checkEviction(r *modelReader, t *modelTopic, s *stream, included bool) {
	need := m.freed(s) // the segment from which it was evicted is free by now
	if !included {
		size := 0
		t.open.Split(t.config.FrameBytesMax, func(part codec.Batch) { size += len(s.encode(nil, part)) })
		size = (size + s.segmentBytes - 1) / s.segmentBytes * s.segmentBytes
		need += size + size/mergeBytes*entrySize
	}
	if m.shrinking || s.kept+need > s.bytesLimit {
		return
	}
	if s.kept+need <= s.bytesMax {
		m.failf("evicted from a log of %d bytes, it may have %d", s.kept+need, s.bytesMax)
	}
	for _, i := range r.due {
		if i.topic != t {
			continue
		}
		// Whether a reader is too slow for a full log is left to the named tests.
		stalled := m.now-max(i.at, r.movedAt[t]) >= s.pace.windowMS
		if s.pace.perSecond > 0 && s.kept+need <= s.bytesFull && !stalled && r.skipped[t] == nil {
			m.failf("a reader was evicted that takes something: due since %d, moved at %d, now %d", i.at, r.movedAt[t],
				m.now)
		}
		return
	}
	m.failf("a reader was evicted that is owed nothing")
}

// pin follows what the implementation has copied to the front of the outbox: it stays due, the rest as stays says. It
// returns the number of messages that do not.
func (r *modelReader) pin(stays func(item) bool) (missed uint64) {
	held := 0
	for _, p := range r.outbox.parcels {
		if p.seq == pinned {
			held = max(0, p.end-r.outbox.sent)
		}
	}
	need := r.planned
	if need == 0 && len(r.due) > 0 && r.due[0].begun && !stays(r.due[0]) {
		need = len(r.due[0].bytes)
	}
	if held < need {
		r.m.failf("%d bytes of what has begun are kept, of %d", held, need)
	}
	var due []item
	for _, i := range r.due {
		switch {
		case held > 0:
			if held -= len(i.bytes); held < 0 {
				r.m.failf("half a frame is kept")
			}
			i.topic, i.seq, i.messages = nil, 0, 0
			r.m.pins++
			due = append(due, i)
		case stays(i):
			due = append(due, i)
		default:
			missed += uint64(i.messages)
		}
	}
	r.due = due
	return missed
}

// read takes up to n bytes and compares each piece.
func (m *model) read(r *modelReader, n int) {
	for n > 0 {
		m.goesOn(r)
		p, from := r.Next()
		if len(p) == 0 {
			if len(r.due) > 0 {
				m.failf("nothing is due, of %q", r.due[0].bytes)
			}
			return
		}
		if r.planned > 0 && len(p) > r.planned {
			m.failf("%d bytes of a plan of %d", len(p), r.planned)
		}
		p = p[:min(len(p), n)]
		m.take(r, string(p))
		r.Advance(from, len(p))
		if r.planned = max(0, r.planned-len(p)); r.planned != r.Planned() {
			m.failf("%d planned, not %d", r.Planned(), r.planned)
		}
		n -= len(p)
	}
}

// take removes got from what is due, which it must be the beginning of.
func (m *model) take(r *modelReader, got string) {
	for got != "" {
		if len(r.due) == 0 {
			m.failf("%q comes of itself", got)
		}
		i := &r.due[0]
		n := min(len(got), len(i.bytes))
		if got[:n] != i.bytes[:n] {
			m.failf("%q comes instead of %q", got, i.bytes)
		}
		if i.topic != nil {
			r.movedAt[i.topic] = m.now
			window := i.topic.streams[r.wire].pace.windowMS
			if skip := r.skipped[i.topic]; skip != nil && m.now-skip.wentOnAt >= window {
				delete(r.skipped, i.topic)
			}
		}
		got, i.bytes, i.begun = got[n:], i.bytes[n:], true
		if i.bytes == "" {
			r.due = r.due[1:]
		}
	}
}

// plan checks that a plan is whole frames, and as many as fit.
func (m *model) plan(r *modelReader) {
	bytesMax := m.r.IntN(2000)
	m.goesOn(r)
	n := r.Plan(bytesMax)
	if r.planned > 0 {
		if n != r.planned {
			m.failf("a plan of %d is now %d", r.planned, n)
		}
		return
	}
	total, border, rest := 0, n == 0, 0
	for _, i := range r.due {
		if total += len(i.bytes); total == n {
			border = true
		} else if total > n && rest == 0 {
			rest = len(i.bytes)
		}
	}
	largest := 2 * max(m.policies[0].FrameBytesMax, 3000) // of an entry, doubled by the wire
	switch {
	case !border || n == 0 && total > 0:
		m.failf("%d bytes are planned of %d", n, total)
	case n > max(bytesMax, largest):
		m.failf("%d bytes are planned, %d are allowed", n, bytesMax)
	case n < total && n+max(rest, largest) <= bytesMax, total <= bytesMax && n != total:
		m.failf("%d bytes are planned of %d, %d are allowed", n, total, bytesMax)
	}
	r.planned = n
}

func (m *model) post(r *modelReader) {
	m.sealTopics(r)
	text := fmt.Sprintf("p%d%s\n", m.step, strings.Repeat("z", m.r.IntN(1+m.r.IntN(100))))
	p := appendForm(nil, []byte(text), r.wire)
	before, seq := r.Waiting(), m.next()
	err := r.Post(append(r.Outbox(), p...), seq)
	bytesMax := m.policies[0].OutboxBytesMax
	switch {
	case r.lost:
		if !errors.Is(err, ErrLost) {
			m.failf("a lost outflow takes a post: %v", err)
		}
	case seq >= r.cut:
		if err != nil || r.Waiting() != before {
			m.failf("a post behind the end: %v", err)
		}
	case err == nil:
		r.owe(item{seq: seq, bytes: string(p)})
		if r.Waiting() > bytesMax || r.Waiting() < before+len(p) {
			m.failf("%d bytes wait, of %d and %d", r.Waiting(), before, len(p))
		}
	case !errors.Is(err, ErrOutboxFull) || before+len(p)+parcelSize <= bytesMax || r.Waiting() != before:
		m.failf("a post of %d bytes behind %d: %v", len(p), before, err)
	}
}

func (m *model) rewire(r *modelReader) {
	if m.sealTopics(r); r.planned > 0 || len(r.due) > 0 && r.due[0].begun {
		m.read(r, r.planned)
		if len(r.due) > 0 && r.due[0].begun {
			m.read(r, len(r.due[0].bytes))
		}
	}
	m.goesOn(r)
	was, to, called := r.wire, Wire(m.r.IntN(3)), false
	convert := func(p []byte) []byte { return appendForm(nil, textOf(p, was), to) }
	err := r.Rewire(to, func(dst, p []byte) []byte { called = true; return append(dst, convert(p)...) }, m.next())
	bytesMax := m.policies[0].OutboxBytesMax
	switch total := r.dueBytes(); {
	case r.lost:
		if !errors.Is(err, ErrLost) {
			m.failf("a lost outflow is rewired: %v", err)
		}
		return
	case total > bytesMax:
		if !errors.Is(err, ErrOutboxFull) || called {
			m.failf("%d bytes are converted: %v", total, err)
		}
		return
	}
	converted := 0
	for i := range r.due {
		r.due[i].topic, r.due[i].bytes = nil, string(convert([]byte(r.due[i].bytes)))
		converted += len(r.due[i].bytes)
	}
	switch {
	case err != nil:
		if !errors.Is(err, ErrOutboxFull) || converted+parcelSize*len(r.due) <= bytesMax || !r.Lost() {
			m.failf("%d bytes become %d: %v", r.dueBytes(), converted, err)
		}
		r.lost, r.due = true, nil
	case converted > bytesMax:
		m.failf("%d bytes are in the outbox", converted)
	default:
		r.wire = to
	}
}

func (m *model) subscribe(r *modelReader, t *modelTopic) {
	seq := m.next()
	want := !r.lost && !t.closed && !r.subscribed(t)
	ok := false
	do := func() { ok = r.Subscribe(t.Topic, r.wire, seq) }
	if want {
		m.seal(t, seq, do)
		r.movedAt[t] = 0
	} else {
		do()
	}
	if ok != want {
		m.failf("Subscribe: %v", ok)
	}
}

func (m *model) unsubscribe(r *modelReader, t *modelTopic) {
	r.Unsubscribe(t.Topic)
	if !r.subscribed(t) {
		return
	}
	m.unsubscribed(r, t)
}

func (m *model) unsubscribed(r *modelReader, t *modelTopic) {
	m.missesAll(r, t)
	r.pin(func(i item) bool { return i.topic != t })
	delete(r.movedAt, t)
	delete(r.skipped, t)
}

// cutOff ends a reader behind what it was sent so far.
func (m *model) cutOff(r *modelReader) {
	m.sealTopics(r)
	seq := m.next()
	m.goesOn(r)
	r.CutOff(seq)
	r.cut = min(r.cut, seq)
}

func (m *model) closeReader(r *modelReader) {
	for t := range r.skipped {
		m.missesAll(r, t)
	}
	r.Close()
	if p, _ := r.Next(); len(p) > 0 || r.Waiting() > 0 || r.Len() > 0 || r.Plan(1) > 0 {
		m.failf("a closed outflow is owed something")
	}
	for i := range m.readers {
		if m.readers[i] == r {
			m.readers = append(m.readers[:i], m.readers[i+1:]...)
			return
		}
	}
}

func (m *model) closeTopic(t *modelTopic) {
	var members []*modelReader
	for _, r := range m.readers {
		if r.subscribed(t) {
			members = append(members, r)
		}
	}
	t.Close()
	for _, r := range members {
		m.unsubscribed(r, t)
	}
	t.open.Reset()
	if t.LogBytes() != 0 || t.Len() != 0 {
		m.failf("a closed topic has %d bytes", t.LogBytes())
	}
}

// full checks that whoever is waited for keeps pace, and that nobody else is left in the way.
func (m *model) full(t *modelTopic) {
	full := false
	m.evicting(t, func() { full = t.Full() })
	want := false
	for i := range t.streams {
		s := &t.streams[i]
		if s.kept <= s.bytesMax || s.first == s.last {
			continue
		}
		isFull := s.kept > s.bytesFull
		want = want || isFull
		for c := s.first.resting; c != nil; c = c.next {
			stalled := m.now-max(s.first.next.madeAt, c.movedAt) >= s.pace.windowMS
			if c.skipped || stalled || isFull && c.slow {
				m.failf("a reader is waited for that does not keep pace")
			}
		}
	}
	if full != want {
		m.failf("full: %v", full)
	}
}

// checkAside counts those who stand aside.
func (m *model) checkAside(t *modelTopic) {
	all, of := 0, map[*stream]int{}
	for _, c := range t.members {
		if c.aside {
			all++
			of[c.stream]++
		}
	}
	if t.aside != all {
		m.failf("%d members are counted as standing aside, of %d", t.aside, all)
	}
	for i := range t.streams {
		if s := &t.streams[i]; s.aside != of[s] {
			m.failf("%d readers of a stream are counted as standing aside, of %d", s.aside, of[s])
		}
	}
}

// standsAside tells whether nothing is kept for a reader: it was skipped, or is owed nothing more.
func (m *model) standsAside(r *modelReader, t *modelTopic) bool {
	skip := r.skipped[t]
	want := skip != nil && skip.aside
	c := r.subscriptions[r.index(t.Topic)]
	if c.aside != want || (c.at == nil) != want && r.cut == NoSeq {
		m.failf("a cursor stands aside: %v, not %v", c.aside, want)
	}
	return c.at == nil
}

func (m *model) shrink(t *modelTopic) {
	before, want := t.LogBytes(), m.r.IntN(3000)
	n := 0
	m.shrinking = true
	m.evicting(t, func() { n = t.Shrink(want) })
	m.shrinking = false
	if n != before-t.LogBytes() {
		m.failf("%d bytes given back, of %d are left %d", n, before, t.LogBytes())
	}
	for i := range t.streams {
		if s := &t.streams[i]; n < want && (s.first != s.last || s.spare.bytes > 0) {
			m.failf("%d bytes given back instead of %d, and there is more", n, want)
		}
	}
}

// check recomputes what is kept, from the capacities, and looks at the lists.
func (m *model) check() {
	logs, outboxes := 0, 0
	for _, t := range m.topics {
		n := cap(t.Topic.open.JSON) + 8*cap(t.Topic.open.Ends) + cap(t.scratch.bytes) + entrySize*cap(t.scratch.frames)
		resting := 0
		for i := range t.streams {
			s := &t.streams[i]
			for _, at := range s.spare.list {
				n += at.bytes()
			}
			if s.spare.bytes > s.spareBytes {
				m.failf("spares of %d bytes", s.spare.bytes)
			}
			for at := s.first; at != nil; at = at.next {
				n += cap(at.data) + entrySize*cap(at.entries)
				for c := at.resting; c != nil; c = c.next {
					if resting++; c.at != at || c.next != nil && c.next.prev != c {
						m.failf("a broken list")
					}
				}
			}
			if s.first != s.last && s.kept > s.bytesLimit {
				m.failf("a log of %d bytes, its limit is %d", s.kept, s.bytesLimit)
			}
			if s.first != s.last && s.first.resting == nil {
				m.failf("a segment is kept that nobody needs")
			}
		}
		if n != t.LogBytes() {
			m.failf("LogBytes is %d, not %d", t.LogBytes(), n)
		}
		logs += n
		m.checkAside(t)
		members, mixed := 0, 0
		for _, r := range m.readers {
			if r.subscribed(t) && !r.lost && !m.standsAside(r, t) {
				members++
			}
			if r.subscribed(t) && len(r.movedAt) > 1 {
				mixed++
			}
		}
		if members != resting || mixed != t.multiTopic {
			m.failf("%d subscribers in a topic, not %d; %d hear others, not %d", resting, members, t.multiTopic, mixed)
		}
	}
	missing := m.missing
	for _, r := range m.readers {
		for t, skip := range r.skipped {
			if skip.aside {
				messages, _ := r.missing(t, len(t.streams[r.wire].last.data))
				missing += messages
			}
		}
		outboxes += cap(r.outbox.bytes) + parcelSize*cap(r.outbox.parcels)
		begun := r.planned > 0 || len(r.due) > 0 && r.due[0].begun
		for t := range r.movedAt {
			if got, want := r.Unread(t.Topic), r.unreadOf(t); got != want && !r.lost {
				m.failf("%d bytes of a topic are unread, not %d", got, want)
			}
		}
		if begun && !r.Begun() || r.Len() != len(r.movedAt) || r.Lost() != r.lost || r.Begun() && len(r.due) == 0 {
			m.failf("begun %v, not %v; %d topics; lost: %v", r.Begun(), begun, r.Len(), r.Lost())
		}
	}
	if m.missed != missing {
		m.failf("%d messages are counted as missed, not %d", m.missed, missing)
	}
	if m.logs.Bytes() != logs || m.outboxes.Bytes() != outboxes {
		m.failf("charged are %d and %d, not %d and %d", m.logs.Bytes(), m.outboxes.Bytes(), logs, outboxes)
	}
}

// unreadOf counts what of a topic's log the reader has not taken.
func (r *modelReader) unreadOf(t *modelTopic) (bytes int) {
	for _, c := range r.subscriptions {
		for at, off := c.at, c.off; c.topic == t.Topic && at != nil; at, off = at.next, 0 {
			bytes += len(at.data) - off
		}
	}
	return bytes
}

// act does something at random.
func (m *model) act() {
	r, t := m.anyReader(), m.anyTopic()
	switch n := m.r.IntN(100); {
	case n < 20:
		m.publish(t)
	case n < 40:
		seq := m.next()
		m.seal(t, seq, func() { t.Seal(seq) })
		m.full(t)
	case n < 50:
		m.post(r)
	case n < 58:
		m.plan(r)
	case n < 78:
		m.read(r, m.r.IntN(1+m.r.IntN(r.greed)))
	case n < 83:
		m.subscribe(r, t)
	case n < 86:
		m.unsubscribe(r, t)
	case n < 89:
		m.now += int64(m.r.IntN(100))
	case n < 92:
		m.full(t)
	case n < 94:
		m.shrink(t)
	case n < 96:
		m.rewire(r)
	case n < 97:
		m.cutOff(r)
	case n < 98:
		m.add()
	case n < 99:
		t.Trim()
	default:
		m.end(r, t)
	}
}

// end closes something, seldom.
func (m *model) end(r *modelReader, t *modelTopic) {
	switch m.r.IntN(4) {
	case 0:
		m.closeTopic(t)
		m.topics = append(m.topics, m.newTopic(m.policies[0].FrameBytesMax))
		for i := range m.topics {
			if m.topics[i] == t && m.r.IntN(2) == 0 {
				m.topics = append(m.topics[:i], m.topics[i+1:]...)
				break
			}
		}
	default:
		m.closeReader(r)
	}
}

func (m *model) run(steps int) {
	for m.step = range steps {
		m.act()
		m.check()
	}
	for _, r := range m.readers {
		m.read(r, all)
	}
	m.check()
	for len(m.readers) > 0 {
		m.closeReader(m.readers[0])
	}
	for _, t := range m.topics {
		t.Close()
	}
	if m.budget.Used() != 0 {
		m.failf("%d bytes are charged at the end", m.budget.Used())
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	skips, losses, pins := 0, 0, 0
	for seed := range uint64(300) {
		m := newModel(t, seed)
		m.run(1500)
		skips, losses, pins = skips+m.skips, losses+m.losses, pins+m.pins
	}
	t.Logf("%d skips, %d losses, %d frames pinned", skips, losses, pins)
	if skips < 300 || losses < 200 || pins < 1000 {
		t.Error("too little happens")
	}
}

func FuzzModel(f *testing.F) {
	f.Add(uint64(1), uint16(200))
	f.Add(uint64(2), uint16(2000))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) { newModel(t, seed).run(int(steps) % 3000) })
}
