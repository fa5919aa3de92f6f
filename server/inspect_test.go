package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// The sessions are listed by where they came from, what carries them, and how far behind they are.
func TestSessionsAndTopics(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{})
	ctx := t.Context()
	c := r.join(t, "/broadcast")
	raw := r.open(t, "/echo/websocket")
	poller := r.dial(t)
	poller.poll("/broadcast/0/p", "o")
	r.eventually(t, "three sessions", func(st server.Stats) bool { return st.Sessions == 3 })
	c.send(`["one","two"]`)
	c.expect(`a["one","two"]`)
	all, err := r.Sessions(ctx)
	if err != nil || len(all) != 3 {
		t.Fatalf("%v %v", all, err)
	}
	of := map[string]server.SessionInfo{}
	for _, s := range all {
		of[s.Transport] = s
	}
	if s := of["websocket"]; s.RemoteAddr.String() != c.LocalAddr().String() || s.Prefix != "/broadcast" ||
		s.ID != 1 || s.Topics != 1 || s.Lag != 0 || s.Blocked {
		t.Errorf("%+v", s)
	}
	if s := of["websocket-raw"]; s.RemoteAddr.String() != raw.LocalAddr().String() || s.Prefix != "/echo" ||
		s.Topics != 0 || s.ID != 2 {
		t.Errorf("%+v", s)
	}
	if s := of["xhr-polling"]; s.Lag != 2 || !s.Blocked || s.ID != 3 {
		t.Errorf("two messages wait for the poll: %+v", s)
	}
	if st := r.stats(t); st.SessionsOf[0] != 1 || st.SessionsOf[1] != 1 || st.SessionsOf[3] != 1 ||
		st.BatchMessages.Count != 1 || st.BatchMessages.Sum != 2 || st.TurnSeconds.Count == 0 {
		t.Errorf("%+v", st)
	}
	topics, err := r.Topics(ctx)
	if err != nil || len(topics) != 1 || topics[0].Name != "broadcast" || topics[0].Subscribers != 2 ||
		topics[0].Published != 2 || topics[0].LogBytes == 0 || topics[0].Full {
		t.Errorf("%+v %v", topics, err)
	}

	s := r.stream(t, "/broadcast/0/p") // the same session over another transport
	s.line()
	r.eventually(t, "the session moved", func(st server.Stats) bool {
		return st.SessionsOf[2] == 1 && st.SessionsOf[3] == 0
	})
	if err := r.EndSession(ctx, 1, 4000, "kicked"); err != nil {
		t.Fatal(err)
	}
	c.expect(`c[4000,"kicked"]`)
	c.hangUp()
	r.eventually(t, "the session is gone", func(st server.Stats) bool { return st.SessionsOf[0] == 0 })
	if err := r.EndSession(ctx, 1, 4000, "kicked"); !errors.Is(err, server.ErrNoSession) {
		t.Errorf("ended twice: %v", err)
	}
}

// fillMailbox keeps the loop from a mailbox of one, which is full, until leave is called.
func (r *running) fillMailbox(t *testing.T) (leave func()) {
	t.Helper()
	entered, left := make(chan struct{}), make(chan struct{})
	if err := r.Post(func() { close(entered); <-left }); err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := r.Post(func() {}); err != nil {
		t.Fatal(err)
	}
	return func() { close(left) }
}

// What is published from outside goes to all subscribers, and nothing of it if a part may not.
func TestPublishFromOutside(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{MessageBytesMax: 100, MailboxMax: 1})
	c := r.join(t, "/broadcast")
	publish := func(topic string, messages ...string) (int, error) {
		var all [][]byte
		for _, m := range messages {
			all = append(all, []byte(m))
		}
		return r.Publish(t.Context(), topic, all)
	}
	for _, tt := range []struct {
		topic, message string
		want           error
	}{
		{"chat", "x", server.ErrNoTopic},
		{"broadcast", strings.Repeat("x", 101), server.ErrMessageTooLarge},
		{"broadcast", "\xff", server.ErrNotText},
	} {
		if _, err := publish(tt.topic, "fine", tt.message); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.topic, err, tt.want)
		}
	}
	if n, err := publish("broadcast", "one", "\"two\""); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	c.expect(`a["one","\"two\""]`)

	leave := r.fillMailbox(t)
	if _, err := publish("broadcast", "too many"); !errors.Is(err, server.ErrMailboxFull) {
		t.Errorf("with a full mailbox: %v", err)
	}
	leave()
}

// tardy is a service that takes its time for each message.
type tardy struct{}

func (tardy) OnOpen(*server.Session)                      {}
func (tardy) OnClose(*server.Session, server.CloseReason) {}
func (tardy) OnMessage(s *server.Session, m *server.Message) {
	time.Sleep(20 * time.Millisecond)
	_ = s.Send(m)
}

// A loop whose turns are too long says so, takes no newcomers, and recovers by itself.
func TestSaturationIsNoticedAndPasses(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{TurnTarget: time.Millisecond, OverloadAfter: time.Millisecond}, "/tardy", tardy{})
	if ready := r.Readiness(t.Context()); !ready.Ready || len(ready.Reasons) > 0 {
		t.Errorf("at rest: %+v", ready)
	}
	c := r.join(t, "/tardy")
	st := r.stats(t)
	for ; !st.Overloaded; st = r.stats(t) {
		c.send(`["slow"]`)
		c.expect(`a["slow"]`)
	}
	if st.Saturation < 1 || st.TurnWait < time.Millisecond {
		t.Errorf("%+v", st)
	}
	if ready := r.Readiness(t.Context()); ready.Ready || !strings.Contains(ready.Reasons[0], "overloaded") {
		t.Errorf("overloaded: %+v", ready)
	}
	if status, _ := r.dial(t).answer("POST", "/echo/0/new/xhr", ""); status != http.StatusServiceUnavailable {
		t.Errorf("a newcomer was answered %d", status)
	}
	r.eventually(t, "it recovers", func(st server.Stats) bool { return !st.Overloaded && st.Saturation < 0.8 })
	if status, _ := r.dial(t).answer("POST", "/echo/0/again/xhr", ""); status != http.StatusOK {
		t.Errorf("after recovery a newcomer was answered %d", status)
	}
}

// However much waits for the loop, a drain sends everybody a goodbye.
func TestDrainWithAFullMailbox(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{MailboxMax: 1})
	c := r.join(t, "/broadcast")
	leave := r.fillMailbox(t)
	drained := make(chan error, 1)
	go func() { drained <- r.Shutdown(t.Context()) }()
	<-r.Draining()
	leave()
	c.expect(`c[3000,"Go away!"]`)
	_ = c.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
