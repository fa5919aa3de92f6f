package loadclient

import "time"

// turns is how many shares the connections are read in, one after the other.
const turns = 16

// reached is when a connection was at a place that nobody had read yet.
type reached struct {
	pos int
	at  int64 // ns since the start of the trial
}

// takeTurn decides, between two frames, whether the connection's next one is read. Who has had no turn is read until it
// has; who is ahead of the reference can be compared with nothing. The last of a room that is read goes on until
// another one is: else the reference would stay where it is, and all would be ahead of it for good.
func (c *conn) takeTurn() {
	if !c.skims {
		c.read = true
	}
	if c.alone != nil {
		return
	}
	at := c.w.readAt
	now, mine := int(at*turns/int64(c.w.window)), c.turn()
	due := mine == now%min(turns, len(c.w.conns)) || !c.read && mine < now
	r := c.reference
	switch {
	case due == !c.skims:
	case due && c.pos <= r.end:
		c.beRead()
	case !due && r.readers > 1:
		c.skims = true
		r.readers--
	}
	// A server that sends to one early in each round keeps it ahead of whoever is read. It waits for that one then.
	if c.missed = 0; c.skims && !c.read && at > (2*int64(mine)+1)*int64(c.w.window)/(2*turns) {
		c.missed = at
	}
}

// turn is which share the connection is of.
func (c *conn) turn() int { return c.place % min(turns, len(c.w.conns)) }

// beRead has the connection's next frame read.
func (c *conn) beRead() {
	c.skims, c.since, c.missed = false, c.pos, 0
	c.reference.readers++
}

// waitMax is how long a connection that is ahead of the reference waits for it, with its socket unread: a round of the
// server's should not take longer.
const waitMax = int64(50 * time.Millisecond)

// waits tells whether the connection, which has missed its turn of being read, is ahead of the reference and waits for
// it. When it is not any more, and stands between two frames, it is read.
func (c *conn) waits() bool {
	if c.missed == 0 || c.alone != nil || !c.link.betweenFrames() || c.w.clock() > c.missed+waitMax {
		return false
	}
	if c.pos > c.reference.end {
		return true
	}
	c.beRead()
	return false
}

// neverCompared tells whether something has come of which no byte was compared.
func (c *conn) neverCompared() bool { return c.w.plan.sample && !c.read && c.skims && c.pos > 0 }

// skip counts bytes of messages that nobody looks at.
func (c *conn) skip(n int) {
	c.w.heardAt = c.w.readAt
	c.pos += n
	switch {
	case c.pos <= c.reference.end:
		c.ahead.clear()
	case c.ahead.len() > 0 && c.ahead.back().at == c.w.readAt: // another frame of the same read
		c.ahead.back().pos = c.pos
	default:
		c.ahead.push(reached{c.pos, c.w.readAt})
	}
	c.passMarks()
}

// passed is when the connection reached a place that it has passed.
func (c *conn) passed(pos int) int64 {
	for c.ahead.len() > 0 {
		if c.ahead.front().pos >= pos {
			return c.ahead.front().at
		}
		c.ahead.pop()
	}
	return c.w.clock()
}
