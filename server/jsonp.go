package server

import (
	"net/http"
	"net/url"
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
	name, err := parameter(x.r.URL.RawQuery, "c")
	if name == "" && err == nil {
		name, err = parameter(x.r.URL.RawQuery, "callback")
	}
	legal := err == nil && len(name) <= callbackBytesMax && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	})
	switch {
	case name == "" && err == nil:
		x.text(http.StatusInternalServerError, "\"callback\" parameter required\n")
	case !legal:
		x.text(http.StatusInternalServerError, "invalid \"callback\" parameter\n")
	}
	return name, name != "" && legal
}

// parameter is the first value of a parameter of a query or form; empty if there is none. The others are not looked at:
// whoever sends thousands pays for bytes.
func parameter(query, name string) (string, error) {
	name += "="
	for from := 0; ; {
		at := strings.Index(query[from:], name)
		if at < 0 {
			return "", nil
		}
		begin := from + at
		if from = begin + len(name); begin == 0 || query[begin-1] == '&' {
			value, _, _ := strings.Cut(query[from:], "&")
			return url.QueryUnescape(value)
		}
	}
}
