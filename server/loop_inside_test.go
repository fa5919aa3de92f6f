package server

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"
	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"golang.org/x/sys/unix"
)

// A tick looks at everything that time changes, and ends in a flush.
func TestTickLooksAtEverything(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.broker.queued.Store(1 << 20)
	b.here(func() {
		l := b.loop
		l.elapsed, l.saturation.lookedAt = 0, -time.Hour
		l.pauseListening(unix.EMFILE)
		l.listener.pausedAt = -acceptPause
		l.armed = false
		l.tick()
		if l.memory.collector.at != l.now || l.elapsed == 0 || l.saturation.lookedAt != l.elapsed ||
			l.listener.pausedAt != 0 || l.brokerSide.queued != 1<<20 || !l.armed {
			t.Errorf("memory looked at %d of %d, saturation at %v, paused since %d, %d bytes queued, armed %v",
				l.memory.collector.at, l.now, l.saturation.lookedAt, l.listener.pausedAt, l.brokerSide.queued, l.armed)
		}
		l.memory.collector.at = 0
	})
}

// A session that publishes more than the turn can send out waits for the next, unless what it says belongs to a request
// behind a response: that is read, and waits there.
func TestWhoIsReadInASpentTurn(t *testing.T) {
	t.Parallel()
	for why, want := range map[hold]hold{holdNone: holdTurn, holdResponse: holdResponse} {
		b := startInside(t, Config{})
		c := b.connect()
		b.await(func(st Stats) bool { return st.Connections == 1 })
		b.here(func() {
			of := b.only()
			of.publishes, of.hold, b.loop.share.fanOut = true, why, 0
			_, _ = io.WriteString(c, "GET ")
			of.becameReadable(false)
			if read := len(of.input) > 0; of.hold != want || read != (why == holdResponse) {
				t.Errorf("held for %d, now for %d; read %v", why, of.hold, read)
			}
		})
	}
}

// A frame of which the socket takes a part goes on where that ended, wherever it was.
func TestFramesThatTheSocketTakesInParts(t *testing.T) {
	t.Parallel()
	const large = 4 << 20
	for _, sizes := range [][3]int{{large, 3, 3}, {3, large, 3}, {3, 3, large}, {3, 3, 3}, {0, 3, 0}} {
		b := startInside(t, Config{OutboxBytesMax: 1 << 30})
		peer := b.connect()
		b.await(func(st Stats) bool { return st.Connections == 1 })
		var parts [3][]byte
		for i, n := range sizes {
			parts[i] = bytes.Repeat([]byte{'a' + byte(i)}, n)
		}
		b.here(func() {
			c := b.only()
			taken := c.writeFrame(parts[0], parts[1], parts[2])
			rest := append(bytes.Clone(c.output), parts[1][taken:]...)
			if taken == len(parts[1]) {
				rest = bytes.Clone(c.output) // what is left is of the last part
			} else if len(c.output) > 0 && taken > 0 {
				t.Errorf("%v: %d bytes of its own wait before shared ones", sizes, len(c.output))
			}
			if c.blocked != (len(rest) > 0) {
				t.Errorf("%v: blocked %v with %d bytes left", sizes, c.blocked, len(rest))
			}
			whole := slices.Concat(parts[:]...)
			sent := int(b.loop.stats.BytesSent)
			if taken < len(parts[1]) {
				rest = append(rest, parts[2]...)
			}
			if !bytes.Equal(whole[sent:], rest) {
				t.Errorf("%v: %d bytes were sent, and %d are left", sizes, sent, len(rest))
			}
			if kept := cap(c.output); b.loop.memory.inputs.Bytes() != kept {
				t.Errorf("%v: %d bytes are kept, and %d charged", sizes, kept, b.loop.memory.inputs.Bytes())
			}
			c.output, c.sent = nil, 0
		})
		_ = peer.Close()
	}
}

// Topics whose time has come are sent at the end of this turn.
func TestGatheredTopicsEndTheTurn(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{Gather: time.Minute})
	b.here(func() {
		l := b.loop
		b.topic.notBefore, b.topic.gathering = l.elapsed+1, true
		b.local.notBefore, b.local.gathering = l.elapsed, true
		l.gathering.topics, l.armed = []*Topic{b.topic, b.local}, false
		l.gathered(false)
		if !l.armed || b.local.gathering || !b.topic.gathering || len(l.gathering.topics) != 1 || len(l.dirty) != 1 {
			t.Errorf("a flush comes: %v; %d topics go on gathering, %d leave", l.armed, len(l.gathering.topics),
				len(l.dirty))
		}
	})
}

// A server that has ended, or that could not begin, has given back its descriptors and nobody else's. It is alone while
// it counts: tests beside it open some too.
func TestServersGiveBackTheirDescriptors(t *testing.T) { //nolint:paralleltest // see above
	count := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	run := func() {
		b := startInside(t, Config{})
		c := b.dial("/x")
		second, err := New(Config{Addr: b.Addr().String(), ConnectionsMax: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Run(t.Context()); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("on a port in use: %v", err)
		}
		_ = c.Close()
		b.end()
		if b.loop.saturation.schedstat < 0 {
			t.Skip("no statistics of the scheduler")
		}
	}
	input, err := os.Readlink("/proc/self/fd/0")
	if err != nil {
		t.Fatal(err)
	}
	run() // the runtime opens some at the first time
	before := count()
	run()
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if now, err := os.Readlink("/proc/self/fd/0"); err != nil || now != input {
		t.Errorf("standard input was %s and is %s, %v", input, now, err)
	}
}

// Drain and Shutdown may be called on the loop, which does not wait for itself.
func TestShutdownOnTheLoop(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(b *inside) error{
		"Drain":    func(b *inside) error { return b.Drain() },
		"Shutdown": func(b *inside) error { return b.Shutdown(b.t.Context()) },
	} {
		b := startInside(t, Config{})
		c := b.dial("/x")
		b.here(func() {
			if err := end(b); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		if op, _ := b.frame(c); op != ws.OpClose {
			t.Errorf("%s: %v", name, op)
		}
		_ = c.Close()
		b.FinalStats()
	}
}

// Who becomes readable when the turn is spent waits for the next, before those who have had a visit.
func TestReadableWhenTheTurnIsSpent(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.connect()
	b.await(func(st Stats) bool { return st.Connections == 1 })
	b.here(func() {
		b.loop.share.turn = 0
		c := b.only()
		if c.becameReadable(false); c.hold != holdShare || b.loop.share.fresh.len() != 1 {
			t.Errorf("held for %d, %d wait", c.hold, b.loop.share.fresh.len())
		}
	})
}

// Whoever asks for more than his outbox holds, and does not read, is cut off, and counted.
func TestAnswersThatNobodyReads(t *testing.T) {
	t.Parallel()
	for over, cut := range map[int]bool{0: false, 1: true} {
		b := startInside(t, Config{OutboxBytesMax: 10_000})
		b.connect()
		b.await(func(st Stats) bool { return st.Connections == 1 })
		b.here(func() {
			c := b.only()
			c.blocked, c.output, c.sent = true, make([]byte, 5000), 1000
			c.send(make([]byte, 6000+over))
			if n := b.loop.stats.SlowConsumersClosed; c.dead != cut || (n == 1) != cut {
				t.Errorf("%d bytes over its outbox: cut off %v, %d counted", over, c.dead, n)
			}
		})
	}
}

// A flush goes by the time at which it begins, however long ago the clock was read.
func TestFlushReadsTheClock(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.here(func() {
		b.loop.elapsed = 0
		if b.loop.flush(); b.loop.elapsed == 0 {
			t.Error("it did not")
		}
	})
}

// The timer of those who gather is set to the first of them.
func TestTimerOfTheGathered(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.here(func() {
		l := b.loop
		b.topic.notBefore, b.local.notBefore = l.elapsed+2*time.Hour, l.elapsed+time.Hour
		for _, topics := range [][]*Topic{{b.topic, b.local}, {b.local, b.topic}, {}} {
			l.gathering.topics = topics
			l.wakeGathered()
			var spec unix.ItimerSpec
			if err := unix.TimerfdGettime(int(l.gathering.timer), &spec); err != nil {
				t.Error(err)
			}
			want := time.Hour
			if len(topics) == 0 {
				want = 0
			}
			if got := time.Duration(spec.Interval.Nano()); got != want {
				t.Errorf("of %d topics: in %v, want %v", len(topics), got, want)
			}
		}
	})
}

// The address of a client is that of its socket, in its short form.
func TestAddressesOfSockets(t *testing.T) {
	t.Parallel()
	mapped := &unix.SockaddrInet6{Port: 7, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}}
	for from, want := range map[unix.Sockaddr]string{
		&unix.SockaddrInet4{Port: 7, Addr: [4]byte{192, 0, 2, 1}}:                       "192.0.2.1:7",
		&unix.SockaddrInet6{Port: 7, Addr: [16]byte{0: 0x20, 1: 0x01, 2: 0xd, 3: 0xb8}}: "[2001:db8::]:7",
		mapped: "192.0.2.1:7", &unix.SockaddrUnix{}: "invalid AddrPort",
	} {
		if got := addrPort(from).String(); got != want {
			t.Errorf("%T is %s, want %s", from, got, want)
		}
	}
}

// When many connections die at once each turn closes some.
func TestManyConnectionsThatDie(t *testing.T) {
	t.Parallel()
	const more = 50
	b := startInside(t, Config{ConnectionsMax: endsMax + more})
	for range endsMax + more {
		b.connect()
	}
	b.await(func(st Stats) bool { return st.Connections == endsMax+more })
	b.here(func() {
		l := b.loop
		for _, c := range l.conns {
			c.kill()
		}
		l.armed = false
		if l.closeDead(); len(l.dead) != more || len(l.conns) != more || !l.armed {
			t.Errorf("%d are left, and a turn follows: %v", len(l.dead), l.armed)
		}
	})
	b.await(func(st Stats) bool { return st.Connections == 0 })
}

// A loop that is to end runs what was posted before, and takes no more.
func TestPostsAtTheEnd(t *testing.T) {
	t.Parallel()
	l := idle(t, Config{})
	b := &l.mailbox
	b.begin()
	ran := 0
	var again func()
	again = func() { ran++; _ = b.post(again) }
	for range 3 {
		if err := b.post(again); err != nil {
			t.Fatal(err)
		}
	}
	b.stop()
	if err := b.post(again); !errors.Is(err, ErrNotRunning) {
		t.Errorf("it takes more: %v", err)
	}
	if err := b.read(); !errors.Is(err, gneterrors.ErrEngineShutdown) || ran != 3 {
		t.Errorf("%d of 3 ran, %v", ran, err)
	}
}
