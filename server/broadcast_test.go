package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/server"
)

// Every member gets every message, in one order for all, and each sender's in the order it sent them.
func TestEverybodyHearsEverybodyInOneOrder(t *testing.T) {
	t.Parallel()
	const members, each = 20, 50
	s := start(t, server.Config{})
	var all []*client
	for range members {
		all = append(all, s.join(t, "/broadcast"))
	}
	raw := s.open(t, "/broadcast/websocket")
	s.eventually(t, "everybody in", func(st server.Stats) bool { return st.Sessions == members+1 })
	var sending sync.WaitGroup
	for i, c := range all {
		sending.Go(func() {
			for k := range each {
				c.send(fmt.Sprintf(`["%d:%d"]`, i, k))
			}
		})
	}
	var first []string
	for _, c := range all {
		got := c.messages(members * each)
		if first == nil {
			first = got
		}
		if strings.Join(got, ",") != strings.Join(first, ",") {
			t.Fatal("two members heard different orders")
		}
	}
	sending.Wait()
	next := map[string]int{}
	for _, m := range first {
		sender, k, _ := strings.Cut(m, ":")
		if strconv.Itoa(next[sender]) != k {
			t.Fatalf("%s after message %d of its sender", m, next[sender]-1)
		}
		next[sender]++
	}
	for _, want := range first { // the raw endpoint hears the same, a frame a message
		raw.expect(want)
	}
}

func TestRawAndSockJSShareTheRoom(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	sockjs, raw := s.join(t, "/broadcast"), s.open(t, "/broadcast/websocket")
	s.eventually(t, "both in", func(st server.Stats) bool { return st.Sessions == 2 })
	raw.send("say \"\u2028\"")
	sockjs.expect(`a["say \"\u2028\""]`)
	raw.expect("say \"\u2028\"")
	sockjs.send(`["\u00e9"]`)
	sockjs.expect(`a["é"]`)
	raw.expect("é")
}

// What a session is sent arrives in the order it was sent: direct messages, and broadcasts on two topics.
func TestOrderAcrossTopicsAndDirectMessages(t *testing.T) {
	t.Parallel()
	s := startMarking(t, server.Config{})
	sender, listener := s.join(t, "/mixed"), s.join(t, "/mixed")
	s.eventually(t, "both in", func(st server.Stats) bool { return st.Sessions == 2 })
	const n = 200
	var batch strings.Builder
	for i := range n {
		batch.WriteString(frame(ws.OpText, fmt.Sprintf(`["%d"]`, i)))
	}
	go sender.say(batch.String())
	var wantSender, wantListener []string
	for i := range n {
		wantSender = append(wantSender, fmt.Sprintf("one %d", i), fmt.Sprintf("direct %d", i), fmt.Sprintf("two %d", i),
			fmt.Sprintf("one again %d", i))
		wantListener = append(wantListener, fmt.Sprintf("one %d", i), fmt.Sprintf("two %d", i),
			fmt.Sprintf("one again %d", i))
	}
	if got := sender.messages(len(wantSender)); strings.Join(got, ",") != strings.Join(wantSender, ",") {
		t.Errorf("the sender got %q", got[:8])
	}
	if got := listener.messages(len(wantListener)); strings.Join(got, ",") != strings.Join(wantListener, ",") {
		t.Errorf("the listener got %q", got[:8])
	}
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 100})
	if err != nil {
		t.Fatal(err)
	}
	topic := srv.NewTopic("topic")
	if err := srv.Handle("/leaving", leaving{topic}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	c := s.join(t, "/leaving")
	c.send(`["hear"]`)
	c.expect(`a["hear"]`)
	c.send(`["leave"]`)
	c.send(`["hear"]`)
	c.send(`["back"]`)
	c.send(`["hear me"]`)
	c.expect(`a["hear me"]`)
}

type leaving struct{ topic *server.Topic }

func (l leaving) OnOpen(s *server.Session) { s.Subscribe(l.topic) }

func (l leaving) OnClose(*server.Session, server.CloseReason) {}

func (l leaving) OnMessage(s *server.Session, m *server.Message) {
	switch string(m.Text()) {
	case "leave":
		s.Unsubscribe(l.topic)
	case "back":
		s.Subscribe(l.topic)
	default:
		l.topic.Publish(m)
	}
}

func TestReadersThatNeverReadAreClosed(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{LogBytesMax: 1 << 20, BatchBytesMax: 1 << 19, UnsentBytesMax: 64 << 10})
	reader := s.join(t, "/broadcast")
	const stalled = 10
	for range stalled {
		s.stalled(t, "/broadcast")
	}
	s.eventually(t, "everybody in", func(st server.Stats) bool { return st.Sessions == stalled+1 })
	message := strings.Repeat("x", 50_000)
	rounds := 0
	for s.stats(t).SlowConsumersClosed < stalled {
		reader.send(`["` + message + `"]`)
		reader.expect(`a["` + message + `"]`)
		if rounds++; rounds > 5000 {
			t.Fatalf("still there after %d MB: %+v", rounds*50_000>>20, s.stats(t))
		}
	}
	s.eventually(t, "they are gone", func(st server.Stats) bool {
		return st.Sessions == 1 && st.ConnectionsBlocked == 0
	})
	if st := s.stats(t); st.SlowConsumersSkipped != 0 || st.LogsBytes > 4<<20 {
		t.Errorf("%+v", st)
	}
}

// With the policy skip, a reader that wakes up goes on with what is published then, on a frame border.
func TestSlowConsumerSkips(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{
		SlowConsumer: server.SlowConsumerSkip, LogBytesMax: 1 << 20, BatchBytesMax: 1 << 19, UnsentBytesMax: 64 << 10,
	})
	reader := s.join(t, "/broadcast")
	slow := s.stalled(t, "/broadcast")
	s.eventually(t, "both in", func(st server.Stats) bool { return st.Sessions == 2 })
	message := strings.Repeat("x", 50_000)
	sent := 0
	for st := s.stats(t); st.ConnectionsBlocked == 0 || sent < 400; st = s.stats(t) {
		reader.send(fmt.Sprintf(`["%06d%s"]`, sent, message))
		reader.messages(1)
		if sent++; sent > 5000 {
			t.Fatalf("it does not lag: %+v", st)
		}
	}
	awake := s.wake(t, slow)
	got := map[int]bool{}
	last := -1
	for last < sent {
		select {
		case text := <-awake:
			n, err := strconv.Atoi(text[:6])
			if err != nil || n <= last {
				t.Fatalf("%.20q after %d", text, last)
			}
			got[n], last = true, n
			if s.stats(t).SlowConsumersSkipped > 0 && last < sent {
				reader.send(fmt.Sprintf(`["%06d%s"]`, sent, message)) // after the skip it must hear this
			}
		case <-time.After(patience):
			t.Fatalf("stuck behind message %d of %d: %+v", last, sent, s.stats(t))
		}
	}
	st := s.stats(t)
	if n := st.SlowConsumersSkipped; n == 0 || n > uint64(sent) || st.MessagesSkipped == 0 ||
		st.SlowConsumersClosed != 0 {
		t.Errorf("%+v", st)
	}
	if missing := uint64(sent - len(got)); missing > st.MessagesSkipped {
		t.Errorf("%d messages are missing and %d were counted", missing, st.MessagesSkipped)
	}
}

// A subscription that ends in the middle of a frame lets the frame end: what follows must be readable.
func TestUnsubscribeInTheMiddleOfAFrame(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 100, UnsentBytesMax: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Handle("/kicking", &kicking{srv.NewTopic("topic"), map[*server.Session]bool{}}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	talker := s.join(t, "/kicking")
	slow := s.stalled(t, "/kicking")
	s.eventually(t, "both in", func(st server.Stats) bool { return st.Sessions == 2 })
	message := strings.Repeat("x", 50_000)
	s.untilSomebodyLags(t, talker, message)
	talker.send(`["kick"]`)
	talker.send(`["alone"]`)
	talker.expect(`a["alone"]`)
	awake := s.wake(t, slow)
	for text := range awake {
		if text == "bye" {
			return
		}
		if text != message {
			t.Fatalf("%.50q (%d bytes)", text, len(text))
		}
	}
}

func TestClientsThatVanish(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	stays := s.join(t, "/broadcast")
	var leave []*client
	for range 50 {
		leave = append(leave, s.join(t, "/broadcast"))
	}
	var going sync.WaitGroup
	for i, c := range leave {
		going.Go(func() {
			if i%2 == 0 {
				_ = c.Conn.(*net.TCPConn).SetLinger(0) // a reset
			}
			c.say(frame(ws.OpText, `["half a fr`)[:7])
			_ = c.Close()
		})
	}
	for i := range 200 {
		m := fmt.Sprintf(`["%d"]`, i)
		stays.send(m)
		stays.expect("a" + m)
	}
	going.Wait()
	s.eventually(t, "they are gone", func(st server.Stats) bool { return st.Sessions == 1 && st.Connections == 1 })
}

func TestShutdownSaysGoodbye(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Handle("/broadcast", srv.Broadcast()); err != nil {
		t.Fatal(err)
	}
	r := &running{Server: srv, done: make(chan error, 1)}
	go func() { r.done <- srv.Run(context.Background()) }()
	<-srv.Ready()
	r.addr = srv.Addr().String()
	sockjs, raw, idle := r.join(t, "/broadcast"), r.open(t, "/broadcast/websocket"), r.dial(t)
	idle.say("GET /bro")
	sockjs.send(`["queued before"]`)
	raw.expect("queued before")
	ended := make(chan error, 1)
	go func() { ended <- srv.Shutdown(context.Background()) }()
	sockjs.expect(`a["queued before"]`)
	sockjs.expect(`c[3000,"Go away!"]`)
	sockjs.expectClose(1000)
	raw.expectClose(1001)
	idle.expectEnd()
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := srv.Post(func() {}); !errors.Is(err, server.ErrNotRunning) {
		t.Errorf("Post after the end: %v", err)
	}
	if _, err := net.Dial("tcp", r.addr); err == nil {
		t.Error("it still listens")
	}
}

func TestShutdownDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 100, CloseTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Handle("/broadcast", srv.Broadcast()); err != nil {
		t.Fatal(err)
	}
	r := &running{Server: srv, done: make(chan error, 1)}
	go func() { r.done <- srv.Run(context.Background()) }()
	<-srv.Ready()
	r.addr = srv.Addr().String()
	r.join(t, "/broadcast") // and it never answers
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-srv.Draining()
		r.eventually(t, "it drains", func(st server.Stats) bool { return st.Draining })
		cancel()
	}()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-r.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	other, err := server.New(server.Config{Addr: s.addr, ConnectionsMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Run(context.Background()); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
}

// Two servers share a port when both are asked to.
func TestSharedPort(t *testing.T) {
	t.Parallel()
	first, err := server.New(server.Config{Addr: "127.0.0.1:0", SharePort: true, ConnectionsMax: 100})
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Handle("/echo", server.Echo())
	a := serve(t, first)
	second, err := server.New(server.Config{Addr: a.addr, SharePort: true, ConnectionsMax: 100})
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Handle("/echo", server.Echo())
	b := serve(t, second)
	for i := 0; a.stats(t).Sessions == 0 || b.stats(t).Sessions == 0; i++ {
		if i == 200 {
			t.Fatal("one of them gets no connection")
		}
		a.join(t, "/echo")
	}
}

func TestPostRunsOnTheLoop(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 10, MailboxMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Post(func() {}); !errors.Is(err, server.ErrNotRunning) {
		t.Errorf("Post before Run: %v", err)
	}
	serve(t, srv)
	order := make(chan int, 3)
	block := make(chan struct{})
	if err := srv.Post(func() { <-block; order <- 1 }); err != nil {
		t.Fatal(err)
	}
	// The first may or may not have been taken out; fill the box behind it.
	posted := 1
	for {
		n := posted + 1
		if err := srv.Post(func() { order <- n }); err != nil {
			if !errors.Is(err, server.ErrMailboxFull) {
				t.Fatal(err)
			}
			break
		}
		if posted++; posted > 3 {
			t.Fatal("the mailbox has no bound")
		}
	}
	close(block)
	for i := 1; i <= posted; i++ {
		if got := <-order; got != i {
			t.Errorf("%d ran as number %d", got, i)
		}
	}
}

// The heap stays flat while messages flow: nothing is allocated for a message, from the read to the write.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, tt := range []struct{ path, payload string }{
		{"/broadcast/0/0/websocket", `["17:1700000000000"]`},
		{"/broadcast/websocket", `17:1700000000000`},
	} {
		s := start(t, server.Config{})
		c := s.open(t, tt.path)
		const turns, each = 200, 100
		burst := strings.Repeat(frame(ws.OpText, tt.payload), each)
		answer := make([]byte, 64<<10)
		turn := func() {
			c.say(burst)
			for got := 0; got < each; {
				n, err := c.Read(answer)
				if err != nil {
					t.Fatal(err)
				}
				got += strings.Count(string(answer[:n]), "17:17")
			}
		}
		if n := allocations(turns, turn) / each; n > 0.2 {
			t.Errorf("%s: %.2f allocations a message; the turns' own, and this test's, should be a tenth of one",
				tt.path, n)
		}
	}
}

func TestStatsCount(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	a, b := s.join(t, "/broadcast"), s.join(t, "/echo")
	a.send(`["1","2"]`)
	a.messages(2)
	b.send(`["3"]`)
	b.messages(1)
	st := s.stats(t)
	if st.MessagesReceived != 3 || st.MessagesPublished != 2 || st.MessagesSent != 1 || st.Sessions != 2 ||
		st.SessionsOpened != 2 ||
		st.ConnectionsAccepted != 2 || st.Turns == 0 || st.BytesReceived == 0 || st.BytesSent == 0 {
		t.Errorf("%+v", st)
	}
}

// Clients that come before the server says that it is ready are served like any other.
func TestClientsBeforeReady(t *testing.T) {
	t.Parallel()
	for range 20 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		_ = ln.Close()
		// no probe, which would take the first client
		srv, err := server.New(server.Config{Addr: addr, ConnectionsMax: 10, SharePort: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Handle("/echo", server.Echo()); err != nil {
			t.Fatal(err)
		}
		r := &running{Server: srv, addr: addr, done: make(chan error, 1)}
		ctx, cancel := context.WithCancel(context.Background())
		go func() { r.done <- srv.Run(ctx) }()
		deadline := time.Now().Add(patience)
		for {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				_ = c.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err, <-r.done)
			}
		}
		c := r.join(t, "/echo")
		c.send(`["early"]`)
		c.expect(`a["early"]`)
		<-srv.Ready()
		_ = c.Close()
		cancel()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	}
}
