package server

// interest is which of a socket's events the poller watches.
type interest uint8

const (
	watchIn  interest = 1 << iota // EPOLLIN
	watchOut                      // EPOLLOUT
)

// watch tells the poller which events are of use now.
func (c *conn) watch() {
	var want interest
	switch c.hold {
	case holdNone, holdResponse:
		want = watchIn
	case holdShare, holdTurn: // mostly until the next turn: not worth two system calls
		want = c.watched & watchIn
	}
	if c.blocked {
		want |= watchOut
	}
	c.watchFor(want)
}

func (c *conn) watchFor(want interest) {
	if want == c.watched || c.dead {
		return
	}
	p, was := c.loop.poller, c.watched
	c.watched = want
	var err error
	switch {
	case was == watchIn && want == watchIn|watchOut:
		err = p.ModReadWrite(&c.attachment, false)
	case was == watchIn|watchOut && want == watchIn:
		err = p.ModRead(&c.attachment, false)
	default:
		if was != 0 {
			err = p.Delete(c.fd)
		}
		if err == nil && want != 0 {
			err = c.watchAnew(want)
		}
	}
	if err != nil {
		c.loop.logger.Error("watching a connection", "error", err)
		c.kill()
	}
}

// watchAnew begins to watch a socket that is not watched.
func (c *conn) watchAnew(want interest) error {
	switch want {
	case watchIn:
		return c.loop.poller.AddRead(&c.attachment, false)
	case watchOut:
		return c.loop.poller.AddWrite(&c.attachment, false)
	default:
		return c.loop.poller.AddReadWrite(&c.attachment, false)
	}
}
