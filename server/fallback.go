package server

import (
	"container/list"
	"net"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// fallback is the transport of a session where no WebSocket comes through: the client asks, the response carries frames,
// and the client asks again; what it has to say comes in requests of its own. The response on its way is the session's
// receiver. Between two of them the session is a cursor that stays where it is.
//
// Its outbox holds the elements of arrays, as the log of its wire does, so that everything due leaves as one frame
// wherever it comes from.
type fallback struct {
	session    *Session
	route      *route
	id         string
	style      *style        // of the receiver that is attached, or was last
	receiver   *receiver     // nil between two
	detachedAt int64         // loop time since which it is nil
	place      *list.Element // among the route's detached sessions
	addr       net.Addr
}

// openFallback makes a session for a receiver.
func openFallback(l *loop, r *route, id string, s *style) *fallback {
	f := &fallback{route: r, id: id, style: s}
	f.session = &Session{loop: l, service: r.service, transport: f}
	r.sessions[id] = f
	l.fallbacks++
	return f
}

func (f *fallback) name() string         { return f.style.name }
func (f *fallback) remoteAddr() net.Addr { return f.addr }
func (f *fallback) wire() broadcast.Wire { return f.style.wire }

func (f *fallback) appendMessage(dst []byte, m *Message) []byte {
	l := f.session.loop
	l.scratch = m.AppendJSON(l.scratch[:0])
	return append(forms[f.style.wire].write(dst, l.scratch), ',')
}

// goodbye ends the session behind what it was sent so far. Whoever asks next, and after that, is told the reason, until the
// session times out.
func (f *fallback) goodbye(reason CloseReason) {
	f.session.end(reason)
	f.session.out.end = f.session.loop.nextSeq()
	f.session.loop.sessionPending(f.session)
}

// attach gives the session a receiver. If that has another style than the last one, what is due changes its form.
func (f *fallback) attach(r *receiver) {
	if r.style.wire != f.style.wire {
		f.rewire(r.style)
	}
	f.style = r.style
	f.leaveDetached()
	f.receiver, f.addr = r, r.out.c.remoteAddr()
	r.session, r.h.receiver = f, r
}

func (f *fallback) leaveDetached() {
	if f.place != nil {
		f.route.detached.Remove(f.place)
		f.place = nil
	}
}

// rewire moves the session to the wire of another style: what is due goes to the outbox, in the new form.
func (f *fallback) rewire(to *style) {
	convert := func(dst, p []byte) []byte {
		return forms[to.wire].write(dst, forms[f.style.wire].read(nil, p))
	}
	out := &f.session.out
	f.session.sealTopics()
	out.hold(out.due(1<<62), convert)
	f.style = to
	for _, sub := range out.subscriptions {
		sub.topic.log.Unsubscribe(&sub.Cursor)
		sub.topic.log.Subscribe(&sub.Cursor, to.wire, f.session, f.session.loop.nextSeq())
	}
}

// detach follows the end of a response.
func (f *fallback) detach() {
	h, keepAlive := f.receiver.h, f.receiver.out.keepAlive
	f.receiver, f.detachedAt = nil, f.session.loop.now
	f.place = f.route.detached.PushBack(f)
	h.responded(keepAlive)
}

// pump sends what is due to the receiver, a frame at a time.
func (f *fallback) pump() {
	for r := f.receiver; r != nil && r == f.receiver && !r.out.c.dead; {
		// A frame that has begun may be of more than the log still has, so no cursor may skip inside one.
		inside := r.left > 0 && f.session.loop.cfg.SlowConsumer == SlowConsumerSkip
		if !inside && !f.session.keepsUp() || r.out.c.blocked() {
			return
		}
		if r.left > 0 {
			r.goOn(nil)
			continue
		}
		if n := f.session.out.due(r.frameBytesMax()); n > 0 {
			r.begin(n)
			continue
		}
		if f.session.state == closing {
			f.session.state = flushed
			r.last(codec.AppendCloseArray(nil, f.session.reason.Code, f.session.reason.Reason))
			f.session.loop.over(f)
		}
		return
	}
}

// begun is what is left of a frame that has begun to leave.
func (f *fallback) begun(*subscription) int {
	if f.receiver == nil {
		return 0
	}
	return f.receiver.left
}

// slowReason is what a session over HTTP is told that did not ask in time for what it was sent.
var slowReason = CloseReason{Code: 1008, Reason: "slow consumer"}

// slow ends a session whose client asks too seldom or reads too little.
func (f *fallback) slow() {
	s, r := f.session, f.receiver
	if s.state >= flushed || r != nil && r.out.c.dead {
		return
	}
	s.loop.stats.SlowConsumersClosed++
	if r != nil && (r.left > 0 || r.out.c.blocked()) { // it could not be told
		r.out.c.abort()
		return
	}
	s.state, s.reason = flushed, slowReason
	if r != nil {
		r.last(codec.AppendCloseArray(nil, slowReason.Code, slowReason.Reason))
	}
	s.loop.over(f)
}

// interrupted follows the death of a connection under a receiver. What was on its way may be lost, so the session is over;
// the client's next request opens another.
func (f *fallback) interrupted() {
	if f.receiver == nil {
		return
	}
	f.session.loop.stats.ConnectionsInterrupted++
	f.end(CloseReason{Code: codeBroken})
}

// end ends the session at once, and the connection of its receiver.
func (f *fallback) end(reason CloseReason) {
	f.forget()
	if r := f.receiver; r != nil {
		f.receiver, r.h.receiver = nil, nil
		r.out.c.kill()
	}
	if f.session.reason.Code == 0 {
		f.session.reason = reason
	}
	f.session.ended()
}

// forget frees the session's id.
func (f *fallback) forget() {
	f.leaveDetached()
	if f.route.sessions[f.id] == f {
		delete(f.route.sessions, f.id)
		f.session.loop.fallbacks--
	}
}

// timeOut ends the sessions that have been without a receiver for too long, the longest first.
func (l *loop) timeOut(r *route) {
	delay := r.options.DisconnectDelay.Milliseconds()
	for first := r.detached.Front(); first != nil; first = r.detached.Front() {
		f := first.Value.(*fallback)
		if l.now-f.detachedAt < delay {
			return
		}
		if f.session.state != closed {
			l.stats.SessionsTimedOut++
		}
		l.run(func() { f.end(CloseReason{Code: codeBroken}) })
	}
}

// over remembers a session whose goodbye has left, or never will, so that its service is told at the end of the turn. Its
// id stays known until it times out.
func (l *loop) over(f *fallback) {
	l.ending = append(l.ending, f)
	l.arm()
}
