package server_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/server"
)

func TestEcho(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c := s.join(t, "/echo")
	for _, tt := range []struct{ sent, want string }{
		{`["a"]`, `a["a"]`},
		{`"alone"`, `a["alone"]`},
		{`["é \u2028 🎉","\ud83c\udf89"]`, `a["é \u2028 🎉"]` + "\x00" + `a["🎉"]`},
		{`["\"\\"]`, `a["\"\\"]`},
	} {
		c.send(tt.sent)
		for want := range strings.SplitSeq(tt.want, "\x00") {
			c.expect(want)
		}
	}
	c.send("") // 26: ignored
	c.send("[]")
	c.send(`["next"]`)
	c.expect(`a["next"]`)
}

func TestRawEchoKeepsTheOpcode(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c := s.open(t, "/echo/websocket")
	c.send(`plain "text" é`)
	c.expect(`plain "text" é`)
	c.say(frame(ws.OpBinary, "\x00\xff"))
	if op, p, err := c.next(); op != ws.OpBinary || p != "\x00\xff" || err != nil {
		t.Errorf("%v %q %v", op, p, err)
	}
	c.say(frame(ws.OpPing, "are you there"))
	if op, p, err := c.next(); op != ws.OpPong || p != "are you there" || err != nil {
		t.Errorf("%v %q %v", op, p, err)
	}
}

func TestFragmentsWithAPingBetween(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c := s.join(t, "/echo")
	part := func(op ws.OpCode, fin bool, p string) string {
		f := []byte(frame(op, p))
		if !fin {
			f[0] &^= 0x80
		}
		return string(f)
	}
	all := part(ws.OpText, false, `["frag`) + part(ws.OpPing, true, "") + part(ws.OpContinuation, false, "men") +
		part(ws.OpContinuation, true, `ted"]`)
	for i := range all { // byte by byte
		c.say(all[i : i+1])
	}
	if op, _, err := c.next(); op != ws.OpPong || err != nil {
		t.Fatalf("%v %v", op, err)
	}
	c.expect(`a["fragmented"]`)
}

func TestCloseService(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c := s.join(t, "/close")
	c.expect(`c[3000,"Go away!"]`)
	c.expectClose(1000)
	raw := s.open(t, "/close/websocket")
	raw.expectClose(3000)
}

func TestClientCloses(t *testing.T) {
	t.Parallel()
	service := newRecording()
	s := start(t, server.Config{}, "/recorded", service)
	for _, tt := range []struct {
		payload string
		want    server.CloseReason
	}{
		{"\x03\xe9leaving", server.CloseReason{Code: 1001, Reason: "leaving"}},
		{"", server.CloseReason{Code: 1005}},
	} {
		c := s.open(t, "/recorded/websocket")
		c.say(frame(ws.OpClose, tt.payload))
		op, p, err := c.next()
		if op != ws.OpClose || err != nil || len(p) != min(len(tt.payload), 2) {
			t.Errorf("the answer is %v % x %v", op, p, err)
		}
		c.expectEnd()
		if got := <-service.closed; got != tt.want {
			t.Errorf("the service heard %+v, want %+v", got, tt.want)
		}
	}
	c := s.join(t, "/recorded")
	_ = c.Close()
	if got := <-service.closed; got.Code != 1006 {
		t.Errorf("a client that vanished: %+v", got)
	}
}

// Each hostile client is answered with the right code and ends alone; a bystander notices nothing.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{MessageBytesMax: 1000, RawMessageBytesMax: 1000})
	bystander := s.join(t, "/broadcast")
	const sockjs, raw = "/broadcast/0/0/websocket", "/broadcast/websocket"
	unmasked := string(codec.AppendFrame(nil, ws.OpText, []byte(`["x"]`)))
	count := uint64(0)
	for _, tt := range []struct {
		name, path, bytes string
		code              int
	}{
		{"unmasked", sockjs, unmasked, 1002},
		{"reserved bits", sockjs, "\xf1\x80\x00\x00\x00\x00", 1002},
		{"reserved opcode", raw, "\x85\x80\x00\x00\x00\x00", 1002},
		{"2^62 declared, one byte sent", raw, "\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00x", 1009},
		{"one byte too large", sockjs, frame(ws.OpText, `["`+strings.Repeat("x", 997)+`"]`), 1009},
		{"invalid UTF-8 in JSON", sockjs, frame(ws.OpText, "[\"\xff\"]"), 1007},
		{"invalid UTF-8 raw", raw, frame(ws.OpText, "\xc3\x28"), 1007},
		{"broken JSON", sockjs, frame(ws.OpText, `["x`), 1002},
		{"numbers in the array", sockjs, frame(ws.OpText, `["x",1]`), 1002},
		{"binary on SockJS", sockjs, frame(ws.OpBinary, `["x"]`), 1003},
		{"continuation of nothing", raw, frame(ws.OpContinuation, "x"), 1002},
		{"half a close code", raw, frame(ws.OpClose, "\x03"), 1002},
		{"close code 1005", raw, frame(ws.OpClose, "\x03\xed"), 1002},
		{"large ping", raw, frame(ws.OpPing, strings.Repeat("x", 126)), 1002},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := s.open(t, tt.path)
			c.t = t
			c.say(tt.bytes)
			c.expectClose(tt.code)
			count++
		})
	}
	s.eventually(t, "protocol errors", func(st server.Stats) bool {
		return st.ProtocolErrors == count && st.Sessions == 1
	})
	bystander.send(`["fine"]`)
	bystander.expect(`a["fine"]`)
}

func TestBinaryInTheBroadcastRoom(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c := s.open(t, "/broadcast/websocket")
	c.say(frame(ws.OpBinary, "\x00"))
	c.expectClose(1003)
}

func TestHalfAFrameThenSilence(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{
		Options: server.Options{HeartbeatDelay: 30 * time.Millisecond}, PongTimeout: 30 * time.Millisecond,
	})
	c := s.join(t, "/echo")
	c.say(frame(ws.OpText, `["x"]`)[:4])
	s.eventually(t, "the end of the silent", func(st server.Stats) bool {
		return st.PongTimeouts == 1 && st.Connections == 0
	})
}

func TestPongKeepsTheConnection(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{
		Options: server.Options{HeartbeatDelay: 20 * time.Millisecond}, PongTimeout: 2 * time.Second,
	})
	c := s.join(t, "/echo")
	pings, beats := 0, 0
	for pings < 3 || beats < 3 {
		switch op, p, err := c.next(); {
		case err != nil:
			t.Fatalf("after %d pings and %d heartbeats: %v", pings, beats, err)
		case op == ws.OpPing:
			pings++
			c.say(frame(ws.OpPong, p))
		case p == "h":
			beats++
		}
	}
	if st := s.stats(t); st.PongTimeouts != 0 {
		t.Errorf("%+v", st)
	}
}

// Whatever a raw WebSocket may say fits an outbox, so it can be said back.
func TestLargestMessageIsEchoed(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{RawMessageBytesMax: server.RawMessageBytesLimit})
	c := s.open(t, "/echo/websocket")
	text := strings.Repeat("x", server.RawMessageBytesLimit)
	go c.say(frame(ws.OpText, text))
	c.expect(text)
}

// A peer that never answers the close is not waited for.
func TestUnansweredCloseEnds(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{CloseTimeout: 30 * time.Millisecond})
	s.join(t, "/close")
	s.eventually(t, "the end", func(st server.Stats) bool { return st.Connections == 0 && st.SessionsOpened == 1 })
}

func TestPanicCostsItsOwnConnectionOnly(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{}, "/panic", panicking{})
	bystander := s.join(t, "/echo")
	c := s.join(t, "/panic")
	c.send(`["now"]`)
	c.expectEnd()
	bystander.send(`["alive"]`)
	bystander.expect(`a["alive"]`)
	if err := s.Post(func() { panic("posted") }); err != nil {
		t.Fatal(err)
	}
	// OnClose and Post, too
	s.eventually(t, "three panics", func(st server.Stats) bool { return st.HandlerPanics == 3 })
	bystander.send(`["still"]`)
	bystander.expect(`a["still"]`)
}

type panicking struct{}

func (panicking) OnOpen(*server.Session) {}

func (panicking) OnMessage(*server.Session, *server.Message) { panic("as the test wants it") }

func (panicking) OnClose(*server.Session, server.CloseReason) { panic("and at the end") }

func TestMessagesAfterCloseAreNotHeard(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{}, "/once", once{})
	c := s.join(t, "/once")
	c.send(`["a","b"]`)
	c.expect(`a["a"]`)
	c.expect(`c[4000,"enough"]`)
	c.expectClose(1000)
}

// once answers one message.
type once struct{}

func (once) OnOpen(*server.Session) {}

func (once) OnMessage(s *server.Session, m *server.Message) {
	if err := s.Send(m); err != nil {
		panic(err)
	}
	s.Close(4000, "enough")
}

func (once) OnClose(*server.Session, server.CloseReason) {}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame(ws.OpText, `["a"]`)+frame(ws.OpPing, "x")), uint16(3))
	f.Add([]byte("\xf1\x80\x00\x00\x00\x00"), uint16(1))
	f.Add([]byte(frame(ws.OpClose, "\x03\xe8")), uint16(2))
	s, cancel, err := startForFuzz()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(cancel)
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		n := int(cut) % (len(stream) + 1)
		for _, path := range []string{"/echo/0/0/websocket", "/echo/websocket"} {
			c := s.open(t, path)
			c.say(string(stream[:n]))
			c.say(string(stream[n:]))
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			for {
				if _, _, err := c.next(); err != nil {
					if !errors.Is(err, errEnd) || isTimeout(err) {
						t.Fatalf("% x: the server's answer: %v", stream, err)
					}
					break
				}
			}
		}
		if st := s.stats(t); st.HandlerPanics != 0 {
			t.Fatalf("% x: panics", stream)
		}
	})
}

func TestSameSessionTwiceIsTwoSessions(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	a, b := s.join(t, "/broadcast"), s.join(t, "/broadcast") // 26: the same URL
	a.send(`["hello"]`)
	a.expect(`a["hello"]`)
	b.expect(`a["hello"]`)
	if st := s.stats(t); st.Sessions != 2 {
		t.Errorf("%d sessions", st.Sessions)
	}
}

func TestManyMessagesInOneFrameAndManyFrames(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{FrameBytesMax: 200})
	c := s.join(t, "/broadcast")
	var want []string
	var b strings.Builder
	for i := range 1000 {
		m := fmt.Sprintf("message %d", i)
		want = append(want, m)
		fmt.Fprintf(&b, "%s", frame(ws.OpText, fmt.Sprintf("[%q]", m)))
	}
	go c.say(b.String())
	got := c.messages(1000)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("message %d is %q", i, got[i])
		}
	}
}

// A peer that broke the protocol is told so, and not waited for.
func TestBrokenPeersAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	for _, broken := range []string{frame(ws.OpText, `["x`), frame(ws.OpBinary, "x"), frame(0xb, "")} {
		c := s.join(t, "/echo")
		c.say(broken)
		if op, _, err := c.next(); op != ws.OpClose || err != nil {
			t.Errorf("%q: %v %v", broken, op, err)
		}
		c.expectNothingMore()
	}
}
