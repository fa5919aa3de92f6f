package codec

import (
	"errors"

	"github.com/gobwas/ws"
)

// ErrIncomplete says that the data ended in the middle of a frame. It is a status, not a failure: the reader has kept
// what it needs.
var ErrIncomplete = errors.New("codec: the data ends inside a frame")

// keepBytesMax is what a reader holds on to between frames. Most cut frames are small, so their remainder costs no
// allocation after the first; a large one's buffer goes back as soon as its frame is done.
const keepBytesMax = 1 << 10

// MessageReader takes whole messages and control frames out of a byte stream that is cut anywhere. Frames that lie whole
// in the data are unmasked in place and handed out without a copy; only the remainder of a cut frame and the fragments
// of a fragmented message (RFC 6455 section 5.4) are kept, and never more than BytesMax each.
//
// The zero value with Role and BytesMax set is ready.
type MessageReader struct {
	Role     ws.State // ws.StateServerSide or ws.StateClientSide: who we are
	BytesMax int64    // size of the largest message accepted, in bytes; more is close code 1009

	cut   []byte // a frame that has begun and not ended
	parts []byte // the payloads of a fragmented message so far
	op    ws.OpCode
}

// Next takes the next message or control frame off the front of data and returns what is left. op is OpText or OpBinary
// for a whole message, else the control frame's. data is borrowed and written to: payloads are unmasked in place.
// payload is scratch. Text is not checked for UTF-8 here, because the consumer's own scan does it at no extra cost.
//
// err is ErrIncomplete when data is used up, a *CloseError when the peer broke the protocol; then the reader is done.
func (r *MessageReader) Next(data []byte) (op ws.OpCode, payload, rest []byte, err error) {
	if len(r.cut) == 0 && cap(r.cut) > keepBytesMax {
		r.cut = nil
	}
	for {
		h, payload, rest, err := r.frame(data)
		if err != nil {
			return 0, nil, nil, err
		}
		if h.OpCode.IsControl() {
			return h.OpCode, payload, rest, nil
		}
		if h.Fin && h.OpCode != ws.OpContinuation {
			return h.OpCode, payload, rest, nil
		}
		if op, message, done := r.assemble(h, payload); done {
			return op, message, rest, nil
		}
		data = rest
	}
}

// Buffered tells how many bytes the reader keeps: the cut frame and the fragments so far.
func (r *MessageReader) Buffered() int { return len(r.cut) + len(r.parts) }

// assemble joins the fragments of a message. The joined message stays in place until the next fragmented one.
func (r *MessageReader) assemble(h ws.Header, payload []byte) (ws.OpCode, []byte, bool) {
	if h.OpCode != ws.OpContinuation {
		r.op, r.parts = h.OpCode, nil
		r.Role = r.Role.Set(ws.StateFragmented)
	}
	r.parts = append(r.parts, payload...)
	if !h.Fin {
		return 0, nil, false
	}
	message := r.parts
	r.parts = nil
	r.Role = r.Role.Clear(ws.StateFragmented)
	return r.op, message, true
}

// frame takes one frame off data, or keeps data and reports ErrIncomplete.
func (r *MessageReader) frame(data []byte) (ws.Header, []byte, []byte, error) {
	if len(r.cut) != 0 {
		return r.resume(data)
	}
	h, size, err := ParseHeader(data)
	if err != nil {
		return h, nil, nil, err
	}
	if size == 0 {
		r.cut = append(r.cut, data...)
		return h, nil, nil, ErrIncomplete
	}
	if err := r.check(h); err != nil {
		return h, nil, nil, err
	}
	if int64(len(data)-size) < h.Length {
		r.cut = append(r.cut, data...)
		return h, nil, nil, ErrIncomplete
	}
	end := size + int(h.Length)
	return h, unmask(h, data[size:end]), data[end:], nil
}

// resume goes on with a cut frame, taking no more of data than the frame needs.
func (r *MessageReader) resume(data []byte) (ws.Header, []byte, []byte, error) {
	h, size, err := ParseHeader(r.cut)
	for ; size == 0 && err == nil; h, size, err = ParseHeader(r.cut) {
		if len(data) == 0 {
			return h, nil, nil, ErrIncomplete
		}
		data = r.take(data, headerSize(r.cut))
	}
	if err == nil {
		err = r.check(h)
	}
	if err != nil {
		return h, nil, nil, err
	}
	end := size + int(h.Length)
	if data = r.take(data, end); len(r.cut) < end {
		return h, nil, nil, ErrIncomplete
	}
	payload := unmask(h, r.cut[size:end])
	r.cut = r.cut[:0]
	return h, payload, data, nil
}

// take moves bytes from data to the cut frame until that has size bytes or data is used up.
func (r *MessageReader) take(data []byte, size int) []byte {
	n := min(size-len(r.cut), len(data))
	r.cut = append(r.cut, data[:n]...)
	return data[n:]
}

// check applies RFC 6455's rules for headers and our own for sizes, before a byte of the payload is kept.
func (r *MessageReader) check(h ws.Header) error {
	if err := ws.CheckHeader(h, r.Role); err != nil {
		return &CloseError{ws.StatusProtocolError, err.Error()}
	}
	if !h.OpCode.IsControl() && h.Length > r.BytesMax-int64(len(r.parts)) {
		return &CloseError{ws.StatusMessageTooBig, "message too big"}
	}
	return nil
}

func unmask(h ws.Header, payload []byte) []byte {
	if h.Masked {
		ws.Cipher(payload, h.Mask, 0)
	}
	return payload
}
