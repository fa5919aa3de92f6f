package server

import (
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/internal/rawcall"
)

// readSocket is read(2).
func readSocket(fd int, p []byte) (int, error) {
	for {
		if n, err := rawcall.Read(fd, p); err != unix.EINTR {
			return n, err
		}
	}
}

// writeSocket is send(2); a full socket takes nothing, which is no error.
func writeSocket(fd int, p []byte) (int, error) {
	for {
		if n, err := rawcall.Send(fd, p); err != unix.EINTR {
			return taken(n, err)
		}
	}
}

// writevSocket is the same of several slices.
func writevSocket(fd int, p [3][]byte) (int, error) {
	for {
		if n, err := rawcall.Writev(fd, p); err != unix.EINTR {
			return taken(n, err)
		}
	}
}

func taken(n int, err error) (int, error) {
	switch err {
	case nil:
		return n, nil
	case unix.EAGAIN:
		return 0, nil
	default:
		return 0, err
	}
}

// peerGone looks whether the peer has ended the connection, which the poller may not have told yet.
func (c *conn) peerGone() bool {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return c.dead || err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
