package server

import "net/http"

// rawWebSocketEndpoint is a WebSocket without SockJS: messages as they are, and a close frame that bears the reason.
var rawWebSocketEndpoint = endpoint{
	method: http.MethodGet, transports: []string{TransportRawWebSocket}, serve: serveRawWebSocket, noCORS: true,
	noCookie: true,
}

func serveRawWebSocket(x *exchange, r *route, _ string) { handshake(x, r, true) }
