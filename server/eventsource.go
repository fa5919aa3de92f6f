package server

import "net/http"

// eventSource is a stream of server-sent events.
var eventSource = endpoint{
	method: http.MethodGet, transports: []string{TransportEventSource}, serve: serveEventSource, byScript: true,
}

// eventSourceFraming has no charset: event streams are UTF-8, and some browsers refused the parameter.
var eventSourceFraming = framing{
	name: TransportEventSource, contentType: "text/event-stream", streaming: true, wire: wireEvents,
	before: "data: ", after: "\r\n\r\n",
}

func serveEventSource(x *exchange, r *route, session string) {
	openReceiver(x, r, session, &eventSourceFraming, "\r\n", eventSourceFraming.before)
}
