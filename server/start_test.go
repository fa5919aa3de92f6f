package server_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/server"
)

// patience is how long a test waits for something that must happen. Nothing waits that long unless it fails.
const patience = 20 * time.Second

// running is a server under test, with the services that the program has.
type running struct {
	*server.Server
	addr string
	done chan error
}

// start runs a server until the test ends.
func start(t *testing.T, c server.Config, services ...any) *running {
	t.Helper()
	c.Addr = "127.0.0.1:0"
	if c.ConnectionsMax == 0 {
		c.ConnectionsMax = 1000
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	all := append([]any{"/broadcast", s.Broadcast(), "/echo", server.Echo(), "/close", server.Closer()}, services...)
	for i := 0; i < len(all); i += 2 {
		if err := s.Handle(all[i].(string), all[i+1].(server.Service)); err != nil {
			t.Fatal(err)
		}
	}
	r := &running{Server: s, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { r.done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
		r.addr = s.Addr().String()
	case err := <-r.done:
		cancel()
		t.Fatalf("the server ended: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("the server did not stop")
		}
	})
	return r
}

func (r *running) stats(t *testing.T) server.Stats {
	t.Helper()
	st, err := r.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// eventually waits until a counter says what it must.
func (r *running) eventually(t *testing.T, what string, ok func(server.Stats) bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok(r.stats(t)) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v", what, r.stats(t))
		}
		time.Sleep(time.Millisecond)
	}
}

// client is a TCP connection that speaks whatever the test tells it to.
type client struct {
	t *testing.T
	net.Conn
	r      *bufio.Reader
	reader codec.MessageReader
	rest   []byte
}

func (r *running) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, Conn: c, r: bufio.NewReader(c), reader: codec.MessageReader{Role: ws.StateClientSide, BytesMax: 1 << 30}}
}

// say sends text; what the server has closed already is for the reading side to find out.
func (c *client) say(text string) { _, _ = io.WriteString(c, text) }

// response reads one HTTP response, with its body.
func (c *client) response() (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("no response: %v", err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(body)
}

const handshakeHeaders = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

// open opens a WebSocket.
func (r *running) open(t *testing.T, path string) *client {
	t.Helper()
	c := r.dial(t)
	c.say("GET " + path + " HTTP/1.1\r\n" + handshakeHeaders + "\r\n")
	if resp, body := c.response(); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %s %q", path, resp.Status, body)
	}
	return c
}

// join opens a SockJS session and takes its open frame.
func (r *running) join(t *testing.T, prefix string) *client {
	t.Helper()
	c := r.open(t, prefix+"/000/abc/websocket")
	c.expect("o")
	return c
}

func frame(op ws.OpCode, payload string) string {
	return string(codec.AppendMaskedFrame(nil, op, []byte(payload), [4]byte{1, 2, 3, 4}))
}

func (c *client) send(payload string) { c.say(frame(ws.OpText, payload)) }

var errEnd = errors.New("the connection ended")

// next reads one message or control frame.
func (c *client) next() (ws.OpCode, string, error) {
	for {
		if len(c.rest) > 0 {
			op, payload, rest, err := c.reader.Next(c.rest)
			c.rest = rest
			if err == nil {
				return op, string(payload), nil
			}
			if !errors.Is(err, codec.ErrIncomplete) {
				return 0, "", err
			}
		}
		buf := make([]byte, 64<<10)
		n, err := c.r.Read(buf)
		if err != nil {
			return 0, "", fmt.Errorf("%w: %w", errEnd, err)
		}
		c.rest = buf[:n]
	}
}

// expect reads the next message.
func (c *client) expect(want string) {
	c.t.Helper()
	op, got, err := c.next()
	if err != nil || op != ws.OpText || got != want {
		c.t.Fatalf("got %v %.200q %v, want %q", op, got, err, want)
	}
}

// expectClose reads until the close frame and checks its code, and that the connection ends after it.
func (c *client) expectClose(code int) {
	c.t.Helper()
	for {
		op, payload, err := c.next()
		if err != nil {
			c.t.Fatalf("%v instead of close code %d", err, code)
		}
		if op != ws.OpClose {
			continue
		}
		if len(payload) < 2 || int(binary.BigEndian.Uint16([]byte(payload))) != code {
			c.t.Fatalf("closed with % x, want code %d", payload, code)
		}
		c.expectEnd()
		return
	}
}

// expectEnd waits for the server to end the connection, and ends it from this side.
func (c *client) expectEnd() {
	c.t.Helper()
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(io.Discard, c.r); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		c.t.Fatal("the server keeps the connection open")
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// messages reads n messages of a SockJS broadcast, however they are framed.
func (c *client) messages(n int) []string {
	c.t.Helper()
	var all []string
	var a codec.Array
	for len(all) < n {
		op, payload, err := c.next()
		if err != nil {
			c.t.Fatalf("after %d of %d messages: %v", len(all), n, err)
		}
		if op != ws.OpText || !strings.HasPrefix(payload, "a") {
			continue
		}
		if err := a.Begin([]byte(payload[1:])); err != nil {
			c.t.Fatal(err)
		}
		for m := a.Next(); m != nil; m = a.Next() {
			all = append(all, string(m.Text()))
		}
	}
	return all
}

// startForFuzz is start for all runs of a fuzz target.
func startForFuzz() (*running, func(), error) {
	s, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 1000})
	if err != nil {
		return nil, nil, err
	}
	if err := s.Handle("/echo", server.Echo()); err != nil {
		return nil, nil, err
	}
	r := &running{Server: s, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { r.done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
		r.addr = s.Addr().String()
		return r, func() { cancel(); <-r.done }, nil
	case err := <-r.done:
		cancel()
		return nil, nil, err
	}
}

// newReading gives a client that had only sent so far something to read with.
func newReading(c *client) *client {
	return &client{t: c.t, Conn: c.Conn, r: bufio.NewReader(c.Conn), reader: codec.MessageReader{Role: ws.StateClientSide, BytesMax: 1 << 30}}
}

// smallReceiveBuffer makes a client's socket fill up soon.
func smallReceiveBuffer(_, _ string, raw syscall.RawConn) error {
	var setErr error
	err := raw.Control(func(fd uintptr) { setErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	return errors.Join(err, setErr)
}
