package server

import "golang.org/x/sys/unix"

// linger ends a connection whose last bytes are sent. Closing a socket with unread input resets it, which can destroy
// those bytes on their way; so we say that we are done, and wait for the peer's end.
func (c *conn) linger() {
	if c.dead {
		return
	}
	c.protocol = &lingering{c: c, was: c.protocol, since: c.loop.now}
	if c.hold = holdNone; c.taken < len(c.input) { // it is of no use any more
		c.wait(holdShare)
	}
	if !c.blocked {
		c.protocol.writable()
	}
	c.charge()
	c.watch()
}

// lingering is the protocol of a connection that waits for the peer's end.
type lingering struct {
	c     *conn
	was   protocol
	since int64
}

func (g *lingering) receive([]byte) []byte { return nil }
func (g *lingering) unfinished() bool      { return false }
func (g *lingering) goAway()               {}
func (g *lingering) kept() int             { return g.was.kept() }
func (g *lingering) outbox() int           { return g.was.outbox() }

// closed passes the news on. That the peer ended the connection was what we waited for.
func (g *lingering) closed() {
	g.c.interrupted = false
	g.was.closed()
}

// writable closes our half.
func (g *lingering) writable() { _ = unix.Shutdown(g.c.fd, unix.SHUT_WR) }

func (g *lingering) tick() {
	if g.c.loop.now-g.since > g.c.loop.cfg.CloseTimeout.Milliseconds() {
		g.c.abort()
	}
}
