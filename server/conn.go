package server

import (
	"net"
	"net/netip"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// protocol is what a connection speaks at the moment: HTTP, then perhaps WebSocket, and at the end nothing.
type protocol interface {
	// receive takes what it may of data, which is borrowed and may be written to, and returns the rest. There is a rest
	// when the connection's share of the turn is spent, when it is held, or when it speaks another protocol from here
	// on.
	receive(data []byte) []byte
	// unfinished tells that a part of what has been received is still to be worked on.
	unfinished() bool
	// writable tells that a socket that was full can take more.
	writable()
	// tick looks at the protocol's timeouts.
	tick()
	// goAway begins a friendly end: the server shuts down.
	goAway()
	// kept is the memory that the protocol keeps of what was received, in bytes.
	kept() int
	// outbox is the memory of the outbox of the session that ends with the connection, in bytes.
	outbox() int
	// closed tells that the connection is no more.
	closed()
}

// hold says why a connection's input waits. Whoever ends the wait calls release, and the
// connection goes on when it has its share.
type hold uint8

const (
	holdNone      hold = iota
	holdShare          // it has had its share of the turn
	holdTurn           // its session publishes, and the turn can send out no more
	holdResponse       // behind a response on its way; what comes is still read, up to a bound
	holdSocket         // what it was answered has not left: its socket is full
	holdPublisher      // its session publishes faster than it may, or than a topic's readers read
	holdReader         // its session publishes, and does not take what was published
)

// conn is one TCP connection. It reads into the loop's buffer, which all connections share, and keeps only what must
// wait; it writes what others own directly, and keeps only the rest of what is its own.
type conn struct {
	loop     *loop
	fd       int
	remote   netip.AddrPort // the client's, as far as trusted proxies tell
	protocol protocol
	index    int // among the loop's connections

	attachment netpoll.PollAttachment
	watched    interest
	hold       hold

	input   []byte // owned: has come and waits, from taken on
	taken   int
	output  []byte // owned: this connection's own bytes that the socket has not taken yet, from sent on
	sent    int
	charged int // of input, output and what the protocol keeps, as the budget knows it

	wroteAt     int64 // loop time of the last byte out
	behindUntil int64 // loop time until which those who have had less come first

	publishes   bool // its session published something in the last visit that handed it a message
	dead        bool // nothing may be read or written any more
	interrupted bool // the peer ended it without saying so
	blocked     bool // the socket is full
}

// event follows an event of the connection's socket.
func (c *conn) event(ev netpoll.IOEvent) {
	if c.blocked && ev&(netpoll.WriteEvents|netpoll.ErrEvents) != 0 {
		c.becameWritable()
	}
	if ev&(netpoll.ReadEvents|netpoll.ErrEvents) != 0 && !c.dead {
		c.becameReadable(ev&netpoll.ErrEvents != 0)
	}
}

// becameReadable reads, if the connection may go on and the turn has room for it.
func (c *conn) becameReadable(failed bool) {
	held := c.hold != holdNone && c.hold != holdResponse
	switch {
	case held && failed:
		c.lost()
	case c.hold == holdShare || c.hold == holdTurn: // it waits for longer than a turn: spare the poller the reminders
		c.watchFor(c.watched &^ watchIn)
	case held: // an event of before
	case c.hold == holdNone && c.loop.now < c.behindUntil:
		c.wait(holdShare)
	case c.hold == holdNone && c.loop.share.spent():
		c.hold = holdShare
		c.loop.share.push(c, &c.loop.share.fresh)
	case c.hold == holdResponse || c.mayPublish():
		c.read()
	}
}

// read takes what the socket has, up to the size of the loop's buffer.
func (c *conn) read() {
	n, err := readSocket(c.fd, c.loop.buffer)
	switch {
	case err == unix.EAGAIN:
	case err != nil || n == 0:
		c.lost()
	default:
		c.loop.stats.BytesReceived += uint64(n)
		c.take(c.loop.buffer[:n])
	}
}

// take feeds data, which is borrowed, to the protocol, and keeps what has to wait.
func (c *conn) take(data []byte) {
	if c.hold == holdNone {
		data = c.feed(data)
	}
	if c.taken > len(c.input)/2 { // behind a response, where more is read than can be taken yet
		c.input, c.taken = c.input[:copy(c.input, c.input[c.taken:])], 0
	}
	if c.input == nil && len(data) > 0 && (c.hold == holdShare || c.hold == holdTurn) { // for a turn or two
		c.input = c.loop.memory.spare.take(len(data))
	}
	c.input = append(c.input, data...)
	c.settle()
}

// resume feeds what has waited to the protocol, or reads if what has waited is still in the socket.
func (c *conn) resume() {
	if c.taken == len(c.input) && !c.protocol.unfinished() {
		c.watch()
		c.read()
		return
	}
	rest := c.feed(c.input[c.taken:])
	c.taken = len(c.input) - len(rest)
	c.settle()
}

// feed hands data to the protocol, and what it leaves to the next one, until the connection has to wait.
func (c *conn) feed(data []byte) []byte {
	defer c.guard()
	c.loop.share.beginVisit()
	for !c.dead && c.hold == holdNone && (len(data) > 0 || c.protocol.unfinished()) {
		if c.loop.share.visit <= 0 {
			c.wait(holdShare)
			break
		}
		before := len(data)
		data = c.protocol.receive(data)
		c.loop.share.spend((before - len(data)) >> byteShift)
	}
	s := &c.loop.share
	if s.handed {
		c.publishes = s.published
	}
	if over := -s.visit - visitCost; over > 0 {
		c.behindUntil = c.loop.now + int64(over>>behindShift)
	}
	return data
}

// behindBytesMax is how much may wait behind a response on its way, beside a request head.
const behindBytesMax = 16 << 10

// settle follows a visit: what is kept is charged, and the poller told what to watch.
func (c *conn) settle() {
	waiting := len(c.input) - c.taken
	if c.hold == holdResponse && waiting > c.loop.cfg.RequestHeadBytesMax+behindBytesMax {
		c.loop.stats.RequestsRefused++
		c.kill()
	}
	var done []byte
	if waiting == 0 || c.dead {
		done, c.input, c.taken = c.input, nil, 0
	}
	c.charge()
	c.loop.memory.spare.put(done) // when it is not the connection's any more
	c.watch()
}

// charge tells the budget what the connection keeps now.
func (c *conn) charge() {
	kept := cap(c.input) + cap(c.output) + c.protocol.kept()
	m := &c.loop.memory
	m.inputs.Charge(kept - c.charged)
	if c.charged = kept; m.budget.Used() > m.budget.BytesMax {
		c.loop.arm() // which sheds
	}
	m.collector.adjust(m.budget.Used())
}

// wait holds the connection's input.
func (c *conn) wait(why hold) {
	switch c.hold = why; why {
	case holdShare:
		c.loop.share.push(c, &c.loop.share.again)
	case holdTurn:
		c.loop.share.publishers = append(c.loop.share.publishers, c)
	}
}

// publishing tells that the connection's session has published something and waits until it may again.
func (c *conn) publishing() bool { return c.hold == holdPublisher || c.hold == holdReader }

// release ends the wait for one reason: the connection goes on when it has its share.
func (c *conn) release(why hold) {
	if c.hold == why && !c.dead {
		c.wait(holdShare)
	}
}

// becameWritable sends the connection's own bytes and then what its protocol has.
func (c *conn) becameWritable() {
	c.blocked = false
	if c.sendOutput(); !c.blocked && !c.dead {
		c.protocol.writable()
	}
	if !c.blocked {
		c.release(holdSocket)
	}
	c.settle()
}

// sendOutput sends what is left of the connection's own bytes.
func (c *conn) sendOutput() {
	if len(c.output) == 0 {
		return
	}
	c.sent += c.write(c.output[c.sent:])
	if c.sent == len(c.output) {
		c.output, c.sent = nil, 0
	}
}

// write sends bytes, which are borrowed, and returns how many the socket took; fewer than all means that it is full,
// and that protocol.writable will be called, or that the connection has died. It must not be called while the socket is
// full.
func (c *conn) write(p []byte) int {
	n, err := writeSocket(c.fd, p)
	return c.wrote(len(p), n, err)
}

// wrote follows a write of so many bytes, of which the socket took n.
func (c *conn) wrote(size, n int, err error) int {
	if err != nil {
		c.lost()
		return 0
	}
	c.wroteAt = c.loop.now
	c.loop.stats.BytesSent += uint64(n)
	if n < size {
		c.blocked = true
		c.watch()
	}
	return n
}

// writeFrame sends shared bytes between a few that are this connection's own, with one system call, and returns how
// many of the shared ones the socket took, as write does. Of its own bytes the connection keeps what is left.
func (c *conn) writeFrame(before, shared, after []byte) int {
	n, err := writevSocket(c.fd, [3][]byte{before, shared, after})
	n = c.wrote(len(before)+len(shared)+len(after), n, err)
	switch {
	case c.dead:
		return 0
	case n < len(before):
		c.queue(before[n:])
		return 0
	case n < len(before)+len(shared):
		return n - len(before)
	}
	c.queue(after[n-len(before)-len(shared):])
	return len(shared)
}

// send writes bytes of this connection alone, borrowed, and keeps what the socket does not take. A peer that asks and
// does not read is cut off.
func (c *conn) send(p []byte) {
	if c.dead {
		return
	}
	c.loop.share.visit -= len(p) >> sendVisitShift
	c.loop.share.turn -= len(p) >> sendTurnShift
	if !c.blocked {
		p = p[c.write(p):]
	}
	c.queue(p)
	if len(c.output)-c.sent > c.loop.cfg.OutboxBytesMax {
		c.loop.stats.SlowConsumersClosed++
		c.abort()
	}
}

// queue keeps bytes of this connection alone until its socket takes them.
func (c *conn) queue(p []byte) {
	if len(p) > 0 && !c.dead {
		c.output = append(c.output, p...)
		c.charge()
	}
}

// lost kills a connection that the peer ended without saying so.
func (c *conn) lost() {
	c.interrupted = true
	c.kill()
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
		_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		c.kill()
	}
}

// close closes a connection that was killed, and tells its protocol.
func (c *conn) close() {
	defer c.guard()
	_ = unix.Close(c.fd)
	c.loop.forget(c)
	c.protocol.closed()
}

// guard is deferred around the callbacks of a service: a panic costs the connection that caused it, no other.
func (c *conn) guard() {
	if p := recover(); p != nil {
		c.loop.panicked(p)
		c.kill()
	}
}

// remoteAddr is the client's address.
func (c *conn) remoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }
