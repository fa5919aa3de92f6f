package server_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/server"
)

// reload changes the configuration and fails the test if that did not change what it should.
func (r *running) reload(t *testing.T, change func(*server.Config), want ...string) {
	t.Helper()
	changed, needsRestart, err := r.Reload(change)
	if err != nil || !slices.Equal(changed, want) || len(needsRestart) > 0 {
		t.Fatalf("changed %v, needs a restart %v, %v; want %v changed", changed, needsRestart, err, want)
	}
}

// A smaller bound of connections ends nobody and refuses who comes.
func TestReloadConnectionsMax(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{ConnectionsMax: 10, SessionsMax: 10})
	in := []*client{s.join(t, "/echo"), s.join(t, "/echo")}
	s.reload(t, func(c *server.Config) { c.ConnectionsMax = 2 }, "ConnectionsMax")
	if got := s.Config().ConnectionsMax; got != 2 {
		t.Errorf("Config says %d connections", got)
	}
	if resp, _ := s.dial(t).response(); resp.StatusCode != 503 {
		t.Errorf("the third was answered %s", resp.Status)
	}
	for _, c := range in {
		c.send(`["here"]`)
		c.expect(`a["here"]`)
	}
	s.reload(t, func(c *server.Config) { c.ConnectionsMax = 3 }, "ConnectionsMax")
	s.join(t, "/echo")
}

func TestReloadSessionsMax(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{SessionsMax: 10})
	s.dial(t).poll("/echo/0/first", "o")
	s.reload(t, func(c *server.Config) { c.SessionsMax = 1 }, "SessionsMax")
	if status, _ := s.dial(t).answer("POST", "/echo/0/second/xhr", ""); status != 503 {
		t.Errorf("the second session was answered %d", status)
	}
}

// Origins hold at once, but not for services that have their own.
func TestReloadOrigins(t *testing.T) {
	t.Parallel()
	const was, is, own = "https://was.example", "https://is.example", "https://own.example"
	srv, err := server.New(server.Config{
		Addr: "127.0.0.1:0", ConnectionsMax: 10, Options: server.Options{Origins: []string{was}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ownOrigins := func(o *server.Options) { o.Origins = []string{own} }
	err = errors.Join(srv.Handle("/echo", server.Echo()), srv.Handle("/own", server.Echo(), ownOrigins))
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	s.reload(t, func(c *server.Config) { c.Origins = []string{is} }, "Origins")
	for _, tt := range []struct {
		path, origin string
		want         int
	}{{"/echo", was, 403}, {"/echo", is, 200}, {"/own", is, 403}, {"/own", own, 200}} {
		if status, _ := s.dial(t).answer("GET", tt.path+"/info", "", "Origin", tt.origin); status != tt.want {
			t.Errorf("%s from %s: %d, want %d", tt.path, tt.origin, status, tt.want)
		}
	}
}

// The bounds of messages hold for sessions that are opened from then on.
func TestReloadMessageBounds(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	before := s.join(t, "/echo")
	smaller := func(c *server.Config) { c.MessageBytesMax, c.BodyBytesMax = 10, 50 }
	s.reload(t, smaller, "MessageBytesMax", "BodyBytesMax")
	before.send(`["0123456789"]`)
	before.expect(`a["0123456789"]`)
	after := s.join(t, "/echo")
	after.send(`["0123456789"]`)
	after.expectClose(1009)
	body := `["` + strings.Repeat("x", 50) + `"]`
	if status, _ := s.dial(t).answer("POST", "/echo/0/0/xhr_send", body); status != 413 {
		t.Errorf("a body that is too large was answered %d", status)
	}
}

// Larger messages fit an outbox when its default follows their bound.
func TestReloadLargerMessages(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	larger := func(c *server.Config) { c.RawMessageBytesMax, c.OutboxBytesMax = 4<<20, 0 }
	s.reload(t, larger, "RawMessageBytesMax", "OutboxBytesMax")
	text := strings.Repeat("x", 4<<20)
	c := s.open(t, "/echo/websocket")
	go c.say(frame(ws.OpText, text))
	c.expect(text)
}

// What is published from outside has the bound in force.
func TestReloadBoundsWhatIsPublishedFromOutside(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{MessageBytesMax: 10})
	publish := func(bytes int) error {
		_, err := s.Publish(t.Context(), "broadcast", [][]byte{[]byte(strings.Repeat("x", bytes))})
		return err
	}
	if err := publish(11); !errors.Is(err, server.ErrMessageTooLarge) {
		t.Errorf("before: %v", err)
	}
	s.reload(t, func(c *server.Config) { c.MessageBytesMax = 11 }, "MessageBytesMax")
	if err := publish(11); err != nil {
		t.Errorf("after: %v", err)
	}
}

func TestReloadPublishRate(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	s.reload(t, func(c *server.Config) { c.PublishRate = 5 }, "PublishRate")
	c := s.join(t, "/echo")
	c.send(`["1","2","3","4","5","6","7"]`)
	s.eventually(t, "nobody is held", func(st server.Stats) bool { return st.PublishersHeld > 0 })
}

// With less memory than is kept, the largest holder is ended.
func TestReloadMemory(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{MemoryBytesMax: 64 << 20, MessageBytesMax: 4 << 20})
	c := s.join(t, "/echo")
	begun := frame(1, `["`+strings.Repeat("x", 2<<20)+`"]`)
	c.say(begun[:len(begun)-1])
	s.eventually(t, "nothing is kept", func(st server.Stats) bool { return st.InputBytes > 1<<20 })
	s.reload(t, func(c *server.Config) { c.MemoryBytesMax = 1 << 20 }, "MemoryBytesMax")
	s.eventually(t, "nobody is ended", func(st server.Stats) bool {
		return st.ConnectionsClosedForMemory == 1 && st.MemoryBytesMax == 1<<20
	})
}

// What needs a restart is left as it is and named; a configuration with faults changes nothing.
func TestReloadLeavesTheRest(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	was := s.Config()
	changed, needsRestart, err := s.Reload(func(c *server.Config) {
		c.Addr, c.LogBytesMax, c.OverloadAfter = "127.0.0.1:1", 8<<20, 2*time.Second
	})
	if err != nil || !slices.Equal(changed, []string{"OverloadAfter"}) ||
		!slices.Equal(needsRestart, []string{"Addr", "LogBytesMax"}) {
		t.Errorf("changed %v, needs a restart %v, %v", changed, needsRestart, err)
	}
	if is := s.Config(); is.Addr != was.Addr || is.LogBytesMax != was.LogBytesMax || is.OverloadAfter != 2*time.Second {
		t.Errorf("in force is %+v", is)
	}
	changed, needsRestart, err = s.Reload(func(c *server.Config) { c.Addr = "127.0.0.1:1" })
	if err != nil || len(changed) > 0 || !slices.Equal(needsRestart, []string{"Addr"}) {
		t.Errorf("changed %v, needs a restart %v, %v", changed, needsRestart, err)
	}
	_, _, err = s.Reload(func(c *server.Config) {
		c.PublishRate, c.SessionsMax, c.OverloadAfter = -1, -1, 3*time.Second
	})
	if err == nil || !strings.Contains(err.Error(), "PublishRate") || !strings.Contains(err.Error(), "SessionsMax") {
		t.Errorf("faults are %v", err)
	}
	if is := s.Config(); is.PublishRate != 0 || is.OverloadAfter != 2*time.Second {
		t.Errorf("in force after a faulty one is %+v", is)
	}
}

func TestReloadNeedsARunningServer(t *testing.T) {
	t.Parallel()
	s, err := server.New(server.Config{ConnectionsMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Reload(func(c *server.Config) { c.ConnectionsMax = 5 })
	if !errors.Is(err, server.ErrNotRunning) {
		t.Errorf("got %v", err)
	}
	if got := s.Config().ConnectionsMax; got != 10 {
		t.Errorf("%d connections are in force", got)
	}
}

// Every fault of a configuration is named, each with its field.
func TestConfigNamesAllFaults(t *testing.T) {
	t.Parallel()
	_, err := server.Config{
		Addr: "8080", Prefix: "chat", ConnectionsMax: 10, MailboxMax: -1, PongTimeout: -1, PublishRate: -1,
		PublishBytes: -1,
		Options:      server.Options{Origins: []string{"a", "b"}, BaseURL: "base"},
	}.WithDefaults()
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v is no list", err)
	}
	var fields []string
	for _, err := range all.Unwrap() {
		if fault, ok := errors.AsType[*server.ConfigError](err); ok {
			fields = append(fields, fault.Field)
		}
	}
	slices.Sort(fields)
	want := "Addr BaseURL MailboxMax Origins Origins PongTimeout Prefix PublishBytes PublishRate"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("faults of %s, want %s", got, want)
	}
}
