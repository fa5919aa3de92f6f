package codec

import (
	"fmt"
	"net/http"
)

// RequestReader takes HTTP/1.x requests (RFC 9112) off a byte stream that is cut anywhere. Heads are parsed by
// net/http; what that is lenient about and a proxy in front may not be is refused before. It has no part in answering.
//
// The zero value with its bounds set is ready.
type RequestReader struct {
	HeadBytesMax int // a longer head is 431
	HeadersMax   int // more header lines: 431
	BodyBytesMax int // a longer body, without its chunks: 413, said as soon as it is known

	head    []byte        // a head of which a part has come
	request *http.Request // whose body is on its way
	headLen int           // bytes that the head of request had
	body    bodyReader
	expects bool // request expects 100-continue, nothing of its body has come, and Continue has not told
	refused *RequestError
}

// Request is a request with its whole body.
type Request struct {
	*http.Request        // the head, in which everything is a copy; its own Body is empty
	Body          []byte // without its chunks
	Owned         bool   // Body is the caller's to keep; else it is borrowed from the data given to Next
}

// RequestError refuses what is not a legal request, or exceeds a bound.
type RequestError struct {
	Status int    // of the response
	Reason string // a line of text for its body
}

// Error tells the status and the reason.
func (e *RequestError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, http.StatusText(e.Status), e.Reason[:len(e.Reason)-1])
}

// Next takes the next request off the front of the borrowed data and returns what is left of data. A body that lies
// whole in data, and is not chunked, is not copied. err is ErrIncomplete when data is used up: what is needed of it is
// kept. It is a *RequestError when the request is refused: the reader is done, since nothing behind can be trusted, and
// gives the same error from then on.
func (r *RequestReader) Next(data []byte) (q *Request, rest []byte, err error) {
	if r.refused != nil {
		return nil, nil, r.refused
	}
	if r.request == nil {
		head, behind, err := r.takeHead(data)
		if err == nil {
			err = r.begin(head)
		}
		if err != nil {
			return nil, nil, r.failed(err)
		}
		data = behind
	}
	r.expects = r.expects && len(data) == 0
	body, owned, rest, err := r.body.next(data)
	if err != nil {
		return nil, nil, r.failed(err)
	}
	q = &Request{Request: r.request, Body: body, Owned: owned}
	r.request, r.headLen, r.body, r.expects = nil, 0, bodyReader{}, false
	return q, rest, nil
}

// failed returns err, and gives back all memory if the request has been refused.
func (r *RequestReader) failed(err error) error {
	if refused, ok := err.(*RequestError); ok {
		*r = RequestReader{refused: refused}
	}
	return err
}

// Partial tells whether a request has begun and not ended. Empty lines before one begin none (RFC 9112 section 2.2).
func (r *RequestReader) Partial() bool { return len(r.head) > 0 || r.request != nil }

// Buffered tells how many bytes of memory the reader keeps: its buffers with what is unused in them, and a parsed head,
// counted as what it had on the wire and what its headers cost beside that.
func (r *RequestReader) Buffered() int {
	n := cap(r.head) + r.headLen + r.body.buffered()
	if r.request != nil {
		n += requestBytes + r.headLen/8 + headerBytes*len(r.request.Header)
	}
	return n
}

// headerBytes is about what a header costs beside its text, in bytes: an entry of a map, and a slice of one string.
const headerBytes = 120

// requestBytes is about what a request costs beside its headers, in bytes: http.Request, url.URL, and the map itself.
const requestBytes = 720

// Continue tells, once a request, whether its client waits for a response 100 before it sends the body (RFC 9110
// section 10.1.1): it expects one, and nothing of the body has come.
func (r *RequestReader) Continue() bool {
	expects := r.expects
	r.expects = false
	return expects
}
