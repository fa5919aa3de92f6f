package server

import "github.com/sockloop/sockloop/broadcast"

// outflow is everything that a session is still to be sent, in the order in which it was: the topics it subscribes to,
// each a cursor, and its outbox, for what is meant for it alone.
type outflow struct {
	subscriptions []*subscription
	outbox        []byte // whole frames
	parcels       []parcel
	first         int // of the parcels, the first that has not left
	sent          int // bytes of the outbox that have left
	source        int // of what next returned: an index of subscriptions, or fromOutbox
}

const fromOutbox = -1

type subscription struct {
	broadcast.Cursor
	topic *Topic
}

// parcel is one direct message in the outbox.
type parcel struct {
	end int
	seq uint64
}

// next is what must be sent now, as far as it lies in one piece; empty when the session is up to date. Shared bytes.
func (o *outflow) next() []byte {
	if len(o.parcels) == 0 && len(o.subscriptions) == 1 { // nearly always
		o.source = 0
		return o.subscriptions[0].Unread()
	}
	if p := o.begun(); len(p) > 0 {
		return p
	}
	return o.oldest()
}

// begun is the rest of a batch that was sent in part: of one subscription at most, since nothing else is sent before it
// is finished. (A parcel that was sent in part bears the lowest number still.)
func (o *outflow) begun() []byte {
	for i, s := range o.subscriptions {
		if s.InBatch() {
			o.source = i
			return s.RestOfBatch()
		}
	}
	return nil
}

// oldest is what bears the lowest number, up to where another source has its turn.
func (o *outflow) oldest() []byte {
	first, second := broadcast.NoSeq, broadcast.NoSeq
	if len(o.parcels) > 0 {
		first, o.source = o.parcels[o.first].seq, fromOutbox
	}
	for i, s := range o.subscriptions {
		switch seq := s.Seq(); {
		case seq < first:
			first, second, o.source = seq, first, i
		case seq < second:
			second = seq
		}
	}
	switch {
	case first == broadcast.NoSeq:
		return nil
	case o.source == fromOutbox:
		return o.outbox[o.sent:o.parcels[o.first].end]
	default:
		return o.subscriptions[o.source].UnreadBefore(second)
	}
}

// advance marks n bytes of what next returned as sent.
func (o *outflow) advance(n int) {
	if o.source != fromOutbox {
		o.subscriptions[o.source].Advance(n)
		return
	}
	o.sent += n
	if o.sent < o.parcels[o.first].end {
		return
	}
	if o.first++; o.first == len(o.parcels) {
		o.reset()
	}
}

// finish takes over the rest of a batch whose subscription ends: frames that have begun must end. It goes before
// everything else.
func (o *outflow) finish(rest []byte) {
	unsent := append(append([]byte(nil), rest...), o.outbox[o.sent:]...)
	parcels := []parcel{{len(rest), 0}}
	for _, p := range o.parcels[o.first:] {
		parcels = append(parcels, parcel{p.end - o.sent + len(rest), p.seq})
	}
	o.outbox, o.parcels, o.sent, o.first = unsent, parcels, 0, 0
}

// outboxKept is the outbox memory that an idle session may keep, in bytes.
const outboxKept = 512

// reset empties the outbox.
func (o *outflow) reset() {
	o.sent, o.first = 0, 0
	o.outbox, o.parcels = o.outbox[:0], o.parcels[:0]
	if cap(o.outbox) > outboxKept {
		o.outbox, o.parcels = nil, nil
	}
}

// post ends a parcel: what was appended to the outbox since the last one.
func (o *outflow) post(seq uint64) { o.parcels = append(o.parcels, parcel{len(o.outbox), seq}) }

// waiting is the size of what waits in the outbox, in bytes.
func (o *outflow) waiting() int { return len(o.outbox) - o.sent }
