package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/internal/rawcall"
)

// acceptsMax is how many connections one event admits, so that those who are in have their turn too: 2 ms.
const acceptsMax = 128

// acceptPause is how long a failing accept is left alone, in milliseconds.
const acceptPause = 100

// listener is the listening socket. gnet's own acceptor takes one connection an event, and ends the engine when the
// process is out of descriptors; this one takes all, and waits.
type listener struct {
	fd         int
	accept4    func(fd int) (int, unix.Sockaddr, error) // accept4(2)
	attachment netpoll.PollAttachment
	addr       net.Addr
	pausedAt   int64 // loop time since which it is not watched; 0 when it is
}

// listen binds the address. Without SharePort it is ours alone.
func (l *loop) listen() error {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		if !l.cfg.SharePort {
			return nil
		}
		var err error
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); e != nil {
			return e
		}
		return err
	}}
	// Go's default is MPTCP: its listeners refuse TCP_USER_TIMEOUT, and their connections inherit no TCP_NOTSENT_LOWAT.
	config.SetMultipathTCP(false)
	ln, err := config.Listen(context.Background(), "tcp", l.cfg.Addr)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", l.cfg.Addr, err)
	}
	defer ln.Close() //nolint:errcheck // what we keep is a duplicate of its descriptor
	l.listener.addr = ln.Addr()
	if l.listener.fd, err = duplicate(ln.(*net.TCPListener)); err != nil {
		return err
	}
	l.setOptions(l.listener.fd)
	l.listener.attachment.FD = l.listener.fd
	return l.poller.AddRead(&l.listener.attachment, false)
}

// setOptions sets what the connections inherit from the listener. Failure leaves the kernel's own, larger bounds.
func (l *loop) setOptions(fd int) {
	// A receiver has no way to answer a heartbeat, but its kernel has. A raw WebSocket of 2011 is sent none, so the
	// kernels talk to each other when nobody else has.
	patience := l.cfg.HeartbeatDelay + l.cfg.PongTimeout
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	for option, value := range map[int]int{
		unix.TCP_NODELAY:       1,
		unix.TCP_NOTSENT_LOWAT: l.cfg.UnsentBytesMax,
		unix.TCP_USER_TIMEOUT:  int(patience.Milliseconds()),
		unix.TCP_KEEPIDLE:      max(1, int(patience.Seconds())),
		unix.TCP_KEEPINTVL:     max(1, int(l.cfg.PongTimeout.Seconds())),
	} {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, value)
	}
}

// duplicate is the descriptor of a listener, for ourselves. The Go runtime's poller lets go of its own.
func duplicate(ln *net.TCPListener) (int, error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if e := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return -1, e
	}
	return fd, os.NewSyscallError("fcntl", err)
}

// stopListening ends the acceptance of connections: those that wait in the kernel are reset.
func (l *loop) stopListening() {
	if l.listener.fd >= 0 {
		_ = unix.Close(l.listener.fd)
		l.listener.fd = -1
	}
}

// accept admits those who wait, or refuses them.
func (l *loop) accept() {
	for range acceptsMax {
		fd, from, err := l.listener.accept4(l.listener.fd)
		switch err {
		case nil:
			l.admit(fd, from)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO: // it gave up before we came
		default:
			l.pauseListening(err)
			return
		}
	}
}

func accept4(fd int) (int, unix.Sockaddr, error) {
	return unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

// pauseListening waits a while after an error that time may mend: the process or the system is out of descriptors or
// memory. The listener stays readable, so it must not be watched meanwhile.
func (l *loop) pauseListening(err error) {
	l.stats.AcceptErrors++
	if l.listener.pausedAt != 0 {
		return
	}
	l.logger.Warn("connections cannot be accepted at the moment", "error", err)
	l.listener.pausedAt = max(l.now, 1)
	_ = l.poller.Delete(l.listener.fd)
}

// listenAgain ends such a pause.
func (l *loop) listenAgain() {
	if p := l.listener.pausedAt; p == 0 || l.listener.fd < 0 || l.now-p < acceptPause {
		return
	}
	l.listener.pausedAt = 0
	if err := l.poller.AddRead(&l.listener.attachment, false); err != nil {
		l.pauseListening(err)
	}
}

// admit makes a connection, or refuses it.
func (l *loop) admit(fd int, from unix.Sockaddr) {
	full := l.memory.nearlyFull()
	if full || len(l.conns) >= l.cfg.ConnectionsMax {
		l.stats.ConnectionsRefused++
		if full {
			l.stats.RefusedForMemory++
		}
		refuse(fd)
		return
	}
	l.stats.ConnectionsAccepted++
	c := &conn{loop: l, fd: fd, remote: addrPort(from), index: len(l.conns), wroteAt: l.now}
	c.attachment.FD = fd
	c.protocol = l.firstProtocol(c)
	l.remember(c)
	c.watch()
}

// refuse tells a connection that there is no room for it. What it has said already is thrown away: a socket that is
// closed with unread input is reset, which can destroy the answer on its way.
func refuse(fd int) {
	const bytesMax = 1 << 20 // more than a receive buffer holds when nobody has read
	_, _ = writeSocket(fd, []byte(busyResponse))
	_, _ = rawcall.Discard(fd, bytesMax)
	_ = unix.Close(fd)
}

// remember adds a connection to the loop's.
func (l *loop) remember(c *conn) {
	l.conns = append(l.conns, c)
	for c.fd >= len(l.byFD) {
		l.byFD = append(l.byFD, nil)
	}
	l.byFD[c.fd] = c
	l.memory.connections.Charge(connBytes)
}

// forget takes a connection out of the loop's.
func (l *loop) forget(c *conn) {
	last := len(l.conns) - 1
	l.conns[c.index] = l.conns[last]
	l.conns[c.index].index = c.index
	l.conns[last] = nil
	l.conns = l.conns[:last]
	l.byFD[c.fd] = nil
	l.memory.connections.Charge(-connBytes)
	l.memory.inputs.Charge(-c.charged)
	c.charged = 0
	c.input, c.taken, c.output, c.sent = nil, 0, nil, 0 // it may stand in a queue for some turns
}

func addrPort(from unix.Sockaddr) netip.AddrPort {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
