package server

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// publishing publishes what it is sent, and subscribes nobody; listening subscribes everybody, and hears nothing.
type (
	publishing struct{ topic *Topic }
	listening  struct{ topic *Topic }
)

func (*publishing) OnOpen(*Session)                    {}
func (*publishing) OnClose(*Session, CloseReason)      {}
func (p *publishing) OnMessage(_ *Session, m *Message) { p.topic.Publish(m) }

func (l *listening) OnOpen(s *Session)           { s.Subscribe(l.topic) }
func (*listening) OnClose(*Session, CloseReason) {}
func (*listening) OnMessage(*Session, *Message)  {}

// Publishers that die while they wait for room are let go of, with what they keep, though there is none yet.
func TestDeadPublishersAreLetGoOf(t *testing.T) {
	t.Parallel()
	for range 10 { // the reader makes room each second or so, also when it stands still for long and is given up
		if letsGoOfDeadPublishers(t) {
			return
		}
	}
	t.Fatal("they were not held, or kept until there was room")
}

// letsGoOfDeadPublishers has some wait and die, and tells whether there was no room until they had been let go of.
func letsGoOfDeadPublishers(t *testing.T) bool {
	t.Helper()
	s, err := New(Config{Addr: "127.0.0.1:0", LogBytesMax: 2 << 20, ReaderBytesPerSecond: 1})
	if err != nil {
		t.Fatal(err)
	}
	topic := s.NewTopic("x")
	for prefix, service := range map[string]Service{"/publish": &publishing{topic}, "/listen": &listening{topic}} {
		if err := s.Handle(prefix, service); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	<-s.Ready()
	defer func() {
		cancel()
		<-ended
	}()
	dial := func(path string) net.Conn {
		d := ws.Dialer{NetDial: (&net.Dialer{Control: smallBuffer}).DialContext}
		c, _, _, err := d.Dial(ctx, "ws://"+s.Addr().String()+path+"/websocket")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	reader := dial("/listen")
	go func() { // steadily, and slowly
		for p := make([]byte, 1024); ; time.Sleep(20 * time.Millisecond) {
			if _, err := reader.Read(p); err != nil {
				return
			}
		}
	}()
	var publishers []net.Conn
	for range 3 {
		c := dial("/publish")
		publishers = append(publishers, c)
		go func() {
			for text := []byte(strings.Repeat("x", 60_000)); wsutil.WriteClientText(c, text) == nil; {
			}
		}()
	}
	// look is what the loop sees of those who wait.
	look := func() (waiting int, full bool) {
		done := make(chan struct{})
		if err := s.Post(func() { waiting, full = len(topic.waiting), topic.awaited; close(done) }); err != nil {
			t.Fatal(err)
		}
		<-done
		return waiting, full
	}
	await := func(many int) (full bool) { // and that before the reader is given up, and makes room for good
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if waiting, full := look(); waiting == many {
				return full
			}
		}
		return false
	}
	if !await(len(publishers)) {
		return false
	}
	for _, c := range publishers {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	return await(0)
}

// Who waits for a full log goes on when its readers have read, and nothing is lost.
func TestPublishersGoOnWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{LogBytesMax: 2 << 20, ReaderBytesPerSecond: 1, UnsentBytesMax: 16 << 10})
	reader, c := b.dial("/x"), b.dial("/publish")
	const messages = 400 // several logs, grown
	text := []byte(strings.Repeat("x", 60_000))
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < messages && err == nil; i++ {
			err = wsutil.WriteClientText(c, text)
		}
		sent <- err
	}()
	held := false
	for i := range messages {
		if p, err := wsutil.ReadServerText(reader); err != nil || len(p) != len(text) {
			t.Fatalf("message %d: %d bytes, %v", i, len(p), err)
		}
		if !held { // slowly, but so that it is waited for
			time.Sleep(5 * time.Millisecond)
			st, err := b.Stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = st.PublishersHeld > 0
		}
	}
	if err := <-sent; err != nil || !held {
		t.Errorf("held: %v, %v", held, err)
	}
}

// A client that publishes before it reads what everybody hears, as one does that is busy, is not read for a while; it
// falls off no log.
func TestPublishersReadBeforeTheyGoOn(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{LogBytesMax: 2 << 20, UnsentBytesMax: 16 << 10})
	c := b.dial("/local")
	const messages = 100
	text := []byte(strings.Repeat("x", 60_000))
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < messages && err == nil; i++ {
			err = wsutil.WriteClientText(c, text)
		}
		sent <- err
	}()
	b.held(1)
	for range messages {
		if p, err := wsutil.ReadServerText(c); err != nil || len(p) != len(text) {
			t.Fatalf("%d bytes, %v", len(p), err)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if st, err := b.Stats(t.Context()); err != nil || st.SlowConsumersClosed > 0 {
		t.Errorf("%+v %v", st, err)
	}
}

// Whoever is behind with its own reading goes on when it has caught up by half of that, not when one message has left.
func TestPublishersCatchUpBeforeTheyGoOn(t *testing.T) {
	t.Parallel()
	const log = 8 << 20 // several times what lies in sockets
	b := startInside(t, Config{LogBytesMax: log, UnsentBytesMax: 16 << 10})
	c := b.dial("/local")
	look := func() (unread int, held bool, received uint64) {
		b.here(func() {
			b.loop.releasePaced() // as it does by itself every pacerInterval
			for _, of := range b.loop.conns {
				held = of.hold == holdReader
				unread = of.protocol.(*webSocket).session.(*Session).outflow.Unread(b.local.log)
			}
			received = b.loop.stats.MessagesReceived
		})
		return unread, held, received
	}
	const length, framing = 60_000, 100 // framing is more than a message has
	sent, before := uint64(0), uint64(0)
	for held := false; !held; {
		if err := wsutil.WriteClientText(c, []byte(strings.Repeat("x", length))); err != nil {
			t.Fatal(err)
		}
		sent++
		for before = 0; before < sent && !held; {
			_, held, before = look()
		}
	}
	for range sent {
		unread, held, received := look()
		// what lay in its socket meanwhile has come since
		if since := int(received-before) * (length + framing); !held && unread > log/caughtUpShare+since {
			t.Fatalf("it may go on, %d bytes behind", unread)
		}
		if _, err := wsutil.ReadServerText(c); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		_, held, _ := look()
		if !held {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it has read everything and waits")
		}
	}
}

// Whoever is behind and is closed by its service is read again, so that it can answer.
func TestClosedPublishersAreReadAgain(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{LogBytesMax: 2 << 20, UnsentBytesMax: 16 << 10, CloseTimeout: time.Minute})
	c := b.dial("/local")
	go func() {
		for text := []byte(strings.Repeat("x", 60_000)); wsutil.WriteClientText(c, text) == nil; {
		}
	}()
	b.held(1)
	b.here(func() {
		for _, of := range b.loop.conns {
			of.protocol.(*webSocket).session.(*Session).Close(4000, "enough")
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		held := false
		b.here(func() {
			for _, of := range b.loop.conns {
				held = of.hold == holdReader
			}
		})
		if !held {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it still waits for a client that is to end")
		}
	}
}

// Whoever is to read first and does not is given up as any silent peer, though what it says is not read.
func TestPublishersThatNeverReadAreGivenUp(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{
		LogBytesMax: 2 << 20, UnsentBytesMax: 16 << 10, PongTimeout: 50 * time.Millisecond,
		Options: Options{HeartbeatDelay: time.Second},
	})
	c := b.dial("/local")
	go func() {
		for text := []byte(strings.Repeat("x", 60_000)); wsutil.WriteClientText(c, text) == nil; {
		}
	}()
	b.held(1)
	b.await(func(st Stats) bool { return st.PongTimeouts == 1 && st.Sessions == 0 })
}
