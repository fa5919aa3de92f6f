package server

import (
	"bytes"
	"net/http"
	"slices"
)

// posting is a request whose messages go to their session in the connection's shares. handOn hands on what it may, and
// is done when all of them are.
type posting interface {
	handOn() (done bool)
	kept() int
	lost()
}

// beginPosting takes on a request whose messages are handed on in shares.
func (h *httpProtocol) beginPosting(x *exchange, p posting) {
	h.posting, h.posted = p, x
	h.handOnPosted()
}

func (h *httpProtocol) handOnPosted() {
	if !h.posting.handOn() {
		return
	}
	keepAlive := h.posted.response.keepAlive
	h.posting, h.posted = nil, nil
	if !h.serving {
		h.answered(keepAlive)
	}
}

// takeMessages hands the messages of a payload to the session, all of them or none, and then answers. payload is
// borrowed unless it is said to be owned.
func (x *exchange) takeMessages(r *route, session string, payload []byte, owned bool, answer func()) {
	f := r.sessions[session]
	if f == nil {
		x.text(http.StatusNotFound, "There is no such session.\n")
		return
	}
	payload = bytes.TrimSpace(payload)
	array := &x.response.loop.array
	x.response.loop.share.spend(len(payload) >> byteShift) // they are looked through
	switch err := array.Begin(payload); {
	case len(payload) == 0:
		x.text(http.StatusInternalServerError, "Payload expected.")
	case err != nil:
		x.text(http.StatusInternalServerError, "Broken JSON encoding.")
	case payload[0] != '[': // a string alone, which only WebSockets may send
		x.text(http.StatusInternalServerError, "Payload expected.")
	case array.Longest() > x.response.loop.cfg.MessageBytesMax:
		x.text(http.StatusRequestEntityTooLarge, "A message is too large.\n")
	default:
		p := &messages{to: f, c: x.response.c, rest: array.Rest(), answer: answer}
		if owned {
			p.whole = payload
		}
		x.r.Body = nil // if it is not the payload it is of no use any more
		x.h.beginPosting(x, p)
	}
}

// recipient is the session that posted messages are for.
type recipient interface {
	// hears tells that the session has not been closed.
	hears() bool
	// wait says what the session's next message has to wait for.
	wait() backpressure
	message(m *Message) backpressure
	// breakOff ends the session at once.
	breakOff()
}

// messages are those of a payload that have not been handed to their session yet.
type messages struct {
	to     recipient
	c      *conn
	rest   []byte
	whole  []byte // owned: what rest is a part of; nil as long as it is borrowed
	answer func()
}

// handOn hands on what the connection's share allows.
func (p *messages) handOn() (done bool) {
	l := p.c.loop
	if wait := p.to.wait(); !wait.none() && !l.departure.begun {
		l.holdBack(p.c, wait)
		p.keep(p.rest)
		return false
	}
	l.array.Resume(p.rest)
	for l.share.visit > 0 {
		m := l.array.Next()
		if m == nil {
			p.answer()
			return true
		}
		l.share.spend(messageOf(len(m.JSON())))
		if !p.to.hears() {
			continue
		}
		if wait := p.to.message(m); !wait.none() {
			l.holdBack(p.c, wait)
			break
		}
	}
	p.keep(l.array.Rest())
	return false
}

// keep makes what is left our own, unless it is.
func (p *messages) keep(rest []byte) {
	if p.rest = rest; p.whole == nil {
		p.rest = slices.Clone(rest)
		p.whole = p.rest
	}
}

func (p *messages) kept() int { return cap(p.whole) }

// lost follows the death of the connection before all messages were handed on: some of what the client said is missing.
func (p *messages) lost() { p.to.breakOff() }
