package server

import "github.com/sockloop/sockloop/broadcast"

// outflow is everything that a session is still to be sent, in the order in which it was: the topics it subscribes to,
// each a cursor, and its outbox, for what is meant for it alone.
type outflow struct {
	subscriptions []*subscription
	outbox        []byte // in the form that the transport gives it: whole frames, or elements of arrays
	parcels       []parcel
	first         int    // of the parcels, the first that has not left
	sent          int    // bytes of the outbox that have left
	source        int    // of what next returned: an index of subscriptions, or fromOutbox
	end           uint64 // when not 0, what bears this number or a higher one came after the session's end
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

// begun is the rest of a frame that was sent in part: of one subscription at most, since nothing else is sent before it
// is finished. (A parcel that was sent in part bears the lowest number still.)
func (o *outflow) begun() []byte {
	for i, s := range o.subscriptions {
		if s.InFrame() {
			o.source = i
			return s.RestOfFrame()
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
		return o.parcelsBefore(second)
	default:
		return o.subscriptions[o.source].UnreadBefore(second)
	}
}

// parcelsBefore is the parcels with lower numbers than seq, which lie in one piece.
func (o *outflow) parcelsBefore(seq uint64) []byte {
	end := o.sent
	for _, p := range o.parcels[o.first:] {
		if p.seq >= seq {
			break
		}
		end = p.end
	}
	return o.outbox[o.sent:end]
}

// due is how much may leave as one frame of messages: as much as bytesMax allows, at least one message if there is any,
// and nothing that was sent after end. What next returns until then is the same bytes, in the same order.
func (o *outflow) due(bytesMax int) int {
	var few [4]broadcast.Ahead
	ahead := few[:0]
	for _, s := range o.subscriptions {
		ahead = append(ahead, s.Ahead())
	}
	parcel, from := o.first, o.sent
	for total := 0; ; {
		size, seq, source := 0, broadcast.NoSeq, fromOutbox
		if parcel < len(o.parcels) {
			size, seq = o.parcels[parcel].end-from, o.parcels[parcel].seq
		}
		for i := range ahead {
			if n, next := ahead[i].Frame(); next < seq {
				size, seq, source = n, next, i
			}
		}
		if size == 0 || o.end > 0 && seq >= o.end || total > 0 && total+size > bytesMax {
			return total
		}
		total += size
		if source == fromOutbox {
			from = o.parcels[parcel].end
			parcel++
		} else {
			ahead[source].Pass(size)
		}
	}
}

// advance marks n bytes of what next returned as sent.
func (o *outflow) advance(n int) {
	if o.source != fromOutbox {
		o.subscriptions[o.source].Advance(n)
		return
	}
	for o.sent += n; o.first < len(o.parcels) && o.parcels[o.first].end <= o.sent; {
		o.first++
	}
	if o.first == len(o.parcels) {
		o.reset()
	}
}

// hold moves the next n bytes to the front of the outbox, in the form that convert gives them: a subscription is about to
// end that has begun a frame, or changes its wire.
func (o *outflow) hold(n int, convert func(dst, p []byte) []byte) {
	var held []byte
	for n > 0 {
		p := o.next()
		if p = p[:min(n, len(p))]; len(p) == 0 {
			break
		}
		held = convert(held, p)
		o.advance(len(p))
		n -= len(p)
	}
	if len(held) == 0 {
		return
	}
	parcels := []parcel{{len(held), 0}}
	for _, p := range o.parcels[o.first:] {
		parcels = append(parcels, parcel{p.end - o.sent + len(held), p.seq})
	}
	o.outbox, o.parcels, o.sent, o.first = append(held, o.outbox[o.sent:]...), parcels, 0, 0
}

// asIs is the conversion for hold that leaves everything as it is.
func asIs(dst, p []byte) []byte { return append(dst, p...) }

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
func (o *outflow) post(seq uint64) {
	o.parcels = append(o.parcels, parcel{len(o.outbox), seq})
	if o.sent > max(len(o.outbox)/2, outboxKept) { // it is never empty, but most of it has left
		o.compact()
	}
}

// compact gives up the room of what has left.
func (o *outflow) compact() {
	o.outbox = o.outbox[:copy(o.outbox, o.outbox[o.sent:])]
	o.parcels = o.parcels[:copy(o.parcels, o.parcels[o.first:])]
	for i := range o.parcels {
		o.parcels[i].end -= o.sent
	}
	o.sent, o.first = 0, 0
}

// waiting is the size of what waits in the outbox, in bytes.
func (o *outflow) waiting() int { return len(o.outbox) - o.sent }
