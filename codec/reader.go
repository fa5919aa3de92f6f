package codec

import (
	"errors"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// ErrIncomplete says that the data ended inside a frame or a request. It is a status, not a failure: the reader has
// kept what it needs.
var ErrIncomplete = errors.New("codec: the data ends too early")

// keepBytesMax is the size in bytes of the largest buffer that a reader keeps between messages. Most messages that come
// in several pieces are small, so they cost an allocation the first time only.
const keepBytesMax = 1 << 10

var errNotUTF8 = &CloseError{ws.StatusInvalidFramePayloadData, "text that is not UTF-8"}

// MessageReader takes whole messages and control frames out of a byte stream that is cut anywhere. Frames that lie
// whole in the data are unmasked in place and handed out without a copy. Copied are the payloads of frames that do not,
// and the fragments of a message (RFC 6455 section 5.4): at most BytesMax bytes of a message, and 125 of a control
// frame in it.
//
// The zero value with Role and BytesMax set is ready.
type MessageReader struct {
	Role     ws.State // ws.StateServerSide or ws.StateClientSide: who we are
	BytesMax int64    // size of the largest message accepted, in bytes; more is close code 1009
	// Inflater inflates compressed messages, if permessage-deflate was negotiated (RFC 7692); nil if not. It may be
	// shared with other readers: then a payload is scratch until the next call on any of them.
	Inflater *Inflater

	header    [ws.MaxHeaderSize]byte // a header of which a part has come
	headerLen uint8

	inFrame bool // the header of frame has come, its payload has not ended
	frame   ws.Header
	left    int64 // bytes of frame's payload that have not come

	op         ws.OpCode // of the message that has begun
	compressed bool      // it is
	message    []byte    // what has come of its payload, unless that lies whole in the data
	valid      int       // bytes at the front of message that are known to be whole characters
	control    []byte    // what has come of a control frame's payload, likewise
}

// Next takes the next message or control frame off the front of data and returns what is left of data. op is OpText or
// OpBinary for a whole message, else the control frame's. data is borrowed and written to: payloads are unmasked in
// place. payload is scratch: a part of data or of the reader's own memory.
//
// A text message that does not lie whole in data is checked for UTF-8 as it comes, and refused with its first byte that
// can belong to no character. One that does is not checked, nor is one that was compressed: its consumer scans it in
// any case. A compressed message may have BytesMax bytes, and not more when it is inflated.
//
// err is ErrIncomplete when data is used up, a *CloseError when the peer broke the protocol; then the reader is done.
func (r *MessageReader) Next(data []byte) (op ws.OpCode, payload, rest []byte, err error) {
	r.Release()
	if op, payload, rest, ok := r.takeFrame(data); ok {
		payload, err := r.inflate(op, payload)
		return op, payload, rest, err
	}
	for {
		if !r.inFrame {
			if data, err = r.takeHeader(data); err != nil {
				return 0, nil, nil, err
			}
		}
		payload, data = r.takePayload(data)
		op, payload, whole, err := r.join(payload)
		switch {
		case err != nil:
			return 0, nil, nil, err
		case whole:
			payload, err := r.inflate(op, payload)
			return op, payload, data, err
		case r.inFrame:
			return 0, nil, nil, ErrIncomplete
		}
	}
}

// takeFrame takes a legal frame that lies whole in data, and is a message or a control frame by itself; ok is false
// for everything else. It is the usual case. The rest of Next would do, in twice the time for a message of 19 bytes (64
// ns against 31, BenchmarkMessageReader).
func (r *MessageReader) takeFrame(data []byte) (op ws.OpCode, payload, rest []byte, ok bool) {
	if r.inFrame || r.headerLen > 0 {
		return 0, nil, nil, false
	}
	h, size, err := ParseHeader(data)
	alone := h.Fin && h.OpCode != ws.OpContinuation
	if err != nil || size == 0 || int64(len(data)-size) < h.Length || !alone || r.check(h) != nil {
		return 0, nil, nil, false
	}
	end := size + int(h.Length)
	if payload = data[size:end]; h.Masked {
		ws.Cipher(payload, h.Mask, 0)
	}
	r.begins(h)
	return h.OpCode, payload, data[end:], true
}

// Release gives back what is larger than keepBytesMax of the memory in which the last payload was. The owner calls it
// when it has used the payload and may not call Next soon.
func (r *MessageReader) Release() {
	if len(r.message) == 0 && cap(r.message) > keepBytesMax {
		r.message = nil
	}
}

// Buffered tells how many bytes of memory the reader keeps for payloads, used or not.
func (r *MessageReader) Buffered() int { return cap(r.message) + cap(r.control) }

// takeHeader takes a frame's header off data, or keeps its beginning and reports ErrIncomplete.
func (r *MessageReader) takeHeader(data []byte) (rest []byte, err error) {
	for len(data) > 0 {
		n := copy(r.header[r.headerLen:headerSize(r.header[:r.headerLen])], data)
		r.headerLen, data = r.headerLen+uint8(n), data[n:]
		if h, size, err := ParseHeader(r.header[:r.headerLen]); err != nil || size > 0 {
			r.headerLen = 0
			return data, r.begin(h, err)
		}
	}
	return nil, ErrIncomplete
}

// begin begins the frame with the header h, if that is legal and ParseHeader found no error.
func (r *MessageReader) begin(h ws.Header, err error) error {
	if err == nil {
		err = r.check(h)
	}
	if err == nil {
		r.frame, r.left, r.inFrame = h, h.Length, true
		r.begins(h)
	}
	return err
}

// begins notes what kind of message the frame with the header h begins, if it does; of the bits that extensions have,
// check lets the one for compression pass.
func (r *MessageReader) begins(h ws.Header) {
	if h.OpCode == ws.OpText || h.OpCode == ws.OpBinary {
		r.compressed = h.Rsv != 0
	}
}

// inflate inflates the payload of a message that is compressed.
func (r *MessageReader) inflate(op ws.OpCode, payload []byte) ([]byte, error) {
	if !r.compressed || op.IsControl() {
		return payload, nil
	}
	return r.Inflater.Inflate(payload, r.BytesMax)
}

// check applies RFC 6455's rules for headers and our own for sizes, before a byte of the payload is kept.
func (r *MessageReader) check(h ws.Header) error {
	if r.Inflater != nil {
		if plain, _, err := wsflate.UnsetBit(h); err == nil {
			h = plain
		}
	}
	if err := ws.CheckHeader(h, r.Role); err != nil {
		return &CloseError{ws.StatusProtocolError, err.Error()}
	}
	if !h.OpCode.IsControl() && h.Length > r.BytesMax-int64(len(r.message)) {
		return &CloseError{ws.StatusMessageTooBig, "message too big"}
	}
	return nil
}

// takePayload takes the next piece of the frame's payload off data and unmasks it in place.
func (r *MessageReader) takePayload(data []byte) (piece, rest []byte) {
	n := int(min(r.left, int64(len(data))))
	if piece = data[:n]; r.frame.Masked {
		ws.Cipher(piece, r.frame.Mask, int(r.frame.Length-r.left))
	}
	r.left -= int64(n)
	r.inFrame = r.left > 0
	return piece, data[n:]
}

// join adds a piece to the control frame or the message that it belongs to, and returns that when it is whole.
func (r *MessageReader) join(piece []byte) (op ws.OpCode, payload []byte, whole bool, err error) {
	if r.frame.OpCode.IsControl() {
		if r.control = appendGrowing(r.control, piece, ws.MaxControlFramePayloadSize); r.inFrame {
			return 0, nil, false, nil
		}
		payload, r.control = r.control, r.control[:0]
		return r.frame.OpCode, payload, true, nil
	}
	if err := r.extend(piece); err != nil || r.inFrame {
		return 0, nil, false, err
	}
	if !r.frame.Fin {
		r.Role = r.Role.Set(ws.StateFragmented)
		return 0, nil, false, nil
	}
	r.Role = r.Role.Clear(ws.StateFragmented)
	payload, r.message, r.valid = r.message, r.message[:0], 0
	return r.op, payload, true, nil
}

// extend adds a piece to the message and checks what is new of a text.
func (r *MessageReader) extend(piece []byte) error {
	if r.frame.OpCode != ws.OpContinuation {
		r.op = r.frame.OpCode
	}
	r.message = appendGrowing(r.message, piece, r.messageBytesMax(len(piece)))
	if r.op != ws.OpText || r.compressed {
		return nil
	}
	n, ok := utf8Prefix(r.message[r.valid:])
	r.valid += n
	if ends := r.frame.Fin && !r.inFrame; !ok || ends && r.valid < len(r.message) {
		return errNotUTF8
	}
	return nil
}

// messageBytesMax is the size that the message will not exceed, as far as the frame tells, when a piece of so many
// bytes is added.
func (r *MessageReader) messageBytesMax(piece int) int {
	if r.frame.Fin {
		return max(len(r.message)+piece+int(r.left), keepBytesMax)
	}
	return int(r.BytesMax)
}
