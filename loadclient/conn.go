package loadclient

import "bytes"

// link is how a client's messages travel: one protocol.
type link interface {
	// ready tells whether messages can be sent. If not, the link asks for them when they can.
	ready() bool
	// send sends n messages that bear a time.
	send(n int, stamp int64) error
	// say sends messages that are not of the schedule.
	say(texts []string) error
	// receive takes what was read from one of the link's sockets, cut anywhere.
	receive(s *socket, data []byte) error
	// writable tells that a socket that was full has taken everything.
	writable(s *socket) error
	// betweenFrames tells whether everything that was received belongs to frames that are complete.
	betweenFrames() bool
	// skimmed tells that so many bytes of messages were thrown away, as the socket's skim allowed.
	skimmed(n int)
	// ended tells that the server has ended a connection; what it returns ends the trial.
	ended(s *socket) error
	sockets() []*socket
}

// conn is one client of the load: a sender of the schedule and a receiver of everything.
type conn struct {
	w         *worker
	index     int // among all connections of the level
	link      link
	reference *reference // what its room hears

	// Sending.
	sent   int         // messages handed to the link
	bursts fifo[burst] // what was sent when, from the first that has not come back

	// Receiving: where we are among the messages.
	pos   int
	marks fifo[mark]
	own   int // own messages received
	alone *straggler
	timed bool // the arrival of everybody's messages is
	next  int  // of the reference's passings

	// Of a trial that reads a sample, see sample.go.
	place int  // among the worker's connections
	skims bool // messages are counted by their bytes, and not looked at
	read  bool // it has had its turn of being read
	since int  // where that began, if bytes were counted before that nobody had looked at; else 0
	ahead fifo[reached]
	// missed is when it had last missed its turn of being read, because it was ahead, in ns since the start of the
	// trial; else 0.
	missed int64
}

// burst is the messages of a connection that were sent with one write.
type burst struct {
	end   int   // own messages sent by then
	at    int64 // when, in ns since the start of the trial
	stamp int64 // the time they bear
}

// mark is where in the reference one of a connection's own messages is complete.
type mark struct {
	end   int
	stamp int64
}

// straggler counts for itself a connection that does not receive what the others do: another order, a loss, a
// duplicate.
type straggler struct {
	tally   *tally
	partial []byte
}

// target is the server, as the connection's room has it.
func (c *conn) target() Target { return c.w.target.in(c.reference.room.number()) }

// reset prepares the connection for a trial.
func (c *conn) reset() {
	c.sent, c.own, c.pos, c.next = 0, 0, 0, 0
	c.skims, c.read, c.since, c.missed = false, false, 0, 0
	c.ahead.clear()
	c.bursts.clear()
	c.marks.clear()
	c.alone = nil
}

// frameEnd follows a frame that had messages.
func (c *conn) frameEnd() {
	c.w.frames++
	if c.reference.framing == nil {
		c.elements(c.reference.separator())
	}
	if c.w.plan.sample {
		c.takeTurn()
	}
}

// elements takes a part of the messages: compares it with what the others received, or is the first to.
func (c *conn) elements(p []byte) {
	c.w.heardAt = c.w.readAt
	switch {
	case c.alone != nil:
		c.pos += len(p)
		c.count(p, true)
		return
	case c.skims:
		c.skip(len(p))
		return
	}
	r := c.reference
	for len(p) > 0 {
		if c.pos == r.end {
			r.append(p)
			c.pos = r.end
			break
		}
		same := r.at(c.pos)
		n := min(len(same), len(p))
		if !bytes.Equal(same[:n], p[:n]) {
			c.stray(p)
			return
		}
		c.pos += n
		p = p[n:]
	}
	c.passMarks()
}

// passMarks takes note of the own messages that have come back, and of the others' that have come.
func (c *conn) passMarks() {
	passes := c.reference.passes
	heard := c.timed && c.next < len(passes) && passes[c.next].end <= c.pos
	if !heard && (c.marks.len() == 0 || c.marks.front().end > c.pos) {
		return
	}
	now := c.w.clock()
	for ; heard && c.next < len(passes) && passes[c.next].end <= c.pos; c.next++ {
		c.w.recordArrival(now - passes[c.next].due)
	}
	for c.marks.len() > 0 && c.marks.front().end <= c.pos {
		c.returned(c.marks.front().stamp, now)
		c.marks.pop()
	}
}

// returned records the round trip of the own message that bears a time. Messages with the same time are told apart by
// their order. What has come back twice or out of order matches nothing, and only the tally sees it.
func (c *conn) returned(stamp, now int64) {
	for c.bursts.len() > 0 {
		b := c.bursts.front()
		if b.stamp >= stamp && b.end > c.own {
			break
		}
		c.own = max(c.own, b.end) // all back, or lost
		c.bursts.pop()
	}
	if c.bursts.len() == 0 || c.bursts.front().stamp != stamp {
		return
	}
	c.w.record(now, c.bursts.front().at, c.index, c.own)
	c.own++
}

// stray leaves the reference: from here on this connection is counted by itself, beginning with what it has received so
// far, which is what the reference counted. Of what nobody has looked at that is a guess: a connection with a fault has
// another number of bytes there, and where it began to be read the reference may be inside a message.
func (c *conn) stray(p []byte) {
	c.passMarks()
	r := c.reference
	r.strayed++
	r.readers--
	here := r.blocks[c.pos/r.blockBytes]
	c.alone = &straggler{tally: new(tally)}
	here.before.copyTo(c.alone.tally)
	for pos := here.complete; pos < c.pos; {
		to := c.pos
		if pos < c.since {
			to = min(to, c.since)
		} else if pos == c.since {
			c.alone.partial = c.alone.partial[:0]
		}
		piece := r.at(pos)
		piece = piece[:min(len(piece), to-pos)]
		c.count(piece, false)
		pos += len(piece)
	}
	if c.pos == c.since {
		c.alone.partial = c.alone.partial[:0]
	}
	c.marks.clear()
	c.elements(p)
}

// count counts a part of the messages that only this connection received so. Those that are replayed have had their
// round trips recorded.
func (c *conn) count(p []byte, record bool) {
	s := c.alone
	if len(s.partial) > 0 {
		s.partial = append(s.partial, p...)
		p = s.partial
	}
	add := func(text []byte) {
		if m := s.tally.add(text); record && m.sender >= 0 && c.reference.room.first+m.sender == c.index {
			c.returned(m.stamp, c.w.clock())
		}
	}
	for len(p) > 0 {
		size := c.reference.cut(p, add)
		if size == 0 {
			break
		}
		p = p[size:]
	}
	s.partial = append(s.partial[:0], p...)
}

// send hands n messages of the schedule to the link.
func (c *conn) send(n int, now, stamp int64) error {
	c.sent += n
	c.bursts.push(burst{c.sent, now, stamp})
	t := &c.w.sentTally[c.index]
	t.count += n
	t.sum += int64(n) * stamp
	return c.link.send(n, stamp)
}
