package server

import (
	"mime"
	"net/http"
)

// jsonpSend takes the messages of a session that polls by script tags: a form, sent from a hidden frame.
var jsonpSend = endpoint{method: http.MethodPost, transports: []string{TransportJSONPPolling}, serve: serveJSONPSend}

func serveJSONPSend(x *exchange, r *route, session string) {
	payload, owned := x.r.Body, x.r.Owned
	if kind, _, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		text, err := parameter(string(payload), "d")
		if err != nil {
			x.text(http.StatusInternalServerError, "Broken form encoding.")
			return
		}
		payload, owned = []byte(text), true
	}
	// Some browsers show an error on 204.
	x.takeMessages(r, session, payload, owned, func() { x.text(http.StatusOK, "ok") })
}
