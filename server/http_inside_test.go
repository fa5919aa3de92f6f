package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/codec"
)

// A connection that broke under a stream is counted as interrupted, one that we ended is not.
func TestStreamsThatAreInterrupted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(f *fallback, c net.Conn)
		want uint64
	}{
		"its client asks again": {func(f *fallback, _ net.Conn) { f.lost() }, 1},
		"we end it":             {func(f *fallback, _ net.Conn) { f.receiver.response.c.kill() }, 0},
		"its peer breaks it": {func(f *fallback, c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}, 1},
	} {
		b := startInside(t, Config{})
		c := b.connect()
		_, _ = io.WriteString(c, "POST /local/0/s/xhr_streaming HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		b.await(func(st Stats) bool { return st.Sessions == 1 })
		b.here(func() { tt.end(b.only().protocol.(*httpProtocol).pending.(*fallback), c) })
		st := b.await(func(st Stats) bool { return st.Sessions == 0 })
		if st.ConnectionsInterrupted != tt.want {
			t.Errorf("%s: %d interrupted", name, st.ConnectionsInterrupted)
		}
	}
}

// Whether a peer has gone can be known before its end is read.
func TestPeersThatHaveGone(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.connect()
	b.await(func(st Stats) bool { return st.Connections == 1 })
	b.here(func() {
		of := b.only()
		if of.peerGone() {
			t.Error("it is there")
		}
		_, _ = io.WriteString(c, "GET ")
		if of.peerGone() {
			t.Error("it speaks")
		}
		_ = c.(*net.TCPConn).CloseWrite()
		for end := time.Now().Add(20 * time.Second); !of.peerGone(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Error("it has ended, and nobody knows")
				return
			}
		}
	})
	l := idle(t, Config{})
	if c := (&conn{loop: l, fd: -1, dead: true}); !c.peerGone() {
		t.Error("it is dead")
	}
}

// Requests that are refused are counted, whatever refuses them, and each says what it is.
func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	s, err := New(Config{ConnectionsMax: 10, Prefix: "/p"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.HandlePage("/a.txt", "text/plain", "a"); err != nil {
		t.Fatal(err)
	}
	if len(s.loop.pages) != 1 || s.loop.pages["/p/a.txt"] == nil {
		t.Errorf("a page is at %v", s.loop.pages)
	}
	if err := s.HandlePage("/", "text/plain", "root"); err != nil {
		t.Fatal(err)
	}
	if p := s.loop.pages["/p"]; len(s.loop.pages) != 3 || p == nil || p.moved != "/p/" {
		t.Errorf("the first page is at %v", s.loop.pages)
	}
	b := startInside(t, Config{})
	ask := b.asker()
	for _, tt := range []struct {
		method, path string
		status       int
		refused      uint64
	}{
		{"GET", "/x", http.StatusOK, 0}, {"PUT", "/x/info", http.StatusMethodNotAllowed, 1},
		{"DELETE", "/x/sockjs.min.js", http.StatusMethodNotAllowed, 2}, {"GET", "/none", http.StatusNotFound, 3},
	} {
		if status := ask(tt.method, tt.path); status != tt.status {
			t.Errorf("%s %s: %d", tt.method, tt.path, status)
		}
		if st := b.await(func(Stats) bool { return true }); st.RequestsRefused != tt.refused {
			t.Errorf("%s %s: %d are counted as refused", tt.method, tt.path, st.RequestsRefused)
		}
	}
}

// A session over HTTP that is told of its end is not ended again for being slow.
func TestSlowSessionsEndOnce(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	if status := b.asker()("POST", "/local/0/s/xhr"); status != http.StatusOK {
		t.Fatal(status)
	}
	b.here(func() {
		f := b.fallback("s")
		f.slow()
		f.slow()
		if n := b.loop.stats.SlowConsumersClosed; n != 1 || f.session.(*Session).state == open {
			t.Errorf("ended %d times", n)
		}
	})
	b.await(func(st Stats) bool { return st.Sessions == 0 })
}

// A session whose client has asked again is not among those that time out.
func TestSessionsWithAReceiverDoNotTimeOut(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	const poll = "POST /local/0/s/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	c := b.connect()
	_, _ = io.WriteString(c, poll+poll)
	b.await(func(st Stats) bool { return st.Requests == 2 })
	b.here(func() {
		f := b.fallback("s")
		if f.receiver == nil || f.place != nil || f.route.detached.Len() != 0 {
			t.Errorf("it has a receiver: %v, and %d are without", f.receiver != nil, f.route.detached.Len())
		}
	})
}

// Who asks while the server drains is told that it goes, though his connection had nothing to be told on.
func TestPollsDuringTheDrain(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	ask := b.asker()
	ask("POST", "/local/0/s/xhr")
	b.here(func() { b.loop.departure.draining = true })
	c := b.connect()
	_, _ = io.WriteString(c, "POST /local/0/s/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "c[3000,\"Go away!\"]\n" {
		t.Errorf("%q %v", body, err)
	}
	b.here(func() { b.loop.departure.draining = false }) // so that the test's end can drain
}

// A request with messages is answered as what it is, and the iframe's page may be kept for long.
func TestHeadersThatBrowsersWant(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.asker()("POST", "/local/0/s/xhr")
	for _, tt := range []struct{ request, name, want string }{
		{"OPTIONS /local/0/s/xhr HTTP/1.1\r\nHost: x\r\n\r\n", "Expires", farFuture},
		{"GET /local/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "Upgrade", "websocket"},
		{"POST /local/0/s/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n[\"x\"]", "Content-Type", textPlain},
		{"GET /local/iframe.html HTTP/1.1\r\nHost: x\r\n\r\n", "Expires", farFuture},
	} {
		c := b.connect()
		_, _ = io.WriteString(c, tt.request)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get(tt.name); got != tt.want || tt.want == "" {
			t.Errorf("%.30q: %s is %q, want %q", tt.request, tt.name, got, tt.want)
		}
	}
}

// Looking through a payload costs its bytes, whatever they are.
func TestPayloadsCost(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.asker()("POST", "/local/0/s/xhr")
	b.here(func() {
		h, s, answered := b.only().protocol.(*httpProtocol), &b.loop.share, false
		x := &exchange{h: h, r: &codec.Request{Request: &http.Request{}}, response: response{loop: b.loop, c: h.c}}
		s.beginVisit()
		h.serving = true
		x.takeMessages(b.fallback("s").route, "s", []byte("[   "+strings.Repeat(" ", 32<<byteShift)+"]"), false,
			func() { answered = true })
		if h.serving = false; s.visit != visitCost-32 || !answered {
			t.Errorf("looking through cost %d; answered: %v", visitCost-s.visit, answered)
		}
	})
}

// Over HTTP messages come as an array, and nothing else.
func TestPayloadsThatAreNoArrays(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.asker()("POST", "/local/0/s/xhr")
	for payload, want := range map[string]string{
		`"alone"`: "Payload expected.", " ": "Payload expected.", "[": "Broken JSON encoding.",
		"{}": "Broken JSON encoding.",
	} {
		c := b.connect()
		_, _ = fmt.Fprintf(c, "POST /local/0/s/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s",
			len(payload), payload)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 500 || string(body) != want {
			t.Errorf("%q: %d %q %v", payload, res.StatusCode, body, err)
		}
	}
}

// A client of HTTP/1.0 knows no chunks: a stream ends with its connection. Of whole responses it may have several on
// one.
func TestClientsOfHTTP10(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	for request, want := range map[string][3]string{
		"GET /local HTTP/1.0\r\nConnection: keep-alive\r\n\r\n": {"keep-alive", "19", ""},
		"GET /local HTTP/1.0\r\n\r\n":                           {"close", "19", ""},
		"POST /local/0/s/xhr_streaming HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n": {
			"close", "", "",
		},
		"POST /local/0/t/xhr_streaming HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n": {"", "", "chunked"},
	} {
		c := b.connect()
		_, _ = io.WriteString(c, request)
		r := textproto.NewReader(bufio.NewReader(c))
		if status, err := r.ReadLine(); err != nil || status != "HTTP/1.1 200 OK" {
			t.Fatal(status, err)
		}
		h, err := r.ReadMIMEHeader()
		if err != nil {
			t.Fatal(err)
		}
		got := [3]string{h.Get("Connection"), h.Get("Content-Length"), h.Get("Transfer-Encoding")}
		if got != want {
			t.Errorf("%.60q: %q, want %q", request, got, want)
		}
	}
}

// Sessions that time out together end in the turns that it takes, and others have theirs in between.
func TestManySessionsThatTimeOut(t *testing.T) {
	t.Parallel()
	const sessions = 3 * turnCost / endCost
	b := startInside(t, Config{SessionsMax: 2 * sessions, Options: Options{DisconnectDelay: time.Hour}})
	ask := b.asker()
	for i := range sessions {
		ask("POST", fmt.Sprintf("/local/0/s%d/xhr", i))
	}
	left := 0
	b.later(func(l *loop) {
		l.share.turn = turnCost
		l.timeOut()
		if left = l.stats.Sessions; left != sessions-turnCost/endCost || !l.timingOut {
			t.Errorf("%d of %d are left after a turn", left, sessions)
		}
		for range 2 {
			before := l.stats.Sessions
			if l.nextTurn(); l.stats.Sessions != before-turnCost/endCost {
				t.Errorf("the next turn ends %d", before-l.stats.Sessions)
			}
		}
		l.nextTurn()
		if l.timingOut || l.stats.Sessions != 0 {
			t.Errorf("%d are left", l.stats.Sessions)
		}
	})
}

// A client that asks by another transport has what is due converted, which costs by the byte; where memory is short it
// is told that it is too slow.
func TestChangesOfTransportCost(t *testing.T) {
	t.Parallel()
	for _, short := range []bool{false, true} {
		b := startInside(t, Config{MemoryBytesMax: 16 << 20})
		ask := b.asker()
		ask("POST", "/x/0/s/xhr")
		b.here(func() { b.publish(strings.Repeat("x", 64<<10)) })
		b.await(func(st Stats) bool { return st.BatchMessages.Count == 1 })
		b.here(func() {
			if m := &b.loop.memory; short {
				m.inputs.Charge(m.low() - m.budget.Used() + 1)
			}
		})
		b.here(func() {
			before := b.loop.share.turn
			f := b.fallback("s")
			err := f.rewire(wireScript)
			if spent := before - b.loop.share.turn; short != (err != nil) || short != (spent == 0) ||
				!short && spent < 64<<10>>byteShift {
				t.Errorf("memory is short: %v; 64 KiB cost %d, %v", short, spent, err)
			}
		})
	}
}

// Of a query or a form one parameter is looked for, its first value; what others are is of no interest.
func TestParameters(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"": "", "c": "", "c=": "", "c=1": "1", "b=c=2&c=1": "1", "cc=2&c=1&c=3": "1", "x=%zz&c=a%26b+d&y": "a&b d",
		"&&&c=1": "1", "d=c=1": "",
	} {
		if got, err := parameter(query, "c"); got != want || err != nil {
			t.Errorf("%q: %q %v, want %q", query, got, err, want)
		}
	}
	if _, err := parameter("a=1&c=%zz", "c"); err == nil {
		t.Error("a broken value is taken")
	}
}
