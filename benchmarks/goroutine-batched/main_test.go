package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// start starts a server with a room, and returns its room and address.
func start(t *testing.T) (h *hub, addr string) {
	t.Helper()
	// The time for writing is so long that only patience ends who is slow.
	h = newHub(limits{logBytesMax: 1 << 20, patience: 300 * time.Millisecond, writing: time.Hour})
	s := httptest.NewServer(handler(h))
	t.Cleanup(func() {
		h.close(time.Second)
		s.Close()
	})
	return h, strings.TrimPrefix(s.URL, "http://")
}

// join connects, and returns when the connection hears everybody: the open frame comes after it is in the room.
func join(t *testing.T, addr string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/broadcast/0/0/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, p, err := c.ReadMessage(); err != nil || string(p) != "o" {
		t.Fatalf("%q %v", p, err)
	}
	return c
}

// hear reads frames until so many messages have come.
func hear(c *websocket.Conn, n int) (messages []string, err error) {
	for len(messages) < n {
		_, p, err := c.ReadMessage()
		if err != nil {
			return messages, err
		}
		var some []string
		if p[0] != 'a' || json.Unmarshal(p[1:], &some) != nil || len(p) > frameBytesMax+len("a[]") {
			return messages, fmt.Errorf("a frame of %d bytes: %.40q", len(p), p)
		}
		messages = append(messages, some...)
	}
	return messages, nil
}

// Everybody hears everybody, in one order, in frames of at most 64 KiB; the messages of a sender keep their order.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	_, addr := start(t)
	const clients, each = 5, 1000
	var all []*websocket.Conn
	for range clients {
		all = append(all, join(t, addr))
	}
	heard := make([][]string, clients)
	ended := make(chan error)
	for i, c := range all {
		go func() {
			var err error
			heard[i], err = hear(c, clients*each)
			ended <- err
		}()
		go func() {
			for n := range each {
				text := fmt.Sprintf(`["%d %d é\n %s"]`, i, n, strings.Repeat("x", n%300))
				if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for range all {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	next := make([]int, clients)
	for k, m := range heard[0] {
		for i := range heard {
			if heard[i][k] != m {
				t.Fatalf("message %d is %q for client 0 and %q for client %d", k, m, heard[i][k], i)
			}
		}
		var i, n int
		if _, err := fmt.Sscanf(m, "%d %d é", &i, &n); err != nil || n != next[i] {
			t.Fatalf("message %d is %q, want number %d: %v", k, m, next[i], err)
		}
		next[i]++
	}
}

// Two messages of one payload, and what has to be escaped, arrive as sent.
func TestEscapes(t *testing.T) {
	t.Parallel()
	_, addr := start(t)
	c := join(t, addr)
	if err := c.WriteMessage(websocket.TextMessage, []byte(`["x","é\n\"\u2028"]`)); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.ReadMessage(); err != nil || string(p) != `a["x","é\n\"\u2028"]` {
		t.Errorf("%q %v", p, err)
	}
}

// A reader that takes nothing is closed, and the others lose nothing: the log waits for it no longer than patience
// says.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	h, addr := start(t)
	good, slow, sender := join(t, addr), join(t, addr), join(t, addr)
	if err := slow.UnderlyingConn().(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, sender.UnderlyingConn()) }()
	// More than the log and the sockets' buffers of both sides hold.
	const messages, size = 300, 60 << 10
	go func() {
		text := []byte(`["` + strings.Repeat("y", size) + `"]`)
		for range messages {
			if err := sender.WriteMessage(websocket.TextMessage, text); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	if got, err := hear(good, messages); err != nil {
		t.Fatalf("the good reader: %v after %d messages", err, len(got))
	}
	if got, err := hear(slow, messages); err == nil {
		t.Errorf("the slow reader got all %d messages", len(got))
	}
	for wait := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		h.mu.Lock()
		n := len(h.clients)
		h.mu.Unlock()
		if n == 2 {
			break
		}
		if time.Now().After(wait) {
			t.Fatalf("%d clients, want 2", n)
		}
	}
}

// Who publishes more than the log holds and reads nothing is closed, though the hub does not read it meanwhile.
func TestSlowPublisher(t *testing.T) {
	t.Parallel()
	_, addr := start(t)
	good, bad := join(t, addr), join(t, addr)
	if err := bad.UnderlyingConn().(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	refused := make(chan bool)
	go func() {
		text := []byte(`["` + strings.Repeat("z", 60<<10) + `"]`)
		for bad.WriteMessage(websocket.TextMessage, text) == nil { //nolint:revive // until it is refused
		}
		close(refused)
	}()
	heard := make(chan error)
	go func() {
		for {
			messages, err := hear(good, 1)
			if err != nil || messages[0] == "end" {
				heard <- err
				return
			}
		}
	}()
	<-refused
	if err := good.WriteMessage(websocket.TextMessage, []byte(`["end"]`)); err != nil {
		t.Fatal(err)
	}
	if err := <-heard; err != nil {
		t.Error(err)
	}
}

// A server that ends says goodbye to all, after what was published before.
func TestShutdown(t *testing.T) {
	t.Parallel()
	h, addr := start(t)
	a, b := join(t, addr), join(t, addr)
	if err := a.WriteMessage(websocket.TextMessage, []byte(`["last"]`)); err != nil {
		t.Fatal(err)
	}
	if _, err := hear(a, 1); err != nil {
		t.Fatal(err)
	}
	go func() { // or they do not answer
		_, _, _ = a.ReadMessage()
	}()
	h.close(5 * time.Second)
	if got, err := hear(b, 1); err != nil || got[0] != "last" {
		t.Errorf("%q %v", got, err)
	}
	if _, p, err := b.ReadMessage(); err != nil || string(p) != `c[3000,"Go away!"]` {
		t.Errorf("%q %v", p, err)
	}
	if _, _, err := b.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.clients) != 0 {
		t.Errorf("%d clients are left", len(h.clients))
	}
}

// A ping is answered, a close is answered and ends the connection, and what is illegal is refused with its code.
func TestControl(t *testing.T) {
	t.Parallel()
	h, addr := start(t)
	c := join(t, addr)
	pong := make(chan string, 1)
	c.SetPongHandler(func(p string) error { pong <- p; return nil })
	if err := c.WriteControl(websocket.PingMessage, []byte("hi"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	pinged := make(chan bool)
	c.SetPingHandler(func(string) error { close(pinged); return nil })
	h.ask(tasks{ping: true})
	go func() {
		<-pong
		<-pinged
		_ = c.WriteControl(websocket.CloseMessage, text, time.Now().Add(time.Second))
	}()
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Error(err)
	}
	for payload, code := range map[string]int{
		"[1]":        websocket.CloseProtocolError,
		"[\"\xff\"]": websocket.CloseInvalidFramePayloadData,
		`["` + strings.Repeat("x", messageBytesMax) + `"]`: websocket.CloseMessageTooBig,
	} {
		c := join(t, addr)
		if err := c.WriteMessage(websocket.TextMessage, []byte(payload)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, code) {
			t.Errorf("%.20q: %v, want %d", payload, err, code)
		}
	}
}

// What comes with the handshake's request, and frames that are cut anywhere, are taken as they are.
func TestPieces(t *testing.T) {
	t.Parallel()
	_, addr := start(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // the test is over
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	frame := "\x81\x85\x00\x00\x00\x00[\"x\"]"
	request := "GET /broadcast/0/0/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + frame + frame[:4]
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if _, err := io.WriteString(c, frame[4:]); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for p := make([]byte, 1<<10); bytes.Count(got, []byte(`"x"`)) < 2; {
		n, err := c.Read(p)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, p[:n]...)
	}
	_, got, _ = bytes.Cut(got, []byte("\r\n\r\n"))
	if !bytes.HasPrefix(got, []byte("\x81\x01o\x81")) {
		t.Errorf("%q", got)
	}
}

// Who connects when the server ends is refused.
func TestJoinAfterTheEnd(t *testing.T) {
	t.Parallel()
	h, addr := start(t)
	h.close(time.Second)
	c, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/broadcast/0/0/websocket", nil)
	if err == nil {
		defer c.Close() //nolint:errcheck // the test is over
		if _, _, err = c.ReadMessage(); !errors.Is(err, io.ErrUnexpectedEOF) && !websocket.IsUnexpectedCloseError(err) {
			t.Error(err)
		}
	}
}

// SIGTERM ends the program without an error, and the clients hear of it.
func TestTermination(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run(&flags{Addr: addr}) }()
	for wait := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(wait) {
			t.Fatal("it does not listen")
		}
	}
	c := join(t, addr)
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.ReadMessage(); err != nil || string(p) != `c[3000,"Go away!"]` {
		t.Errorf("%q %v", p, err)
	}
	_, _, _ = c.ReadMessage()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
