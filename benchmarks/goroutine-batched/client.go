package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/internal/rawcall"
)

// client is a connection: a goroutine that reads, one that writes, and what they have in common.
type client struct {
	hub  *hub
	conn net.Conn
	raw  syscall.RawConn

	// The reading goroutine's.
	messages codec.MessageReader
	deadline int64 // of reading, Unix time in seconds
	readErr  error

	// The writing goroutine's.
	reader   reader
	out      []byte
	blocked  bool // out did not fit in the socket's buffer
	writeErr error

	// What the reading one has to say: pongs and a close.
	mu    sync.Mutex
	words []byte
	last  bool // nothing follows the words
	said  atomic.Bool

	gone atomic.Bool // the writing goroutine has ended
}

func newClient(h *hub, conn net.Conn) (*client, error) {
	tcp, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("not a socket")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &client{hub: h, conn: conn, raw: raw}
	c.messages = codec.MessageReader{Role: ws.StateServerSide, BytesMax: messageBytesMax}
	return c, conn.SetDeadline(time.Time{})
}

// messageBytesMax is the largest message that is accepted.
const messageBytesMax = 64 << 10

// readBytes is the size of the buffers for reading.
const readBytes = 16 << 10

var buffers = sync.Pool{New: func() any { return new([readBytes]byte) }}

// read takes the client's messages until it leaves.
func (c *client) read(early []byte) {
	err := c.take(early)
	c.keepReading()
	if err == nil {
		if err = c.raw.Read(c.readSome); err == nil {
			err = c.readErr
		}
	}
	var illegal *codec.CloseError
	if errors.As(err, &illegal) {
		c.say(codec.AppendCloseFrame(nil, illegal.Code, illegal.Reason), true)
		return
	}
	if err != errClosed { //nolint:errorlint // it is that one
		_ = c.conn.Close()
	}
	c.say(nil, true)
}

// readSome reads once for each time that there is something to be read, and again only when the buffer was filled: the
// poller tells when more comes. It asks for a buffer then and gives it back, so none waits with a connection. It says
// false for: call me when there is more.
func (c *client) readSome(fd uintptr) (done bool) {
	buffer := buffers.Get().(*[readBytes]byte)
	defer buffers.Put(buffer)
	for {
		if !c.hub.waitForRoom() || c.gone.Load() {
			c.readErr = net.ErrClosed
			return true
		}
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(buffer)), readBytes)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return false
		case errno != 0:
			c.readErr = errno
			return true
		case n == 0:
			c.readErr = io.EOF
			return true
		}
		if c.readErr = c.take(buffer[:n]); c.readErr != nil {
			return true
		}
		c.keepReading()
		if n < readBytes {
			return false
		}
	}
}

// keepReading moves the deadline of reading, once a second at most.
func (c *client) keepReading() {
	if now := c.hub.now.Load(); now >= c.deadline {
		c.deadline = now + 1
		_ = c.conn.SetReadDeadline(time.Now().Add(readTimeout))
	}
}

var arrays = sync.Pool{New: func() any { return new(codec.Array) }}

// errClosed says that the client has said goodbye.
var errClosed = errors.New("closed")

// take hands on what has come.
func (c *client) take(data []byte) error {
	array := arrays.Get().(*codec.Array)
	defer arrays.Put(array)
	for {
		op, payload, rest, err := c.messages.Next(data)
		if err == codec.ErrIncomplete { //nolint:errorlint // it is that one
			return nil
		}
		if err != nil {
			return err
		}
		data = rest
		switch op {
		case ws.OpText:
			if err := c.hub.publish(array, payload); err != nil {
				if !utf8.Valid(payload) {
					return &codec.CloseError{Code: ws.StatusInvalidFramePayloadData, Reason: "invalid UTF-8"}
				}
				return &codec.CloseError{Code: ws.StatusProtocolError, Reason: "Broken framing."}
			}
		case ws.OpBinary:
			return &codec.CloseError{Code: ws.StatusUnsupportedData, Reason: "SockJS frames are text"}
		case ws.OpPing:
			c.say(codec.AppendFrame(nil, ws.OpPong, payload), false)
		case ws.OpClose:
			code, _, err := codec.ParseClose(payload)
			if err != nil {
				return err
			}
			if code == ws.StatusNoStatusRcvd {
				code = 0
			}
			c.say(codec.AppendCloseFrame(nil, code, ""), true)
			return errClosed
		}
	}
}

// wordsBytesMax bounds the pongs that wait for a writer; more pings are not answered (RFC 6455 section 5.5.3).
const wordsBytesMax = 1 << 10

// say has the writer send a control frame, and end after the last one.
func (c *client) say(frame []byte, last bool) {
	c.mu.Lock()
	if last || len(c.words)+len(frame) <= wordsBytesMax {
		c.words, c.last = append(c.words, frame...), c.last || last
	}
	c.mu.Unlock()
	c.said.Store(true)
	c.hub.ask(tasks{nudge: true})
}

// sendWords sends what the reading goroutine has to say, and tells whether it is the end.
func (c *client) sendWords() (last bool) {
	c.mu.Lock()
	c.said.Store(false)
	words := c.words
	c.words, last = nil, c.last
	c.mu.Unlock()
	return c.send(words) != nil || last
}

var openFrame = codec.AppendFrame(nil, ws.OpText, []byte(codec.OpenFrame))

// write sends what is new in the log, all at once, until the client leaves or is too slow.
func (c *client) write() {
	defer func() {
		c.gone.Store(true) // who floods the server leaves no pause in which Close would end its reading
		c.hub.leave(c)     // before Close, which waits for the reading goroutine, which may wait for the hub
		_ = c.conn.Close() // nothing more can be done for it
	}()
	if c.send(openFrame) != nil {
		return
	}
	for {
		if c.said.Load() && c.sendWords() {
			return
		}
		p := c.reader.unread()
		if p == nil {
			if !c.wait() {
				return
			}
			continue
		}
		if c.send(p) != nil {
			return
		}
		c.reader.skip(len(p))
	}
}

// wait returns when there is something to be sent, false when the log has ended.
func (c *client) wait() bool {
	h := c.hub
	h.parked.Lock()
	defer h.parked.Unlock()
	for {
		if c.said.Load() {
			return true
		}
		ended := h.ended.Load()
		if c.reader.unread() != nil {
			return true
		}
		if ended {
			return false
		}
		h.wake.Wait()
	}
}

// send sends shared bytes.
func (c *client) send(p []byte) error {
	c.out = p
	err := c.raw.Write(c.writeSome)
	if c.out = nil; err == nil {
		err = c.writeErr
	}
	if c.blocked && err == nil {
		c.blocked = false
		err = c.conn.SetWriteDeadline(time.Time{})
	}
	return err
}

// writeSome writes until the socket's buffer is full. Only then a deadline is set.
func (c *client) writeSome(fd uintptr) (done bool) {
	for len(c.out) > 0 {
		n, err := rawcall.Send(int(fd), c.out)
		switch err {
		case nil:
			c.out = c.out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			if !c.blocked {
				c.blocked = true
				c.writeErr = c.conn.SetWriteDeadline(time.Now().Add(c.hub.limits.writing))
			}
			return c.writeErr != nil
		default:
			c.writeErr = err
			return true
		}
	}
	return true
}
