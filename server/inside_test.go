package server

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/sockloop/sockloop/codec"
)

// noted is a broker that carries nothing and notes what it is told.
type noted struct {
	receive Receive
	fails   error // of Open and Close
	queued  atomic.Int64

	mu   sync.Mutex
	told []string
}

func (n *noted) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, fmt.Sprintf(format, args...))
}

func (n *noted) Open(receive Receive, _ int) error {
	n.receive = receive
	n.note("open")
	return n.fails
}

func (n *noted) Publish(topic string, b codec.Batch) { n.note("%s %s", topic, b.Elements()) }
func (n *noted) Subscribe(topic string)              { n.note("subscribe %s", topic) }
func (n *noted) Unsubscribe(topic string)            { n.note("unsubscribe %s", topic) }
func (n *noted) Stats() BrokerStats {
	return BrokerStats{BatchesDropped: 1, QueueBytes: int(n.queued.Load())}
}
func (n *noted) Close(context.Context) error { n.note("close"); return n.fails }

// expect waits until the broker has been told so, and nothing else.
func (n *noted) expect(t *testing.T, want ...string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		n.mu.Lock()
		told := slices.Clone(n.told)
		n.mu.Unlock()
		if slices.Equal(told, want) {
			return
		}
		if len(told) > len(want) || time.Now().After(end) {
			t.Fatalf("told %.2000q, want %.2000q", told, want)
		}
	}
}

// inside is a server whose insides a test looks at, and may change, on its loop. It has a broker that notes what it is
// told, a topic that members of /x hear and publish to, and one that the broker does not carry, at /local.
type inside struct {
	*Server
	t      *testing.T
	broker *noted
	topic  *Topic    // x
	local  *Topic    // local
	room   *chatting // of the local topic
	end    func()
}

func startInside(t *testing.T, c Config) *inside {
	t.Helper()
	b := &inside{t: t, broker: &noted{}}
	c.Addr, c.ConnectionsMax, c.Broker = "127.0.0.1:0", cmp.Or(c.ConnectionsMax, 100), b.broker
	var err error
	if b.Server, err = New(c); err != nil {
		t.Fatal(err)
	}
	b.topic = b.NewTopic("x")
	b.local = b.NewTopic("local", func(o *TopicOptions) { o.Local = true })
	b.room = &chatting{topic: b.local}
	err = errors.Join(b.Handle("/x", &chatting{topic: b.topic}), b.Handle("/publish", &publishing{b.topic}),
		b.Handle("/local", b.room))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	<-b.Ready()
	b.end = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the server does not end")
		}
	})
	t.Cleanup(b.end)
	return b
}

type chatting struct {
	topic *Topic
	heard func() // of a message; nil is of no interest
}

func (c *chatting) OnOpen(s *Session)             { s.Subscribe(c.topic) }
func (c *chatting) OnClose(*Session, CloseReason) {}
func (c *chatting) OnMessage(_ *Session, m *Message) {
	c.topic.Publish(m)
	if c.heard != nil {
		c.heard()
	}
}

// dial opens a raw WebSocket.
func (b *inside) dial(prefix string) net.Conn {
	b.t.Helper()
	return b.dialPath(prefix + "/websocket")
}

// dialPath opens a WebSocket.
func (b *inside) dialPath(path string) net.Conn {
	b.t.Helper()
	d := ws.Dialer{NetDial: (&net.Dialer{Control: smallBuffer}).DialContext}
	c, _, _, err := d.Dial(b.t.Context(), "ws://"+b.Addr().String()+path)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// connect opens a connection that says nothing yet.
func (b *inside) connect() net.Conn {
	b.t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// frame reads a small frame.
func (b *inside) frame(c net.Conn) (ws.OpCode, []byte) {
	b.t.Helper()
	h, err := ws.ReadHeader(c)
	if err != nil {
		b.t.Fatal(err)
	}
	p := make([]byte, h.Length)
	if _, err := io.ReadFull(c, p); err != nil {
		b.t.Fatal(err)
	}
	return h.OpCode, p
}

func (b *inside) hears(c io.ReadWriter, want ...string) {
	b.t.Helper()
	for _, w := range want {
		if got, err := wsutil.ReadServerText(c); err != nil || string(got) != w {
			b.t.Fatalf("heard %.100q %v, want %.100q", got, err, w)
		}
	}
}

// here runs a function on the loop. It may not end the test there: it would end the loop, which nobody would hear of.
func (b *inside) here(f func()) {
	b.t.Helper()
	done := make(chan struct{})
	if err := b.Post(func() { defer close(done); f() }); err != nil {
		b.t.Fatal(err)
	}
	<-done
}

// await waits until the counters say what they must.
func (b *inside) await(ok func(st Stats) bool) Stats {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		st, err := b.Stats(b.t.Context())
		if err != nil || time.Now().After(end) {
			b.t.Fatalf("%+v %v", st, err)
		}
		if ok(st) {
			return st
		}
	}
}

func (b *inside) publish(texts ...string) {
	for _, text := range texts {
		m := Text([]byte(text))
		b.topic.Publish(&m)
	}
}

func (b *inside) arrives(payload string, messages int, want error) {
	b.t.Helper()
	if n, err := b.broker.receive("x", []byte(payload)); n != messages || !errors.Is(err, want) {
		b.t.Fatalf("%.100s: %d messages, %v; want %d, %v", payload, n, err, messages, want)
	}
}

// only is the only connection there is.
func (b *inside) only() *conn {
	b.t.Helper()
	if n := len(b.loop.conns); n != 1 {
		b.t.Errorf("%d connections", n)
		return nil
	}
	return b.loop.conns[0]
}

// session is the one of the only connection.
func (b *inside) session() *Session {
	b.t.Helper()
	return b.only().protocol.(*webSocket).session.(*Session)
}

// fallback is the session over HTTP with an id, nil if there is none.
func (b *inside) fallback(id string) *fallback {
	for _, r := range b.loop.routes {
		if f := r.sessions[id]; f != nil {
			return f
		}
	}
	return nil
}

// later runs a function on the loop as if the loop had run for long: every age that a test wants is a moment after the
// start.
func (b *inside) later(f func(l *loop)) {
	b.t.Helper()
	const since = 1 << 30
	b.here(func() {
		b.loop.now += since
		defer func() { b.loop.now -= since }()
		f(b.loop)
	})
}

// idle is a loop that does not run.
func idle(t *testing.T, c Config) *loop {
	t.Helper()
	c.ConnectionsMax = 100
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s.loop
}

// asker opens a connection that sends requests and tells the statuses of the answers.
func (b *inside) asker() (ask func(method, path string) int) {
	b.t.Helper()
	c := b.connect()
	r := bufio.NewReader(c)
	return func(method, path string) int {
		_, _ = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", method, path)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		_, _ = r.Discard(int(max(res.ContentLength, 0)))
		return res.StatusCode
	}
}

// held waits until so many publishers were held.
func (b *inside) held(n uint64) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		st, err := b.Stats(b.t.Context())
		if err != nil || time.Now().After(end) {
			b.t.Fatalf("nobody is held: %+v %v", st, err)
		}
		if st.PublishersHeld >= n {
			return
		}
	}
}

// smallBuffer gives a connection a receive buffer that is soon full.
func smallBuffer(_, _ string, raw syscall.RawConn) (err error) {
	if e := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
	}); e != nil {
		return e
	}
	return err
}

func textLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
