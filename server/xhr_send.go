package server

import "net/http"

// xhrSend takes the messages of a session over HTTP: an array of strings.
var xhrSend = endpoint{
	method: http.MethodPost, serve: serveXHRSend,
	transports: []string{TransportXHRPolling, TransportXHRStreaming, TransportEventSource, TransportHTMLFile},
}

func serveXHRSend(x *exchange, r *route, session string) {
	x.takeMessages(r, session, x.r.Body, x.r.Owned, func() {
		x.set("Content-Type", textPlain) // or browsers take the empty answer for broken XML
		x.respond(http.StatusNoContent, "")
	})
}
