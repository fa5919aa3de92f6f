package server

import (
	"mime"
	"net/http"
	"net/url"
)

// jsonpSend takes the messages of a session that polls by script tags: a form, sent from a hidden frame.
var jsonpSend = endpoint{method: http.MethodPost, transports: []string{TransportJSONPPolling}, serve: serveJSONPSend}

func serveJSONPSend(x *exchange, r *route, session string) {
	payload := x.r.Body
	if kind, _, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(payload))
		if err != nil {
			x.text(http.StatusInternalServerError, "Broken form encoding.")
			return
		}
		payload = []byte(form.Get("d"))
	}
	x.takeMessages(r, session, payload, func() { x.text(http.StatusOK, "ok") }) // some browsers show an error on 204
}
