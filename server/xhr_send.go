package server

import (
	"bytes"
	"net/http"
	"slices"
)

// xhrSend takes the messages of a session over HTTP: an array of strings.
var xhrSend = endpoint{
	method: http.MethodPost, serve: serveXHRSend,
	transports: []string{TransportXHRPolling, TransportXHRStreaming, TransportEventSource, TransportHTMLFile},
}

func serveXHRSend(x *exchange, r *route, session string) {
	x.takeMessages(r, session, x.r.Body, func() {
		x.set("Content-Type", textPlain) // or browsers take the empty answer for broken XML
		x.respond(http.StatusNoContent, "")
	})
}

// takeMessages hands the messages of a payload to the session, all of them or none, and then answers. payload is borrowed, or
// a part of the request's own body.
func (x *exchange) takeMessages(r *route, session string, payload []byte, answer func()) {
	f := r.sessions[session]
	if f == nil {
		x.text(http.StatusNotFound, "There is no such session.\n")
		return
	}
	payload = bytes.TrimSpace(payload)
	array := &x.response.loop.array
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
		p := &messages{f: f, c: x.response.c, rest: array.Rest(), answer: answer}
		if x.r.Owned {
			p.whole = x.r.Body
		}
		x.h.beginPosting(x, p)
	}
}

// messages are those of a payload that have not been handed to their session yet.
type messages struct {
	f      *fallback
	c      *conn
	rest   []byte
	whole  []byte // owned: what rest is a part of; nil as long as it is borrowed
	answer func()
}

// handOn hands on what the connection's share allows.
func (p *messages) handOn() (done bool) {
	l := p.c.loop
	l.array.Resume(p.rest)
	for l.share.visit > 0 {
		m := l.array.Next()
		if m == nil {
			p.answer()
			return true
		}
		l.share.spend(messageOf(len(m.JSON())))
		if p.f.farewell.Code != 0 { // a session that was closed hears no more
			continue
		}
		if !p.f.session.message(m) {
			l.holdBack(p.c)
			break
		}
	}
	p.rest = l.array.Rest()
	if p.whole == nil {
		p.rest = slices.Clone(p.rest)
		p.whole = p.rest
	}
	return false
}

func (p *messages) kept() int { return cap(p.whole) }

// lost follows the death of the connection before all messages were handed on: some of what the client said is missing.
func (p *messages) lost() { p.f.end(CloseReason{Code: codeBroken}) }
