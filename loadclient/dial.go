package loadclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// dialTimeout bounds the opening of one connection: the connect and the handshake.
	dialTimeout = 10 * time.Second
	// dialers is how many connections are opened at a time, well below any accept backlog.
	dialers = 32
	// portsPerAddress is how many connections one loopback address is asked to carry; beyond that the next is used.
	portsPerAddress = 20_000
)

// dialed is an open client: descriptors that are ours alone, and what the server has sent already.
type dialed struct {
	fd      int
	rest    []byte
	sender  int    // a connection for requests with messages, where the protocol needs one; else -1
	session string // its part of the URL, /server/session, for SockJS over HTTP
}

func (d dialed) close() {
	for _, fd := range []int{d.fd, d.sender} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// dialAll opens n connections, or none.
func dialAll(ctx context.Context, t Target, n int) ([]dialed, error) {
	conns := make([]dialed, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(dialers)
	for i := range conns {
		conns[i] = dialed{fd: -1, sender: -1}
		g.Go(func() (err error) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			conns[i], err = dial(ctx, t, i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		for _, c := range conns {
			c.close()
		}
		return nil, err
	}
	return conns, nil
}

// dial opens one client, number i.
func dial(ctx context.Context, t Target, i int) (d dialed, err error) {
	d = dialed{fd: -1, sender: -1}
	defer func() {
		if err != nil {
			d.close()
			d = dialed{fd: -1, sender: -1}
		}
	}()
	if t.Protocol.Streams() {
		d.session = fmt.Sprintf("/000/%08x-%d", rand.Uint32(), i)
	}
	open := func(rw io.ReadWriter) ([]byte, error) { return t.open(rw, d.session) }
	if d.fd, d.rest, err = dialTCP(ctx, t, i, open); err != nil || !t.Protocol.Streams() {
		return d, err
	}
	d.sender, _, err = dialTCP(ctx, t, i, nil)
	return d, err
}

// dialTCP connects to the target, opens what open opens, and returns a descriptor and what the server has sent already.
func dialTCP(ctx context.Context, t Target, i int, open func(io.ReadWriter) ([]byte, error)) (fd int, rest []byte, err error) {
	d := net.Dialer{Timeout: dialTimeout}
	if host, _, _ := net.SplitHostPort(t.Addr); i >= portsPerAddress && net.ParseIP(host).IsLoopback() {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i/portsPerAddress))}
	}
	c, err := d.DialContext(ctx, "tcp", t.Addr)
	if err != nil {
		return -1, nil, dialError(t, err)
	}
	defer c.Close() //nolint:errcheck // a duplicate goes on
	if err := c.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return -1, nil, err
	}
	if open != nil {
		if rest, err = open(c); err != nil {
			return -1, nil, err
		}
	}
	fd, err = duplicate(c.(*net.TCPConn))
	return fd, rest, err
}

func dialError(t Target, err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing listens on %s: start the server first, or give its address with --target", errTarget, t.Addr)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("too many open files: raise the limit (ulimit -n), or use fewer connections")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("no client port is left: widen net.ipv4.ip_local_port_range, or use fewer connections")
	}
	return fmt.Errorf("%w: connecting to %s: %w", errTarget, t.Addr, err)
}

// duplicate gives the connection a descriptor that Go's poller knows nothing of, as a worker's own epoll wants it.
func duplicate(c *net.TCPConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	if dupErr != nil {
		return -1, os.NewSyscallError("fcntl", dupErr)
	}
	return fd, nil
}
