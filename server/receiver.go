package server

import (
	"net/http"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// style is how a transport carries frames on the response to a request.
type style struct {
	name        string
	contentType string
	streaming   bool // frame after frame up to the response limit; else one
	wire        broadcast.Wire
	before      string // what stands before a frame
	after       string // and behind it
}

// receiver is a response that carries frames of a session, from the request until the response ends.
type receiver struct {
	h       *httpProtocol
	out     response
	session *fallback // nil if the response has only bad news
	style   *style
	before  string // style.before, with the callback's name if the client gave one
	since   int64  // loop time of the request
	sent    int    // bytes of payload, which count towards the response limit
	left    int    // of the frame on its way: bytes of elements that have not left, the comma behind each included
}

// receive serves a receiving request of a session: it opens the session if it is not known, and else goes on with it.
func receive(x *exchange, rt *route, id string, s *style, prelude, before string) {
	l := x.out.loop
	f := rt.sessions[id]
	if f != nil && f.receiver != nil && f.receiver.out.c.peerGone() {
		f.interrupted()
		f = nil
	}
	if f == nil && (l.draining || l.fallbacks >= l.cfg.SessionsMax) {
		l.stats.SessionsRefused++
		x.set("Retry-After", "1")
		x.text(http.StatusServiceUnavailable, "No session can be opened at the moment.\n")
		return
	}
	r := &receiver{h: x.h, out: x.out, style: s, before: before, since: l.now}
	r.out.header = append(r.out.header, "Content-Type", s.contentType)
	r.start(prelude)
	switch {
	case f == nil:
		f = openFallback(l, rt, id, s)
		f.open(r)
	case f.receiver != nil:
		r.last(codec.AppendCloseArray(nil, codeStillOpen, "Another connection still open"))
	case f.session.state >= flushed:
		r.last(codec.AppendCloseArray(nil, f.session.reason.Code, f.session.reason.Reason))
	default:
		f.attach(r)
		f.pump()
	}
	x.out.keepAlive = r.out.keepAlive
}

const codeStillOpen = 2010

// open sends the open frame and tells the service.
func (f *fallback) open(r *receiver) {
	h := r.h
	f.attach(r)
	r.control([]byte(codec.OpenFrame))
	h.serving = f
	f.session.opened()
	h.serving = nil
}

// start sends head and prelude of a stream. A response with one frame begins with the frame, since its length stands in
// the head.
func (r *receiver) start(prelude string) {
	if !r.style.streaming {
		return
	}
	l := r.out.loop
	p := r.out.appendHead(l.scratch[:0], http.StatusOK, streamed)
	p = r.appendStart(p, len(prelude))
	p = append(p, prelude...)
	p = r.appendEnd(p, false)
	l.scratch = p
	r.out.c.send(p)
}

// appendStart appends what stands before so many bytes of payload: the response's head, or a chunk's.
func (r *receiver) appendStart(p []byte, size int) []byte {
	switch {
	case !r.style.streaming:
		return r.out.appendHead(p, http.StatusOK, size)
	case r.out.http10:
		return p
	default:
		return codec.AppendChunkHeader(p, size)
	}
}

// appendEnd appends what stands behind the payload; last ends the response.
func (r *receiver) appendEnd(p []byte, last bool) []byte {
	if !r.style.streaming || r.out.http10 {
		return p
	}
	if p = append(p, codec.ChunkEnd...); last {
		p = append(p, codec.LastChunk...)
	}
	return p
}

// control sends a frame that is no array.
func (r *receiver) control(frame []byte) {
	frame = forms[r.style.wire].write(nil, frame)
	size := len(r.before) + len(frame) + len(r.style.after)
	r.sent += size
	l := r.out.loop
	p := r.appendStart(l.scratch[:0], size)
	p = append(p, r.before...)
	p = append(p, frame...)
	p = append(p, r.style.after...)
	p = r.appendEnd(p, r.full())
	l.scratch = p
	r.out.c.send(p)
	r.endIfFull()
}

// last sends a frame that ends the response, whatever the limit.
func (r *receiver) last(frame []byte) {
	r.sent = r.limit()
	r.control(frame)
}

// limit is the payload after which the response ends.
func (r *receiver) limit() int {
	if !r.style.streaming {
		return 1
	}
	if r.session == nil {
		return 0
	}
	return r.session.route.options.ResponseLimit
}

func (r *receiver) full() bool { return r.sent >= r.limit() }

// endIfFull ends the response when it has carried what it may.
func (r *receiver) endIfFull() {
	if r.full() && r.session != nil {
		r.session.detach()
	}
}

// frameBytesMax is the size of the largest frame of several messages: a poll gets as much as a stream would before it is
// asked to come back.
func (r *receiver) frameBytesMax() int {
	cfg := &r.out.loop.cfg
	if r.style.streaming {
		return cfg.FrameBytesMax
	}
	return max(cfg.FrameBytesMax, r.session.route.options.ResponseLimit)
}

const (
	arrayOpening = "a["
	arrayClosing = "]"
)

// begin sends the next n bytes of what is due as one frame; the last of them is a comma, which stays behind.
func (r *receiver) begin(n int) {
	size := len(r.before) + len(arrayOpening) + n - 1 + len(arrayClosing) + len(r.style.after)
	r.sent += size
	r.left = n
	l := r.out.loop
	l.scratch = r.appendStart(l.scratch[:0], size)
	l.scratch = append(append(l.scratch, r.before...), arrayOpening...)
	r.goOn(l.scratch)
}

// goOn sends as much of the frame as the socket takes, behind what stands before it if it has not begun: the elements are
// shared, what stands around them is made here.
func (r *receiver) goOn(opening []byte) {
	out := &r.session.session.out
	p := out.next()
	p = p[:min(len(p), r.left)]
	if len(p) == 0 { // what it was has been evicted from the log: the client is too slow
		r.session.slow()
		return
	}
	var closing []byte
	if len(p) == r.left {
		p = p[:len(p)-1]
		closing = r.appendClosing(r.out.loop.closing[:0])
		r.out.loop.closing = closing
	}
	n := r.out.c.writeFrame(opening, p, closing)
	if r.out.c.dead {
		return
	}
	if closing != nil && n == len(p) {
		n++ // the comma
	}
	out.advance(n)
	if r.left -= n; r.left == 0 {
		r.endIfFull()
	}
}

func (r *receiver) appendClosing(p []byte) []byte {
	p = append(append(p, arrayClosing...), r.style.after...)
	return r.appendEnd(p, r.full())
}

// tick sends a heartbeat after silence.
func (r *receiver) tick() {
	l := r.out.loop
	delay := r.session.route.options.HeartbeatDelay.Milliseconds()
	if r.left == 0 && !r.out.c.blocked() && l.now-max(r.since, r.out.c.wroteAt) >= delay {
		r.control([]byte(codec.HeartbeatFrame))
	}
}

// peerGone looks whether the peer has ended the connection, which gnet may not have told yet.
func (c *conn) peerGone() bool {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return c.dead || err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
