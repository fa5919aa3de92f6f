package server

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/sockloop/sockloop/codec"
)

// body is a request body on its way.
type body struct {
	chunked bool
	chunks  codec.ChunkedReader
	left    int64 // of one whose length was declared
	came    []byte
}

// checkHead refuses heads that a proxy in front of us might have read differently (RFC 9112 sections 2.2, 5 and 6.3): what
// one of the two takes for a body and the other for a request is how requests are smuggled. net/http is more lenient.
func checkHead(head []byte) (status int, why string) {
	var lengths, codings, hosts int
	for i, c := range head {
		switch {
		case c == '\n' && (i == 0 || head[i-1] != '\r'), c == '\r' && (i+1 == len(head) || head[i+1] != '\n'):
			return http.StatusBadRequest, "The lines of a request head end in CR LF, and have neither inside.\n"
		case c < ' ' && c != '\r' && c != '\n' && c != '\t', c == 0x7f:
			return http.StatusBadRequest, "A request head has no control characters.\n"
		}
	}
	request, lines, _ := bytes.Cut(head, []byte("\r\n"))
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch {
		case len(name) > 0 && (name[0] == ' ' || name[0] == '\t'):
			return http.StatusBadRequest, "A header goes on in the next line; write it in one.\n"
		case bytes.EqualFold(name, []byte("Content-Length")):
			lengths++
		case bytes.EqualFold(name, []byte("Host")):
			hosts++
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			if codings++; !strings.EqualFold(strings.TrimSpace(string(value)), "chunked") {
				return http.StatusNotImplemented, "The only transfer coding that is understood is chunked.\n"
			}
		}
	}
	switch {
	case lengths+codings > 1:
		return http.StatusBadRequest, "A request has one Content-Length or one Transfer-Encoding, not several, and not both.\n"
	case codings > 0 && bytes.HasSuffix(request, []byte("HTTP/1.0")):
		return http.StatusBadRequest, "HTTP/1.0 has no Transfer-Encoding.\n"
	case hosts > 1:
		return http.StatusBadRequest, "A request has one Host.\n"
	}
	return 0, ""
}

// expectBody prepares for the body of a request of which so many bytes are there already; false means that it was
// refused.
func (h *httpProtocol) expectBody(x *exchange, there int) bool {
	chunked := len(x.r.TransferEncoding) > 0
	if x.r.ContentLength > int64(h.c.loop.cfg.BodyBytesMax) {
		h.tooLarge()
		return false
	}
	h.request, h.body = x, body{chunked: chunked, left: max(x.r.ContentLength, 0)}
	switch expect := x.r.Header.Get("Expect"); {
	case expect == "" || x.out.http10:
	case !strings.EqualFold(expect, "100-continue"):
		h.request = nil
		h.refuse(http.StatusExpectationFailed, "The only expectation that is met is 100-continue.\n")
		return false
	case there == 0 && (chunked || h.body.left > 0):
		h.c.send([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
	return true
}

func (h *httpProtocol) tooLarge() {
	h.request = nil
	h.refuse(http.StatusRequestEntityTooLarge, "The body is too large.\n")
}

// receiveBody takes the body off data and serves the request once it is whole. A body that lies whole in data is not
// copied.
func (h *httpProtocol) receiveBody(data []byte) []byte {
	if h.body.chunked {
		return h.receiveChunks(data)
	}
	n := int(min(h.body.left, int64(len(data))))
	if h.body.left -= int64(n); h.body.left > 0 {
		h.body.came = append(h.body.came, data[:n]...)
		return nil
	}
	if len(h.body.came) == 0 {
		return h.received(data[:n:n], data[n:])
	}
	return h.received(append(h.body.came, data[:n]...), data[n:])
}

func (h *httpProtocol) receiveChunks(data []byte) []byte {
	for {
		piece, rest, done, err := h.body.chunks.Next(data)
		switch {
		case err != nil:
			h.request = nil
			h.refuse(http.StatusBadRequest, "The chunked body is broken.\n")
			return nil
		case done:
			return h.received(h.body.came, rest)
		case len(piece) == 0:
			return nil
		}
		if len(h.body.came)+len(piece) > h.c.loop.cfg.BodyBytesMax {
			h.tooLarge()
			return nil
		}
		h.body.came, data = append(h.body.came, piece...), rest
	}
}

// received serves the request whose body is whole.
func (h *httpProtocol) received(p, rest []byte) []byte {
	x := h.request
	h.request, h.body, x.body = nil, body{}, p
	return h.serve(x, rest)
}
