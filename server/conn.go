package server

import (
	"net"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// protocol is what a connection speaks at the moment: HTTP, then perhaps WebSocket, and at the end nothing.
type protocol interface {
	// receive takes what was read. It uses all of data, which is borrowed, or changes the connection's protocol and
	// returns the rest.
	receive(data []byte) []byte
	// drained tells that a socket that was full can take more.
	drained()
	// tick looks at the protocol's timeouts.
	tick()
	// goAway begins a friendly end: the server shuts down.
	goAway()
	// closed tells that the connection is no more.
	closed()
}

// conn is one TCP connection, and the only one that calls gnet for it: gnet writes to whoever owns the descriptor by
// then, so nothing is called once the connection is dead.
type conn struct {
	loop     *loop
	gc       gnet.Conn
	fd       int
	protocol protocol
	index    int // among the loop's connections

	readAt, wroteAt int64 // loop time of the last byte in and out

	dead        bool // nothing may be read or written any more
	gone        bool // gnet has closed it
	interrupted bool // the peer ended it without saying so
	lagging     bool // among the loop's laggards
}

// receive feeds data to the protocol, and what it leaves to the next one.
func (c *conn) receive(data []byte) {
	defer c.guard()
	c.readAt = c.loop.now
	for len(data) > 0 && !c.dead {
		data = c.protocol.receive(data)
	}
}

// kill marks the connection dead; it is closed at the end of the turn. Safe in the middle of a fan-out.
func (c *conn) kill() {
	if c.dead {
		return
	}
	c.dead = true
	c.loop.dead = append(c.loop.dead, c)
	c.loop.arm()
}

// abort is kill for a peer that does not read: what the kernel still holds for it is thrown away.
func (c *conn) abort() {
	if !c.dead {
		_ = c.gc.SetLinger(0)
		c.kill()
	}
}

// blocked tells that the socket is full; asking costs no system call.
func (c *conn) blocked() bool { return c.lagging && c.gc.OutboundBuffered() > 0 }

// watchBytes is what gnet is given of the bytes that a full socket did not take. It could be given all, but it would copy
// them, without a limit, for each connection. A few bytes are enough to have it watch the socket: when they are gone,
// there is room again. The rest stays in the log, once for all.
const watchBytes = 64

// write sends shared bytes and returns how many it took; fewer than all means that the socket is full, and the loop will
// call protocol.drained, or that the connection has died.
func (c *conn) write(p []byte) int {
	n, err := writeSocket(c.fd, p)
	if err != nil {
		c.interrupted = true
		c.kill()
		return 0
	}
	if n < len(p) {
		n += c.watch(p[n:])
	}
	c.wrote(n)
	return n
}

func (c *conn) wrote(n int) {
	c.wroteAt = c.loop.now
	c.loop.stats.BytesSent += uint64(n)
}

// writeFrame sends shared bytes between a few that are this connection's own, with one system call, and returns how many
// of the shared ones it took, as write does. Of its own bytes none is left: what the socket does not take, gnet keeps.
func (c *conn) writeFrame(before, shared, after []byte) int {
	n, err := writevSocket(c.fd, before, shared, after)
	if err != nil {
		c.interrupted = true
		c.kill()
		return 0
	}
	c.wrote(n)
	if n < len(before) {
		c.send(before[n:])
		return 0
	}
	if n -= len(before); n < len(shared) {
		taken := c.watch(shared[n:])
		c.wrote(taken)
		if n += taken; n < len(shared) || c.dead {
			return n
		}
		c.send(after)
		return n
	}
	if rest := after[n-len(shared):]; len(rest) > 0 {
		c.send(rest)
	}
	return len(shared)
}

// watch hands gnet the first few bytes of what a full socket did not take.
func (c *conn) watch(p []byte) int {
	p = p[:min(len(p), watchBytes)]
	if _, err := c.gc.Write(p); err != nil { // gnet has called OnClose
		return 0
	}
	c.loop.lag(c)
	return len(p)
}

// send writes bytes of this connection alone, borrowed, buffering what the socket does not take: HTTP responses. A peer
// that asks without reading is cut off.
func (c *conn) send(p []byte) {
	if c.dead {
		return
	}
	if c.gc.OutboundBuffered() > c.loop.cfg.OutboxBytesMax {
		c.loop.stats.SlowConsumersClosed++
		c.abort()
		return
	}
	if _, err := c.gc.Write(p); err != nil { // gnet has called OnClose
		return
	}
	c.wrote(len(p))
	if c.gc.OutboundBuffered() > 0 { // what is written directly may not overtake it
		c.loop.lag(c)
	}
}

// linger ends a connection whose last bytes are sent. Closing a socket with unread input resets it, which can destroy
// those bytes on their way; so we say that we are done, and wait for the peer's end.
func (c *conn) linger() {
	if c.dead {
		return
	}
	c.protocol = &lingering{c, c.protocol, c.loop.now, false}
	c.protocol.drained()
}

// RemoteAddr is the peer's address.
func (c *conn) remoteAddr() net.Addr {
	if c.gone {
		return nil
	}
	return c.gc.RemoteAddr()
}

// writeSocket is write(2), whose only errors worth having are those that end a connection.
func writeSocket(fd int, p []byte) (int, error) {
	for {
		if n, err := unix.Write(fd, p); err != unix.EINTR {
			return written(n, err)
		}
	}
}

// writevSocket is the same of several slices.
func writevSocket(fd int, p ...[]byte) (int, error) {
	for {
		if n, err := unix.Writev(fd, p); err != unix.EINTR {
			return written(n, err)
		}
	}
}

func written(n int, err error) (int, error) {
	switch err {
	case nil:
		return n, nil
	case unix.EAGAIN:
		return 0, nil
	default:
		return 0, err
	}
}

// lingering is the protocol of a connection that waits for the peer's end.
type lingering struct {
	c      *conn
	was    protocol
	since  int64
	halved bool // our half is closed
}

func (g *lingering) receive([]byte) []byte { return nil }
func (g *lingering) goAway()               {}
func (g *lingering) closed()               { g.was.closed() }

func (g *lingering) drained() {
	if g.c.gc.OutboundBuffered() > 0 {
		g.c.loop.lag(g.c)
	} else if !g.halved {
		g.halved = true
		_ = unix.Shutdown(g.c.fd, unix.SHUT_WR)
	}
}

func (g *lingering) tick() {
	if g.c.loop.now-g.since > g.c.loop.cfg.CloseTimeout.Milliseconds() {
		g.c.abort()
	}
}
