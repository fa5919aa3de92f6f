package loadclient

import (
	"bytes"
	"fmt"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/codec"
)

// conn is one client of the load: a sender of the schedule and a receiver of everything.
type conn struct {
	w        *worker
	fd       int
	index    int // among all connections of the level
	template template

	// Sending.
	sent    int         // messages handed to the kernel, or left in unsent
	unsent  []byte      // rest of what the socket did not take
	bursts  fifo[burst] // what was sent when, from the first that has not come back
	waiting bool        // for the socket to become writable

	// Receiving: where we are in a frame.
	head   [ws.MaxHeaderSize]byte
	headed int
	frame  ws.Header
	off    int    // in the payload
	inside bool   // a payload
	kind   byte   // of a SockJS frame: its first letter
	any    bool   // the message has had elements
	parts  []byte // of a fragmented message
	parted bool   // a fragmented message has begun
	ctl    []byte // payload of a control frame

	// Receiving: where we are among the messages.
	pos   int
	marks fifo[mark]
	own   int // own messages received
	alone *straggler
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

// straggler counts for itself a connection that does not receive what the others do: another order, a loss, a duplicate.
type straggler struct {
	tally   *tally
	partial []byte
}

// reset prepares the connection for a trial.
func (c *conn) reset() {
	c.sent, c.own, c.pos = 0, 0, 0
	c.bursts.clear()
	c.marks.clear()
	c.alone = nil
}

// feed takes what was read, cut anywhere.
func (c *conn) feed(data []byte) error {
	for len(data) > 0 {
		if !c.inside {
			n, err := c.header(data)
			if err != nil {
				return err
			}
			data = data[n:]
			continue
		}
		n := min(len(data), int(c.frame.Length)-c.off)
		if err := c.payload(data[:n]); err != nil {
			return err
		}
		data = data[n:]
		if c.off += n; c.off == int(c.frame.Length) {
			c.inside = false
			if err := c.frameEnd(); err != nil {
				return err
			}
		}
	}
	return nil
}

// header reads a frame header and returns how many bytes of data belong to it.
func (c *conn) header(data []byte) (int, error) {
	p := data
	if c.headed > 0 {
		n := copy(c.head[c.headed:], data)
		p = c.head[:c.headed+n]
	}
	h, size, err := codec.ParseHeader(p)
	if err != nil {
		return 0, err
	}
	if size == 0 {
		c.headed += copy(c.head[c.headed:], data)
		return len(data), nil
	}
	used := size - c.headed
	c.headed = 0
	state := ws.StateClientSide
	if c.parted {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return 0, err
	}
	if h.Length > frameBytesMax {
		return 0, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	c.frame, c.off = h, 0
	if c.inside = h.Length > 0; !c.inside {
		return used, c.frameEnd()
	}
	return used, nil
}

// frameBytesMax is the largest frame a server may send us.
const frameBytesMax = 1 << 30

// whole tells whether the frame is a text message in one piece, which needs no copy.
func (c *conn) whole() bool { return c.frame.Fin && c.frame.OpCode == ws.OpText }

func (c *conn) payload(p []byte) error {
	switch {
	case c.whole():
		return c.text(p, c.off, int(c.frame.Length))
	case c.frame.OpCode.IsControl():
		c.ctl = append(c.ctl, p...)
	default:
		c.parts = append(c.parts, p...)
	}
	return nil
}

// text takes a part of a text message of size bytes, from the offset off on.
func (c *conn) text(p []byte, off, size int) error {
	if c.w.target.Protocol == WebSocket {
		c.any = true
		c.elements(p)
		return nil
	}
	if off == 0 {
		c.kind = p[0]
		if c.kind != 'a' && size > 1 && c.kind != 'c' {
			return fmt.Errorf("a SockJS frame that begins with %q", p[0])
		}
	}
	if c.kind != 'a' {
		if c.kind == 'c' {
			return fmt.Errorf("the server closed the session: %s", p)
		}
		return nil
	}
	// a[ … ]
	lo, hi := max(2, off), min(size-1, off+len(p))
	if off <= 1 && off+len(p) > 1 && p[1-off] != '[' || off+len(p) == size && p[len(p)-1] != ']' || size < 3 {
		return fmt.Errorf("a SockJS frame that is no array")
	}
	if lo < hi {
		c.any = true
		c.elements(p[lo-off : hi-off])
	}
	return nil
}

// frameEnd follows the last byte of a frame.
func (c *conn) frameEnd() error {
	switch {
	case c.frame.OpCode.IsControl():
		return c.control()
	case !c.frame.Fin:
		c.parted = true
		return nil
	case c.parted:
		message := c.parts
		c.parts, c.parted = c.parts[:0], false
		if err := c.text(message, 0, len(message)); err != nil {
			return err
		}
	}
	c.w.frames++
	if c.any {
		c.any = false
		c.elements(comma)
	}
	return nil
}

var comma = []byte{','}

// control answers a ping and takes note of a close.
func (c *conn) control() error {
	payload := c.ctl
	c.ctl = c.ctl[:0]
	switch c.frame.OpCode {
	case ws.OpPing:
		return c.write(codec.AppendMaskedFrame(c.unsent, ws.OpPong, payload, [4]byte{1, 2, 3, 4}))
	case ws.OpClose:
		code, reason, err := codec.ParseClose(payload)
		if err != nil {
			return err
		}
		return fmt.Errorf("the server closed the connection: %d %s", code, reason)
	}
	return nil
}

// elements takes a part of the messages: compares it with what the others received, or is the first to.
func (c *conn) elements(p []byte) {
	if c.alone != nil {
		c.count(p, true)
		return
	}
	r := c.w.reference
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

// passMarks takes note of the own messages that have come back.
func (c *conn) passMarks() {
	if c.marks.len() == 0 || c.marks.front().end > c.pos {
		return
	}
	now := c.w.clock()
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
// far.
func (c *conn) stray(p []byte) {
	c.passMarks()
	c.w.strayed++
	c.alone = &straggler{tally: newTally(c.w.idBase, c.w.plan.connections)}
	r := c.w.reference
	for pos := 0; pos < c.pos; {
		piece := r.at(pos)
		piece = piece[:min(len(piece), c.pos-pos)]
		c.count(piece, false)
		pos += len(piece)
	}
	c.marks.clear()
	c.count(p, true)
}

// count counts a part of the messages that only this connection received so. Those that are replayed have had their
// round trips recorded.
func (c *conn) count(p []byte, record bool) {
	s := c.alone
	if len(s.partial) > 0 {
		s.partial = append(s.partial, p...)
		p = s.partial
	}
	for len(p) > 0 {
		text, size := cutMessage(p, c.w.reference.quoted)
		if size == 0 {
			break
		}
		if text != nil {
			if m := s.tally.add(text); record && m.sender == c.index {
				c.returned(m.stamp, c.w.clock())
			}
		}
		p = p[size:]
	}
	s.partial = append(s.partial[:0], p...)
}

// send hands n messages of the schedule to the kernel.
func (c *conn) send(n int, now, stamp int64) error {
	c.unsent = c.template.append(c.unsent, stamp, n)
	c.sent += n
	c.bursts.push(burst{c.sent, now, stamp})
	t := &c.w.sentTally[c.index]
	t.count += n
	t.sum += int64(n) * stamp
	return c.write(c.unsent)
}

// write sends p, which is unsent with more behind it, and keeps what the socket does not take.
func (c *conn) write(p []byte) error {
	n, err := unix.Write(c.fd, p)
	switch err {
	case nil:
	case unix.EAGAIN, unix.EINTR:
		n = 0
	default:
		return fmt.Errorf("sending: %w", err)
	}
	c.unsent = append(c.unsent[:0], p[n:]...)
	if blocked := len(c.unsent) > 0; blocked != c.waiting {
		c.waiting = blocked
		return c.w.watch(c)
	}
	return nil
}
