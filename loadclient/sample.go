package loadclient

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
	w := c.w
	now := int(w.clock() * turns / int64(w.window))
	mine := c.place % min(turns, len(w.conns))
	due := mine == now%min(turns, len(w.conns)) || !c.read && mine < now
	r := c.reference
	switch {
	case due == !c.skims:
	case due && c.pos <= r.end:
		c.skims, c.since = false, c.pos
		r.readers++
	case !due && r.readers > 1:
		c.skims = true
		r.readers--
	}
}

// skip counts bytes of messages that nobody looks at.
func (c *conn) skip(n int) {
	c.pos += n
	if c.pos > c.reference.end {
		c.ahead.push(reached{c.pos, c.w.clock()})
	} else {
		c.ahead.clear()
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
