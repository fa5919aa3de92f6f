package loadclient

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// socket is one TCP connection of a client.
type socket struct {
	c       *conn
	fd      int
	unsent  []byte // rest of what the socket did not take
	waiting bool   // for it to become writable
	skim    int    // of what comes next, bytes of messages that nobody needs to look at
}

// write sends p, which is unsent with more behind it, and keeps what the socket does not take.
func (s *socket) write(p []byte) error {
	n, err := unix.Write(s.fd, p)
	switch err {
	case nil:
	case unix.EAGAIN, unix.EINTR:
		n = 0
	default:
		return fmt.Errorf("sending: %w", err)
	}
	s.unsent = append(s.unsent[:0], p[n:]...)
	if blocked := len(s.unsent) > 0; blocked != s.waiting {
		s.waiting = blocked
		return s.c.w.watch(s)
	}
	return nil
}
