package server

import (
	"net/http"
	"strings"
)

// xhrStreaming is a response that goes on until it has reached the response limit.
var xhrStreaming = endpoint{
	method: http.MethodPost, transports: []string{TransportXHRStreaming}, serve: serveXHRStreaming,
}

var xhrStreamingFraming = framing{
	name: TransportXHRStreaming, contentType: javaScript, streaming: true, wire: wireElements, after: "\n",
}

// xhrPrelude fills the buffers that browsers keep before they show a response to their scripts.
var xhrPrelude = strings.Repeat("h", 2048) + "\n"

func serveXHRStreaming(x *exchange, r *route, session string) {
	openReceiver(x, r, session, &xhrStreamingFraming, xhrPrelude, "")
}
