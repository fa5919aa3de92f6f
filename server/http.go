package server

import (
	"bufio"
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// httpProtocol reads requests off a connection, one after the other, until one of them upgrades it.
type httpProtocol struct {
	c     *conn
	head  []byte // of a request that has begun and not ended
	since int64  // loop time at which we began to wait for a whole head
}

func newHTTP(c *conn) *httpProtocol { return &httpProtocol{c: c, since: c.loop.now} }

func (h *httpProtocol) drained() {}
func (h *httpProtocol) closed()  {}
func (h *httpProtocol) goAway()  { h.c.linger() }

func (h *httpProtocol) tick() {
	if h.c.loop.now-h.since > h.c.loop.cfg.HandshakeTimeout.Milliseconds() {
		h.c.loop.stats.HandshakeTimeouts++
		h.c.kill()
	}
}

var endOfHead = []byte("\r\n\r\n")

// receive answers one request, once its head is whole.
func (h *httpProtocol) receive(data []byte) []byte {
	head, rest := h.takeHead(data)
	switch {
	case head != nil:
		h.since = h.c.loop.now
		return h.serve(head, rest)
	case len(h.head) > h.c.loop.cfg.RequestHeadBytesMax:
		h.refuse(http.StatusRequestHeaderFieldsTooLarge, "The request head is too large.\n")
	}
	return nil
}

// takeHead cuts a request head off data, or keeps data as a part of one.
func (h *httpProtocol) takeHead(data []byte) (head, rest []byte) {
	limit := h.c.loop.cfg.RequestHeadBytesMax
	if len(h.head) == 0 {
		if data = bytes.TrimLeft(data, "\r\n"); len(data) == 0 { // RFC 9112 section 2.2
			return nil, nil
		}
		if end := bytes.Index(data[:min(len(data), limit)], endOfHead); end >= 0 {
			end += len(endOfHead)
			return data[:end], data[end:]
		}
	}
	kept := len(h.head)
	h.head = append(h.head, data[:min(len(data), limit+1-kept)]...)
	from := max(kept-len(endOfHead)+1, 0) // its end may have begun in what was kept
	end := bytes.Index(h.head[from:min(len(h.head), limit)], endOfHead)
	if end < 0 {
		return nil, nil
	}
	end += from + len(endOfHead)
	head, h.head = h.head[:end], nil
	return head, data[end-kept:]
}

// serve answers the request whose head is given and returns what is left of rest.
func (h *httpProtocol) serve(head, rest []byte) []byte {
	l := h.c.loop
	if bytes.Count(head, []byte("\n"))-2 > l.cfg.RequestHeadersMax {
		h.refuse(http.StatusRequestHeaderFieldsTooLarge, "The request has too many headers.\n")
		return nil
	}
	r, err := parseHead(l.head, head)
	if err != nil {
		h.refuse(http.StatusBadRequest, "The request is malformed.\n")
		return nil
	}
	x := exchange{h: h, r: r, keepAlive: !r.Close && r.ContentLength == 0 && len(r.TransferEncoding) == 0}
	l.serve(&x)
	switch {
	case x.upgraded || h.c.dead:
	case x.keepAlive:
	default:
		h.c.linger()
		return nil
	}
	return rest
}

// parseHead leaves the parsing of requests to net/http. Everything in r is a copy.
func parseHead(reader *bufio.Reader, head []byte) (*http.Request, error) {
	reader.Reset(bytes.NewReader(head))
	defer reader.Reset(nil)
	r, err := http.ReadRequest(reader)
	if err != nil {
		return nil, err
	}
	if r.ProtoMajor != 1 || r.ProtoAtLeast(1, 1) && r.Host == "" {
		return nil, http.ErrNotSupported
	}
	return r, nil
}

// refuse answers what is not a request and ends the connection.
func (h *httpProtocol) refuse(status int, body string) {
	x := exchange{h: h, r: &http.Request{Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1}}
	x.text(status, body)
	h.c.linger()
}

// exchange is one request and its response.
type exchange struct {
	h         *httpProtocol
	r         *http.Request
	keepAlive bool
	upgraded  bool
	header    []string // name, value, name, value
}

// set adds a header to the response.
func (x *exchange) set(name, value string) { x.header = append(x.header, name, value) }

const (
	textPlain = "text/plain; charset=UTF-8"
	// neverCached is for everything dynamic, word for word as the SockJS protocol wants it.
	neverCached = "no-store, no-cache, no-transform, must-revalidate, max-age=0"
	// busyResponse answers a connection that is one too many.
	busyResponse = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
)

// text answers with a line of text.
func (x *exchange) text(status int, body string) {
	if status >= 400 {
		x.h.c.loop.stats.RequestsRefused++
	}
	x.set("Content-Type", textPlain)
	x.respond(status, body)
}

// respond sends the response: whole, with its length.
func (x *exchange) respond(status int, body string) {
	p := x.statusLine(status)
	if status != http.StatusNoContent && status != http.StatusNotModified {
		p = appendHeader(p, "Content-Length", strconv.Itoa(len(body)))
	}
	if !x.keepAlive {
		p = appendHeader(p, "Connection", "close")
	} else if !x.r.ProtoAtLeast(1, 1) {
		p = appendHeader(p, "Connection", "keep-alive")
	}
	p = append(p, "\r\n"...)
	if x.r.Method != http.MethodHead {
		p = append(p, body...)
	}
	x.h.c.loop.scratch = p
	x.h.c.send(p)
}

// statusLine begins the response in the loop's scratch memory, with the headers set so far.
func (x *exchange) statusLine(status int) []byte {
	p := append(x.h.c.loop.scratch[:0], "HTTP/1.1 "...)
	p = strconv.AppendInt(p, int64(status), 10)
	p = append(p, ' ')
	p = append(p, http.StatusText(status)...)
	p = append(p, "\r\n"...)
	for i := 0; i < len(x.header); i += 2 {
		p = appendHeader(p, x.header[i], x.header[i+1])
	}
	return p
}

func appendHeader(p []byte, name, value string) []byte {
	p = append(p, name...)
	p = append(p, ": "...)
	p = append(p, value...)
	return append(p, "\r\n"...)
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
