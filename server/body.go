package server

import (
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
