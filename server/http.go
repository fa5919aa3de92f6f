package server

import (
	"bytes"
	"net/http"
	"strings"
)

// httpProtocol reads requests off a connection, one after the other, until one of them upgrades it. What comes while the
// response to an earlier request is on its way waits.
type httpProtocol struct {
	c        *conn
	input    []byte    // a head that has begun and not ended; or, while a receiver is attached, all that comes
	request  *exchange // whose body is on its way
	body     body
	receiver *receiver // a response on its way
	serving  *fallback // whose service is running, on this connection's account
	inServe  bool      // a request is being answered
	served   bool      // a request has been
	since    int64     // loop time at which we began to wait for what we wait for
}

func newHTTP(c *conn) *httpProtocol { return &httpProtocol{c: c, since: c.loop.now} }

func (h *httpProtocol) drained() {
	if h.receiver != nil {
		h.receiver.session.pump()
	}
}

// closed tells the session whose receiver, or whose request, the connection was.
func (h *httpProtocol) closed() {
	if h.serving != nil {
		h.serving.end(CloseReason{Code: codeBroken})
	}
	if h.receiver != nil {
		h.receiver.session.interrupted()
	}
}

func (h *httpProtocol) goAway() {
	if h.receiver != nil {
		h.receiver.session.session.Close(CodeGoAway, reasonGoAway)
		return
	}
	h.c.linger()
}

func (h *httpProtocol) tick() {
	cfg := &h.c.loop.cfg
	timeout := cfg.HandshakeTimeout
	switch {
	case h.receiver != nil:
		h.receiver.tick()
		return
	case h.served && len(h.input) == 0 && h.request == nil:
		timeout = cfg.KeepAliveTimeout
	}
	if h.c.loop.now-h.since > timeout.Milliseconds() {
		if !h.served || len(h.input) > 0 || h.request != nil {
			h.c.loop.stats.HandshakeTimeouts++
		}
		h.c.kill()
	}
}

// receive reads on where it was: a head, a body, or something that must wait.
func (h *httpProtocol) receive(data []byte) []byte {
	switch {
	case h.receiver != nil:
		h.wait(data)
		return nil
	case h.request != nil:
		return h.receiveBody(data)
	default:
		return h.receiveHead(data)
	}
}

// wait keeps what a client sends before it has its response. One that sends more than a request is cut off.
func (h *httpProtocol) wait(data []byte) {
	if h.input = append(h.input, data...); len(h.input) > h.c.loop.cfg.RequestHeadBytesMax+h.c.loop.cfg.BodyBytesMax {
		h.c.loop.stats.RequestsRefused++
		h.c.kill()
	}
}

// resume goes on with what waited for a response.
func (h *httpProtocol) resume() {
	data := h.input
	h.input = nil
	h.c.receive(data)
}

func (h *httpProtocol) receiveHead(data []byte) []byte {
	head, rest := h.takeHead(data)
	switch {
	case head != nil:
		return h.begin(head, rest)
	case len(h.input) > h.c.loop.cfg.RequestHeadBytesMax:
		h.refuse(http.StatusRequestHeaderFieldsTooLarge, "The request head is too large.\n")
	}
	return nil
}

var endOfHead = []byte("\r\n\r\n")

// takeHead cuts a request head off data, or keeps data as a part of one.
func (h *httpProtocol) takeHead(data []byte) (head, rest []byte) {
	limit := h.c.loop.cfg.RequestHeadBytesMax
	if len(h.input) == 0 {
		if data = bytes.TrimLeft(data, "\r\n"); len(data) == 0 { // RFC 9112 section 2.2
			return nil, nil
		}
		if h.served { // the first request's time runs from the connect on
			h.since = h.c.loop.now
		}
		if end := bytes.Index(data[:min(len(data), limit)], endOfHead); end >= 0 {
			end += len(endOfHead)
			return data[:end], data[end:]
		}
	}
	kept := len(h.input)
	h.input = append(h.input, data[:min(len(data), limit+1-kept)]...)
	from := max(kept-len(endOfHead)+1, 0) // its end may have begun in what was kept
	end := bytes.Index(h.input[from:min(len(h.input), limit)], endOfHead)
	if end < 0 {
		return nil, nil
	}
	end += from + len(endOfHead)
	head, h.input = h.input[:end], nil
	return head, data[end-kept:]
}

// begin looks at the request whose head is given, reads its body, and returns what is left of rest.
func (h *httpProtocol) begin(head, rest []byte) []byte {
	l := h.c.loop
	if bytes.Count(head, []byte("\n"))-2 > l.cfg.RequestHeadersMax {
		h.refuse(http.StatusRequestHeaderFieldsTooLarge, "The request has too many headers.\n")
		return nil
	}
	if status, why := checkHead(head); status != 0 {
		h.refuse(status, why)
		return nil
	}
	r, err := parseHead(l.head, head)
	if err != nil {
		h.refuse(http.StatusBadRequest, "The request is malformed.\n")
		return nil
	}
	x := &exchange{h: h, r: r, out: response{loop: l, c: h.c, header: make([]string, 0, headerUsual), keepAlive: !r.Close, http10: !r.ProtoAtLeast(1, 1), bodiless: r.Method == http.MethodHead}}
	if !h.expectBody(x, len(rest)) {
		return nil
	}
	return h.receiveBody(rest)
}

// serve answers the request whose body has come, and goes on with the connection.
func (h *httpProtocol) serve(x *exchange, rest []byte) []byte {
	h.served, h.inServe = true, true
	h.c.loop.stats.Requests++
	h.c.loop.serve(x)
	h.inServe = false
	switch {
	case x.upgraded || h.c.dead || h.receiver != nil:
	case x.out.keepAlive:
		h.since = h.c.loop.now
	default:
		h.c.linger()
		return nil
	}
	return rest
}

// responded follows the end of a response that was on its way.
func (h *httpProtocol) responded(keepAlive bool) {
	h.receiver, h.since = nil, h.c.loop.now
	switch {
	case h.inServe: // the answer came at once; serve goes on
	case !keepAlive || h.c.loop.draining:
		h.c.linger()
	case len(h.input) > 0: // not now: services may not be called while a topic is delivered
		h.c.loop.resumed = append(h.c.loop.resumed, h)
		h.c.loop.arm()
	}
}

// refuse answers what is not a request and ends the connection.
func (h *httpProtocol) refuse(status int, body string) {
	x := exchange{h: h, r: &http.Request{}, out: response{loop: h.c.loop, c: h.c}}
	x.text(status, body)
	h.c.linger()
}

// headerUsual is room for the headers of a poll across origins, names and values, which it keeps while it waits.
const headerUsual = 10

// exchange is one request and its response.
type exchange struct {
	h        *httpProtocol
	r        *http.Request
	body     []byte // borrowed
	out      response
	upgraded bool
}

// set adds a header to the response.
func (x *exchange) set(name, value string) { x.out.header = append(x.out.header, name, value) }

// text answers with a line of text.
func (x *exchange) text(status int, body string) {
	if status >= 400 {
		x.out.loop.stats.RequestsRefused++
	}
	x.set("Content-Type", textPlain)
	x.respond(status, body)
}

// respond sends the response: whole, with its length.
func (x *exchange) respond(status int, body string) {
	length := len(body)
	if status == http.StatusNoContent || status == http.StatusNotModified {
		length = noLength
	}
	p := x.out.appendHead(x.out.loop.scratch[:0], status, length)
	if !x.out.bodiless {
		p = append(p, body...)
	}
	x.out.loop.scratch = p
	x.out.c.send(p)
}

// hasToken tells whether a comma-separated header contains a token, in any case.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
