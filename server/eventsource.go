package server

import "net/http"

// eventSource is a stream of server-sent events.
var eventSource = endpoint{method: http.MethodGet, transports: []string{TransportEventSource}, serve: serveEventSource, byScript: true}

// eventSourceStyle has no charset: event streams are UTF-8, and some browsers refused the parameter.
var eventSourceStyle = style{
	name: TransportEventSource, contentType: "text/event-stream", streaming: true, wire: wireEvents,
	before: "data: ", after: "\r\n\r\n",
}

func serveEventSource(x *exchange, r *route, session string) {
	receive(x, r, session, &eventSourceStyle, "\r\n", eventSourceStyle.before)
}
