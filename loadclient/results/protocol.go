package results

// Protocol is how messages travel on a connection.
type Protocol string

const (
	SockJS       Protocol = "sockjs"        // SockJS over WebSocket: sent as ["m"], received as a["m1","m2",…]
	WebSocket    Protocol = "websocket"     // a text frame a message
	XHRStreaming Protocol = "xhr-streaming" // SockJS over HTTP: received on an endless response, sent by xhr_send
	EventSource  Protocol = "eventsource"   // the same, received as server-sent events
	SocketIO     Protocol = "socket.io"     // Socket.IO 3 and 4 (Engine.IO 4), event "message"
	SocketIO08   Protocol = "socket.io-0.8" // Socket.IO as it was in 2011
)

// Protocols are their names.
func Protocols() []string {
	return []string{
		string(SockJS), string(WebSocket), string(XHRStreaming), string(EventSource), string(SocketIO),
		string(SocketIO08),
	}
}

// ReadPolicy is when the client reads what has arrived. It changes what sending costs the server on the same machine,
// so results are comparable only with the same policy.
type ReadPolicy string

const (
	Prompt  ReadPolicy = "prompt"  // as soon as there is something
	Relaxed ReadPolicy = "relaxed" // what has gathered, at most every millisecond
)

// Verify is how much of what arrives a client looks at.
type Verify string

const (
	// VerifyAll compares every byte of every connection.
	VerifyAll Verify = "all"
	// VerifySample counts every connection by its frames' bytes, and takes those off the socket without copying them
	// (MSG_TRUNC, tcp(7)); a share of the connections, which changes during a trial so that each has its turn, is
	// compared byte by byte. In the end every connection must have as many bytes as those that were compared.
	VerifySample Verify = "sample"
)
