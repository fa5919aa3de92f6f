// Package conformance checks over raw sockets what the SockJS protocol asks of a server, point by point: the numbers
// are those of docs/sockjs.md. It can be pointed at any server that offers the services of the protocol's own test
// suite (/echo with a response limit of 4096, /disabled_websocket_echo, /cookie_needed_echo and /close):
//
//	go test ./server/conformance -url=http://127.0.0.1:8081
//
// Without -url it starts one.
package conformance
