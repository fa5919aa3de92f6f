package loadclient

import (
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

// openLevel opens a level to a room with faults.
func openLevel(t *testing.T, f room.Faults, connections int, drain time.Duration) (*Level, error) {
	t.Helper()
	r := room.New(f)
	t.Cleanup(r.Close)
	target, err := ParseTarget(r.URL(), SockJS)
	if err != nil {
		t.Fatal(err)
	}
	probe, err := NewServerProbe(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLevel(context.Background(), LevelConfig{Target: target, Connections: connections, IDBase: 1,
		Probe: probe, Drain: drain})
	if err == nil {
		t.Cleanup(l.Close)
	}
	return l, err
}

func TestTrial(t *testing.T) {
	t.Parallel()
	l, err := openLevel(t, room.Faults{}, 10, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second must not count what the first had
		got, err := l.Trial(500, 200*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if got.Sent != 100 || got.Expected != 1000 || got.Received != 1000 ||
			got.Lost+got.Duplicated+got.Reordered+got.Foreign+got.NotCompleted != 0 {
			t.Errorf("%+v", got)
		}
		if got.RTT.Count != 100 || got.RTTActual.Count != 100 || got.RTT.Mean <= 0 || got.RTT.Min > got.RTT.P50 ||
			got.RTT.P99 > got.RTT.Max || got.RTT.Mean < got.RTTActual.Mean-0.01 {
			t.Errorf("%+v", got.RTT)
		}
		if len(got.Spectrum) != len(results.Quantiles) || !slices.IsSorted(got.Spectrum) || len(got.OverTime) != 3 ||
			got.OverTime[0] <= 0 || got.OverTime[2] != -1 {
			t.Errorf("spectrum %v, over time %v", got.Spectrum, got.OverTime)
		}
		if got.MessagesPerFrame < 1 || got.MessagesPerRead <= 0 || got.BytesPerMessage < 15 {
			t.Errorf("%v messages a frame, %v a read, %v bytes each", got.MessagesPerFrame, got.MessagesPerRead,
				got.BytesPerMessage)
		}
		if got.Server == nil || got.Server.RSS == 0 || len(got.ClientBusy) != 1 {
			t.Errorf("%+v", got.Server)
		}
		if v := l.Live(); v.Returned != 100 || v.Bytes == 0 || v.RTTSum == 0 {
			t.Errorf("%+v", v)
		}
	}
}

// What lies unread in all sockets together stays below what the kernel has for TCP.
func TestReceiveBuffersAreBounded(t *testing.T) {
	t.Parallel()
	const connections = 100
	want := tuning.ReceiveBuffer(connections)
	if want == 0 {
		t.Skip("the kernel does not grant so much to each of 100 sockets")
	}
	l, err := openLevel(t, room.Faults{}, connections, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := l.parts[0].(*local).workers[0]
	if got := w.target.receiveBuffer; got != want {
		t.Errorf("%d of what is opened again, want %d", got, want)
	}
	for _, c := range w.conns {
		fd := c.link.sockets()[0].fd
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err != nil || got != 2*want {
			t.Fatalf("%d, %v, want twice %d (socket(7))", got, err, want)
		}
	}
}

// A trial ends at once when the level's context does, and there is no other.
func TestTrialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	to := target(t, r.URL(), SockJS, TargetOptions{})
	l, err := OpenLevel(ctx, LevelConfig{Target: to, Connections: 2, IDBase: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for len(r.First(1)) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	for range 2 {
		if _, err := l.Trial(100, time.Hour); err != context.Canceled {
			t.Errorf("got %v", err)
		}
	}
}

func TestTrialSeesFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		faults room.Faults
		check  func(Trial) bool // the verdict also depends on how quick this machine is
	}{
		{"lost", room.Faults{LoseEvery: 10}, func(x Trial) bool {
			return x.NotCompleted+x.Lost == 10 && x.Received == 990 && x.Stragglers > 0
		}},
		{"repeated", room.Faults{RepeatEvery: 10}, func(x Trial) bool {
			return x.Verdict == TargetFailed && x.Duplicated == 10 && x.Stragglers > 0
		}},
		{"silent in the middle", room.Faults{SilentAfter: 50}, func(x Trial) bool {
			return x.NotCompleted+x.Lost == 500
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := openLevel(t, tt.faults, 10, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			got, err := l.Trial(1000, 100*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.check(got) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestTargetsThatFail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		faults room.Faults
		want   string
	}{
		{"closes at once", room.Faults{CloseAtOnce: true}, "closed the connection"},
		{"closes in the middle", room.Faults{CloseAfter: 20}, "closed the connection"},
		{"garbage", room.Faults{Garbage: "hello"}, "SockJS frame"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := openLevel(t, tt.faults, 5, time.Second)
			if err == nil {
				_, err = l.Trial(1000, 200*time.Millisecond)
			}
			if !IsTargetFailure(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTargetsThatAreNotThere(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := mute.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "SSH-2.0-nothing\r\n")
			_ = c.Close()
		}
	}()
	defer mute.Close() //nolint:errcheck // the test is over
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for url, want := range map[string]string{
		"ws://" + gone.Addr().String() + "/broadcast": "nothing listens",
		"ws://" + mute.Addr().String() + "/broadcast": "does not answer in HTTP",
		strings.TrimSuffix(r.URL(), "/broadcast"):     "404",
	} {
		target, err := ParseTarget(url, SockJS)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenLevel(context.Background(),
			LevelConfig{Target: target, Connections: 3}); !IsTargetFailure(err) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// A target that breaks for good in the middle of a search is an error, not a search without an end.
func TestSearchOfATargetThatGoesMute(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{SilentAfter: 30})
	defer r.Close()
	s, trials, err := searchRoom(t, r)
	if !IsTargetFailure(err) || trials[len(trials)-1].Verdict != TargetFailed {
		t.Errorf("%+v %v after %d trials", s, err, len(trials))
	}
}

func TestSearchOfATargetThatBreaksForGood(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{CloseAfter: 30})
	defer r.Close()
	s, trials, err := searchRoom(t, r)
	if !IsTargetFailure(err) {
		t.Errorf("%+v %v after %d trials", s, err, len(trials))
	}
}

func searchRoom(t *testing.T, r *room.Room) (Saturation, []Trial, error) {
	t.Helper()
	target, err := ParseTarget(r.URL(), SockJS)
	if err != nil {
		t.Fatal(err)
	}
	p := profile(t, "quick")
	p.Window, p.Precision, p.Confirm, p.Curve = 100*time.Millisecond, 0.5, 100*time.Millisecond, nil
	c := SearchConfig{Level: LevelConfig{Target: target, Connections: 2, IDBase: 1, Drain: 100 * time.Millisecond},
		Profile: p, StartRate: 400, CoolDown: time.Millisecond}
	var trials []Trial
	s, err := Search(t.Context(), c, func(x Trial) { trials = append(trials, x) }, nil)
	return s, trials, err
}

func TestCalibrate(t *testing.T) {
	t.Parallel()
	for _, shape := range results.Shapes {
		for _, publishers := range []int{0, 3} {
			got, err := Calibrate(t.Context(), CalibrateConfig{
				Connections: 4, Shape: shape, BroadcasterCPU: -1, Window: 100 * time.Millisecond,
				Publishers: publishers,
			})
			if err != nil || got.Delivered <= 0 || got.Connections != 4 || got.Shape != shape {
				t.Errorf("%d publishers: %+v %v", publishers, got, err)
			}
		}
	}
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url      string
		protocol Protocol
		want     string
	}{
		{"ws://host:81/broadcast", SockJS, "ws://host:81/broadcast/0/0/websocket"},
		{"ws://host/broadcast/", SockJS, "ws://host:80/broadcast/0/0/websocket"},
		{"http://host:81/a/7/8/websocket", SockJS, "ws://host:81/a/7/8/websocket"},
		{"ws://host:81/chat", WebSocket, "ws://host:81/chat"},
		{"ws://host:81", WebSocket, "ws://host:81/"},
		{"http://host:81/a/", EventSource, "http://host:81/a"},
		{"ws://host:81", SocketIO, "ws://host:81/socket.io"},
		{"ws://host:81/io/", SocketIO08, "ws://host:81/io"},
	} {
		if got, err := ParseTarget(tt.url, tt.protocol); err != nil || got.String() != tt.want {
			t.Errorf("%s: %s %v, want %s", tt.url, got, err, tt.want)
		}
	}
	for _, url := range []string{"", "host:81", "ftp://host/", "ws://", ":", "ws://host/#top", "ws://host/?a b",
		"ws://host:0/", "ws://host:65536/"} {
		if _, err := ParseTarget(url, SockJS); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}

func TestFindListener(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	addr := r.Listener.Addr().String()
	if pid, ok := FindListener(addr); !ok || pid != os.Getpid() {
		t.Errorf("%s: %d %v, want %d", addr, pid, ok, os.Getpid())
	}
	for _, addr := range []string{"192.0.2.1:80", "127.0.0.1:1", "nonsense"} {
		if pid, ok := FindListener(addr); ok {
			t.Errorf("%s: %d", addr, pid)
		}
	}
}

// A worker that loses its CPU between looking at the clock and waiting asks for a time that is over. It once waited
// forever.
func TestPollWithoutTime(t *testing.T) {
	t.Parallel()
	w, err := newWorker(Target{Protocol: SockJS}, -1, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	if err := w.poll(-3 * time.Millisecond); err != nil { // with nothing to wake it up
		t.Fatal(err)
	}
}

// A level that a loss has left behind is opened anew: what is late from it would be taken for the next trial's.
func TestLevelIsOpenedAnewBehindALoss(t *testing.T) {
	t.Parallel()
	k := levelKeeper{ctx: t.Context(), config: LevelConfig{
		Target: target(t, newRoom(t, room.Faults{LoseEvery: 10}), SockJS, TargetOptions{}), Connections: 3, IDBase: 1,
		Drain: 3 * time.Second,
	}}
	defer k.close()
	x, err := k.try(300, 200*time.Millisecond)
	if err != nil || x.Lost != 2 || k.level != nil {
		t.Errorf("%+v %v, level %p", x, err, k.level)
	}
}
