package server

import (
	"bytes"
	"net/http"
)

// xhrSend takes the messages of a session over HTTP: an array of strings.
var xhrSend = endpoint{
	method: http.MethodPost, serve: serveXHRSend,
	transports: []string{TransportXHRPolling, TransportXHRStreaming, TransportEventSource, TransportHTMLFile},
}

func serveXHRSend(x *exchange, r *route, session string) {
	if x.deliver(r, session, x.body) {
		x.set("Content-Type", textPlain) // or browsers take the empty answer for broken XML
		x.respond(http.StatusNoContent, "")
	}
}

// deliver hands the messages of a payload to the session, all of them or none; false means that the request has been
// refused.
func (x *exchange) deliver(r *route, session string, payload []byte) bool {
	f := r.sessions[session]
	if f == nil {
		x.text(http.StatusNotFound, "There is no such session.\n")
		return false
	}
	if payload = bytes.TrimSpace(payload); len(payload) == 0 {
		x.text(http.StatusInternalServerError, "Payload expected.")
		return false
	}
	messages, err := x.out.loop.array.Decode(payload)
	switch {
	case err != nil:
		x.text(http.StatusInternalServerError, "Broken JSON encoding.")
		return false
	case payload[0] != '[': // a string alone, which only WebSockets may send
		x.text(http.StatusInternalServerError, "Payload expected.")
		return false
	}
	for i := range messages {
		if len(messages[i].JSON()) > x.out.loop.cfg.MessageBytesMax {
			x.text(http.StatusRequestEntityTooLarge, "A message is too large.\n")
			return false
		}
	}
	x.h.serving = f
	for i := range messages {
		if f.session.state == open { // a session that was closed hears no more
			f.session.message(&messages[i])
		}
	}
	x.h.serving = nil
	return true
}
