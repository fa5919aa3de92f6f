package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/server"
)

// Polling by script tags takes the name of a function, and messages as a form.
func TestJSONPRefuses(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c := s.dial(t)
	for _, tt := range []struct {
		query  string
		status int
		body   string
	}{
		{"", 500, "parameter required"},
		{"?c=", 500, "parameter required"},
		{"?c=" + strings.Repeat("x", 33), 500, "invalid"},
		{"?c=a%3Cb", 500, "invalid"},
		{"?c=a(b", 500, "invalid"},
		{"?c=%60", 500, "invalid"}, {"?c=%7B", 500, "invalid"}, {"?c=%40", 500, "invalid"}, {"?c=%5B", 500, "invalid"},
		{"?c=%2F", 500, "invalid"}, {"?c=%3A", 500, "invalid"},
	} {
		refused := s.stats(t).RequestsRefused
		status, body := c.answer("GET", "/echo/0/refused/jsonp"+tt.query, "")
		if status != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%q: %d %q, want %d %q", tt.query, status, body, tt.status, tt.body)
		}
		if n := s.stats(t).RequestsRefused - refused; n != 1 {
			t.Errorf("%q: %d refusals are counted", tt.query, n)
		}
	}
	if st := s.stats(t); st.Sessions != 0 {
		t.Errorf("%d sessions were opened", st.Sessions)
	}
	for i, name := range []string{"a", "zZ09-_.", "aAz", strings.Repeat("x", 32)} {
		want := "/**/" + name + `("o");` + "\r\n"
		status, body := c.answer("GET", fmt.Sprintf("/echo/0/taken%d/jsonp?callback=%s", i, name), "")
		if status != 200 || body != want {
			t.Errorf("%s: %d %q", name, status, body)
		}
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	status, body := c.answer("POST", "/echo/0/taken0/jsonp_send", "d=%zz", form...)
	if status != 500 || body != "Broken form encoding." {
		t.Errorf("a broken form: %d %q", status, body)
	}
	status, body = c.answer("POST", "/echo/0/taken0/jsonp_send", "d=%5B%22m%22%5D", form...)
	if status != 200 || body != "ok" {
		t.Errorf("a form: %d %q", status, body)
	}
	status, body = c.answer("GET", "/echo/0/taken0/jsonp?c=x", "")
	if status != 200 || !strings.Contains(body, `[\"m\"]`) {
		t.Errorf("the echo: %d %q", status, body)
	}
}

func TestWithoutWebSocket(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{Options: server.Options{NoWebSocket: true}})
	c := s.dial(t)
	for path, want := range map[string]int{"/echo/0/a/websocket": 404, "/echo/websocket": 404, "/echo": 200} {
		if status, _ := c.answer("GET", path, ""); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	status, body := c.answer("GET", "/echo/info", "")
	if status != 200 || !strings.Contains(body, `"websocket":false`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := c.answer("POST", "/echo/0/a/xhr", ""); status != 200 || body != "o\n" {
		t.Errorf("%d %q", status, body)
	}
}

// Who has a page is told so, whether a proxy has marked the tag as weak or not.
func TestPagesThatAreKnown(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.HandlePage("/page", "text/plain", "hello"); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	header := s.dial(t).ask("GET", "/page", "").Header
	tag := header.Get("ETag")
	if len(tag) < 3 || header.Get("Cache-Control") != "no-cache" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%v", header)
	}
	c := s.dial(t)
	for known, want := range map[string]int{tag: 304, "W/" + tag: 304, `"other"`: 200, "W/": 200} {
		status, body := c.answer("GET", "/page", "", "If-None-Match", known)
		if status != want || (body == "hello") != (want == 200) {
			t.Errorf("%s: %d %q, want %d", known, status, body, want)
		}
	}
}

// What a full socket does not take of a response waits, and arrives whole.
func TestResponseLargerThanTheSocket(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 10, OutboxBytesMax: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("0123456789abcde\n", 1<<20)
	if err := srv.HandlePage("/large", "text/plain", content); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	c := s.dialSmall(t)
	c.say("GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n")
	s.eventually(t, "its socket is full", func(st server.Stats) bool { return st.ConnectionsBlocked == 1 })
	if st := s.stats(t); st.InputBytes < len(content)/4 {
		t.Errorf("%d bytes are charged for what waits of %d", st.InputBytes, len(content))
	}
	if resp, body := c.response(); resp.StatusCode != 200 || body != content {
		t.Errorf("%s, %d of %d bytes", resp.Status, len(body), len(content))
	}
	if resp, _ := c.response(); resp.StatusCode != 404 {
		t.Errorf("the next response is %s", resp.Status)
	}
	if st := s.stats(t); st.ConnectionsBlocked != 0 || st.InputBytes > 10_000 || st.RequestsRefused != 1 {
		t.Errorf("afterwards %+v", st)
	}
}

func TestDeliveriesAreCounted(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	a, b := s.join(t, "/broadcast"), s.join(t, "/broadcast")
	a.send(`["1","2","3"]`)
	b.messages(3)
	a.messages(3)
	if st := s.stats(t); st.MessagesPublished != 3 || st.MessagesDelivered != 6 || st.MessagesReceived != 3 {
		t.Errorf("%+v", st)
	}
	echo := s.join(t, "/echo")
	echo.send(`["1"]`)
	echo.messages(1)
	if st := s.stats(t); st.MessagesSent != 1 || st.MessagesDelivered != 7 {
		t.Errorf("%+v", st)
	}
}

// late is a service that subscribes when it is too late.
type late struct {
	open, gone *server.Topic
	subscribed int
}

func (l *late) OnOpen(*server.Session) {}

func (l *late) OnMessage(s *server.Session, m *server.Message) {
	l.gone.Close()
	l.gone.Close()
	s.Subscribe(l.gone)
	l.gone.Publish(m)
	_ = s.Send(m)
	s.Close(4000, "enough")
	s.Subscribe(l.open)
	l.open.Publish(m)
	l.subscribed += l.open.Len() + l.gone.Len()
}

func (l *late) OnClose(s *server.Session, _ server.CloseReason) { s.Subscribe(l.open) }

// A session that is closing and a topic that is closed take no subscriptions.
func TestSubscriptionsThatComeTooLate(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	l := &late{open: srv.NewTopic("open"), gone: srv.NewTopic("gone")}
	if err := srv.Handle("/late", l); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	c := s.join(t, "/late")
	c.send(`["x"]`)
	c.expect(`a["x"]`)
	c.expect(`c[4000,"enough"]`)
	c.expectClose(1000)
	s.eventually(t, "it has gone", func(st server.Stats) bool { return st.Sessions == 0 })
	members := make(chan int, 1)
	if err := s.Post(func() { members <- l.subscribed + l.open.Len() + l.gone.Len() }); err != nil {
		t.Fatal(err)
	}
	if n := <-members; n != 0 {
		t.Errorf("%d subscribers", n)
	}
}

// Shutdown returns when the server has ended, and says nothing of a clean end.
func TestShutdownIsTheEnd(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	srv, err := server.New(server.Config{
		Addr: "127.0.0.1:0", ConnectionsMax: 10,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	c := s.dial(t)
	c.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	_, _ = c.response()
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	if p, err := io.ReadAll(c.r); err != nil || len(p) > 0 {
		t.Errorf("%q, %v", p, err)
	}
	_ = c.Close()
	if err := <-down; err != nil {
		t.Error(err)
	}
	if err := s.Post(func() {}); !errors.Is(err, server.ErrNotRunning) {
		t.Errorf("after Shutdown the server runs: %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("it complains: %s", &log)
	}
}

// A head that trickles in ends while it trickles: the first on its connection, and the next.
func TestTrickledHeadsEndInTime(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"} {
		s := start(t, server.Config{HandshakeTimeout: 100 * time.Millisecond})
		c := s.dial(t)
		if c.say(before); before != "" {
			c.response()
		}
		begun := time.Now()
		for s.stats(t).HandshakeTimeouts == 0 {
			if time.Since(begun) > patience/2 {
				t.Fatalf("behind %q a head may trickle for %v", before, time.Since(begun))
			}
			c.say("G")
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// Of services whose prefixes begin alike the longest that fits answers, in whatever order they were added.
func TestLongestPrefixAnswers(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"/a", "/a/b", "/a/b/c"}, {"/a/b/c", "/a/b", "/a"}, {"/a/b", "/a", "/a/b/c"}} {
		var all []any
		for _, prefix := range order {
			all = append(all, prefix, saying(prefix))
		}
		s := start(t, server.Config{}, all...)
		for _, prefix := range order {
			c := s.open(t, prefix+"/websocket")
			c.say(frame(ws.OpText, "who"))
			c.expect(prefix)
		}
	}
}

// saying is a service that answers everything with itself.
type saying string

func (saying) OnOpen(*server.Session)                      {}
func (saying) OnClose(*server.Session, server.CloseReason) {}
func (a saying) OnMessage(s *server.Session, _ *server.Message) {
	m := server.Text([]byte(a))
	_ = s.Send(&m)
}
