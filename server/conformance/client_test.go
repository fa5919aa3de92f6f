package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
)

// conn is a connection to the server that hides nothing of what comes over it.
type conn struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T) *conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience + *heartbeatDelay)); err != nil {
		t.Fatal(err)
	}
	return &conn{t, c, bufio.NewReader(c)}
}

// header is header lines, name and value in turn.
type header []string

const form = "application/x-www-form-urlencoded"

// ask sends a request in HTTP/1.1 and reads the response's head.
func (c *conn) ask(method, path string, h header, body string) *response {
	c.t.Helper()
	if method == "POST" {
		h = append(header{"Content-Length", strconv.Itoa(len(body))}, h...)
	}
	c.send(method, path, "1.1", h, body)
	return c.head()
}

// send sends a request as it is told to.
func (c *conn) send(method, path, version string, h header, body string) {
	c.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%s HTTP/%s\r\nHost: %s\r\n", method, base, path, version, addr)
	for i := 0; i < len(h); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", h[i], h[i+1])
	}
	b.WriteString("\r\n" + body)
	c.raw(b.String())
}

func (c *conn) raw(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// response is a response whose body has not been read.
type response struct {
	c      *conn
	line   string // the status line
	status int
	names  map[string][]string // values by name, in lower case
}

// head reads status line and headers.
func (c *conn) head() *response {
	c.t.Helper()
	r := &response{c: c, line: c.readLine(), names: map[string][]string{}}
	proto, rest, _ := strings.Cut(r.line, " ")
	code, _, space := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil || !strings.HasPrefix(proto, "HTTP/1.") || !space { // 5: the space is there even before no reason
		c.t.Fatalf("the status line is %q", r.line)
	}
	r.status = status
	for line := c.readLine(); line != ""; line = c.readLine() {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			c.t.Fatalf("a header line %q", line)
		}
		name = strings.ToLower(name)
		r.names[name] = append(r.names[name], strings.TrimSpace(value))
	}
	return r
}

func (c *conn) readLine() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil || !strings.HasSuffix(line, "\r\n") {
		c.t.Fatalf("a line %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// get is a header, its values joined.
func (r *response) get(name string) string { return strings.Join(r.names[strings.ToLower(name)], ", ") }

func (r *response) has(name string) bool { return len(r.names[strings.ToLower(name)]) > 0 }

func (r *response) chunked() bool { return strings.EqualFold(r.get("Transfer-Encoding"), "chunked") }

// body reads the whole body.
func (r *response) body() string {
	r.c.t.Helper()
	switch length := r.get("Content-Length"); {
	case r.chunked():
		var all strings.Builder
		for piece := r.chunk(); piece != ""; piece = r.chunk() {
			all.WriteString(piece)
		}
		return all.String()
	case length != "":
		n, err := strconv.Atoi(length)
		if err != nil {
			r.c.t.Fatal(err)
		}
		return r.c.read(n)
	case r.status == 204 || r.status == 304 || r.status == 101 || !strings.EqualFold(r.get("Connection"), "close"):
		return ""
	default:
		p, err := io.ReadAll(r.c.r)
		if err != nil {
			r.c.t.Fatal(err)
		}
		return string(p)
	}
}

// chunk reads one chunk; the last one is empty.
func (r *response) chunk() string {
	r.c.t.Helper()
	size, err := strconv.ParseUint(r.c.readLine(), 16, 32)
	if err != nil {
		r.c.t.Fatal(err)
	}
	p := r.c.read(int(size) + 2)
	if !strings.HasSuffix(p, "\r\n") {
		r.c.t.Fatalf("a chunk does not end: %.100q", p)
	}
	return strings.TrimSuffix(p, "\r\n")
}

// wantChunk reads one chunk and compares it.
func (r *response) wantChunk(want string) {
	r.c.t.Helper()
	if got := r.chunk(); got != want {
		r.c.t.Fatalf("a chunk is %.200q, want %.200q", got, want)
	}
}

func (c *conn) read(n int) string {
	c.t.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(c.r, p); err != nil {
		c.t.Fatal(err)
	}
	return string(p)
}

// wantEnd waits for the server to end the connection.
func (c *conn) wantEnd() {
	c.t.Helper()
	if p, err := io.ReadAll(c.r); err != nil || len(p) > 0 {
		c.t.Fatalf("%.100q %v instead of the connection's end", p, err)
	}
}

// get and post are one request on a connection of its own, with its body.
func get(t *testing.T, path string, h ...string) (*response, string) {
	t.Helper()
	r := dial(t).ask("GET", path, h, "")
	return r, r.body()
}

func post(t *testing.T, path, body string, h ...string) (*response, string) {
	t.Helper()
	r := dial(t).ask("POST", path, h, body)
	return r, r.body()
}

// poll asks for a frame by xhr.
func poll(t *testing.T, session string) string {
	t.Helper()
	r, body := post(t, session+"/xhr", "")
	if r.status != 200 {
		t.Fatalf("xhr: %s", r.line)
	}
	return body
}

func wantPoll(t *testing.T, session, want string) {
	t.Helper()
	if got := poll(t, session); got != want {
		t.Fatalf("xhr: %.200q, want %.200q", got, want)
	}
}

// send sends a payload by xhr_send.
func send(t *testing.T, session, payload string) {
	t.Helper()
	if r, body := post(t, session+"/xhr_send", payload); r.status != 204 || body != "" {
		t.Fatalf("xhr_send %.100q: %s %.100q", payload, r.line, body)
	}
}

// stream opens a stream and takes its prelude and open frame.
func stream(t *testing.T, session string) *response {
	t.Helper()
	r := dial(t).ask("POST", session+"/xhr_streaming", nil, "")
	if r.status != 200 || !r.chunked() {
		t.Fatalf("xhr_streaming: %s", r.line)
	}
	r.chunk()
	r.wantChunk("o\n")
	return r
}

const upgrade = "Sec-WebSocket-Key"

func handshake(h ...string) header {
	return append(header{
		"Upgrade", "websocket", "Connection", "Upgrade", upgrade, "x3JJHMbDL1EzLkh9GBhXDw==",
		"Sec-WebSocket-Version", "13",
	}, h...)
}

// socket is an open WebSocket.
type socket struct {
	*conn
	reader codec.MessageReader
	rest   []byte
}

func openSocket(t *testing.T, path string) *socket {
	t.Helper()
	c := dial(t)
	if r := c.ask("GET", path, handshake(), ""); r.status != 101 {
		t.Fatalf("%s: %s %q", path, r.line, r.body())
	}
	return &socket{conn: c, reader: codec.MessageReader{Role: ws.StateClientSide, BytesMax: 1 << 28}}
}

func (s *socket) say(op ws.OpCode, payload string) {
	s.raw(string(codec.AppendMaskedFrame(nil, op, []byte(payload), [4]byte{1, 2, 3, 4})))
}

// next reads a message or control frame.
func (s *socket) next() (ws.OpCode, string, error) {
	for {
		if op, payload, rest, err := s.reader.Next(s.rest); err == nil {
			s.rest = rest
			return op, string(payload), nil
		}
		p := make([]byte, 64<<10)
		n, err := s.r.Read(p)
		if err != nil {
			return 0, "", err
		}
		s.rest = p[:n]
	}
}

func (s *socket) want(want string) {
	s.t.Helper()
	if op, got, err := s.next(); err != nil || op != ws.OpText || got != want {
		s.t.Fatalf("%v %.200q %v, want %q", op, got, err, want)
	}
}

// wantClose reads up to the close frame, or the end of the connection, which stands for code 1006.
func (s *socket) wantClose() (code int, reason string) {
	s.t.Helper()
	for {
		op, payload, err := s.next()
		if err != nil {
			return 1006, ""
		}
		if op != ws.OpClose {
			continue
		}
		status, why, err := codec.ParseClose([]byte(payload))
		if err != nil {
			s.t.Fatal(err)
		}
		return int(status), string(why)
	}
}
