package server

import "net/http"

const javaScript = "application/javascript; charset=UTF-8"

// xhr is polling: each request waits for one frame.
var xhr = endpoint{method: http.MethodPost, transports: []string{TransportXHRPolling}, serve: serveXHR}

var xhrFraming = framing{name: TransportXHRPolling, contentType: javaScript, wire: wireElements, after: "\n"}

func serveXHR(x *exchange, r *route, session string) {
	openReceiver(x, r, session, &xhrFraming, "", "")
}
