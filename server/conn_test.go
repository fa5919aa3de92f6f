package server

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// What a connection has received and sent is counted to the byte, and when it sent last is known.
func TestBytesOfAConnection(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.connect()
	said := "GET /local/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := io.WriteString(c, said); err != nil {
		t.Fatal(err)
	}
	heard := ""
	read := func(until string) {
		for p := make([]byte, 4096); !strings.HasSuffix(heard, until); {
			n, err := c.Read(p)
			if heard += string(p[:n]); err != nil {
				t.Fatalf("%q %v", heard, err)
			}
		}
	}
	read("\r\n\r\n")
	b.here(func() { b.only().wroteAt = -1 })
	frame := string(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("hello")))))
	if _, err := io.WriteString(c, frame); err != nil {
		t.Fatal(err)
	}
	read("hello")
	b.here(func() {
		st := &b.loop.stats
		if st.BytesSent != uint64(len(heard)) || st.BytesReceived != uint64(len(said)+len(frame)) {
			t.Errorf("%d bytes sent and %d received, want %d and %d", st.BytesSent, st.BytesReceived, len(heard),
				len(said)+len(frame))
		}
		if b.only().wroteAt < 0 {
			t.Error("it is not known that it wrote")
		}
	})
}

// A connection that had to wait for its share, and finds nothing to read then, is watched again.
func TestReleasedConnectionIsWatched(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/local")
	b.here(func() {
		b.only().watchFor(b.only().watched &^ watchIn)
		b.only().wait(holdShare)
	})
	for waiting := true; waiting; {
		b.here(func() { waiting = b.loop.share.waiting() })
	}
	if err := wsutil.WriteClientText(c, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	b.hears(c, "hello")
}

// A peer that breaks its connection is counted, and one that says goodbye is not.
func TestInterruptionsAreCounted(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	polite, rude := b.dial("/local"), b.dial("/local")
	if err := ws.WriteFrame(polite, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, polite); err != nil {
		t.Fatal(err)
	}
	_ = rude.(*net.TCPConn).SetLinger(0)
	_ = polite.Close()
	_ = rude.Close()
	if st := b.await(func(st Stats) bool { return st.Sessions == 0 }); st.ConnectionsInterrupted != 1 {
		t.Errorf("%d of two were interrupted", st.ConnectionsInterrupted)
	}
}

// A connection with the largest descriptor that there is a place for, and one with none.
func TestConnectionsByDescriptor(t *testing.T) {
	t.Parallel()
	l := loop{byFD: make([]*conn, 3)}
	if c := (&conn{}); l.connOf(3) != nil || l.connOf(2) != nil {
		t.Error("there is none")
	} else if l.byFD[2] = c; l.connOf(2) != c {
		t.Error("there is one")
	}
}

// What is published to a closed topic goes nowhere and is not counted, and its subscribers hear one topic less.
func TestClosedTopicsCountNoMore(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/local")
	b.here(func() {
		s := b.only().protocol.(*webSocket).session.(*Session)
		s.Subscribe(b.topic)
		if b.loop.multiTopic != 1 {
			t.Errorf("%d sessions hear several topics", b.loop.multiTopic)
		}
		b.topic.Close()
		if b.loop.multiTopic != 0 {
			t.Errorf("%d sessions hear several topics, after one of two was closed", b.loop.multiTopic)
		}
		before := b.loop.stats.MessagesPublished
		b.publish("nobody hears it")
		if n := b.loop.stats.MessagesPublished - before; n != 0 {
			t.Errorf("%d messages to a closed topic are counted", n)
		}
	})
	if err := wsutil.WriteClientText(c, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	b.hears(c, "hello")
}

// The age of a session is that of the loop's clock.
func TestAgeOfASession(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.dial("/local")
	b.here(func() {
		s := b.only().protocol.(*webSocket).session.(*Session)
		s.openedAt = b.loop.now - 1500
		if age := s.info().Age; age != 1500*time.Millisecond {
			t.Errorf("it is %v old, want 1.5 s", age)
		}
	})
}

// Nothing runs by a clock that is older than its turn, however long the loop has waited for it.
func TestClockIsReadFirst(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	for range 3 {
		time.Sleep(150 * time.Millisecond) // in which nothing happens
		posted := time.Since(b.loop.start)
		b.here(func() {
			if b.loop.elapsed < posted-50*time.Millisecond {
				t.Errorf("by the loop's clock it is %v, at %v", b.loop.elapsed, posted)
			}
		})
	}
}

// Nobody is silent because the loop was: loop time goes on by a second when the process was stopped for an hour.
func TestStallsAreNoLoopTime(t *testing.T) {
	t.Parallel()
	var l loop
	for _, step := range []struct {
		at                time.Duration
		now, readersClock int64
	}{
		{100 * time.Millisecond, 100, 100}, {100*time.Millisecond + time.Microsecond, 100, 100},
		{400 * time.Millisecond, 400, 350}, {time.Hour, 1400, 600}, {time.Hour + 500*time.Millisecond, 1900, 850},
	} {
		if l.readClock(step.at); l.now != step.now || l.readerClock != step.readersClock || l.elapsed != step.at {
			t.Errorf("at %v: loop time %d, of readers %d, elapsed %v; want %d, %d", step.at, l.now, l.readerClock,
				l.elapsed, step.now, step.readersClock)
		}
	}
}

// Nothing can be added to a server that has begun.
func TestHandleAfterRun(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	if err := errors.Join(b.Handle("/late", Echo())); err == nil {
		t.Error("a service was added")
	}
	if err := b.HandlePage("/late.txt", "text/plain", "x"); err == nil {
		t.Error("a page was added")
	}
}
