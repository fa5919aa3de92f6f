package codec

import "net/http"

var (
	errBodyTooLarge = &RequestError{http.StatusRequestEntityTooLarge, "The body is too large.\n"}
	errBodyChunks   = &RequestError{http.StatusBadRequest, "The chunked body is broken.\n"}
)

// bodyReader collects the body of one request, which is chunked or has a declared length (RFC 9112 section 6).
type bodyReader struct {
	chunked  bool
	chunks   ChunkedReader
	left     int64 // bytes that have not come, of a declared length
	bytesMax int64 // of the body
	came     []byte
}

// newBodyReader begins the body of the request q.
func newBodyReader(q *http.Request, bytesMax int) (bodyReader, error) {
	if q.ContentLength > int64(bytesMax) {
		return bodyReader{}, errBodyTooLarge
	}
	b := bodyReader{chunked: len(q.TransferEncoding) > 0, left: max(q.ContentLength, 0), bytesMax: int64(bytesMax)}
	return b, nil
}

// buffered is the number of bytes of memory that the body takes.
func (b *bodyReader) buffered() int { return cap(b.came) + cap(b.chunks.line) }

// next takes the body off data and returns it when it is whole, else ErrIncomplete. owned is false when the body is a
// part of data.
func (b *bodyReader) next(data []byte) (body []byte, owned bool, rest []byte, err error) {
	if b.chunked {
		return b.nextChunks(data)
	}
	n := int(min(b.left, int64(len(data))))
	piece, whole := data[:n:n], int64(n) == b.left
	if whole && len(b.came) == 0 {
		return piece, false, data[n:], nil
	}
	length := len(b.came) + int(b.left)
	b.came = appendGrowing(b.came, piece, length)
	if b.left -= int64(n); !whole {
		return nil, false, nil, ErrIncomplete
	}
	return b.came, true, data[n:], nil
}

// nextChunks is next for a chunked body. It refuses a chunk that makes the body too large when it knows the chunk's
// size.
func (b *bodyReader) nextChunks(data []byte) (body []byte, owned bool, rest []byte, err error) {
	for {
		piece, rest, done, err := b.chunks.Next(data)
		switch {
		case err != nil:
			return nil, false, nil, errBodyChunks
		case done:
			return b.came, true, rest, nil
		case int64(len(b.came)+len(piece))+b.chunks.left > b.bytesMax:
			return nil, false, nil, errBodyTooLarge
		case len(piece) == 0:
			return nil, false, nil, ErrIncomplete
		}
		b.came, data = appendGrowing(b.came, piece, int(b.bytesMax)), rest
	}
}
