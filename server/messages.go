package server

import "slices"

// recipient is the session that messages are for.
type recipient interface {
	// hears tells that the session has not been closed: a closed one is handed no more messages.
	hears() bool
	// wait says what the session's next message has to wait for.
	wait() backpressure
	message(m *Message) backpressure
}

// messages are those of a payload that have not been handed to their session yet, because the connection's share was
// spent or its session must wait.
type messages struct {
	rest  []byte // a part of whole
	whole []byte // owned
}

func (m *messages) waiting() bool { return len(m.rest) > 0 }

func (m *messages) kept() int { return cap(m.whole) }

// handOn hands on the messages of the loop's array, as many as the connection's share allows, and keeps the others.
func (m *messages) handOn(c *conn, to recipient) {
	l := c.loop
	l.waitFirst(c, to)
	for l.share.visit > 0 && c.hold == holdNone && to.hears() {
		next := l.array.Next()
		if next == nil {
			break
		}
		l.share.spend(messageOf(len(next.JSON())))
		if wait := to.message(next); !wait.none() {
			l.holdBack(c, wait)
		}
	}
	if rest := l.array.Rest(); to.hears() {
		m.keep(rest)
	} else {
		*m = messages{}
	}
}

// resume goes on with those that were kept.
func (m *messages) resume(c *conn, to recipient) {
	c.loop.array.Resume(m.rest)
	m.handOn(c, to)
}

// keep makes what is left our own, unless it is.
func (m *messages) keep(rest []byte) {
	switch {
	case len(rest) == 0:
		*m = messages{}
	case m.whole != nil: // it is a part of it
		m.rest = rest
	default:
		m.whole = slices.Clone(rest)
		m.rest = m.whole
	}
}

// waitFirst holds the connection if the session may not publish now.
func (l *loop) waitFirst(c *conn, to recipient) {
	if wait := to.wait(); !wait.none() && to.hears() {
		l.holdBack(c, wait)
	}
}
