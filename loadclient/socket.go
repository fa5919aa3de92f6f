package loadclient

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/internal/rawcall"
)

// socket is one TCP connection of a client, with TLS on it or not.
type socket struct {
	c       *conn
	fd      int
	secure  *secure // nil without TLS
	unsent  []byte  // rest of what the socket did not take; of TLS, ciphertext
	waiting bool    // for it to become writable
	skim    int     // of what comes next, bytes of messages that nobody needs to look at
}

func newSocket(c *conn, ch channel) *socket {
	s := &socket{c: c}
	s.use(ch)
	return s
}

// use takes a new connection in the place of the last.
func (s *socket) use(ch channel) {
	s.fd, s.secure, s.unsent, s.waiting = ch.fd, ch.secure, s.unsent[:0], false
	if s.secure != nil {
		s.secure.socket, s.secure.dialing = s, nil
	}
}

// buffer is what bytes to send are appended to, for write. Without TLS that is what has not been sent yet, so that
// nothing is copied once more; with TLS it is scratch.
func (s *socket) buffer() []byte {
	if s.secure != nil {
		return s.c.w.clear[:0]
	}
	return s.unsent
}

// write sends p, which is the buffer with more behind it, and keeps what the socket does not take.
func (s *socket) write(p []byte) error {
	if s.secure == nil {
		return s.push(p)
	}
	s.c.w.clear = p
	if len(p) > 0 {
		if _, err := s.secure.tls.Write(p); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	return s.push(s.unsent)
}

// push gives the socket p, which is unsent with more behind it, as it is to be on the wire. What p has grown to is kept
// for the next: memory that is made anew for each send costs more than the send.
func (s *socket) push(p []byte) error {
	n, err := rawcall.Send(s.fd, p)
	switch err {
	case nil:
	case unix.EAGAIN, unix.EINTR:
		n = 0
	default:
		return fmt.Errorf("sending: %w", err)
	}
	s.unsent = append(p[:0], p[n:]...)
	if blocked := len(s.unsent) > 0; blocked != s.waiting {
		s.waiting = blocked
		return s.c.w.watch(s)
	}
	return nil
}
