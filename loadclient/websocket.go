package loadclient

import (
	"fmt"
	"io"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/sockloop/sockloop/codec"
)

// webSocketLink is a WebSocket, with SockJS frames on it or raw.
type webSocketLink struct {
	c        *conn
	socket   *socket
	dialect  dialect
	template template

	// Where we are in a frame.
	head     [ws.MaxHeaderSize]byte
	headed   int
	frame    ws.Header
	deflated bool // the message is
	record   []byte
	off      int    // in the payload
	inside   bool   // a payload
	lead     []byte // of a text: its first bytes, up to what tells whether it has messages; of one without, all of it
	any      bool   // the message has had elements
	parts    []byte // of a fragmented message
	parted   bool   // a fragmented message has begun
	ctl      []byte // payload of a control frame
}

func newWebSocketLink(c *conn, d dialed) *webSocketLink {
	return &webSocketLink{
		c: c, socket: newSocket(c, d.channel), dialect: declared(c.w.target.Protocol).dialect,
		template: c.w.template(c.w.idBase + c.index),
	}
}

func (l *webSocketLink) sockets() []*socket     { return []*socket{l.socket} }
func (l *webSocketLink) ready() bool            { return !l.socket.waiting }
func (l *webSocketLink) writable(*socket) error { return l.c.w.sendMore(l.c) }
func (l *webSocketLink) ended(*socket) error    { return io.EOF }

func (l *webSocketLink) send(n int, stamp int64) error {
	return l.socket.write(l.template.append(l.socket.buffer(), stamp, n))
}

func (l *webSocketLink) say(texts []string) error {
	b := l.socket.buffer()
	for _, text := range texts {
		if l.dialect.quoted {
			text = quote(text)
		}
		b = codec.AppendMaskedFrame(b, ws.OpText, []byte(l.dialect.sendBefore+text+l.dialect.sendAfter), maskKey)
	}
	return l.socket.write(b)
}

func (l *webSocketLink) receive(_ *socket, data []byte) error {
	for len(data) > 0 {
		if !l.inside {
			n, err := l.header(data)
			if err != nil {
				return err
			}
			data = data[n:]
			continue
		}
		n := min(len(data), int(l.frame.Length)-l.off)
		if err := l.payload(data[:n]); err != nil {
			return err
		}
		data = data[n:]
		if l.off += n; l.off == int(l.frame.Length) {
			l.inside = false
			if err := l.frameEnd(); err != nil {
				return err
			}
		}
	}
	l.socket.skim = l.skippable()
	return nil
}

// skippable is how many of the bytes that come next are messages of which nobody needs to look at a byte.
func (l *webSocketLink) skippable() int {
	before, rest := len(l.dialect.before), int(l.frame.Length)-l.off
	switch {
	case !l.c.skims || !l.inside || !l.whole():
		return 0
	case l.deflated:
		return rest - 1 // which ends the frame when it is read
	case l.off < before || string(l.lead) != l.dialect.before:
		return 0
	case l.c.reference.framing != nil:
		return rest - 1
	}
	return max(0, rest-len(l.dialect.after))
}

func (l *webSocketLink) betweenFrames() bool { return !l.inside && l.headed == 0 && !l.parted }

func (l *webSocketLink) skimmed(n int) {
	l.off += n
	l.any = true
	l.c.skip(n)
}

// header reads a frame header and returns how many bytes of data belong to it.
func (l *webSocketLink) header(data []byte) (int, error) {
	p := data
	if l.headed > 0 {
		n := copy(l.head[l.headed:], data)
		p = l.head[:l.headed+n]
	}
	h, size, err := codec.ParseHeader(p)
	if err != nil {
		return 0, err
	}
	if size == 0 {
		l.headed += copy(l.head[l.headed:], data)
		return len(data), nil
	}
	used := size - l.headed
	l.headed = 0
	state := ws.StateClientSide
	if l.parted {
		state = state.Set(ws.StateFragmented)
	}
	if first := h.OpCode == ws.OpText || h.OpCode == ws.OpBinary; first && l.c.reference.framing != nil {
		if h, l.deflated, err = wsflate.UnsetBit(h); err != nil {
			return 0, err
		}
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return 0, err
	}
	if h.Length > frameBytesMax {
		return 0, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	l.frame, l.off = h, 0
	if l.inside = h.Length > 0; !l.inside {
		return used, l.frameEnd()
	}
	return used, nil
}

// frameBytesMax is the largest frame a server may send us.
const frameBytesMax = 1 << 30

// whole tells whether the frame is a text message in one piece, which needs no copy.
func (l *webSocketLink) whole() bool { return l.frame.Fin && l.frame.OpCode == ws.OpText }

func (l *webSocketLink) payload(p []byte) error {
	switch {
	case l.whole():
		return l.text(p, l.off, int(l.frame.Length))
	case l.frame.OpCode.IsControl():
		l.ctl = append(l.ctl, p...)
	default:
		l.c.w.heardAt = l.c.w.readAt
		l.parts = append(l.parts, p...)
	}
	return nil
}

// leadBytesMax is the size of a text without messages.
const leadBytesMax = 64 << 10

// text takes a part of a text of size bytes, from the offset off on.
func (l *webSocketLink) text(p []byte, off, size int) error {
	if l.deflated {
		l.framed(p, size)
		return nil
	}
	before, after := len(l.dialect.before), len(l.dialect.after)
	if lead := before - off; lead > 0 {
		l.lead = append(l.lead, p[:min(lead, len(p))]...)
		if lead > len(p) {
			return nil
		}
	}
	ours := string(l.lead) == l.dialect.before
	if ours && size < before+after {
		return fmt.Errorf("a frame that is %q and no more", l.lead)
	}
	if !ours {
		if l.lead = append(l.lead, p[min(max(before-off, 0), len(p)):]...); len(l.lead) > leadBytesMax {
			return fmt.Errorf("a text of %d bytes without messages", size)
		}
		return nil
	}
	if after > 0 && off+len(p) == size && p[len(p)-1] != l.dialect.after[0] {
		return fmt.Errorf("a frame that ends with %q instead of %q", p[len(p)-1], l.dialect.after)
	}
	if l.c.reference.framing != nil {
		if !l.any {
			l.framed(l.lead, size)
		}
		l.framed(p[min(max(before-off, 0), len(p)):], size)
		return nil
	}
	lo, hi := max(before, off), min(size-after, off+len(p))
	if lo < hi {
		l.any = true
		l.c.elements(p[lo-off : hi-off])
	}
	return nil
}

// framed takes a part of a text of size bytes as that of a record.
func (l *webSocketLink) framed(p []byte, size int) {
	if !l.any {
		l.any = true
		l.record = appendRecordHead(l.record[:0], l.deflated, size)
		l.c.elements(l.record)
	}
	l.c.elements(p)
}

// textEnd follows a text.
func (l *webSocketLink) textEnd() error {
	lead := l.lead
	l.lead = l.lead[:0]
	switch {
	case l.any:
		l.any = false
		l.c.frameEnd()
		if f := l.c.reference.framing; f != nil {
			return f.err
		}
		return nil
	case string(lead) == l.dialect.before: // an array without messages
		return nil
	}
	answer, err := l.dialect.other(string(lead))
	if err != nil || answer == "" {
		return err
	}
	return l.socket.write(codec.AppendMaskedFrame(l.socket.buffer(), ws.OpText, []byte(answer), maskKey))
}

// frameEnd follows the last byte of a frame.
func (l *webSocketLink) frameEnd() error {
	switch {
	case l.frame.OpCode.IsControl():
		return l.control()
	case !l.frame.Fin:
		l.parted = true
		return nil
	case l.parted:
		message := l.parts
		l.parts, l.parted = l.parts[:0], false
		if err := l.text(message, 0, len(message)); err != nil {
			return err
		}
	}
	return l.textEnd()
}

// maskKey masks what is not worth a random one: the mask keeps proxies from being misled, of which there are none here.
var maskKey = [4]byte{1, 2, 3, 4}

// control answers a ping and takes note of a close.
func (l *webSocketLink) control() error {
	payload := l.ctl
	l.ctl = l.ctl[:0]
	switch l.frame.OpCode {
	case ws.OpPing:
		return l.socket.write(codec.AppendMaskedFrame(l.socket.buffer(), ws.OpPong, payload, maskKey))
	case ws.OpClose:
		code, reason, err := codec.ParseClose(payload)
		if err != nil {
			return err
		}
		return fmt.Errorf("the server closed the connection: %d %s", code, reason)
	}
	return nil
}
