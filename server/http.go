package server

import (
	"errors"
	"net/http"
	"net/netip"

	"github.com/sockloop/sockloop/codec"
)

// httpProtocol reads requests off a connection and answers them, one after the other, until one of them upgrades it.
// The next request is not looked at before the last one's response has left.
type httpProtocol struct {
	c            *conn
	peer         netip.AddrPort // whom the connection comes from; requests may come from others, see serve
	anonymous    bool           // its PROXY header named nobody: what requests say of that is their own
	reader       codec.RequestReader
	pending      pendingResponse // a response on its way
	pendingBytes int             // what it keeps of the request
	posting      *posting        // a request whose messages have not all been handed on
	serving      bool            // a request is being answered
	served       bool            // a request has been
	since        int64           // loop time at which we began to wait for what we wait for
}

// pendingResponse is told what happens to the connection under a response that goes on after its request was served.
type pendingResponse interface {
	writable()
	tick()
	goAway()
	lost()
}

func newHTTP(c *conn) *httpProtocol {
	cfg := &c.loop.cfg
	return &httpProtocol{c: c, peer: c.remote, since: c.loop.now, reader: codec.RequestReader{
		HeadBytesMax: cfg.RequestHeadBytesMax, HeadersMax: cfg.RequestHeadersMax, BodyBytesMax: cfg.BodyBytesMax,
	}}
}

// receive takes a request off data and answers it, or goes on with the one that is being answered.
func (h *httpProtocol) receive(data []byte) []byte {
	switch {
	case h.posting != nil:
		h.posting.resume(h.c, h.posting.to)
		h.handedOn()
		return data
	case h.pending != nil:
		h.c.wait(holdResponse)
		return data
	case h.c.blocked:
		h.c.wait(holdSocket)
		return data
	}
	partial := h.reader.Partial()
	q, rest, err := h.reader.Next(data)
	if h.served && !partial && h.reader.Partial() { // the first request's time runs from the connect on
		h.since = h.c.loop.now
	}
	if err != nil {
		h.refuse(err)
		return nil
	}
	h.c.loop.share.spendRequest()
	return h.serve(q, rest)
}

func (h *httpProtocol) unfinished() bool { return h.posting != nil && h.c.hold == holdNone }

func (h *httpProtocol) kept() int {
	n := h.reader.Buffered()
	if h.pending != nil {
		n += h.pendingBytes
	}
	if h.posting != nil {
		n += h.posting.kept() + h.c.loop.cfg.RequestHeadBytesMax // and the request's head, at most
	}
	return n
}

// outbox is nothing: sessions over HTTP outlive their connections, and answer for their outboxes themselves.
func (h *httpProtocol) outbox() int { return 0 }

func (h *httpProtocol) writable() {
	if h.pending != nil {
		h.pending.writable()
	}
}

// closed tells whoever has a stake in what was on its way.
func (h *httpProtocol) closed() {
	if h.posting != nil {
		h.posting.to.breakOff() // some of what the client said is missing
	}
	if h.pending != nil {
		h.pending.lost()
	}
}

func (h *httpProtocol) goAway() {
	switch {
	case h.pending != nil:
		h.pending.goAway()
	case h.posting == nil && !h.reader.Partial() && !h.c.blocked:
		h.c.linger()
	} // else its response says so
}

func (h *httpProtocol) tick() {
	cfg := &h.c.loop.cfg
	inRequest := !h.served || h.reader.Partial()
	timeout := cfg.KeepAliveTimeout
	switch {
	case h.pending != nil:
		h.pending.tick()
		return
	case h.posting != nil: // it is we who let it wait; but it is not read, so nobody else would notice that it is gone
		if h.c.publishing() && h.c.peerGone() {
			h.c.lost()
		}
		return
	case inRequest:
		timeout = cfg.HandshakeTimeout
	}
	if h.c.loop.now-h.since > timeout.Milliseconds() {
		if inRequest {
			h.c.loop.stats.HandshakeTimeouts++
		}
		h.c.kill()
	}
}

// refuse answers what is no request that can be served, and ends the connection; a request that has not ended is waited
// for, and its body asked for if the client wants to be.
func (h *httpProtocol) refuse(err error) {
	var refusal *codec.RequestError
	switch {
	case errors.As(err, &refusal):
		x := exchange{h: h, r: &codec.Request{Request: &http.Request{}}, response: response{loop: h.c.loop, c: h.c}}
		x.text(refusal.Status, refusal.Reason)
		h.c.linger()
	case h.reader.Continue():
		h.c.send([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// serve answers a request, and goes on with the connection.
func (h *httpProtocol) serve(q *codec.Request, rest []byte) []byte {
	c := h.c
	x := &exchange{h: h, r: q, response: response{
		loop: c.loop, c: c, header: make([]string, 0, headerUsual),
		keepAlive: !q.Close, http10: !q.ProtoAtLeast(1, 1), bodiless: q.Method == http.MethodHead,
	}}
	h.served, h.serving = true, true
	c.loop.stats.Requests++
	if len(c.loop.cfg.TrustedProxies) > 0 && !h.anonymous {
		c.remote = c.loop.cfg.forwardedFor(h.peer, q.Header)
	}
	c.loop.serve(x)
	h.serving = false
	if x.upgraded || c.dead {
		return rest
	}
	if h.pending == nil && h.posting == nil {
		h.answered(x.response.keepAlive)
	}
	return rest
}

// answered follows the end of a response. The connection goes on, perhaps later: a response may end in the middle of a
// fan-out, when no service may be called.
func (h *httpProtocol) answered(keepAlive bool) {
	h.since = h.c.loop.now
	switch {
	case h.serving: // serve goes on
	case !keepAlive || h.c.loop.departure.draining:
		h.c.linger()
	default:
		h.c.release(holdResponse)
	}
}

// headerUsual is room for the headers of a poll across origins, names and values, which it keeps while it waits.
const headerUsual = 10

// exchange is one request and its response.
type exchange struct {
	h        *httpProtocol
	r        *codec.Request
	response response
	upgraded bool
}

// set adds a header to the response.
func (x *exchange) set(name, value string) {
	x.response.header = append(x.response.header, name, value)
}

// text answers with a line of text.
func (x *exchange) text(status int, body string) {
	if status >= 400 {
		x.response.loop.stats.RequestsRefused++
	}
	x.set("Content-Type", textPlain)
	x.respond(status, body)
}

// refuseSession answers that loop.refusesSessions.
func (x *exchange) refuseSession() {
	x.set("Retry-After", "1")
	x.text(http.StatusServiceUnavailable, "No session can be opened at the moment.\n")
}

// respond sends the response: whole, with its length.
func (x *exchange) respond(status int, body string) {
	length := len(body)
	if status == http.StatusNoContent || status == http.StatusNotModified {
		length = noLength
	}
	p := x.response.appendHead(x.response.loop.scratch[:0], status, length)
	if !x.response.bodiless {
		p = append(p, body...)
	}
	x.response.loop.scratch = p
	x.response.c.send(p)
}
