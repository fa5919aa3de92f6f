package server

import (
	"net/http"
	"strings"
)

// jsonp is polling by script tags: each response calls a function of the page with one frame.
var jsonp = endpoint{
	method: http.MethodGet, transports: []string{TransportJSONPPolling}, serve: serveJSONP, byScript: true,
}

var jsonpFraming = framing{name: TransportJSONPPolling, contentType: javaScript, wire: wireScript, after: "\");\r\n"}

func serveJSONP(x *exchange, r *route, session string) {
	callback, ok := x.callback()
	if !ok {
		return
	}
	x.set("X-Content-Type-Options", "nosniff")
	// The comment keeps the callback from being the first bytes of what a plugin might take for a file of its own.
	openReceiver(x, r, session, &jsonpFraming, "", "/**/"+callback+`("`)
}

// callbackBytesMax is the length of a callback's name; clients make them of about 15 characters.
const callbackBytesMax = 32

// callback is the name of the function that the response shall call, or false when the request has been refused for it.
func (x *exchange) callback() (string, bool) {
	q := x.r.URL.Query()
	name := q.Get("c")
	if name == "" {
		name = q.Get("callback")
	}
	legal := len(name) <= callbackBytesMax && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	})
	switch {
	case name == "":
		x.text(http.StatusInternalServerError, "\"callback\" parameter required\n")
	case !legal:
		x.text(http.StatusInternalServerError, "invalid \"callback\" parameter\n")
	}
	return name, name != "" && legal
}
