package server_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/server"
)

const deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

// offer opens a WebSocket with an offer of extensions, and returns what was answered.
func (r *running) offer(t *testing.T, path, offer string) (*client, string) {
	t.Helper()
	c := r.dial(t)
	c.say("GET " + path + " HTTP/1.1\r\n" + handshakeHeaders + offer + "\r\n")
	resp, body := c.response()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %s %q", path, resp.Status, body)
	}
	return c, resp.Header.Get("Sec-WebSocket-Extensions")
}

// frame reads a frame as it is.
func (c *client) frame(t *testing.T) (h ws.Header, payload []byte) {
	t.Helper()
	h, err := ws.ReadHeader(c.r)
	if err != nil {
		t.Fatal(err)
	}
	payload = make([]byte, h.Length)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		t.Fatal(err)
	}
	return h, payload
}

func inflate(t *testing.T, payload []byte) string {
	t.Helper()
	whole := append(bytes.Clone(payload), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(whole)))
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// deflated is a frame as a client sends it.
func deflated(t *testing.T, op ws.OpCode, text string) string {
	t.Helper()
	d, err := codec.NewDeflater(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	unmasked := d.AppendFrame(nil, op, []byte(text))
	h, size, err := codec.ParseHeader(unmasked)
	if err != nil || h.Rsv == 0 {
		t.Fatalf("%v, RSV %d", err, h.Rsv)
	}
	p := codec.AppendMaskedFrame(nil, op, unmasked[size:], [4]byte{1, 2, 3, 4})
	p[0] |= 0x40
	return string(p)
}

// Who negotiates permessage-deflate receives large batches compressed, the same bytes for all, and what it sends
// compressed is understood; who does not receives them as they are. Small batches are never compressed.
func TestBatchesAreCompressedForThoseWhoNegotiateIt(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{Compress: true, CompressBytesMin: 100})
	long := strings.Repeat("hello, ", 30)
	for _, endpoint := range []string{"/broadcast/0/x/websocket", "/broadcast/websocket"} {
		raw := strings.HasSuffix(endpoint, "cast/websocket")
		one, accepted := s.offer(t, endpoint, deflateOffer)
		if accepted != codec.DeflateResponse {
			t.Fatalf("answered %q", accepted)
		}
		two, _ := s.offer(t, endpoint, deflateOffer)
		plain, accepted := s.offer(t, endpoint, "")
		declined, refused := s.offer(t, endpoint,
			"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n")
		if accepted != "" || refused != "" {
			t.Fatalf("answered %q and %q", accepted, refused)
		}
		all := []*client{one, two, plain, declined}
		if !raw {
			for _, c := range all {
				if h, p := c.frame(t); h.Rsv != 0 || string(p) != codec.OpenFrame {
					t.Fatalf("RSV %d %q", h.Rsv, p)
				}
			}
		}
		payload := func(text string) string {
			if raw {
				return text
			}
			return fmt.Sprintf("a[%q]", text)
		}
		said := func(text string) string {
			if raw {
				return text
			}
			return fmt.Sprintf("[%q]", text)
		}
		one.say(deflated(t, ws.OpText, said(long)))
		h, first := one.frame(t)
		if h.Rsv != 4 || inflate(t, first) != payload(long) || len(first) > len(long)/2 {
			t.Fatalf("RSV %d, %d bytes: %q", h.Rsv, len(first), inflate(t, first))
		}
		if h, p := two.frame(t); h.Rsv != 4 || !bytes.Equal(p, first) {
			t.Fatalf("RSV %d %q, %q", h.Rsv, p, first)
		}
		for _, c := range all[2:] {
			if h, p := c.frame(t); h.Rsv != 0 || string(p) != payload(long) {
				t.Fatalf("RSV %d %q", h.Rsv, p)
			}
		}
		two.send(said("short"))
		for _, c := range all {
			if h, p := c.frame(t); h.Rsv != 0 || string(p) != payload("short") {
				t.Fatalf("RSV %d %q", h.Rsv, p)
			}
		}
		for _, c := range all {
			_ = c.Close()
		}
	}
	if n := s.stats(t).SessionsDeflate; n != 4 {
		t.Errorf("%d sessions have it", n)
	}
}

// Without Compress an offer is not answered, and a compressed frame breaks the protocol.
func TestCompressionIsOffByDefault(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c, accepted := s.offer(t, "/broadcast/0/x/websocket", deflateOffer)
	if accepted != "" {
		t.Fatalf("answered %q", accepted)
	}
	c.expect(codec.OpenFrame)
	c.say(deflated(t, ws.OpText, "["+strings.Repeat(`"hello",`, 30)+`"end"]`))
	c.expectClose(int(ws.StatusProtocolError))
}

// A topic may be left out.
func TestTopicWithoutCompression(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", Compress: true, CompressBytesMin: 1})
	if err != nil {
		t.Fatal(err)
	}
	topic := srv.NewTopic("secrets", func(o *server.TopicOptions) { o.NoCompression = true })
	if err := srv.Handle("/secrets", &room{topic}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	for _, endpoint := range []string{"/secrets/0/x/websocket", "/secrets/websocket"} {
		c, accepted := s.offer(t, endpoint, deflateOffer)
		if accepted == "" {
			t.Fatal("it was declined")
		}
		text := strings.Repeat("secret ", 30)
		if strings.Contains(endpoint, "/0/") {
			c.frame(t)
			text = fmt.Sprintf("[%q]", text)
		}
		c.send(text)
		if h, p := c.frame(t); h.Rsv != 0 || !strings.Contains(string(p), "secret secret") {
			t.Errorf("%s: RSV %d %q", endpoint, h.Rsv, p)
		}
	}
}

// room is a room of a topic.
type room struct{ topic *server.Topic }

func (r *room) OnOpen(s *server.Session)                       { s.Subscribe(r.topic) }
func (r *room) OnClose(*server.Session, server.CloseReason)    {}
func (r *room) OnMessage(_ *server.Session, m *server.Message) { r.topic.Publish(m) }

// What inflates to too much, or to nothing legal, ends its connection with the code for it, and no other.
func TestCompressedMessagesThatAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{Compress: true, MessageBytesMax: 10_000, RawMessageBytesMax: 10_000})
	steady := s.join(t, "/echo")
	broken := codec.AppendMaskedFrame(nil, ws.OpText, []byte("\xff\xff"), [4]byte{})
	broken[0] |= 0x40
	const sockJS, raw = "/echo/0/x/websocket", "/echo/websocket"
	text := func(s string, n int) string { return deflated(t, ws.OpText, strings.Repeat(s, n)) }
	for name, tt := range map[string]struct {
		path, frame string
		code        ws.StatusCode
	}{
		"a bomb":             {sockJS, text("[", 1<<20), ws.StatusMessageTooBig},
		"a bomb, raw":        {raw, text("[", 1<<20), ws.StatusMessageTooBig},
		"no deflate":         {raw, string(broken), ws.StatusInvalidFramePayloadData},
		"no UTF-8":           {raw, text("\xff", 100), ws.StatusInvalidFramePayloadData},
		"no UTF-8, SockJS":   {sockJS, text("\"\xff\"", 100), ws.StatusInvalidFramePayloadData},
		"no array":           {sockJS, text("{", 100), ws.StatusProtocolError},
		"binary over SockJS": {sockJS, deflated(t, ws.OpBinary, strings.Repeat("x", 100)), ws.StatusUnsupportedData},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := s.offer(t, tt.path, deflateOffer)
			if strings.Contains(tt.path, "/0/") {
				c.expect(codec.OpenFrame)
			}
			c.say(tt.frame)
			c.expectClose(int(tt.code))
		})
	}
	steady.send(`["still"]`)
	steady.expect(`a["still"]`)
	if n := s.stats(t).InputBytes; n > 50_000 {
		t.Errorf("%d bytes are kept", n)
	}
}

// ordering notes in which order messages come.
type ordering struct{ came chan string }

func (ordering) OnOpen(*server.Session)                           {}
func (ordering) OnClose(*server.Session, server.CloseReason)      {}
func (o ordering) OnMessage(_ *server.Session, m *server.Message) { o.came <- string(m.Text()) }

// emptyBlocks is a frame whose message is x, behind so many empty blocks of five bytes.
func emptyBlocks(n int) string {
	const x = "\xaa\x00\x00" // RFC 7692: x as a block of its own, without the end of the flush
	p := codec.AppendMaskedFrame(nil, ws.OpText, []byte(strings.Repeat("\x00\x00\x00\xff\xff", n)+x), [4]byte{})
	p[0] |= 0x40
	return string(p)
}

// gated notes which messages come, and holds the loop at the first until the gate is opened.
type gated struct {
	came chan string
	gate chan struct{}
}

func (gated) OnOpen(*server.Session)                      {}
func (gated) OnClose(*server.Session, server.CloseReason) {}
func (g gated) OnMessage(_ *server.Session, m *server.Message) {
	if g.came <- string(m.Text()); string(m.Text()) == "first" {
		<-g.gate
	}
}

// A message that takes several shares at once cannot be divided, so whoever sent it comes behind those who have had
// less: a client with little to say does not wait for one such message of everybody.
func TestInflatingMuchAtOnceComesBehindOthers(t *testing.T) {
	t.Parallel()
	const others = 16
	g := gated{make(chan string, 100), make(chan struct{})}
	r := start(t, server.Config{Compress: true}, "/gated", g)
	var busy []*client
	for range others {
		c, _ := r.offer(t, "/gated/websocket", deflateOffer)
		busy = append(busy, c)
	}
	modest, _ := r.offer(t, "/gated/websocket", "")
	p := emptyBlocks(12_000) // as many as a read takes
	entered, leave := make(chan struct{}), make(chan struct{})
	if err := r.Post(func() { close(entered); <-leave }); err != nil {
		t.Fatal(err)
	}
	<-entered
	for _, c := range busy {
		c.say(strings.Repeat(p, 3))
	}
	modest.say(frame(ws.OpText, "first"))
	close(leave)
	for <-g.came != "first" {
		continue
	}
	modest.say(frame(ws.OpText, "second"))
	close(g.gate)
	for n := 0; <-g.came != "second"; n++ {
		if n >= others/2 {
			t.Fatalf("%d messages came between", n)
		}
	}
}

// What costs is what is inflated, and not what comes of it: somebody who sends much that inflates to little has his
// share of a turn, and others theirs.
func TestInflatingIsCharged(t *testing.T) {
	t.Parallel()
	o := ordering{make(chan string, 100)}
	r := start(t, server.Config{Compress: true}, "/order", o)
	busy, _ := r.offer(t, "/order/websocket", deflateOffer)
	other, _ := r.offer(t, "/order/websocket", "")
	entered, leave := make(chan struct{}), make(chan struct{})
	if err := r.Post(func() { close(entered); <-leave }); err != nil {
		t.Fatal(err)
	}
	<-entered
	const frames = 10
	busy.say(strings.Repeat(emptyBlocks(1000), frames))
	other.say(frame(ws.OpText, "other"))
	close(leave)
	for n := 0; ; n++ {
		switch got := <-o.came; got {
		case "x":
		case "other":
			if n >= frames/2 {
				t.Errorf("%d messages came before the other's", n)
			}
			return
		default:
			t.Fatalf("%q", got)
		}
	}
}
