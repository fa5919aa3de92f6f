package server_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// obeying does what a message says.
type obeying struct {
	recording
	do func(s *server.Session, text string)
}

func (o *obeying) OnMessage(s *server.Session, m *server.Message) { o.do(s, string(m.Text())) }

// Whatever code a service closes a session with, it ends, and its client is told a code that may be sent.
func TestCloseWithCodesThatMayNotBeSent(t *testing.T) {
	t.Parallel()
	for _, code := range []int{0, -1, 1005, 1006, 1015, 2999, 5000, 70_000} {
		service := &obeying{recording: *newRecording()}
		service.do = func(s *server.Session, _ string) { s.Close(code, "over") }
		r := start(t, server.Config{}, "/x", service)
		c := r.dial(t)
		c.poll("/x/0/s", "o")
		c.post("/x/0/s", `["end"]`)
		c.poll("/x/0/s", `c[1000,"over"]`)
		service.wantClosed(t, server.CodeNormal)
		raw := r.open(t, "/x/websocket")
		raw.send("end")
		raw.expectClose(server.CodeNormal)
		service.wantClosed(t, server.CodeNormal)
	}
}

// A message that is too much for the outbox is refused, and is not counted as sent.
func TestSendThatIsTooMuch(t *testing.T) {
	t.Parallel()
	errs := make(chan error, 4)
	service := &obeying{recording: *newRecording()}
	service.do = func(s *server.Session, _ string) {
		large := server.Text([]byte(strings.Repeat("x", 600_000)))
		small := server.Text([]byte("x")) // for which there would be room
		for _, m := range []server.Message{large, large, small, small} {
			errs <- s.Send(&m)
		}
	}
	r := start(t, server.Config{OutboxBytesMax: 1_000_000, RawMessageBytesMax: 1 << 20}, "/x", service)
	c := r.join(t, "/x")
	c.send(`["go"]`)
	if err := <-errs; err != nil {
		t.Errorf("the first: %v", err)
	}
	for range cap(errs) - 1 {
		if err := <-errs; !errors.Is(err, server.ErrClosed) {
			t.Errorf("one that is too much: %v", err)
		}
	}
	select {
	case <-service.closed:
	case <-time.After(patience):
		t.Fatal("the session goes on")
	}
	if st := r.stats(t); st.MessagesSent != 1 || st.SlowConsumersClosed != 1 {
		t.Errorf("%d messages sent, %d slow consumers", st.MessagesSent, st.SlowConsumersClosed)
	}
}

// A connection under a stream that we cut ourselves is not one that its peer interrupted.
func TestOwnCutsAreNoInterruptions(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{})
	c := r.dial(t)
	c.ask("POST", "/echo/0/s/xhr_streaming", "")
	c.say(strings.Repeat("GET /echo/info HTTP/1.1\r\nHost: x\r\n\r\n", 2000))
	c.expectCut()
	r.eventually(t, "it is cut", func(st server.Stats) bool { return st.RequestsRefused > 0 && st.Sessions == 0 })
	if st := r.stats(t); st.ConnectionsInterrupted > 0 {
		t.Errorf("%d interrupted", st.ConnectionsInterrupted)
	}
}
