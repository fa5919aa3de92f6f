package loadclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/tuning"
)

const (
	// dialTimeout bounds the opening of one connection: the connect and the handshake.
	dialTimeout = 10 * time.Second
	// dialers is how many connections are opened at a time, well below any accept backlog.
	dialers = 32
	// portsPerAddress is how many connections one loopback address is asked to carry; beyond that the next is used.
	portsPerAddress = 20_000
)

// channel is an open connection: a descriptor that is ours alone, and TLS on it or not.
type channel struct {
	fd     int
	secure *secure
}

// closed is no connection.
var closed = channel{fd: -1}

// dialed is an open client, and what the server has sent already.
type dialed struct {
	channel
	rest   []byte
	sender channel // for requests with messages, where the protocol needs one; else closed
	opening
}

// nothingDialed has no connection.
var nothingDialed = dialed{channel: closed, sender: closed}

func (d dialed) close() {
	for _, ch := range []channel{d.channel, d.sender} {
		if ch.fd >= 0 {
			_ = unix.Close(ch.fd)
		}
	}
}

// dialAll opens the connections with some indexes, so many a room, in that order or shuffled; or none.
func dialAll(ctx context.Context, t Target, indexes []int, room int, inOrder bool) ([]dialed, error) {
	conns := make([]dialed, len(indexes))
	for i := range conns {
		conns[i] = nothingDialed
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(dialers)
	for _, i := range sequence(len(indexes), inOrder) {
		g.Go(func() (err error) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			conns[i], err = dial(ctx, t.in(indexes[i]/room), indexes[i])
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

// sequence is the order in which n connections are opened. Those with the lowest indexes send first, or alone. A server
// that sends to its connections in the order in which they came would have its round trips measured at the front of its
// queue: 0.3 ms of turns of 6 ms, seen at 2000 connections and five messages a second. So who sends is anywhere in it,
// the same in each run.
func sequence(n int, inOrder bool) []int {
	order := rand.New(rand.NewPCG(2011, uint64(n))).Perm(n)
	if inOrder {
		slices.Sort(order)
	}
	return order
}

// dial opens one client, number i.
func dial(ctx context.Context, t Target, i int) (d dialed, err error) {
	d = nothingDialed
	defer func() {
		if err != nil {
			d.close()
			d = nothingDialed
		}
	}()
	d.index = i
	if streams(t.Protocol) {
		d.session = fmt.Sprintf("/000/%08x-%d", rand.Uint32(), i)
	}
	open := func(rw io.ReadWriter) ([]byte, error) { return declared(t.Protocol).open(t, rw, d.opening) }
	if d.channel, d.rest, err = dialTCP(ctx, t, i, open); err != nil || !streams(t.Protocol) {
		return d, err
	}
	d.sender, _, err = dialTCP(ctx, t, i, nil)
	return d, err
}

// dialTCP connects to the target, with TLS if it wants that, opens what open opens, and returns what the server has
// sent already.
func dialTCP(
	ctx context.Context, t Target, i int, open func(io.ReadWriter) ([]byte, error),
) (ch channel, rest []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := net.Dialer{Control: t.bound}
	if host, _, _ := net.SplitHostPort(t.Addr); i >= portsPerAddress && net.ParseIP(host).IsLoopback() {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i/portsPerAddress))}
	}
	c, err := d.DialContext(ctx, "tcp", t.Addr)
	if err != nil {
		return closed, nil, dialError(t, err)
	}
	defer c.Close() //nolint:errcheck // a duplicate goes on

	deadline, _ := ctx.Deadline() // of all, and no later than the caller's
	if err := c.SetDeadline(deadline); err != nil {
		return closed, nil, err
	}
	var rw io.ReadWriter = c
	if t.TLS != nil {
		if ch.secure, err = dialSecure(ctx, t, c); err != nil {
			return closed, nil, err
		}
		rw = ch.secure.tls
	}
	if open != nil {
		if rest, err = open(rw); err != nil {
			return closed, nil, err
		}
	}
	if ch.fd, err = duplicate(c.(*net.TCPConn)); err != nil {
		return closed, nil, err
	}
	return ch, rest, nil
}

// bound gives a socket its receive buffer, before it is connected: the window is scaled by it.
func (t *Target) bound(_, _ string, c syscall.RawConn) error {
	if t.receiveBuffer == 0 {
		return nil
	}
	var setErr error
	err := c.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, t.receiveBuffer)
	})
	return errors.Join(err, os.NewSyscallError("setsockopt", setErr))
}

func dialError(t Target, err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nothing listens on %s: start the server first, or give its address with --target",
			errTarget, t.Addr)
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

const (
	descriptorsReserved = 64
	// descriptorsDialing is what connections hold while they are opened, beside the one that they keep.
	descriptorsDialing = 2 * dialers
)

// CheckDescriptors raises the limit of open files, and says when it is too low for so many connections.
func CheckDescriptors(connections int) error {
	have, err := tuning.RaiseDescriptors()
	if err != nil {
		return err
	}
	if need := descriptorsDialing + connections + descriptorsReserved; need > have {
		return fmt.Errorf("%d connections need %d open files and the limit is %d: "+
			"raise it (ulimit -n %d), or use fewer connections", connections, need, have, need)
	}
	return nil
}
