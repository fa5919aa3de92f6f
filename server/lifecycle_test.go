package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/codec"
)

// session is the one of the only connection.
func (b *brokered) session() *Session {
	b.t.Helper()
	return b.only().protocol.(*webSocket).session.(*Session)
}

// Sessions are refused for memory, for load, and for a reason of the caller's, and counted as what it was.
func TestWhySessionsAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		prepare      func(l *loop)
		tooMany      bool
		refused      bool
		memory, load uint64
	}{
		"welcome":  {func(*loop) {}, false, false, 0, 0},
		"too many": {func(*loop) {}, true, true, 0, 0},
		"draining": {func(l *loop) { l.departure.draining = true }, false, true, 0, 0},
		"memory":   {func(l *loop) { l.memory.inputs.Charge(l.memory.low() + 1) }, true, true, 1, 0},
		"load":     {func(l *loop) { l.now, l.share.spentSince = 1<<20, 1 }, true, true, 0, 1},
	} {
		l := idle(t, Config{})
		tt.prepare(l)
		if got := l.refusesSessions(tt.tooMany); got != tt.refused {
			t.Errorf("%s: refused %v", name, got)
		}
		all := uint64(0)
		if tt.refused {
			all = 1
		}
		if st := &l.stats; st.SessionsRefused != all || st.RefusedForMemory != tt.memory ||
			st.RefusedForLoad != tt.load {
			t.Errorf("%s: %d refused, %d for memory, %d for load", name, st.SessionsRefused, st.RefusedForMemory,
				st.RefusedForLoad)
		}
	}
}

// The server knows how many sessions hear several topics, however they come to hear fewer.
func TestSessionsOfSeveralTopics(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(b *brokered, s *Session){
		"unsubscribes": func(b *brokered, s *Session) { s.Unsubscribe(b.topic) },
		"ends":         func(_ *brokered, s *Session) { s.ended(CloseReason{}) },
		"topic closed": func(b *brokered, _ *Session) { b.topic.Close(); b.topic.Close() },
	} {
		b := startBrokered(t, Config{})
		b.dial("/x")
		b.here(func() {
			s, want := b.session(), func(n int, when string) {
				t.Helper()
				if b.loop.multiTopic != n {
					t.Errorf("%s: %d sessions hear several topics %s, want %d", name, b.loop.multiTopic, when, n)
				}
			}
			want(0, "with one")
			s.Subscribe(b.topic)
			want(0, "with one, subscribed to twice")
			s.Unsubscribe(b.local)
			want(0, "without a second")
			s.Subscribe(b.local)
			want(1, "with two")
			s.Subscribe(b.local)
			want(1, "with two, subscribed to twice")
			leave(b, s)
			want(0, "afterwards")
			s.Unsubscribe(b.local)
			want(0, "at last")
		})
	}
}

// A session that hears one topic ends without a trace, and its service is told once.
func TestSessionsEndOnce(t *testing.T) {
	t.Parallel()
	b := startBrokered(t, Config{})
	b.dial("/x")
	b.here(func() {
		told := 0
		s := b.session()
		s.route = &route{service: countingEnds{&told}}
		s.ended(CloseReason{Code: 1000})
		s.ended(CloseReason{Code: 1000})
		if st := &b.loop.stats; told != 1 || st.Sessions != 0 || b.loop.multiTopic != 0 {
			t.Errorf("told %d times, %d sessions, %d of them of several topics", told, st.Sessions, b.loop.multiTopic)
		}
	})
}

// countingEnds is a service that counts the sessions that end.
type countingEnds struct{ n *int }

func (countingEnds) OnOpen(*Session)                 {}
func (c countingEnds) OnClose(*Session, CloseReason) { *c.n++ }
func (countingEnds) OnMessage(*Session, *Message)    {}

// What was published before a session was closed, in the same turn, is sent to it; what comes after is not.
func TestCloseComesBehindWhatWasPublished(t *testing.T) {
	t.Parallel()
	b := startBrokered(t, Config{})
	c := b.dial("/x")
	b.here(func() {
		b.publish("before")
		b.session().Close(4000, "enough")
		b.publish("after")
	})
	b.hears(c, "before")
	if op, payload := b.frame(c); op != ws.OpClose || string(payload[2:]) != "enough" {
		t.Errorf("%v %q instead of the end", op, payload)
	}
}

// A topic that is closed takes nothing of another's with it.
func TestClosingATopicLeavesTheOthers(t *testing.T) {
	t.Parallel()
	b := startBrokered(t, Config{})
	c := b.dial("/local")
	b.here(func() {
		m := Text([]byte("hello"))
		b.publish("for nobody")
		b.local.Publish(&m)
		b.topic.Close()
		if len(b.loop.topics) != 1 || b.loop.lastPublished != b.local {
			t.Errorf("%d topics are left, and what was published to last is forgotten: %v", len(b.loop.topics),
				b.loop.lastPublished == nil)
		}
	})
	b.hears(c, "hello")
}

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
		b := startBrokered(t, Config{})
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
	b := startBrokered(t, Config{})
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
	b := startBrokered(t, Config{})
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

// A tick looks at everything that time changes, and ends in a flush.
func TestTickLooksAtEverything(t *testing.T) {
	t.Parallel()
	b := startBrokered(t, Config{})
	b.broker.queued.Store(1 << 20)
	b.here(func() {
		l := b.loop
		l.elapsed, l.saturation.lookedAt = 0, -time.Hour
		l.pauseListening(unix.EMFILE)
		l.listener.pausedAt = -acceptPause
		l.armed = false
		l.tick()
		if l.memory.collector.at != l.now || l.elapsed == 0 || l.saturation.lookedAt != l.elapsed ||
			l.listener.pausedAt != 0 || l.brokerSide.queued != 1<<20 || !l.armed {
			t.Errorf("memory looked at %d of %d, saturation at %v, paused since %d, %d bytes queued, armed %v",
				l.memory.collector.at, l.now, l.saturation.lookedAt, l.listener.pausedAt, l.brokerSide.queued, l.armed)
		}
		l.memory.collector.at = 0
	})
}

// A session that publishes more than the turn can send out waits for the next, unless what it says belongs to a request
// behind a response: that is read, and waits there.
func TestWhoIsReadInASpentTurn(t *testing.T) {
	t.Parallel()
	for why, want := range map[hold]hold{holdNone: holdTurn, holdResponse: holdResponse} {
		b := startBrokered(t, Config{})
		c := b.connect()
		b.await(func(st Stats) bool { return st.Connections == 1 })
		b.here(func() {
			of := b.only()
			of.publishes, of.hold, b.loop.share.fanOut = true, why, 0
			_, _ = io.WriteString(c, "GET ")
			of.becameReadable(false)
			if read := len(of.input) > 0; of.hold != want || read != (why == holdResponse) {
				t.Errorf("held for %d, now for %d; read %v", why, of.hold, read)
			}
		})
	}
}

// A frame of which the socket takes a part goes on where that ended, wherever it was.
func TestFramesThatTheSocketTakesInParts(t *testing.T) {
	t.Parallel()
	const large = 4 << 20
	for _, sizes := range [][3]int{{large, 3, 3}, {3, large, 3}, {3, 3, large}, {3, 3, 3}, {0, 3, 0}} {
		b := startBrokered(t, Config{OutboxBytesMax: 1 << 30})
		peer := b.connect()
		b.await(func(st Stats) bool { return st.Connections == 1 })
		var parts [3][]byte
		for i, n := range sizes {
			parts[i] = bytes.Repeat([]byte{'a' + byte(i)}, n)
		}
		b.here(func() {
			c := b.only()
			taken := c.writeFrame(parts[0], parts[1], parts[2])
			rest := append(bytes.Clone(c.output), parts[1][taken:]...)
			if taken == len(parts[1]) {
				rest = bytes.Clone(c.output) // what is left is of the last part
			} else if len(c.output) > 0 && taken > 0 {
				t.Errorf("%v: %d bytes of its own wait before shared ones", sizes, len(c.output))
			}
			if c.blocked != (len(rest) > 0) {
				t.Errorf("%v: blocked %v with %d bytes left", sizes, c.blocked, len(rest))
			}
			whole := slices.Concat(parts[:]...)
			sent := int(b.loop.stats.BytesSent)
			if taken < len(parts[1]) {
				rest = append(rest, parts[2]...)
			}
			if !bytes.Equal(whole[sent:], rest) {
				t.Errorf("%v: %d bytes were sent, and %d are left", sizes, sent, len(rest))
			}
			if kept := cap(c.output); b.loop.memory.inputs.Bytes() != kept {
				t.Errorf("%v: %d bytes are kept, and %d charged", sizes, kept, b.loop.memory.inputs.Bytes())
			}
			c.output, c.sent = nil, 0
		})
		_ = peer.Close()
	}
}

// A session over HTTP that is told of its end is not ended again for being slow.
func TestSlowSessionsEndOnce(t *testing.T) {
	t.Parallel()
	b := startBrokered(t, Config{})
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

// fallback is the session over HTTP with an id, nil if there is none.
func (b *brokered) fallback(id string) *fallback {
	for _, r := range b.loop.routes {
		if f := r.sessions[id]; f != nil {
			return f
		}
	}
	return nil
}

// A session whose client has asked again is not among those that time out.
func TestSessionsWithAReceiverDoNotTimeOut(t *testing.T) {
	t.Parallel()
	b := startBrokered(t, Config{})
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
	b := startBrokered(t, Config{})
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
	b := startBrokered(t, Config{})
	b.asker()("POST", "/local/0/s/xhr")
	for _, tt := range []struct{ request, name, want string }{
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

// Topics whose time has come are sent at the end of this turn.
func TestGatheredTopicsEndTheTurn(t *testing.T) {
	t.Parallel()
	b := startBrokered(t, Config{Gather: time.Minute})
	b.here(func() {
		l := b.loop
		b.topic.notBefore, b.topic.gathering = l.elapsed+1, true
		b.local.notBefore, b.local.gathering = l.elapsed, true
		l.gathering.topics, l.armed = []*Topic{b.topic, b.local}, false
		l.gathered(false)
		if !l.armed || b.local.gathering || !b.topic.gathering || len(l.gathering.topics) != 1 || len(l.dirty) != 1 {
			t.Errorf("a flush comes: %v; %d topics go on gathering, %d leave", l.armed, len(l.gathering.topics),
				len(l.dirty))
		}
	})
}

// A server that has ended, or that could not begin, has given back its descriptors and nobody else's. It is alone while
// it counts: tests beside it open some too.
func TestServersGiveBackTheirDescriptors(t *testing.T) { //nolint:paralleltest // see above
	count := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	run := func() {
		b := startBrokered(t, Config{})
		c := b.dial("/x")
		second, err := New(Config{Addr: b.Addr().String(), ConnectionsMax: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Run(t.Context()); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("on a port in use: %v", err)
		}
		_ = c.Close()
		b.end()
		if b.loop.saturation.schedstat < 0 {
			t.Skip("no statistics of the scheduler")
		}
	}
	input, err := os.Readlink("/proc/self/fd/0")
	if err != nil {
		t.Fatal(err)
	}
	run() // the runtime opens some at the first time
	before := count()
	run()
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if now, err := os.Readlink("/proc/self/fd/0"); err != nil || now != input {
		t.Errorf("standard input was %s and is %s, %v", input, now, err)
	}
}

// Looking through a payload costs its bytes, whatever they are.
func TestPayloadsCost(t *testing.T) {
	t.Parallel()
	b := startBrokered(t, Config{})
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
	b := startBrokered(t, Config{})
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
	b := startBrokered(t, Config{})
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

// Sessions are numbered in the order in which they began, and counted by what carries them, as long as they are open.
func TestSessionsAreNumberedAndCounted(t *testing.T) {
	t.Parallel()
	b := startBrokered(t, Config{})
	b.dial("/x")
	b.await(func(st Stats) bool { return st.Sessions == 1 })
	ask := b.asker()
	const id = "/local/0/s"
	ask("POST", id+"/xhr")
	counted := func(when string, want map[string]int) {
		t.Helper()
		b.here(func() {
			for i, name := range transports {
				if n := b.loop.stats.SessionsOf[i]; n != want[name] {
					t.Errorf("%s there are %d of %s, want %d", when, n, name, want[name])
				}
			}
		})
	}
	counted("at first", map[string]int{TransportRawWebSocket: 1, TransportXHRPolling: 1})
	all, err := b.Sessions(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	slices.SortFunc(all, func(a, b SessionInfo) int { return int(a.ID) - int(b.ID) })
	for i, want := range []string{TransportRawWebSocket, TransportXHRPolling} {
		if all[i].ID != uint64(i+1) || all[i].Transport != want {
			t.Errorf("number %d is %+v", i+1, all[i])
		}
	}
	b.here(func() {
		if s := b.fallback("s").session.(*Session); s.ID() != 2 || s.Transport() != TransportXHRPolling {
			t.Errorf("number %d, by %s", s.ID(), s.Transport())
		}
		b.fallback("s").session.Close(4000, "enough")
	})
	ask("POST", id+"/xhr") // is told of the end
	b.await(func(st Stats) bool { return st.Sessions == 1 })
	stream := b.connect()
	_, _ = io.WriteString(stream, "GET "+id+"/eventsource HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if said, err := io.ReadAll(stream); err != nil || !strings.Contains(string(said), `c[4000,"enough"]`) {
		t.Errorf("%q %v", said, err)
	}
	counted("after the end", map[string]int{TransportRawWebSocket: 1})
}

// Sessions that time out together end in the turns that it takes, and others have theirs in between.
func TestManySessionsThatTimeOut(t *testing.T) {
	t.Parallel()
	const sessions = 3 * turnCost / openCost
	b := startBrokered(t, Config{SessionsMax: 2 * sessions, Options: Options{DisconnectDelay: time.Hour}})
	ask := b.asker()
	for i := range sessions {
		ask("POST", fmt.Sprintf("/local/0/s%d/xhr", i))
	}
	left := 0
	b.later(func(l *loop) {
		l.share.turn = turnCost
		l.timeOut()
		if left = l.stats.Sessions; left != sessions-turnCost/openCost || !l.timingOut {
			t.Errorf("%d of %d are left after a turn", left, sessions)
		}
		for range 2 {
			before := l.stats.Sessions
			if l.nextTurn(); l.stats.Sessions != before-turnCost/openCost {
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
		b := startBrokered(t, Config{MemoryBytesMax: 16 << 20})
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

// Drain and Shutdown may be called on the loop, which does not wait for itself.
func TestShutdownOnTheLoop(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(b *brokered) error{
		"Drain":    func(b *brokered) error { return b.Drain() },
		"Shutdown": func(b *brokered) error { return b.Shutdown(b.t.Context()) },
	} {
		b := startBrokered(t, Config{})
		c := b.dial("/x")
		b.here(func() {
			if err := end(b); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		if op, _ := b.frame(c); op != ws.OpClose {
			t.Errorf("%s: %v", name, op)
		}
		_ = c.Close()
		b.FinalStats()
	}
}
