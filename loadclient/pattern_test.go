package loadclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/tuning"
)

// once opens a level with a configuration and runs one trial.
func once(t *testing.T, url string, c LevelConfig, rate float64) Trial {
	t.Helper()
	c.Target, c.IDBase = target(t, url, SockJS, TargetOptions{}), 1
	return oneTrial(t, c, rate, 400*time.Millisecond)
}

// oneTrial opens a level for one trial.
func oneTrial(t *testing.T, c LevelConfig, rate float64, window time.Duration) Trial {
	t.Helper()
	l, err := OpenLevel(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, err := l.Trial(rate, window)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func newRoom(t *testing.T, f room.Faults) string {
	t.Helper()
	r := room.New(f)
	t.Cleanup(r.Close)
	return r.URL()
}

// A sample counts what all connections received, and every round trip; each connection has its turn of being read.
func TestTrialVerifiesASample(t *testing.T) {
	t.Parallel()
	got := once(t, newRoom(t, room.Faults{}), LevelConfig{Connections: 40, Verify: VerifySample}, 500)
	if got.Sent != 200 || got.Received != 8000 || got.RTT.Count != 200 ||
		got.NotCompleted+got.Lost+got.Duplicated+got.Stragglers != 0 {
		t.Errorf("%+v", got)
	}
	if got.Verify != VerifySample || got.Arrival.Count < 40 {
		t.Errorf("verified %q, %d arrivals", got.Verify, got.Arrival.Count)
	}
}

// What one connection misses or has twice shows in the number of its bytes, though nobody looks at them.
func TestSampleSeesFaults(t *testing.T) {
	t.Parallel()
	c := LevelConfig{Connections: 40, Verify: VerifySample, Drain: time.Second}
	if got := once(t, newRoom(t, room.Faults{LoseEvery: 10}), c, 500); got.NotCompleted+got.Lost == 0 {
		t.Errorf("a loss is not seen: %+v", got)
	}
	got := once(t, newRoom(t, room.Faults{RepeatEvery: 10}), c, 500)
	if got.Duplicated == 0 || got.Verdict != TargetFailed {
		t.Errorf("a duplicate is not seen: %+v", got)
	}
}

// A loss is one also where something that is no message keeps coming, and lies in sockets when the trial ends.
func TestLossOnAStreamWithHeartbeats(t *testing.T) {
	t.Parallel()
	c := LevelConfig{Connections: 40, Drain: 3 * time.Second} // a second of silence makes it one; a busy room is late
	faults := room.Faults{LoseEvery: 10, Heartbeat: 20 * time.Millisecond}
	got := once(t, newRoom(t, faults), c, 500)
	if got.Lost != 20 || got.NotCompleted != 0 || got.Verdict != TargetFailed {
		t.Errorf("%+v", got)
	}
	secure := room.NewTLS(faults) // whose heartbeats are records, longer than many a message without TLS
	t.Cleanup(secure.Close)
	c.Target, c.IDBase = target(t, secure.URL(), SockJS, TargetOptions{Insecure: true}), 1
	if got = oneTrial(t, c, 500, 400*time.Millisecond); got.Lost != 20 || got.NotCompleted != 0 {
		t.Errorf("over TLS: %+v", got)
	}
}

// What lies in the server's kernel is on its way, however long no message has come.
func TestWhatTheKernelHasIsNotLost(t *testing.T) {
	t.Parallel()
	got := brokenOff(t, func(conns []net.Conn) error { // one more leaves, and the others wait
		raw, err := conns[1].(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		return raw.Control(func(fd uintptr) { // in bytes a second
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, 1)
		})
	})
	if got.Lost != 0 || got.NotCompleted == 0 || got.Queues.Left == 0 || got.Queues.Quiet < 1000 {
		t.Errorf("%+v, %+v", got, *got.Queues)
	}
}

// What a server has not read it has not lost, however long it stands still.
func TestWhatTheServerHasNotReadIsNotLost(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	got := brokenOff(t, func([]net.Conn) error {
		<-over
		return nil
	})
	if got.Lost != 0 || got.NotCompleted == 0 || got.Queues.Unheard == 0 || got.Verdict == TargetFailed {
		t.Errorf("%+v, %+v", got, *got.Queues)
	}
}

// Nor has it lost anything while it is busy.
func TestWhoIsAtWorkHasNotLost(t *testing.T) {
	t.Parallel()
	for command, lost := range map[string]bool{"while :; do :; done": false, "read line": true} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			server := exec.CommandContext(t.Context(), "sh", "-c", command)
			in, err := server.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _, _, _ = in.Close(), server.Process.Kill(), server.Wait() }()
			probe, err := NewServerProbe(server.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			c := LevelConfig{Connections: 2, Probe: probe, Drain: 1500 * time.Millisecond}
			got := once(t, newRoom(t, room.Faults{SilentAfter: 5}), c, 50)
			if (got.Lost > 0) != lost || (got.NotCompleted > 0) == lost || got.Queues.AtWork == lost {
				t.Errorf("%+v, %+v", got, *got.Queues)
			}
		})
	}
}

// What lies unread at somebody else's socket of the same port has nothing to do with a loss.
func TestUnreadOfOthersIsNotOurs(t *testing.T) {
	t.Parallel()
	url := newRoom(t, room.Faults{SilentAfter: 5})
	to := target(t, url, SockJS, TargetOptions{})
	_, port, err := net.SplitHostPort(to.Addr)
	if err != nil {
		t.Fatal(err)
	}
	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.2", port))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // nothing was accepted
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", other.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing is said any more
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := once(t, url, LevelConfig{Connections: 2, Drain: 1500 * time.Millisecond}, 50)
	if got.Lost == 0 || got.Queues.Unheard > 0 {
		t.Errorf("%+v, %+v", got, *got.Queues)
	}
}

// brokenOff is a trial of ten messages with two connections, and a server that sends each to both, and does something
// else before the fifth.
func brokenOff(t *testing.T, before func([]net.Conn) error) Trial {
	t.Helper()
	var mu sync.Mutex
	var conns []net.Conn
	heard := 0
	broadcast := func(text []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if heard++; heard == 5 {
			if err := before(conns); err != nil {
				return err
			}
		}
		for _, c := range conns {
			if err := wsutil.WriteServerText(c, text); err != nil {
				return err
			}
		}
		return nil
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer c.Close() //nolint:errcheck // the client has gone
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
		for {
			text, err := wsutil.ReadClientText(c)
			if err != nil || broadcast(text) != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	to := target(t, "ws"+srv.URL[len("http"):]+"/", WebSocket, TargetOptions{})
	got := oneTrial(t, LevelConfig{Target: to, Connections: 2, IDBase: 1, Drain: 1500 * time.Millisecond}, 20,
		500*time.Millisecond)
	if got.Sent != 10 {
		t.Errorf("%d messages", got.Sent)
	}
	return got
}

func TestMeanOfQueues(t *testing.T) {
	t.Parallel()
	if got := mean([]Queues{{Unread: 2, Unsent: 10}, {Unread: 4, Unsent: 20}}); got != (Queues{Unread: 3, Unsent: 15}) {
		t.Errorf("%+v", got)
	}
	if got := mean([]Queues{{Unread: 2, Unsent: 10}, {Unread: 4, Unsent: -1}}); got != (Queues{Unread: 3, Unsent: -1}) {
		t.Errorf("%+v", got)
	}
}

func TestPublishersAmongMany(t *testing.T) {
	t.Parallel()
	got := once(t, newRoom(t, room.Faults{}), LevelConfig{Connections: 20, Publishers: 3}, 500)
	if got.Sent != 200 || got.Received != 4000 || got.Nominal != 10_000 || got.RTT.Count != 200 ||
		got.NotCompleted != 0 {
		t.Errorf("%+v", got)
	}
	if got.Arrival.Count < 20*50 || got.Arrival.Mean <= 0 {
		t.Errorf("%d arrivals at all receivers, of %d messages", got.Arrival.Count, got.Sent)
	}
}

// newEcho starts a server that sends each message back, and tells its URL.
func newEcho(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer c.Close() //nolint:errcheck // the client has gone
		for {
			text, err := wsutil.ReadClientText(c)
			if err != nil || wsutil.WriteServerText(c, append([]byte{'a'}, text...)) != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + srv.URL[len("http"):] + "/echo"
}

// Who sends is anywhere in the order in which a server had its clients come, but for the benchmark of 2011.
func TestSendersAreAnywhereInTheOrderOfOpening(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		r := room.New(room.Faults{})
		t.Cleanup(r.Close)
		got := once(t, r.URL(), LevelConfig{Connections: 200, Publishers: 10, Restart: restart}, 100)
		senders := r.Senders()
		if got.Sent != 40 || len(senders) != 10 {
			t.Fatalf("%d senders: %+v", len(senders), got)
		}
		slices.Sort(senders)
		// of ten the sixth is at place 5, or by sequence at 124; some take long to open, and nobody is much early
		if first := senders[5] < 90; first != restart {
			t.Errorf("restart %v: senders came as the %v", restart, senders)
		}
	}
}

// Rooms of one are an echo: what a connection sends comes back to it alone.
func TestRoomsOfOne(t *testing.T) {
	t.Parallel()
	echo := newEcho(t)
	for _, v := range []Verify{VerifyAll, VerifySample} {
		c := LevelConfig{Connections: 20, Room: 1, Verify: v}
		got := once(t, echo, c, 500)
		if got.Sent != 200 || got.Received != 200 || got.Expected != 200 || got.Nominal != 500 ||
			got.RTT.Count != 200 || got.Foreign+got.NotCompleted != 0 {
			t.Errorf("%+v", got)
		}
	}
}

// A search's rates are what is received, also where a connection hears itself alone.
func TestSearchOfAnEcho(t *testing.T) {
	t.Parallel()
	p := profile(t, "quick")
	p.Window, p.Confirm, p.Curve = 200*time.Millisecond, 200*time.Millisecond, nil
	p.SaturationRTT, p.Precision = 20, 1
	c := SearchConfig{StartRate: 1000, Profile: p, CoolDown: time.Millisecond, Patience: time.Millisecond,
		Level: LevelConfig{Target: target(t, newEcho(t), SockJS, TargetOptions{}), Connections: 10, Room: 1, IDBase: 1}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	trials := 0
	found, err := Search(ctx, c, func(x Trial) { // the first rate, perhaps again, and twice that
		if trials++; x.Nominal == 2*c.StartRate || trials == 10 {
			stop()
		} else if x.Nominal > c.StartRate { // or less, on a busy machine
			t.Errorf("tried %v messages a second, want %v", x.Nominal, c.StartRate)
		}
	}, nil)
	if !errors.Is(err, context.Canceled) || found.Room != 1 {
		t.Errorf("%v: %+v", err, found)
	}
}

func TestPatternsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []LevelConfig{
		{Connections: 10, Publishers: 11},
		{Connections: 10, Room: 3},
		{Connections: 10, Room: 5, Publishers: 2},
		{Connections: 10, Verify: VerifySample, Target: Target{Protocol: WebSocket}},
		{Connections: 10, Verify: VerifySample, Target: Target{Protocol: SockJS, TLS: &tls.Config{}}},
		{Connections: 10, Target: Target{Protocol: SockJS, Path: "/chat/{room}"}},
		{Connections: 10, Target: Target{Protocol: SockJS, Path: "/chat", Query: "room={room}"}},
	} {
		l, err := OpenLevel(context.Background(), c)
		if err == nil {
			l.Close()
			t.Errorf("%+v is taken", c)
		}
		if IsTargetFailure(err) {
			t.Errorf("%+v is tried: %v", c, err)
		}
	}
}

// chatRooms are chats, one a URL.
type chatRooms struct {
	mu    sync.Mutex
	byURL map[string]*chat
}

func (x *chatRooms) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	if x.byURL == nil {
		x.byURL = map[string]*chat{}
	}
	c := x.byURL[r.RequestURI]
	if c == nil {
		c = &chat{}
		x.byURL[r.RequestURI] = c
	}
	x.mu.Unlock()
	c.ServeHTTP(w, r)
}

// Each room has a URL of its own, and hears nothing of the others; connections are dealt to workers all the same.
func TestRoomsInTheURL(t *testing.T) {
	t.Parallel()
	var chats chatRooms
	srv := serve(t, &chats)
	url := "ws" + srv.URL[len("http"):] + "/a%2Fb/{room}?again={room}"
	o := TargetOptions{Payload: `{"id":{id},"at":{time},"n":{seq},"x":"{pad}"}`, PayloadBytes: "60-90"}
	got := oneTrial(t, LevelConfig{
		Target: target(t, url, WebSocket, o), Connections: 12, Room: 4, IDBase: 95, CPUs: tuning.CPUs{0, 0},
		Drain: 20 * time.Second,
	}, 480, 100*time.Millisecond)
	wrong := got.Foreign + got.Lost + got.Duplicated + got.NotCompleted + got.Stragglers
	if got.Sent != 48 || got.Received != 4*48 || got.RTT.Count != 48 || wrong != 0 || got.Target != url {
		t.Errorf("%+v", got)
	}
	chats.mu.Lock()
	defer chats.mu.Unlock()
	for i := range 3 {
		c := chats.byURL[fmt.Sprintf("/a%%2Fb/%d?again=%d", i, i)]
		if c == nil || len(chats.byURL) != 3 {
			t.Fatalf("room %d of %d", i, len(chats.byURL))
		}
		c.mu.Lock()
		if len(c.members) != 4 {
			t.Errorf("room %d has %d members", i, len(c.members))
		}
		c.mu.Unlock()
	}
}

// Requests that are made later go to the room as well.
func TestRoomsOfStreams(t *testing.T) {
	t.Parallel()
	w := newTestWorkerOf(t, target(t, "http://h/chat/{room}", EventSource, TargetOptions{}))
	c := &conn{w: w, index: 7, reference: w.reference(audience{6, 3}, blockBytesMin)}
	l := newLink(c, nothingDialed).(*streamLink)
	for want, request := range map[string][]byte{
		"GET /chat/2/eventsource HTTP/1.1\r\n": l.request, "POST /chat/2/xhr_send HTTP/1.1\r\n": l.postHead,
	} {
		if !bytes.HasPrefix(request, []byte(want)) {
			t.Errorf("%q, want %q", request, want)
		}
	}
}
