package codec

import (
	"bytes"
	"errors"
)

// ErrBrokenChunk refuses a chunked body that breaks RFC 9112 section 7.1, or whose size lines or trailers are longer
// than chunkLineBytesMax and trailerBytesMax. Nothing behind it on the connection can be trusted.
var ErrBrokenChunk = errors.New("codec: broken chunked body")

const (
	chunkLineBytesMax = 256     // a size with its extensions
	trailerBytesMax   = 4 << 10 // all trailers, which nobody here reads
	chunkDigitsMax    = 15      // hexadecimal digits of a size: no overflow of an int64
)

// ChunkedReader takes the body out of a chunked transfer coding that is cut anywhere. It is strict: whatever two
// readers could take differently is refused, since a proxy in front may be the other reader. The zero value is ready.
type ChunkedReader struct {
	state   chunkState
	left    int64  // of the chunk
	line    []byte // of a size, or of a trailer, as far as it has come
	trailed int    // bytes of trailers
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd // the line end behind the data
	chunkTrailers
)

// Next takes the next piece of the body off the borrowed data and returns what is left of data. done tells that the
// body has ended; an empty piece without done tells that data is used up. piece is a part of data.
func (r *ChunkedReader) Next(data []byte) (piece, rest []byte, done bool, err error) {
	for len(data) > 0 {
		if r.state == chunkData {
			n := int(min(r.left, int64(len(data))))
			if r.left -= int64(n); r.left == 0 {
				r.state = chunkEnd
			}
			return data[:n], data[n:], false, nil
		}
		line, rest, err := r.takeLine(data)
		if err != nil || line == nil {
			return nil, nil, false, err
		}
		data = rest
		if done, err = r.lineEnds(line); done || err != nil {
			return nil, data, done, err
		}
	}
	return nil, nil, false, nil
}

// takeLine takes a line without its end off data, nil when data ends inside it. The line is scratch.
func (r *ChunkedReader) takeLine(data []byte) (line, rest []byte, err error) {
	end := bytes.IndexByte(data, '\n') + 1
	whole := end > 0
	if !whole {
		end = len(data)
	}
	if r.line = append(r.line, data[:min(end, chunkLineBytesMax+1)]...); len(r.line) > chunkLineBytesMax {
		return nil, nil, ErrBrokenChunk
	}
	if !whole {
		return nil, nil, nil
	}
	line, ok := bytes.CutSuffix(r.line, []byte("\r\n"))
	r.line = r.line[:0]
	if !ok || bytes.ContainsFunc(line, isControl) {
		return nil, nil, ErrBrokenChunk
	}
	return line, data[end:], nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// lineEnds takes a whole line, without its end, for what it is in the present state: a size, the empty line behind a
// chunk's data, or a trailer (RFC 9112 section 7.1.2). An empty line in place of a trailer ends the body.
func (r *ChunkedReader) lineEnds(line []byte) (done bool, err error) {
	switch r.state {
	case chunkSize:
		if r.left, err = chunkSizeOf(line); err != nil {
			return false, err
		}
		if r.state = chunkData; r.left == 0 {
			r.state = chunkTrailers
		}
	case chunkEnd:
		if len(line) > 0 {
			return false, ErrBrokenChunk
		}
		r.state = chunkSize
	case chunkTrailers:
		if len(line) == 0 {
			return true, nil
		}
		_, _, ok := fieldLine(line)
		if r.trailed += len(line); !ok || r.trailed > trailerBytesMax {
			return false, ErrBrokenChunk
		}
	}
	return false, nil
}

// chunkSizeOf reads a size; its extensions are legal and mean nothing.
func chunkSizeOf(line []byte) (int64, error) {
	digits, _, _ := bytes.Cut(line, []byte{';'})
	if len(digits) == 0 || len(digits) > chunkDigitsMax {
		return 0, ErrBrokenChunk
	}
	var n int64
	for _, c := range digits {
		d := hexDigit(c)
		if d < 0 {
			return 0, ErrBrokenChunk
		}
		n = n<<4 | int64(d)
	}
	return n, nil
}

// AppendChunkHeader appends what stands before a chunk of size bytes (more than 0); ChunkEnd stands behind the chunk.
func AppendChunkHeader(dst []byte, size int) []byte {
	shift := 0
	for size>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, hex[size>>shift&15])
	}
	return append(dst, "\r\n"...)
}

// What ends a chunk, and a chunked body without trailers.
const (
	ChunkEnd  = "\r\n"
	LastChunk = "0\r\n\r\n"
)
