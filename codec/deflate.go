package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/klauspost/compress/flate"
)

// DeflateResponse is what a server answers an offer of permessage-deflate with that it takes: neither side keeps
// context from one message to the next, so that a message can be compressed once for all who receive it, and nothing
// has to be kept for a connection.
const DeflateResponse = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// AcceptsDeflate tells whether one of the offers in the lines of a Sec-WebSocket-Extensions header can be answered with
// DeflateResponse (RFC 7692 section 7.1). An offer is declined, and the next one looked at, if it wants a window of
// less than 32 KiB of the server, has a parameter that is not defined, a value that is not allowed, or a parameter
// twice. What cannot be parsed at all is no offer.
func AcceptsDeflate(lines []string) bool {
	for _, line := range lines {
		options, ok := httphead.ParseOptions([]byte(line), nil)
		if !ok {
			continue
		}
		for _, o := range options {
			var p wsflate.Parameters
			if string(o.Name) != wsflate.ExtensionName || p.Parse(o) != nil {
				continue
			}
			if bits := p.ServerMaxWindowBits; !bits.Defined() || bits.Bytes() == wsflate.MaxLZ77WindowSize {
				return true
			}
		}
	}
	return false
}

// rsv1 marks the first frame of a compressed message (RFC 7692 section 6), in a header's first byte.
const rsv1 = 0x40

// deflateTail is what a sync flush ends with. It is not sent (RFC 7692 section 7.2.1).
var deflateTail = []byte{0, 0, 0xff, 0xff}

// DeflateLevelMin and DeflateLevelMax bound the level of a Deflater. Levels 7 to 9 clear their tables for each message,
// which takes 10 µs and more for one of 256 bytes, where level 6 takes 0.8 and level 1 0.3.
const (
	DeflateLevelMin = flate.BestSpeed
	DeflateLevelMax = 6
)

// deflateKept is the size in bytes of the largest buffer that is kept for the next message.
const deflateKept = 128 << 10

// Deflater compresses messages, each by itself. It keeps half a megabyte to two, by its level.
type Deflater struct {
	bytesMin int
	w        *flate.Writer
	plain    []byte       // scratch
	out      bytes.Buffer // scratch
}

// NewDeflater makes one with a level of 1 to 6. Payloads of less than bytesMin bytes it leaves as they are.
func NewDeflater(level, bytesMin int) (*Deflater, error) {
	if level < DeflateLevelMin || level > DeflateLevelMax {
		return nil, fmt.Errorf("codec: level %d: want %d, the fastest, to %d, the smallest", level, DeflateLevelMin,
			DeflateLevelMax)
	}
	w, err := flate.NewWriter(nil, level)
	return &Deflater{bytesMin: bytesMin, w: w}, err
}

// AppendFrame appends a whole unmasked frame, compressed if that is worth it. payload is borrowed.
func (d *Deflater) AppendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	if len(payload) < d.bytesMin {
		return AppendFrame(dst, op, payload)
	}
	d.out.Reset()
	d.w.Reset(&d.out)
	_, _ = d.w.Write(payload) // a bytes.Buffer takes everything
	_ = d.w.Flush()
	defer d.release()
	small := bytes.TrimSuffix(d.out.Bytes(), deflateTail)
	if len(small) >= len(payload) {
		return AppendFrame(dst, op, payload)
	}
	at := len(dst)
	dst = AppendFrame(dst, op, small)
	dst[at] |= rsv1
	return dst
}

// release lets go of scratch that a large message needed.
func (d *Deflater) release() {
	if d.out.Cap() > deflateKept {
		d.out = bytes.Buffer{}
	}
	if cap(d.plain) > deflateKept {
		d.plain = nil
	}
}

// AppendArray appends the batch as AppendWebSocketArray does.
func (d *Deflater) AppendArray(dst []byte, b Batch) []byte {
	if len(b.Elements())+len("a[]") < d.bytesMin {
		return AppendWebSocketArray(dst, b)
	}
	d.plain = AppendArrayFrame(d.plain[:0], b.Elements())
	return d.AppendFrame(dst, ws.OpText, d.plain)
}

// AppendTexts appends the batch as AppendWebSocketTexts does: each message is compressed by itself.
func (d *Deflater) AppendTexts(dst []byte, b Batch) []byte {
	return appendTexts(dst, b, d.AppendFrame)
}

var (
	errInflatedTooBig = &CloseError{ws.StatusMessageTooBig, "message too big when inflated"}
	errNotDeflate     = &CloseError{ws.StatusInvalidFramePayloadData, "compressed data that cannot be inflated"}
)

// Inflater inflates messages, each by itself. All readers of a goroutine may share one: it keeps the window of 32 KiB
// and the last message that it has inflated.
type Inflater struct {
	r   io.ReadCloser // a flate.Resetter
	src inflaterSource
	out []byte

	work int
}

// TakeWork is how many compressed bytes were inflated since it was last called. They are what inflating costs, and not
// the bytes that come of it: eleven bytes can be a block that is empty and has code tables to build, two microseconds.
func (f *Inflater) TakeWork() int {
	n := f.work
	f.work = 0
	return n
}

// release lets go of a large result: whoever has it keeps it as long as he needs it.
func (f *Inflater) release() {
	if f.src = (inflaterSource{}); cap(f.out) > deflateKept {
		f.out = nil
	}
}

// inflaterSource is the payload, and then what a sync flush ends with and an empty last block, so that the end of the
// message is one of the stream, too.
type inflaterSource struct {
	payload, end []byte
}

var inflaterEnd = append(append([]byte{}, deflateTail...), 1, 0, 0, 0xff, 0xff)

// Read is io.Reader's.
func (s *inflaterSource) Read(p []byte) (int, error) {
	if len(s.payload) == 0 {
		s.payload, s.end = s.end, nil
	}
	if len(s.payload) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.payload)
	s.payload = s.payload[n:]
	return n, nil
}

// ReadByte is io.ByteReader's: without it flate would read through a buffer of its own.
func (s *inflaterSource) ReadByte() (byte, error) {
	var p [1]byte
	_, err := s.Read(p[:])
	return p[0], err
}

// Inflate inflates the payload of a whole message, borrowed. The result is scratch. The error is a *CloseError: 1009
// for a message of more than bytesMax bytes, of which no more than that are inflated, 1007 for what cannot be.
func (f *Inflater) Inflate(payload []byte, bytesMax int64) ([]byte, error) {
	f.src = inflaterSource{payload, inflaterEnd}
	f.work += len(payload)
	if f.r == nil {
		f.r = flate.NewReader(&f.src)
	} else if err := f.r.(flate.Resetter).Reset(&f.src, nil); err != nil {
		return nil, errNotDeflate
	}
	f.out = f.out[:0]
	defer f.release()
	for {
		if len(f.out) == cap(f.out) {
			f.out = grown(f.out, min(max(2*cap(f.out), 4*len(payload), keepBytesMax), int(bytesMax)+1))
		}
		n, err := f.r.Read(f.out[len(f.out):cap(f.out)])
		f.out = f.out[:len(f.out)+n]
		switch {
		case int64(len(f.out)) > bytesMax:
			return nil, errInflatedTooBig
		case errors.Is(err, io.EOF):
			return f.out, nil
		case err != nil:
			return nil, errNotDeflate
		}
	}
}
