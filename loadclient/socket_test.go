package loadclient

import (
	"testing"

	"golang.org/x/sys/unix"
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
