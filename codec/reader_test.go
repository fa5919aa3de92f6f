package codec

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// event is what a MessageReader handed out, copied.
type event struct {
	op      ws.OpCode
	payload string
}

// readAll feeds a stream cut at the given places and poisons each piece after its call, as gnet's buffer would be.
func readAll(r *MessageReader, stream []byte, cuts ...int) (events []event, err error) {
	from := 0
	for _, to := range append(slices.Clone(cuts), len(stream)) {
		piece := bytes.Clone(stream[from:to])
		from = to
		rest := piece
		for {
			var op ws.OpCode
			var payload []byte
			op, payload, rest, err = r.Next(rest)
			if err != nil {
				break
			}
			events = append(events, event{op, string(payload)})
		}
		for i := range piece {
			piece[i] = 0xAA
		}
		if !errors.Is(err, ErrIncomplete) {
			return events, err
		}
	}
	return events, nil
}

func masked(op ws.OpCode, fin bool, payload string) []byte {
	p := AppendMaskedFrame(nil, op, []byte(payload), [4]byte{0x37, 0xfa, 0x21, 0x3d})
	if !fin {
		p[0] &^= 0x80
	}
	return p
}

func join(frames ...[]byte) []byte { return slices.Concat(frames...) }

// streams are the legal client streams that every reader test uses.
var streams = []struct {
	name   string
	stream []byte
	want   []event
}{
	{"RFC 6455 5.7 masked Hello", []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, []event{{ws.OpText, "Hello"}}},
	{"empty", masked(ws.OpText, true, ""), []event{{ws.OpText, ""}}},
	{"two", join(masked(ws.OpText, true, "one"), masked(ws.OpBinary, true, "\x00\xff")), []event{{ws.OpText, "one"}, {ws.OpBinary, "\x00\xff"}}},
	{"5.4 fragments with a ping between", join(
		masked(ws.OpText, false, "Hel"), masked(ws.OpPing, true, "?"), masked(ws.OpContinuation, false, ""), masked(ws.OpContinuation, true, "lo"),
		masked(ws.OpText, true, "next")), []event{{ws.OpPing, "?"}, {ws.OpText, "Hello"}, {ws.OpText, "next"}}},
	{"two fragmented messages", join(
		masked(ws.OpText, false, "a"), masked(ws.OpContinuation, true, "b"),
		masked(ws.OpBinary, false, "c"), masked(ws.OpContinuation, true, "d")), []event{{ws.OpText, "ab"}, {ws.OpBinary, "cd"}}},
	{"length of 16 bits", masked(ws.OpText, true, strings.Repeat("x", 300)), []event{{ws.OpText, strings.Repeat("x", 300)}}},
	{"length of 64 bits", masked(ws.OpBinary, true, strings.Repeat("y", 70_000)), []event{{ws.OpBinary, strings.Repeat("y", 70_000)}}},
	{"5.2 shortest lengths of 16 and 64 bits", join(masked(ws.OpBinary, true, strings.Repeat("z", 126)), masked(ws.OpBinary, true, strings.Repeat("z", 65536))),
		[]event{{ws.OpBinary, strings.Repeat("z", 126)}, {ws.OpBinary, strings.Repeat("z", 65536)}}},
	{"close", masked(ws.OpClose, true, "\x03\xe8bye"), []event{{ws.OpClose, "\x03\xe8bye"}}},
}

func newServerReader() *MessageReader {
	return &MessageReader{Role: ws.StateServerSide, BytesMax: 1 << 20}
}

func TestMessageReaderAtEverySplit(t *testing.T) {
	t.Parallel()
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for cut := range min(len(tt.stream), 400) {
				got, err := readAll(newServerReader(), tt.stream, cut)
				if err != nil || !slices.Equal(got, tt.want) {
					t.Fatalf("cut at %d: got %v, %v, want %v", cut, short(got), err, short(tt.want))
				}
			}
		})
	}
}

func TestMessageReaderByteByByte(t *testing.T) {
	t.Parallel()
	var all []byte
	var want []event
	for _, s := range streams[:6] {
		all, want = append(all, s.stream...), append(want, s.want...)
	}
	cuts := make([]int, len(all))
	for i := range cuts {
		cuts[i] = i
	}
	got, err := readAll(newServerReader(), all, cuts...)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %v, %v, want %v", short(got), err, short(want))
	}
}

func short(events []event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%v %.40q (%d) ", e.op, e.payload, len(e.payload))
	}
	return b.String()
}

func TestMessageReaderRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		stream []byte
		code   ws.StatusCode
	}{
		{"5.1 unmasked", AppendFrame(nil, ws.OpText, []byte("x")), 1002},
		{"5.2 reserved bit", []byte{0xC1, 0x80, 0, 0, 0, 0}, 1002},
		{"5.2 reserved opcode", []byte{0x83, 0x80, 0, 0, 0, 0}, 1002},
		{"5.2 length with its highest bit", []byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1002},
		{"5.2 16 bits for a length of 125", join([]byte{0x82, 0xfe, 0, 125, 0, 0, 0, 0}, make([]byte, 125)), 1002},
		{"5.2 64 bits for a length of 65535", join([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, make([]byte, 65535)), 1002},
		{"5.4 continuation of nothing", masked(ws.OpContinuation, true, "x"), 1002},
		{"5.4 new message inside another", join(masked(ws.OpText, false, "x"), masked(ws.OpText, true, "y")), 1002},
		{"5.5 fragmented ping", masked(ws.OpPing, false, "x"), 1002},
		{"5.5 ping of 126 bytes", masked(ws.OpPing, true, strings.Repeat("x", 126)), 1002},
		{"too big", masked(ws.OpText, true, strings.Repeat("x", 1<<20+1))[:14], 1009},
		{"2^62 bytes", []byte{0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1009},
		{"too big in fragments", join(masked(ws.OpText, false, strings.Repeat("x", 1<<20)), masked(ws.OpContinuation, true, "y")), 1009},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, cut := range []int{0, 1, 2, len(tt.stream) / 2} {
				_, err := readAll(newServerReader(), tt.stream, cut)
				var illegal *CloseError
				if !errors.As(err, &illegal) || illegal.Code != tt.code {
					t.Fatalf("cut at %d: got %v, want close code %d", cut, err, tt.code)
				}
			}
		})
	}
}

func TestMessageReaderAsClient(t *testing.T) {
	t.Parallel()
	r := &MessageReader{Role: ws.StateClientSide, BytesMax: 100}
	got, err := readAll(r, AppendFrame(nil, ws.OpText, []byte("hi")), 1)
	if want := []event{{ws.OpText, "hi"}}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %v, %v", got, err)
	}
	if _, err := readAll(r, masked(ws.OpText, true, "hi")); err == nil {
		t.Fatal("a client took a masked frame")
	}
}

// A header can declare 2^62 bytes or a legal mebibyte: nothing is kept before it arrives.
func TestMessageReaderKeepsOnlyWhatArrived(t *testing.T) {
	t.Parallel()
	r := newServerReader()
	stream := masked(ws.OpBinary, true, strings.Repeat("x", 1<<20))
	if _, err := readAll(r, stream[:100]); err != nil {
		t.Fatal(err)
	}
	if n := r.Buffered(); n != 100 || cap(r.cut) > 1024 {
		t.Fatalf("%d bytes kept in %d after 100 arrived", n, cap(r.cut))
	}
	if _, err := readAll(r, stream[100:]); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := r.Next(nil); !errors.Is(err, ErrIncomplete) || cap(r.cut) > keepBytesMax {
		t.Fatalf("%v, and %d bytes are still held after the message", err, cap(r.cut))
	}
}

func TestMessageReaderDoesNotAllocate(t *testing.T) {
	stream := join(masked(ws.OpText, true, `["17:1700000000000"]`), masked(ws.OpText, true, `["18:1700000000000"]`))
	r := newServerReader()
	buf := make([]byte, len(stream))
	feed := func() {
		copy(buf, stream)
		for _, piece := range [][]byte{buf[:3], buf[3:40], buf[40:]} {
			var err error
			for err == nil {
				_, _, piece, err = r.Next(piece)
			}
			if err != ErrIncomplete {
				t.Fatal(err)
			}
		}
	}
	feed()
	if n := testing.AllocsPerRun(100, feed); n != 0 {
		t.Errorf("%v allocations for two messages in three pieces", n)
	}
}

func FuzzMessageReader(f *testing.F) {
	for _, s := range streams[:6] {
		f.Add(s.stream, uint16(1), uint16(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, a, b uint16) {
		whole, wholeErr := readAll(&MessageReader{Role: ws.StateServerSide, BytesMax: 4096}, stream)
		cuts := []int{int(a) % (len(stream) + 1), int(b) % (len(stream) + 1)}
		slices.Sort(cuts)
		cut, cutErr := readAll(&MessageReader{Role: ws.StateServerSide, BytesMax: 4096}, stream, cuts...)
		if !slices.Equal(whole, cut) || (wholeErr == nil) != (cutErr == nil) {
			t.Fatalf("cut at %v: %v, %v; whole: %v, %v", cuts, short(cut), cutErr, short(whole), wholeErr)
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d})
	f.Add([]byte{0x82, 0x7e, 0x01, 0x00})
	f.Add([]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		r := bytes.NewReader(p)
		want, wantErr := ws.ReadHeader(r)
		got, size, err := ParseHeader(p)
		switch {
		case errors.Is(err, errLengthForm):
			if wantErr == nil && len(p)-r.Len() == shortest(want) {
				t.Fatalf("refused, but %+v is in its shortest form", want)
			}
		case size > 0:
			if wantErr != nil || got != want || size != len(p)-r.Len() || size != shortest(want) {
				t.Fatalf("got %+v of %d bytes; gobwas %+v, %v", got, size, want, wantErr)
			}
		case err == nil && wantErr == nil:
			t.Fatalf("cut, but gobwas reads %+v", want)
		case err == nil && headerSize(p) <= len(p):
			t.Fatalf("cut, but %d bytes should do and there are %d", headerSize(p), len(p))
		}
	})
}

// shortest is the size of the header at its shortest, in bytes.
func shortest(h ws.Header) int {
	n := len(AppendHeader(nil, h.OpCode, int(h.Length)))
	if h.Masked {
		n += len(h.Mask)
	}
	return n
}

func BenchmarkParseHeader(b *testing.B) {
	p := masked(ws.OpText, true, "17:1700000000000")
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, n, _ := ParseHeader(p); n == 0 {
				b.Fatal("cut")
			}
		}
	})
	b.Run("gobwas", func(b *testing.B) {
		b.ReportAllocs()
		r, buf := bytes.NewReader(nil), make([]byte, 12)
		for b.Loop() {
			r.Reset(p)
			if _, err := ws.ReadHeaderBuffer(r, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMessageReader(b *testing.B) {
	stream := masked(ws.OpText, true, `["17:1700000000000"]`)
	buf := make([]byte, len(stream))
	r := newServerReader()
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, stream)
		if _, _, _, err := r.Next(buf); err != nil {
			b.Fatal(err)
		}
	}
}
