package server

import (
	"container/list"
	"net"
	"strings"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// fallback is the transport of a session where no WebSocket comes through: the client asks, the response carries
// frames, and the client asks again; what it has to say comes in requests of its own. The response on its way is the
// session's receiver. Between two of them the session is a cursor that stays where it is.
//
// Its outbox holds the elements of arrays, as the log of its wire does, so that everything due leaves as one frame
// wherever it comes from.
type fallback struct {
	loop       *loop
	session    carried
	outflow    *broadcast.Outflow
	route      *route
	id         string
	framing    *framing      // of the receiver that is attached, or was last
	receiver   *receiver     // nil between two
	detachedAt int64         // loop time since which it is nil
	place      *list.Element // among the route's detached sessions
	addr       net.Addr

	farewell CloseReason // what the client is told of the end, or is to be told behind what is due; Code 0 until then
	told     bool        // nothing but the farewell is sent any more
}

// openReceiver serves a receiving request of a session: it opens the session if it is not known, and else goes on with
// it.
func openReceiver(x *exchange, rt *route, id string, fr *framing, prelude, before string) {
	l := x.response.loop
	f := rt.sessions[id]
	if f != nil && f.receiver != nil && f.receiver.peerGone() {
		f.lost() // its client asks again: it knows before we do
		f = nil
	}
	if f == nil && l.refusesSessions(l.httpSessions >= l.cfg.SessionsMax) {
		x.refuseSession()
		return
	}
	r := newReceiver(x, &rt.options, fr, prelude, before)
	switch {
	case f == nil:
		l.share.spend(openCost)
		newFallback(l, rt, id, fr).open(r)
	case f.receiver != nil:
		r.last(codeStillOpen, "Another connection still open")
	default:
		f.attach(r)
		if l.departure.draining { // its connection was told before it asked
			f.session.Close(CodeGoAway, reasonGoAway)
		}
		f.pump()
	}
	x.response.keepAlive = r.response.keepAlive
}

const codeStillOpen = 2010

// newFallback makes a session.
func newFallback(l *loop, r *route, id string, fr *framing) *fallback {
	id = strings.Clone(id) // it is a part of the request's target
	f := &fallback{loop: l, route: r, id: id, framing: fr}
	s := newSession(l, r, f)
	f.session, f.outflow = s, &s.outflow
	r.sessions[id] = f
	l.httpSessions++
	l.memory.sessions.Charge(f.cost())
	return f
}

// cost is what the session takes as such, in bytes.
func (f *fallback) cost() int { return fallbackBytes + len(f.id) }

// open sends the open frame and tells the service.
func (f *fallback) open(r *receiver) {
	f.setReceiver(r)
	r.control([]byte(codec.OpenFrame))
	f.endIfFull()
	f.session.opened()
}

func (f *fallback) name() string         { return f.framing.name }
func (f *fallback) remoteAddr() net.Addr { return f.addr }
func (f *fallback) blocked() bool        { return f.receiver == nil || f.receiver.blocked() }
func (f *fallback) wire() broadcast.Wire { return f.framing.wire }

func (f *fallback) appendMessage(dst []byte, m *Message) []byte {
	f.loop.scratch = m.AppendJSON(f.loop.scratch[:0])
	return append(quotings[f.framing.wire].write(dst, f.loop.scratch), ',')
}

// goodbye ends the session behind what it was sent so far. Whoever asks next, and after that, is told the reason, until
// the session times out.
func (f *fallback) goodbye(reason CloseReason) {
	f.farewell = reason
	f.outflow.CutOff(f.loop.nextSeq())
}

// attach gives the session a receiver. If that has another wire than the last one, what is due changes its form; a
// client to which more is due than an outbox holds is too slow for that, and so is any while memory is short.
func (f *fallback) attach(r *receiver) {
	if !f.told && r.framing.wire != f.framing.wire {
		if err := f.rewire(r.framing.wire); err != nil {
			f.slow()
		}
	}
	if f.framing != r.framing {
		f.framing = r.framing
		f.session.moved()
	}
	f.setReceiver(r)
}

// rewire costs by the bytes that are converted: shared ones become the session's own.
func (f *fallback) rewire(to broadcast.Wire) error {
	f.session.sealTopics()
	if f.loop.memory.nearlyFull() && f.outflow.Lag() > 0 {
		return broadcast.ErrOutboxFull
	}
	from, converted := f.framing.wire, 0
	err := f.outflow.Rewire(to, func(dst, p []byte) []byte {
		converted += len(p)
		return quotings[to].write(dst, quotings[from].read(nil, p))
	}, f.loop.nextSeq())
	f.loop.share.spend(converted >> byteShift)
	return err
}

// setReceiver makes r the session's receiver.
func (f *fallback) setReceiver(r *receiver) {
	f.leaveDetached()
	f.receiver, f.addr = r, r.remoteAddr()
	r.attach(f)
}

func (f *fallback) leaveDetached() {
	if f.place != nil {
		f.route.detached.Remove(f.place)
		f.place = nil
	}
}

// detach follows the end of a response.
func (f *fallback) detach() {
	r := f.receiver
	f.receiver, f.detachedAt = nil, f.loop.now
	f.place = f.route.detached.PushBack(f)
	r.end()
}

// endIfFull detaches the receiver when it has carried what it may.
func (f *fallback) endIfFull() {
	if f.receiver.full() && f.outflow.Planned() == 0 {
		f.detach()
	}
}

func (f *fallback) writable() { f.pump() }

// pump sends what is due to the receiver, a frame at a time.
func (f *fallback) pump() {
	for r := f.receiver; r != nil && r == f.receiver && !r.dead() && !r.blocked(); {
		switch n := f.outflow.Planned(); {
		case f.told:
			f.tell(r)
			return
		case f.outflow.Lost(): // the loop is about to end it
			return
		case n > 0:
			r.sendPlanned(f.outflow, nil)
		default:
			if n = f.outflow.Plan(r.frameBytesMax); n == 0 {
				f.sayGoodbye(r)
				return
			}
			r.begin(f.outflow, n)
		}
		if !r.dead() {
			f.endIfFull()
		}
	}
}

// sayGoodbye tells the client of the session's end, if it is one and everything else has left.
func (f *fallback) sayGoodbye(r *receiver) {
	if f.farewell.Code != 0 {
		f.told = true
		f.tell(r)
		f.announceEnd()
	}
}

// tell ends a response with the farewell.
func (f *fallback) tell(r *receiver) {
	r.last(f.farewell.Code, f.farewell.Reason)
	f.detach()
}

// announceEnd has the service told at the end of the turn. The id stays known until the session times out.
func (f *fallback) announceEnd() {
	f.loop.endings = append(f.loop.endings, f)
	f.loop.arm()
}

// slowReason is what a session over HTTP is told that did not ask in time for what it was sent.
var slowReason = CloseReason{Code: 1008, Reason: "slow consumer"}

// slow ends a session whose client asks too seldom or reads too little.
func (f *fallback) slow() {
	if f.cutShort() {
		f.loop.stats.SlowConsumersClosed++
	}
}

// cutShort ends a session without what is due to it; false tells that it is over already.
func (f *fallback) cutShort() bool {
	r := f.receiver
	if f.told || r != nil && r.dead() {
		return false
	}
	if r != nil && (r.inFrame || r.blocked()) { // it could not be told
		r.abort()
		return true
	}
	f.told, f.farewell = true, slowReason
	f.session.beginClosing()
	if r != nil {
		f.tell(r)
	}
	f.announceEnd()
	return true
}

// tick sends a heartbeat after silence.
func (f *fallback) tick() {
	r := f.receiver
	if !r.inFrame && r.silent(f.route.options.HeartbeatDelay.Milliseconds()) {
		r.control([]byte(codec.HeartbeatFrame))
		f.endIfFull()
	}
}

func (f *fallback) goAway() {
	f.session.Close(CodeGoAway, reasonGoAway)
}

// lost follows the death of a connection under a receiver. What was on its way may be lost, so the session is over; the
// client's next request opens another.
func (f *fallback) lost() {
	if r := f.receiver; r.interrupted() || !r.dead() { // not dead yet: its client asks again
		f.loop.stats.ConnectionsInterrupted++
	}
	f.breakOff()
}

// hears tells that the session has not been closed: a closed one is handed no more messages.
func (f *fallback) hears() bool { return f.farewell.Code == 0 }

func (f *fallback) wait() backpressure { return f.session.wait() }

func (f *fallback) message(m *Message) backpressure { return f.session.message(m) }

// breakOff ends the session at once: a part of what either side said is missing, or nobody asks for it any more.
func (f *fallback) breakOff() { f.end(CloseReason{Code: codeBroken}) }

// end ends the session at once, and the connection of its receiver.
func (f *fallback) end(reason CloseReason) {
	f.forget()
	if r := f.receiver; r != nil {
		f.receiver = nil
		r.kill()
	}
	if f.farewell.Code == 0 {
		f.farewell = reason
	}
	f.told = true
	f.session.ended(f.farewell)
}

// forget frees the session's id.
func (f *fallback) forget() {
	f.leaveDetached()
	if f.route.sessions[f.id] == f {
		delete(f.route.sessions, f.id)
		f.loop.httpSessions--
		f.loop.memory.sessions.Charge(-f.cost())
	}
}
