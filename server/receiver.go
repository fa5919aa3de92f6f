package server

import (
	"net"
	"net/http"
	"strings"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// framing is how a transport carries frames on the response to a request.
type framing struct {
	name        string
	contentType string
	streaming   bool // frame after frame up to the response limit; else one
	wire        broadcast.Wire
	before      string // what stands before a frame
	after       string // and behind it
}

// receiver is a response that carries frames of a session, from the request until the response ends. It knows what a
// frame looks like in HTTP, and nothing of who sends it.
type receiver struct {
	h             *httpProtocol
	response      response
	framing       *framing
	before        string // framing.before, with the callback's name if the client gave one
	limit         int    // bytes of payload after which the response ends
	frameBytesMax int    // elements of one frame of several messages
	since         int64  // loop time of the request
	sent          int    // bytes of payload, which count towards the limit
	inFrame       bool   // a frame has begun and not ended, whatever has become of who sends it
}

// receiverBytes is what a response on its way takes beside the texts of its header.
const receiverBytes = 256

// newReceiver begins a response: head and prelude of a stream leave at once. The head of a response with one frame
// bears its length, so it leaves with the frame.
func newReceiver(x *exchange, o *Options, fr *framing, prelude, before string) *receiver {
	l := x.response.loop
	r := &receiver{
		h: x.h, response: x.response, framing: fr, before: before, since: l.now,
		limit: 1, frameBytesMax: max(l.cfg.FrameBytesMax, o.ResponseLimit),
	}
	r.response.header = append(r.response.header, "Content-Type", fr.contentType)
	x.h.pendingBytes = receiverBytes
	if !fr.streaming { // it is kept until there is a frame, and the request's head must not be with it
		for i, text := range r.response.header {
			r.response.header[i] = strings.Clone(text)
			x.h.pendingBytes += len(text)
		}
	}
	if fr.streaming {
		r.limit, r.frameBytesMax = o.ResponseLimit, l.cfg.FrameBytesMax
		r.start(prelude)
	}
	return r
}

// start sends head and prelude of a stream.
func (r *receiver) start(prelude string) {
	l := r.response.loop
	p := r.response.appendHead(l.scratch[:0], http.StatusOK, streamed)
	p = r.appendStart(p, len(prelude))
	p = append(p, prelude...)
	p = r.appendEnd(p, false)
	l.scratch = p
	r.response.c.send(p)
	r.response.header = nil // which may hold on to much of the request
}

// appendStart appends what stands before so many bytes of payload: the response's head, or a chunk's.
func (r *receiver) appendStart(p []byte, size int) []byte {
	switch {
	case !r.framing.streaming:
		return r.response.appendHead(p, http.StatusOK, size)
	case r.response.http10:
		return p
	default:
		return codec.AppendChunkHeader(p, size)
	}
}

// appendEnd appends what stands behind the payload; last ends the response.
func (r *receiver) appendEnd(p []byte, last bool) []byte {
	if !r.framing.streaming || r.response.http10 {
		return p
	}
	if p = append(p, codec.ChunkEnd...); last {
		p = append(p, codec.LastChunk...)
	}
	return p
}

// control sends a frame that is no array.
func (r *receiver) control(frame []byte) {
	frame = quotings[r.framing.wire].write(nil, frame)
	size := len(r.before) + len(frame) + len(r.framing.after)
	r.sent += size
	l := r.response.loop
	p := r.appendStart(l.scratch[:0], size)
	p = append(p, r.before...)
	p = append(p, frame...)
	p = append(p, r.framing.after...)
	p = r.appendEnd(p, r.full())
	l.scratch = p
	r.response.c.send(p)
}

// last sends a frame that ends the response, whatever the limit.
func (r *receiver) last(code int, reason string) {
	r.sent = r.limit
	r.control(codec.AppendCloseArray(nil, code, reason))
}

// full tells that the response has carried what it may: it has ended, or will with the frame on its way.
func (r *receiver) full() bool { return r.sent >= r.limit }

const (
	arrayStart = "a["
	arrayEnd   = "]"
)

// begin sends the n bytes of elements that the outflow has planned as one frame; the last of them is a comma, which
// stays behind.
func (r *receiver) begin(o *broadcast.Outflow, n int) {
	size := len(r.before) + len(arrayStart) + n - 1 + len(arrayEnd) + len(r.framing.after)
	r.sent += size
	r.inFrame = true
	l := r.response.loop
	l.scratch = r.appendStart(l.scratch[:0], size)
	l.scratch = append(append(l.scratch, r.before...), arrayStart...)
	r.sendPlanned(o, l.scratch)
}

// sendPlanned sends as much of the planned frame as lies in one piece and the socket takes. before is the unsent text
// before the frame, empty once that is under way. The elements are shared, what stands around them is made here.
func (r *receiver) sendPlanned(o *broadcast.Outflow, before []byte) {
	p, from := o.Next()
	var after []byte
	if len(p) == o.Planned() {
		p = p[:len(p)-1]
		after = r.appendAfter(r.response.loop.scratchAfter[:0])
		r.response.loop.scratchAfter = after
	}
	n := r.response.c.writeFrame(before, p, after)
	if r.response.c.dead {
		return
	}
	if after != nil && n == len(p) {
		n++ // the comma
	}
	o.Advance(from, n)
	r.inFrame = o.Planned() > 0
}

func (r *receiver) appendAfter(p []byte) []byte {
	p = append(append(p, arrayEnd...), r.framing.after...)
	return r.appendEnd(p, r.full())
}

// silent tells that nothing has been sent for so many milliseconds.
func (r *receiver) silent(delay int64) bool {
	c := r.response.c
	return !c.blocked && c.loop.now-max(r.since, c.wroteAt) >= delay
}

// What a session asks of the connection under its receiver.
func (r *receiver) dead() bool           { return r.response.c.dead }
func (r *receiver) interrupted() bool    { return r.response.c.interrupted }
func (r *receiver) blocked() bool        { return r.response.c.blocked }
func (r *receiver) peerGone() bool       { return r.response.c.peerGone() }
func (r *receiver) remoteAddr() net.Addr { return r.response.c.remoteAddr() }
func (r *receiver) abort()               { r.response.c.abort() }

// attach has p told what happens to the connection until the response ends.
func (r *receiver) attach(p pendingResponse) { r.h.pending = p }

// kill ends the connection, and tells nobody.
func (r *receiver) kill() {
	r.h.pending = nil
	r.response.c.kill()
}

// end leaves the connection to its next request.
func (r *receiver) end() {
	r.h.pending = nil
	r.h.answered(r.response.keepAlive)
}
