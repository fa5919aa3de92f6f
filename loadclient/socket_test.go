package loadclient

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/codec"
)

// The memory of a send is used again for the next: a trial does not collect, and new pages cost more than a send.
func TestSendsUseTheirMemoryAgain(t *testing.T) {
	t.Parallel()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1]) //nolint:errcheck // nothing is lost
	s := &socket{fd: fds[0]}
	defer unix.Close(s.fd) //nolint:errcheck // likewise
	message, drain := make([]byte, 1000), make([]byte, 100_000)
	send := func() {
		p := s.buffer()
		for range 50 {
			p = append(p, message...)
		}
		if err := s.write(p); err != nil || len(s.unsent) > 0 {
			t.Fatalf("%d bytes are unsent, %v", len(s.unsent), err)
		}
		if n, err := unix.Read(fds[1], drain); n != 50*len(message) || err != nil {
			t.Fatalf("%d bytes came, %v", n, err)
		}
	}
	send()
	before := s.buffer()
	if cap(before) < 50*len(message) {
		t.Fatalf("%d bytes are kept", cap(before))
	}
	if send(); &s.buffer()[:1][0] != &before[:1][0] {
		t.Error("the memory is another")
	}
}

// A client that could not run until the drain was over looks at all its sockets before it calls the stream silent;
// heartbeats do not count.
func TestLastLookBeforeSilence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, frame string
		silent      bool
	}{
		{"a message", `a["` + payload(0, testStamp) + `"]`, false},
		{"a heartbeat", "h", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newTestWorker(t, SockJS)
			last := w.conns[0]
			for i := range 2 * eventsMax { // more than one look of the kernel's; the last to be ready tells
				c := &conn{w: w, index: testConns + i, reference: last.reference}
				c.link = newLink(c, nothingDialed)
				frame := "h"
				if w.conns = append(w.conns, c); i == 2*eventsMax-1 {
					frame = tt.frame
				}
				s := c.link.sockets()[0]
				s.fd = receives(t, codec.AppendFrame(nil, ws.OpText, []byte(frame)))
				if err := w.add(s); err != nil {
					t.Fatal(err)
				}
			}
			w.next, w.senders = w.plan.schedule.messages, nil // all is sent
			end, err := w.run(time.Now().Add(-time.Minute))
			quiet := end.drained - time.Duration(w.heardAt)
			if q := (Queues{Quiet: milliseconds(quiet)}); err != nil || q.Silent() != tt.silent {
				t.Errorf("quiet for %v, %v", quiet, err)
			}
		})
	}
}

// A fragment of a message is heard, though it is read as a whole with the last of them.
func TestFragmentsAreHeard(t *testing.T) {
	t.Parallel()
	w := newTestWorker(t, SockJS)
	f := ws.NewFrame(ws.OpText, false, []byte(`a["`))
	if err := w.conns[0].feedRaw(ws.MustCompileFrame(f)); err != nil || w.heardAt == 0 {
		t.Errorf("heard at %v, %v", w.heardAt, err)
	}
}

// What a server sends in many small frames, to a connection that need not be looked at, is read with few calls, and
// noted once for each: a client that is behind has the least time for it.
func TestSmallFramesShareReads(t *testing.T) {
	t.Parallel()
	w := newTestWorker(t, SockJS)
	c := w.conns[0]
	c.skims = true
	const frames = 200
	one := wire(SockJS, someMessages(10))
	s := c.link.sockets()[0]
	s.fd = receives(t, bytes.Repeat(one, frames))
	if err := w.receive(s); err != nil {
		t.Fatal(err)
	}
	if w.frames != frames || w.bytes != frames*len(one) {
		t.Fatalf("%d frames, %d bytes, want %d of %d", w.frames, w.bytes, frames, len(one))
	}
	if w.reads > 5 || c.ahead.len() > w.reads {
		t.Errorf("%d reads of %d bytes, and %d notes", w.reads, w.bytes, c.ahead.len())
	}
}

// receives is a socket in which something lies that its peer has sent.
func receives(t *testing.T, p []byte) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // one connection is all that it is for
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // its descriptor is kept as another
	if _, err = peer.Write(p); err != nil {
		t.Fatal(err)
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // likewise
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
