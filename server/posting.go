package server

import (
	"bytes"
	"net/http"
)

// posting is a request whose messages go to their session in the connection's shares.
type posting struct {
	messages
	to     poster
	x      *exchange
	answer func()
}

// poster is the session of a client that sends its messages in requests.
type poster interface {
	recipient
	// breakOff ends the session at once.
	breakOff()
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
		p := &posting{to: f, x: x, answer: answer}
		if owned {
			p.whole = payload
		}
		x.r.Body = nil // if it is not the payload it is of no use any more
		x.h.posting = p
		p.handOn(x.h.c, f)
		x.h.handedOn()
	}
}

// handedOn answers a request whose messages have all been handed on.
func (h *httpProtocol) handedOn() {
	p := h.posting
	if p.waiting() || h.c.publishing() {
		return
	}
	h.posting = nil
	p.answer()
	if !h.serving {
		h.answered(p.x.response.keepAlive)
	}
}
