package loadclient

import (
	"io"
	"net/http"
	"strings"
)

// protocol declares how messages travel on a connection.
type protocol struct {
	name    Protocol
	scheme  string                   // of its URLs; with TLS an s follows
	path    func(path string) string // that opens a connection, of the URL's
	open    func(t Target, rw io.ReadWriter, d opening) (rest []byte, err error)
	dialect dialect          // what stands around messages
	stream  *streamTransport // how they are received over HTTP; nil for a WebSocket
	sockets int              // TCP connections of a client
}

// opening is the client that is opened.
type opening struct {
	index   int    // among all connections of the level
	session string // its part of the URL, /server/session, for SockJS over HTTP
}

// protocols is the table of all. It is filled by init because what it names looks into it.
var protocols []protocol

func init() {
	protocols = []protocol{
		{
			name: SockJS, scheme: "ws", path: sockJSPath, open: Target.openWebSocket, sockets: 1,
			dialect: dialect{
				before: "a[", after: "]", quoted: true, sendBefore: `["`, sendAfter: `"]`, other: sockJSFrame,
			},
		},
		{name: WebSocket, scheme: "ws", path: orSlash, open: Target.openWebSocket, sockets: 1},
		{
			name: XHRStreaming, scheme: "http", path: base, open: Target.openStream, sockets: 2,
			dialect: dialect{quoted: true, sendBefore: `"`, sendAfter: `",`},
			stream:  &streamTransport{http.MethodPost, "/xhr_streaming", "", "]"},
		},
		{
			name: EventSource, scheme: "http", path: base, open: Target.openStream, sockets: 2,
			dialect: dialect{quoted: true, sendBefore: `"`, sendAfter: `",`},
			stream:  &streamTransport{http.MethodGet, "/eventsource", "data: ", "]\r"},
		},
		{
			name: SocketIO, scheme: "ws", path: socketIOPath, open: Target.openSocketIO, sockets: 1,
			dialect: dialect{
				before: `42["message",`, after: "]", quoted: true, sendBefore: `42["message","`, sendAfter: `"]`,
				other: socketIOPacket,
			},
		},
		{
			name: SocketIO08, scheme: "ws", path: socketIOPath, open: Target.openSocketIO08, sockets: 1,
			dialect: dialect{before: "3:::", sendBefore: "3:::", other: socketIO08Packet},
		},
	}
}

// declared is a protocol's line in the table; that of one that is not there is empty.
func declared(p Protocol) *protocol {
	for i := range protocols {
		if protocols[i].name == p {
			return &protocols[i]
		}
	}
	return &protocol{name: p}
}

// Sockets is how many TCP connections a client needs.
func Sockets(p Protocol) int { return declared(p).sockets }

// streams tells whether the protocol is SockJS over HTTP.
func streams(p Protocol) bool { return declared(p).stream != nil }

// quoted tells whether messages are received as JSON strings.
func quoted(p Protocol) bool { return declared(p).dialect.quoted }

// newLink makes a client's link of the connections that were dialed for it.
func newLink(c *conn, d dialed) link {
	if streams(c.w.target.Protocol) {
		return newStreamLink(c, d)
	}
	return newWebSocketLink(c, d)
}

// sockJSPath is where a SockJS service opens a WebSocket: the same for all clients, as those of 2011 did. A path that
// ends in /websocket is taken as it is.
func sockJSPath(path string) string {
	if strings.HasSuffix(path, "/websocket") {
		return path
	}
	return base(path) + "/0/0/websocket"
}

// base is a path that others stand below: one slash at its end is theirs.
func base(path string) string { return strings.TrimSuffix(path, "/") }

func orSlash(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func socketIOPath(path string) string {
	if path = base(path); path == "" {
		return "/socket.io"
	}
	return path
}
