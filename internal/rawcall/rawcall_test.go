package rawcall

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// pair is a TCP connection's two descriptors, which do not block.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // nothing is left to do
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var fds [2]int
	for i, c := range []net.Conn{near, far} {
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		_ = c.Close()
		fds[i] = int(f.Fd())
		if err := unix.SetNonblock(fds[i], true); err != nil {
			t.Fatal(err)
		}
	}
	return fds[0], fds[1]
}

// What is written is read, and thrown away, as often as it was written; and what would have to wait is EAGAIN.
func TestCalls(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epoll) //nolint:errcheck // nothing is left to do
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(b)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, b, &event); err != nil {
		t.Fatal(err)
	}
	events, p := make([]unix.EpollEvent, 4), make([]byte, 100)
	if n, err := Epoll(epoll, events); n != 0 || err != nil {
		t.Errorf("before: %d events, %v", n, err)
	}
	for _, call := range []func() (int, error){
		func() (int, error) { return Read(b, p) }, func() (int, error) { return Discard(b, 10) },
	} {
		if n, err := call(); n != -1 || !errors.Is(err, unix.EAGAIN) {
			t.Errorf("of an empty socket: %d %v", n, err)
		}
	}
	for _, write := range []func() (int, error){
		func() (int, error) { return Send(a, []byte("hello, world")) },
		func() (int, error) { return Writev(a, [3][]byte{[]byte("hello"), nil, []byte(", world")}) },
		func() (int, error) { return Writev(a, [3][]byte{[]byte("hel"), []byte("lo, w"), []byte("orld")}) },
	} {
		if n, err := write(); n != 12 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
		if n, err := unix.EpollWait(epoll, events, -1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := Epoll(epoll, events); n != 1 || err != nil || events[0].Fd != int32(b) {
			t.Errorf("%d events, %v, of %d", n, err, events[0].Fd)
		}
		if n, err := Discard(b, 7); n != 7 || err != nil {
			t.Errorf("threw away %d, %v", n, err)
		}
		if n, err := Read(b, p); n != 5 || err != nil || !bytes.Equal(p[:n], []byte("world")) {
			t.Errorf("read %q, %v", p[:max(n, 0)], err)
		}
	}
	_ = unix.Shutdown(a, unix.SHUT_WR)
	if _, err := unix.EpollWait(epoll, events, -1); err != nil {
		t.Fatal(err)
	}
	if n, err := Read(b, p); n != 0 || err != nil {
		t.Errorf("at the end: %d %v", n, err)
	}
	if n, err := Send(a, p); n != -1 || !errors.Is(err, unix.EPIPE) {
		t.Errorf("behind the end: %d %v", n, err)
	}
}
