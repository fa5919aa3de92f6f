package broadcast

import (
	"errors"
	"iter"
	"slices"

	"github.com/sockloop/sockloop/internal/budget"
)

// OutflowConfig is shared by the outflows of a loop. Zero sizes stand for the defaults.
type OutflowConfig struct {
	FrameBytesMax  int             // size up to which small posts are merged, in bytes
	OutboxBytesMax int             // what may wait in an outbox, in bytes, with 16 for each parcel
	Skip           bool            // what becomes of slow consumers: they miss messages, else they are Lost
	Outboxes       *budget.Account // is charged with the memory of the outboxes; nil is none
	Subscriptions  *budget.Account // is charged with SubscriptionBytes for each subscription; nil is none
	// SkipBytesMax is what the outboxes may keep in all when the rest of a frame is added for who skips: beyond it a
	// slow consumer that has begun a frame is Lost all the same. 0 is no limit.
	SkipBytesMax int

	looks []look // scratch
}

// SubscriptionBytes is what a subscription takes: the cursor, and its places in the topic's list and the outflow's.
const SubscriptionBytes = 160

// OutboxBytesMax is the default of OutflowConfig.
const OutboxBytesMax = 1 << 20

var (
	// ErrOutboxFull tells that more would wait in an outbox than it may hold.
	ErrOutboxFull = errors.New("broadcast: the outbox is full")
	// ErrLost tells that the outflow is lost or closed.
	ErrLost = errors.New("broadcast: the outflow has ended")
)

// Outflow is everything that a receiver is owed, in the order in which it was sent: the topics that it subscribes to,
// each a cursor, and its outbox. What bears the lowest number leaves first.
//
// No rule is needed to finish a frame before another begins: what has left in part bore the lowest number, and whatever
// comes later bears a higher one. Of small frames that are merged the first one's number counts; no other of this
// outflow's numbers lies between theirs.
//
// An outflow must not be copied after Init.
type Outflow struct {
	config        *OutflowConfig
	receiver      Receiver
	subscriptions []*cursor
	outbox        outbox
	planned       int    // bytes of the planned frame that have not left
	aside         bool   // cursors stand aside
	cut           uint64 // what bears this number or a higher one is not sent
	lost, closed  bool
}

// Source is where bytes came from that Next returned.
type Source struct{ cursor *cursor } // nil is the outbox

// Init makes an outflow that is owed nothing. The configuration is shared.
func (o *Outflow) Init(c *OutflowConfig, r Receiver) {
	c.FrameBytesMax = orDefault(c.FrameBytesMax, FrameBytesMax)
	c.OutboxBytesMax = orDefault(c.OutboxBytesMax, OutboxBytesMax)
	*o = Outflow{config: c, receiver: r, cut: NoSeq}
}

// Subscribe adds what is published to t from now on, in the form of wire w. Messages of t's open batch were published
// before, so it is sealed with seq. It returns false, and does nothing, if the outflow was subscribed, or has ended, or
// the topic has.
func (o *Outflow) Subscribe(t *Topic, w Wire, seq uint64) bool {
	if t.closed || o.lost || o.closed || o.Subscribed(t) {
		return false
	}
	t.Seal(seq)
	c := &cursor{owner: o}
	t.join(c, w)
	o.subscriptions = append(o.subscriptions, c)
	o.config.Subscriptions.Charge(SubscriptionBytes)
	switch len(o.subscriptions) {
	case 1:
	case 2:
		o.subscriptions[0].topic.multiTopic++
		t.multiTopic++
	default:
		t.multiTopic++
	}
	return true
}

// Unsubscribe ends a subscription, if there is one. What has not left yet is not sent any more, except for a frame that
// is planned or has left in part.
func (o *Outflow) Unsubscribe(t *Topic) {
	i := o.index(t)
	if i < 0 {
		return
	}
	c := o.subscriptions[i]
	o.pin(c)
	o.subscriptions = slices.Delete(o.subscriptions, i, i+1)
	o.config.Subscriptions.Charge(-SubscriptionBytes)
	switch len(o.subscriptions) {
	case 0:
	case 1:
		o.subscriptions[0].topic.multiTopic--
		t.multiTopic--
	default:
		t.multiTopic--
	}
	t.remove(c)
}

// Subscribed tells whether the outflow subscribes to t.
func (o *Outflow) Subscribed(t *Topic) bool { return o.index(t) >= 0 }

func (o *Outflow) index(t *Topic) int {
	for i, c := range o.subscriptions {
		if c.topic == t {
			return i
		}
	}
	return -1
}

// Topics are those that the outflow subscribes to. None may be added or taken away meanwhile.
func (o *Outflow) Topics() iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, c := range o.subscriptions {
			if !yield(c.topic) {
				return
			}
		}
	}
}

// Len is the number of topics that the outflow subscribes to.
func (o *Outflow) Len() int { return len(o.subscriptions) }

// Outbox is for Post(append(o.Outbox(), …), seq), and nothing else.
func (o *Outflow) Outbox() []byte { return o.outbox.bytes }

// Post adds to the outbox what was appended to Outbox, with the number seq. The batches of the outflow's topics that
// were open must have been sealed. With ErrOutboxFull and ErrLost nothing was added.
func (o *Outflow) Post(outbox []byte, seq uint64) error {
	if o.lost || o.closed {
		return ErrLost
	}
	b := &o.outbox
	size := len(outbox) - len(b.bytes)
	if size == 0 || seq >= o.cut {
		return nil
	}
	merge := o.mergesPost(size)
	more := size
	if !merge {
		more += parcelSize
	}
	if b.waiting()+more > o.config.OutboxBytesMax {
		return ErrOutboxFull
	}
	o.setApart()
	b.post(outbox, seq, merge, o.config.Outboxes)
	return nil
}

// mergesPost tells whether a post of size bytes can count as a part of the last one: no topic may have sealed a batch
// between them.
func (o *Outflow) mergesPost(size int) bool {
	last := o.outbox.last(size, o.config.FrameBytesMax)
	if last == NoSeq {
		return false
	}
	for _, c := range o.subscriptions {
		if c.stream.seq > last {
			return false
		}
	}
	return true
}

// setApart keeps the next batches of the topics from being merged with those before: something stands between.
func (o *Outflow) setApart() {
	for _, c := range o.subscriptions {
		c.stream.apart = true
	}
}

// Lag is the number of messages of the topics that have not left for it, those since it was skipped included. Of
// messages that were merged into one entry all count until the last has left.
func (o *Outflow) Lag() uint64 {
	n := uint64(0)
	for _, c := range o.subscriptions {
		n += c.lag()
	}
	return n
}

// Unread is what the topic's log keeps that has not left for it, in bytes; 0 if it does not subscribe.
func (o *Outflow) Unread(t *Topic) int {
	for _, c := range o.subscriptions {
		if c.topic == t && c.at != nil {
			return int(c.stream.bytes - c.at.start - uint64(c.off))
		}
	}
	return 0
}

// Memory is what the outbox occupies, in bytes.
func (o *Outflow) Memory() int { return o.outbox.kept }

// Next is what must be sent now, as far as it lies in one piece; empty when nothing is due. The bytes are shared, and
// valid until a topic or the outflow changes. It is to be called when the receiver can take something: one that was
// skipped goes on with the newest batches.
func (o *Outflow) Next() ([]byte, Source) {
	if o.aside {
		o.goOn()
	}
	return o.next()
}

func (o *Outflow) next() ([]byte, Source) {
	if len(o.subscriptions) == 1 && len(o.outbox.parcels) == 0 && o.planned == 0 && o.cut == NoSeq { // nearly always
		c := o.subscriptions[0]
		return c.unread(), Source{c}
	}
	from, first, second := o.lowest()
	if first >= o.cut {
		return nil, from
	}
	before := min(max(second, first+1), o.cut)
	var p []byte
	if from.cursor == nil {
		p = o.outbox.unreadBefore(before)
	} else {
		p = from.cursor.unreadBefore(before)
	}
	if o.planned > 0 {
		p = p[:min(len(p), o.planned)]
	}
	return p, from
}

// lowest is the source of the lowest number, that number, and the lowest of another source.
func (o *Outflow) lowest() (from Source, first, second uint64) {
	first, second = o.outbox.number(), NoSeq
	for _, c := range o.subscriptions {
		switch seq := c.number(); {
		case seq < first:
			first, second, from.cursor = seq, first, c
		case seq < second:
			second = seq
		}
	}
	return from, first, second
}

// Advance marks n bytes of what Next returned as sent.
func (o *Outflow) Advance(from Source, n int) {
	if n == 0 {
		return
	}
	if o.planned > 0 {
		o.planned -= n
	}
	if from.cursor != nil {
		from.cursor.advance(n)
	} else {
		o.outbox.advance(n, o.config.Outboxes)
	}
}

// Plan decides what leaves as the next frame, for transports that put something around it: as much as bytesMax allows,
// merged from all sources, and at least one entry if there is any. It returns the size in bytes. From then on Next
// yields these bytes, and no others, until all have left; they are sent whatever becomes of their topics, or the
// outflow is Lost.
func (o *Outflow) Plan(bytesMax int) int {
	o.goOn()
	if o.planned == 0 {
		o.planned, _ = o.due(bytesMax)
	}
	return o.planned
}

// due is the size of the next frame, and whether there is more than fits.
func (o *Outflow) due(bytesMax int) (size int, more bool) {
	looks := o.config.looks[:0]
	for _, c := range o.subscriptions {
		if c.at != nil {
			looks = append(looks, c.look())
		}
	}
	b := &o.outbox
	parcel, from := b.first, b.sent
	for {
		n, seq := 0, NoSeq
		if parcel < len(b.parcels) {
			n, seq = b.parcels[parcel].end-from, b.parcels[parcel].seq
		}
		var next *look
		for i := range looks {
			if m, number := looks[i].frame(); number < seq {
				n, seq, next = m, number, &looks[i]
			}
		}
		more = seq < o.cut
		if !more || size > 0 && size+n > bytesMax {
			break
		}
		size += n
		if next != nil {
			next.pass()
		} else {
			from = b.parcels[parcel].end
			parcel++
		}
	}
	clear(looks)
	o.config.looks = looks[:0]
	return size, more
}

// Planned is what has not left of the planned frame, in bytes.
func (o *Outflow) Planned() int { return o.planned }

// Begun tells that something must leave before anything else can: a planned frame, of which the beginning may be on its
// way, or an entry or parcel that has left in part. It may be more than a frame: small ones that were merged count as
// one.
func (o *Outflow) Begun() bool {
	if o.planned > 0 || o.outbox.begun || o.outbox.number() == pinned {
		return true
	}
	for _, c := range o.subscriptions {
		if len(c.remainder()) > 0 {
			return true
		}
	}
	return false
}

// pinned is the number of parcels that are the rest of a frame.
const pinned = 0

// pin copies the planned frame, and what c has begun, to the front of the outbox, so that they do not depend on c's
// log.
func (o *Outflow) pin(c *cursor) {
	var held []byte
	var parcels []parcel
	planned := o.planned
	if planned > 0 {
		held = o.take(held, planned)
		parcels = append(parcels, parcel{len(held), pinned})
	}
	if p := c.remainder(); len(p) > 0 {
		held = append(held, p...)
		c.advance(len(p))
		parcels = append(parcels, parcel{len(held), pinned})
	}
	if len(held) == 0 {
		return
	}
	b := &o.outbox
	for _, p := range b.parcels[b.first:] {
		parcels = append(parcels, parcel{p.end - b.sent + len(held), p.seq})
	}
	b.replace(append(held, b.bytes[b.sent:]...), parcels, o.config.Outboxes)
	o.planned = planned
	o.setApart()
}

// take moves the next n bytes, which must be due, to dst.
func (o *Outflow) take(dst []byte, n int) []byte {
	for n > 0 {
		p, from := o.next()
		if p = p[:min(n, len(p))]; len(p) == 0 {
			panic("broadcast: what was planned is gone")
		}
		dst = append(dst, p...)
		o.Advance(from, len(p))
		n -= len(p)
	}
	return dst
}

// Rewire moves all subscriptions to another wire. The topics' open batches are sealed with seq; then what is due is
// converted, an entry or parcel at a time, and goes to the outbox. ErrOutboxFull before anything is converted tells
// that it is too much; if it becomes too much by being converted the outflow is Lost, too. No frame may be planned.
func (o *Outflow) Rewire(w Wire, convert func(dst, p []byte) []byte, seq uint64) error {
	if o.planned > 0 {
		panic("broadcast: Rewire inside a planned frame")
	}
	for _, c := range o.subscriptions {
		c.topic.Seal(seq)
	}
	if o.lost || o.closed {
		return ErrLost
	}
	o.goOn()
	bytesMax := o.config.OutboxBytesMax
	if n, more := o.due(bytesMax); more || n > bytesMax {
		return ErrOutboxFull
	}
	converted, ok := o.convert(convert)
	if !ok {
		o.lose()
		return ErrOutboxFull
	}
	o.outbox.replace(converted.bytes, converted.parcels, o.config.Outboxes)
	for _, c := range o.subscriptions {
		c.stream.part(c)
		c.topic.streams[w].join(c)
	}
	return nil
}

// convert takes all that is due, and makes an outbox of it in another form. It gives up, and returns false, when that
// is larger than an outbox may be.
func (o *Outflow) convert(convert func(dst, p []byte) []byte) (converted outbox, ok bool) {
	var piece []byte
	for {
		_, seq, _ := o.lowest()
		n := o.Plan(0)
		if n == 0 {
			return converted, true
		}
		piece = o.take(piece[:0], n)
		before := len(converted.bytes)
		bytes := convert(converted.bytes, piece)
		merge := converted.last(len(bytes)-before, o.config.FrameBytesMax) != NoSeq
		converted.post(bytes, seq, merge, nil)
		if converted.waiting() > o.config.OutboxBytesMax {
			return converted, false
		}
	}
}

// CutOff ends the outflow behind what it was owed so far: what bears the number seq, a new one, or a higher one is not
// sent. The open batches of its topics must have been sealed.
func (o *Outflow) CutOff(seq uint64) {
	o.goOn() // what comes later is not missed
	o.cut = min(o.cut, seq)
	o.setApart()
}

// Lost tells that the outflow fell off a log and messages are missing, perhaps inside a frame: the connection must end.
// A lost outflow is owed nothing, and holds no memory of logs and outbox.
func (o *Outflow) Lost() bool { return o.lost }

// lose gives up on everything.
func (o *Outflow) lose() {
	o.lost, o.planned = true, 0
	for _, c := range o.subscriptions {
		c.leave()
		c.stream.release()
	}
	o.outbox.reset(0, o.config.Outboxes)
}

// evicted follows the eviction of a cursor, which is still in its place. The stream releases what it was in.
func (o *Outflow) evicted(c *cursor) {
	switch {
	case c.number() >= o.cut: // it has everything that it is owed
		c.leave()
	case o.maySkip(c):
		o.pin(c)
		*c.stream.missed += c.messagesBefore(o.cut) - c.at.messagesBefore(c.at.at(c.off))
		if o.cut != NoSeq {
			c.leave() // all that it was owed is in the outbox, or missed
		} else {
			c.stepAside()
			o.aside = true
		}
		o.receiver.Evicted()
	default:
		o.lose()
		o.receiver.Evicted()
	}
}

// maySkip tells whether what has begun or is planned may be kept, so that c can miss what comes behind it.
func (o *Outflow) maySkip(c *cursor) bool {
	size := max(o.planned, len(c.remainder()))
	all := o.config.SkipBytesMax
	return o.config.Skip && (size == 0 || o.outbox.waiting()+size <= o.config.OutboxBytesMax &&
		(all == 0 || o.config.Outboxes.Bytes()+size <= all))
}

// goOn gives the cursors that stand aside their places again.
func (o *Outflow) goOn() {
	if !o.aside {
		return
	}
	o.aside = false
	for _, c := range o.subscriptions {
		if c.aside {
			c.goOn()
		}
	}
}

// Close unsubscribes from everything and frees all memory.
func (o *Outflow) Close() {
	o.closed, o.planned = true, 0
	for len(o.subscriptions) > 0 {
		c := o.subscriptions[len(o.subscriptions)-1]
		c.leave()
		c.stream.release()
		o.Unsubscribe(c.topic)
	}
	o.subscriptions = nil
	o.outbox.reset(0, o.config.Outboxes)
}
