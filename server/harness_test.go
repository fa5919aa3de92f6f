package server_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
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

// never is a timeout that is longer than any test: what ends a connection in time is not this.
const never = time.Hour

// start runs a server until the test ends. Unless the test wants others, its timeouts are so long that none of them can
// do what the server should have done at once.
func start(t *testing.T, c server.Config, services ...any) *running {
	t.Helper()
	c.Addr = "127.0.0.1:0"
	if c.ConnectionsMax == 0 {
		c.ConnectionsMax = 1000
	}
	for _, d := range []*time.Duration{&c.HandshakeTimeout, &c.KeepAliveTimeout, &c.CloseTimeout} {
		*d = cmp.Or(*d, never)
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	all := append([]any{"/broadcast", s.Broadcast(), "/echo", server.Echo(), "/close", goingAway{}}, services...)
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
	return r.dialWith(t, net.Dialer{})
}

// dialSmall connects with a receive buffer that is soon full.
func (r *running) dialSmall(t *testing.T) *client {
	t.Helper()
	return r.dialWith(t, net.Dialer{Control: smallReceiveBuffer})
}

func (r *running) dialWith(t *testing.T, d net.Dialer) *client {
	t.Helper()
	c, err := d.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{
		t: t, Conn: c, r: bufio.NewReader(c),
		reader: codec.MessageReader{Role: ws.StateClientSide, BytesMax: 1 << 30},
	}
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

const handshakeHeaders = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

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

// expectClose reads until the close frame, checks its code, answers it, and waits for the end.
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
		c.say(frame(ws.OpClose, payload[:2]))
		c.expectEnd()
		return
	}
}

// expectEnd reads up to the server's end, which must be a FIN, and ends the connection from this side only then: a
// server whose client has closed ends in any case.
func (c *client) expectEnd() {
	c.t.Helper()
	if n, err := io.Copy(io.Discard, c.r); err != nil {
		c.t.Fatalf("after %d bytes: %v instead of the server's end", n, err)
	}
	_ = c.Close()
}

// expectNothingMore is expectEnd where nothing comes before the end.
func (c *client) expectNothingMore() {
	c.t.Helper()
	p, err := io.ReadAll(c.r)
	if len(p) > 0 || err != nil {
		c.t.Errorf("%.100q %v instead of the server's end", p, err)
	}
	_ = c.Close()
}

// expectCut is expectEnd where a reset will do: the server cuts a client off that it has not heard out.
func (c *client) expectCut() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.r); isTimeout(err) {
		c.t.Fatal("the server keeps the connection open")
	}
	_ = c.Close()
}

// hangUp ends the connection from this side, and waits for the server to do the same.
func (c *client) hangUp() {
	c.t.Helper()
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	c.expectCut()
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

// smallReceiveBuffer makes a client's socket fill up soon.
func smallReceiveBuffer(_, _ string, raw syscall.RawConn) error {
	var setErr error
	err := raw.Control(func(fd uintptr) { setErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	return errors.Join(err, setErr)
}

// marking sends each message to everybody on two topics, and to its sender in between, each saying how it comes.
type marking struct{ one, two *server.Topic }

func (m *marking) OnOpen(s *server.Session) {
	s.Subscribe(m.one)
	s.Subscribe(m.two)
	s.Subscribe(m.two) // again: nothing happens
}

func (m *marking) OnClose(*server.Session, server.CloseReason) {}

func (m *marking) OnMessage(s *server.Session, text *server.Message) {
	say := func(how string) *server.Message {
		x := server.Text([]byte(how + " " + string(text.Text())))
		return &x
	}
	m.one.Publish(say("one"))
	if err := s.Send(say("direct")); err != nil {
		panic(err)
	}
	m.two.Publish(say("two"))
	m.one.Publish(say("one again"))
}

// stalled joins with small socket buffers and never reads.
func (r *running) stalled(t *testing.T, prefix string) *client {
	t.Helper()
	c := r.dialSmall(t)
	c.say("GET " + prefix + "/0/stalled/websocket HTTP/1.1\r\n" + handshakeHeaders + "\r\n")
	return c
}

// wake lets a stalled client read, on a goroutine that ends with the connection.
func (r *running) wake(t *testing.T, c *client) chan string {
	t.Helper()
	if resp, _ := c.response(); resp.StatusCode != 101 {
		t.Fatal(resp.Status)
	}
	out := make(chan string)
	done := t.Context().Done()
	go func() {
		for {
			op, p, err := c.next()
			if err != nil {
				return
			}
			if op != ws.OpText || !strings.HasPrefix(p, `a["`) {
				continue
			}
			for m := range strings.SplitSeq(p[3:len(p)-2], `","`) {
				select {
				case out <- m:
				case <-done:
					return
				}
			}
		}
	}()
	return out
}

// kicking is a room that anybody can empty of the others, with a last word to each.
type kicking struct {
	topic *server.Topic
	in    map[*server.Session]bool
}

func (k *kicking) OnOpen(s *server.Session) { k.in[s] = true; s.Subscribe(k.topic) }

func (k *kicking) OnClose(s *server.Session, _ server.CloseReason) { delete(k.in, s) }

func (k *kicking) OnMessage(s *server.Session, m *server.Message) {
	if string(m.Text()) != "kick" {
		k.topic.Publish(m)
		return
	}
	bye := server.Text([]byte("bye"))
	for other := range k.in {
		if other != s {
			other.Unsubscribe(k.topic)
			if err := other.Send(&bye); err != nil {
				panic(err)
			}
		}
	}
}

// untilSomebodyLags has a member say a message until the socket of another is full.
func (r *running) untilSomebodyLags(t *testing.T, talker *client, message string) {
	t.Helper()
	for sent := 0; r.stats(t).ConnectionsBlocked == 0; sent++ {
		talker.send(`["` + message + `"]`)
		talker.messages(1)
		if sent > 5000 {
			t.Fatal("nobody lags")
		}
	}
}

// serve runs a server that the test has made.
func serve(t *testing.T, srv *server.Server) *running {
	t.Helper()
	r := &running{Server: srv, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { r.done <- srv.Run(ctx) }()
	<-srv.Ready()
	r.addr = srv.Addr().String()
	t.Cleanup(func() {
		cancel()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// allocations is how many objects a turn allocates, in this whole process, once it is warm: the least of several
// measurements, since a busy machine cuts turns to pieces.
func allocations(turns int, turn func()) float64 {
	for range 50 {
		turn()
	}
	least := math.Inf(1)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range turns {
			turn()
		}
		runtime.ReadMemStats(&after)
		least = min(least, float64(after.Mallocs-before.Mallocs)/float64(turns))
	}
	return least
}

// ask sends a request and reads the head of its response.
func (c *client) ask(method, path, body string, headers ...string) *http.Response {
	c.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", method, path, len(body))
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	c.say(b.String() + "\r\n" + body)
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// answer sends a request and reads its response.
func (c *client) answer(method, path, body string, headers ...string) (status int, text string) {
	c.t.Helper()
	resp := c.ask(method, path, body, headers...)
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(p)
}

// poll asks for a frame by xhr.
func (c *client) poll(session, want string) {
	c.t.Helper()
	if status, got := c.answer("POST", session+"/xhr", ""); status != 200 || got != want+"\n" {
		c.t.Fatalf("xhr: %d %.200q, want %q", status, got, want)
	}
}

func (c *client) post(session, payload string) {
	c.t.Helper()
	if status, got := c.answer("POST", session+"/xhr_send", payload); status != 204 {
		c.t.Fatalf("xhr_send: %d %q", status, got)
	}
}

// stream is a streaming response, line by line.
type stream struct {
	*client
	body *bufio.Reader
}

func (r *running) stream(t *testing.T, session string) *stream {
	t.Helper()
	c := r.dial(t)
	s := &stream{c, bufio.NewReader(c.ask("POST", session+"/xhr_streaming", "").Body)}
	s.line()
	return s
}

func (s *stream) line() string {
	s.t.Helper()
	line, err := s.body.ReadString('\n')
	if err != nil {
		s.t.Fatalf("after %.100q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (s *stream) wantLine(want string) {
	s.t.Helper()
	if got := s.line(); got != want {
		s.t.Fatalf("%.200q, want %.200q", got, want)
	}
}

// texts are the messages of frames a[…] until there are n.
func texts(t *testing.T, n int, next func() string) []string {
	t.Helper()
	var all []string
	for len(all) < n {
		frame := next()
		if frame == "o" {
			continue
		}
		var some []string
		if err := json.Unmarshal([]byte(strings.TrimPrefix(frame, "a")), &some); err != nil || frame[0] != 'a' {
			t.Fatalf("after %d of %d messages: %.200q", len(all), n, frame)
		}
		all = append(all, some...)
	}
	return all
}

// startMarking runs a server whose service marks each message with how it sends it: on two topics, and to its sender.
func startMarking(t *testing.T, c server.Config) *running {
	t.Helper()
	c.Addr, c.ConnectionsMax = "127.0.0.1:0", 100
	srv, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	service := &marking{}
	service.one, service.two = srv.NewTopic("one"), srv.NewTopic("two")
	if err := srv.Handle("/mixed", service); err != nil {
		t.Fatal(err)
	}
	return serve(t, srv)
}

// recording is a service that reports what becomes of its sessions.
type recording struct {
	opened atomic.Int64
	closed chan server.CloseReason
}

func (r *recording) OnOpen(*server.Session) { r.opened.Add(1) }

func (r *recording) OnMessage(s *server.Session, m *server.Message) { _ = s.Send(m) }

func (r *recording) OnClose(_ *server.Session, c server.CloseReason) { r.closed <- c }

func newRecording() *recording { return &recording{closed: make(chan server.CloseReason, 100)} }

func (r *recording) wantClosed(t *testing.T, code int) {
	t.Helper()
	select {
	case c := <-r.closed:
		if c.Code != code {
			t.Errorf("closed with %+v, want %d", c, code)
		}
	case <-time.After(patience):
		t.Fatal("the service is not told")
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one has only found dead
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// openFiles is how many descriptors this process may have, and those that it starts.
func openFiles(t *testing.T) uint64 {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	return l.Cur
}

// asMap is a value as JSON has it: fields that a test looks for may not be there.
func asMap(t *testing.T, v any) map[string]any {
	t.Helper()
	p, err := json.Marshal(v)
	var m map[string]any
	if err = errors.Join(err, json.Unmarshal(p, &m)); err != nil {
		t.Fatal(err)
	}
	return m
}

// goingAway closes every session as soon as it opens.
type goingAway struct{}

func (goingAway) OnOpen(s *server.Session)                    { s.Close(server.CodeGoAway, "Go away!") }
func (goingAway) OnClose(*server.Session, server.CloseReason) {}
func (goingAway) OnMessage(*server.Session, *server.Message)  {}
