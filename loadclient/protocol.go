// Package loadclient finds out what a real-time server can do: it connects clients that broadcast to each other, sends
// at a fixed schedule whatever the server does (an open loop), measures the time until each sender sees its own message
// again, and searches the rate at which that time gets long. It shares nothing with the server but the codec.
package loadclient

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// quoted tells whether messages are received as JSON strings.
func quoted(p Protocol) bool { return p.Streams() || dialects[p].quoted }

// newLink makes a client's link of the connections that were dialed for it.
func newLink(c *conn, d dialed) link {
	if c.w.target.Protocol.Streams() {
		return newStreamLink(c, d)
	}
	return newWebSocketLink(c, d)
}

// Target is a server to load.
type Target struct {
	Addr     string // host:port
	Path     string // of the request that opens a connection
	Protocol Protocol
	Origin   string // header of the handshake, none when empty

	PayloadBytes int // size of a message at least; those of 2011 have 15 to 18 bytes
}

// ParseTarget reads a URL: ws://host:port/prefix. With SockJS the prefix is that of the service, and connections open
// at prefix/0/0/websocket, the same for all, as the clients of 2011 did; a path that ends in /websocket is taken as it
// is.
func ParseTarget(s string, p Protocol) (Target, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "http" {
		return Target{}, fmt.Errorf("target %q: want a URL such as ws://127.0.0.1:8080/broadcast", s)
	}
	t := Target{Addr: u.Host, Path: strings.TrimRight(u.EscapedPath(), "/"), Protocol: p}
	if u.Port() == "" {
		t.Addr += ":80"
	}
	switch {
	case p == SockJS && !strings.HasSuffix(t.Path, "/websocket"):
		t.Path += "/0/0/websocket"
	case p == SocketIO || p == SocketIO08:
		if t.Path == "" {
			t.Path = "/socket.io"
		}
	}
	if t.Path == "" && !p.Streams() {
		t.Path = "/"
	}
	return t, nil
}

// String is the target's URL.
func (t Target) String() string {
	if t.Protocol.Streams() {
		return "http://" + t.Addr + t.Path
	}
	return "ws://" + t.Addr + t.Path
}

// errTarget marks a failure that is the target's: it was not there, or is not what it was said to be.
var errTarget = errors.New("the target failed")

// open opens a client's connection in the target's protocol and returns what the server sent beyond that.
func (t Target) open(rw io.ReadWriter, session string) ([]byte, error) {
	switch t.Protocol {
	case XHRStreaming, EventSource:
		return t.openStream(rw, session)
	case SocketIO:
		return t.joinSocketIO(rw)
	case SocketIO08:
		return t.joinSocketIO08(rw)
	default:
		return t.handshake(rw, t.Path)
	}
}

// handshake opens a WebSocket on a connection (RFC 6455 section 4.1) and returns what the server sent behind its
// answer.
func (t Target) handshake(rw io.ReadWriter, path string) ([]byte, error) {
	var nonce [16]byte
	rand.Read(nonce[:]) //nolint:errcheck // never fails
	origin := ""
	if t.Origin != "" {
		origin = "Origin: " + t.Origin + "\r\n"
	}
	_, err := fmt.Fprintf(rw, "GET %s HTTP/1.1\r\nHost: %s\r\n%sUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
		path, t.Addr, origin, base64.StdEncoding.EncodeToString(nonce[:]))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: sending the handshake: %w", errTarget, t, err)
	}
	br := bufio.NewReaderSize(rw, 4096)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %s does not answer in HTTP: %w", errTarget, t, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("%w: %s answers %s instead of opening a WebSocket: wrong path, or wrong protocol?", errTarget, t, resp.Status)
	}
	rest, _ := br.Peek(br.Buffered())
	return append([]byte(nil), rest...), nil
}

// openStream opens a SockJS session over HTTP on a connection and returns what the server sent behind the response's
// head.
func (t Target) openStream(rw io.ReadWriter, session string) ([]byte, error) {
	if _, err := rw.Write(t.streamRequest(session)); err != nil {
		return nil, fmt.Errorf("%w: %s: asking for a stream: %w", errTarget, t, err)
	}
	br := bufio.NewReaderSize(rw, 4096)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %s does not answer in HTTP: %w", errTarget, t, err)
	}
	if resp.StatusCode != http.StatusOK || len(resp.TransferEncoding) == 0 {
		return nil, fmt.Errorf("%w: %s answers %s instead of a stream: wrong path, or wrong protocol?", errTarget, t, resp.Status)
	}
	rest, _ := br.Peek(br.Buffered())
	return append([]byte(nil), rest...), nil
}

// IsTargetFailure tells whether an error is the target's fault: nothing listens there, it speaks something else, or it
// broke the connection.
func IsTargetFailure(err error) bool { return errors.Is(err, errTarget) }
