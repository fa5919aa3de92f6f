package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/server"
)

// What a WebSocket keeps of a message is charged as long as it is kept, also while the connection lingers.
func TestLingeringConnectionIsCharged(t *testing.T) {
	const connections, size = 10, 1 << 20
	s := start(t, server.Config{RawMessageBytesMax: 2 << 20})
	before, used := heap(), s.stats(t).MemoryBytes
	begun := codec.AppendMaskedFrame(nil, ws.OpBinary, make([]byte, size), [4]byte{})
	begun[0] &= 0x7f // the message goes on
	for range connections {
		c := s.open(t, "/echo/websocket")
		if _, err := c.Write(begun); err != nil {
			t.Fatal(err)
		}
		c.say(frame(ws.OpClose, "\x03\xe8"))
		if op, _, err := c.next(); op != ws.OpClose {
			t.Fatal(op, err)
		}
		c.say("x")
	}
	grown, charged := int(heap()-before), s.stats(t).MemoryBytes-used
	if grown > connections*size/2 && charged < grown/2 {
		t.Errorf("the heap grew by %d bytes, of which the budget knows %d", grown, charged)
	}
}

// Whoever posts faster than his rate and goes away leaves neither a connection nor memory behind.
func TestHeldPostsOfClientsThatHaveGone(t *testing.T) {
	t.Parallel()
	const clients = 20
	s := start(t, server.Config{
		PublishRate: 100, HandshakeTimeout: 400 * time.Millisecond, Options: server.Options{DisconnectDelay: time.Hour},
	})
	s.dial(t).poll("/echo/0/held", "o")
	payload := `["a",` + strings.Repeat(" ", 900_000) + strings.Repeat(`"d",`, 3000) + `"e"]`
	for range clients {
		c := s.dial(t)
		c.say(fmt.Sprintf("POST /echo/0/held/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s",
			len(payload), payload))
		s.eventually(t, "it is held or gone", func(st server.Stats) bool { return st.PublishersHeld > 0 })
		_ = c.Close()
	}
	s.eventually(t, "they are gone", func(st server.Stats) bool { return st.Connections <= 1 && st.InputBytes < 1000 })
}

// A request that had begun when its connection was to be told of the shutdown is told when it attaches to its session.
func TestReceiverThatComesDuringTheDrain(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{DrainWindow: time.Second, CloseTimeout: time.Second})
	late := s.dial(t)
	late.say("POST /echo/0/late/xhr_streaming HTTP/1.1\r\nHost: x\r\nContent-Le")
	poster := s.dial(t) // its request has begun, too: an idle connection may be closed first of all
	poster.say("POST /echo/0/late/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n[")
	s.dial(t).poll("/echo/0/late", "o")
	poll := s.dial(t)
	poll.say("POST /echo/0/late/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	s.eventually(t, "the poll waits", func(st server.Stats) bool { return st.Requests == 2 })
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		down <- s.Shutdown(ctx)
	}()
	for err := error(nil); err == nil; { // until it has begun
		var c net.Conn
		if c, err = net.Dial("tcp", s.addr); err == nil {
			_ = c.Close()
		}
	}
	poster.say(`"x"]`) // ends the poll
	if resp, got := poster.response(); resp.StatusCode != http.StatusNoContent {
		t.Errorf("xhr_send: %d %q", resp.StatusCode, got)
	}
	_, _ = poll.response()
	late.say("ngth: 0\r\n\r\n")
	_ = late.SetDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(late.r)
	if err != nil || !strings.Contains(string(rest), `c[3000,"Go away!"]`) {
		t.Errorf("%v after %q", err, rest[max(0, len(rest)-100):])
	}
	_ = late.Close()
	_ = poll.Close()
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// tearing is a service whose message evicts a reader while its socket is full, and gives the socket time to drain
// before the turn ends.
type tearing struct{ topic *server.Topic }

func (b *tearing) OnOpen(s *server.Session)                    { s.Subscribe(b.topic) }
func (b *tearing) OnClose(*server.Session, server.CloseReason) {}
func (b *tearing) OnMessage(s *server.Session, m *server.Message) {
	large, small := server.Text([]byte(strings.Repeat("x", 1000))), server.Text([]byte("hi"))
	publish := func(n int) {
		for range n {
			b.topic.Publish(&large)
		}
	}
	fill := func() { publish(505) }
	switch string(m.Text()) {
	case "some":
		publish(50)
	case "fill":
		fill()
	case "tear":
		fill()
		_ = s.Send(&small) // seals
		fill()
		_ = s.Send(&small)
		time.Sleep(300 * time.Millisecond)
	}
}

// A stream whose session fell off the log inside a frame is cut: a farewell would stand inside that frame.
func TestFarewellIsNotWrittenInsideAFrame(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{
		Addr: "127.0.0.1:0", ConnectionsMax: 100, LogBytesMax: 1 << 20, BatchBytesMax: 1 << 19,
		ReaderBytesPerSecond: -1,
		Options:              server.Options{ResponseLimit: 100 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Handle("/tearing", &tearing{srv.NewTopic("torn")}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	slow := s.dialSmall(t)
	slow.say("POST /tearing/0/slow/xhr_streaming HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	talker := s.join(t, "/tearing")
	go func() { _, _ = io.Copy(io.Discard, talker.Conn) }()
	s.eventually(t, "both are in", func(st server.Stats) bool { return st.Sessions == 2 })
	say := func(what string) {
		published := s.stats(t).MessagesPublished
		talker.send(what)
		s.eventually(t, "it is out", func(st server.Stats) bool { return st.MessagesPublished > published })
	}
	for s.stats(t).ConnectionsBlocked == 0 { // in steps that are small to the log: it is not to fall off unseen
		say(`"some"`)
	}
	say(`"fill"`)
	talker.send(`"tear"`)
	_ = slow.SetDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(slow.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if isTimeout(err) || strings.Contains(string(body), "c[1008") && !strings.HasSuffix(string(body), "]\n") {
		t.Errorf("%v after %q", err, body[max(0, len(body)-100):])
	}
	if i := strings.Index(string(body), "c[1008"); i > 0 && body[i-1] != '\n' {
		t.Errorf("inside a frame: %q", body[i-50:])
	}
}

// When the budget is spent, the largest holders are ended, and no more of them than it takes.
func TestBudgetEndsTheLargestOnly(t *testing.T) {
	s := start(t, server.Config{RawMessageBytesMax: 4 << 20, MemoryBytesMax: 8 << 20})
	const small, large = 20, 6
	var all []*client
	for range small + large {
		all = append(all, s.open(t, "/echo/websocket"))
	}
	for i, c := range all {
		size := 100_000
		if i >= small {
			size = 2 << 20
		}
		begun := codec.AppendMaskedFrame(nil, ws.OpBinary, make([]byte, size), [4]byte{})
		if _, err := c.Write(begun[:size]); err != nil {
			break // it was ended
		}
	}
	s.eventually(t, "somebody is ended", func(st server.Stats) bool { return st.ConnectionsClosedForMemory > 0 })
	st := s.stats(t)
	if st.ConnectionsClosedForMemory > large || st.Connections < small {
		t.Errorf("%d were ended, %d are left", st.ConnectionsClosedForMemory, st.Connections)
	}
}
