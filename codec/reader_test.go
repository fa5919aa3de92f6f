package codec

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// event is what a MessageReader handed out, copied.
type event struct {
	op      ws.OpCode
	payload string
}

// readAll feeds a stream cut at the given places and poisons each piece after its call, as gnet's buffer would be. It
// checks texts for UTF-8, as the reader leaves to its consumer for those that lie whole in a piece.
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
			if op == ws.OpText && !utf8.Valid(payload) {
				return events, errNotUTF8
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
	{"RFC 6455 5.7 masked Hello", []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58},
		[]event{{ws.OpText, "Hello"}}},
	{"empty", masked(ws.OpText, true, ""), []event{{ws.OpText, ""}}},
	{"two", join(masked(ws.OpText, true, "one"), masked(ws.OpBinary, true, "\x00\xff")),
		[]event{{ws.OpText, "one"}, {ws.OpBinary, "\x00\xff"}}},
	{"5.4 fragments with a ping between", join(
		masked(ws.OpText, false, "Hel"), masked(ws.OpPing, true, "?"), masked(ws.OpContinuation, false, ""),
		masked(ws.OpContinuation, true, "lo"),
		masked(ws.OpText, true, "next")), []event{{ws.OpPing, "?"}, {ws.OpText, "Hello"}, {ws.OpText, "next"}}},
	{"5.4 an empty message in fragments", join(masked(ws.OpText, false, ""), masked(ws.OpContinuation, true, "")),
		[]event{{ws.OpText, ""}}},
	{"5.6 characters cut by fragments", join(
		masked(ws.OpText, false, "\xce"), masked(ws.OpContinuation, false, "\xba\xf0\x9f"),
		masked(ws.OpPing, true, "\xff"),
		masked(ws.OpContinuation, false, "\x8e"), masked(ws.OpContinuation, true, "\x89\x00"),
		masked(ws.OpText, true, "\u20ac")),
		[]event{{ws.OpPing, "\xff"}, {ws.OpText, "\u03ba\U0001f389\x00"}, {ws.OpText, "\u20ac"}}},
	{"two fragmented messages", join(
		masked(ws.OpText, false, "a"), masked(ws.OpContinuation, true, "b"),
		masked(ws.OpBinary, false, "\xff"), masked(ws.OpContinuation, true, "\xce"), masked(ws.OpBinary, true, "\xce")),
		[]event{{ws.OpText, "ab"}, {ws.OpBinary, "\xff\xce"}, {ws.OpBinary, "\xce"}}},
	{"length of 16 bits", masked(ws.OpText, true, strings.Repeat("x", 300)),
		[]event{{ws.OpText, strings.Repeat("x", 300)}}},
	{"length of 64 bits", masked(ws.OpBinary, true, strings.Repeat("y", 70_000)),
		[]event{{ws.OpBinary, strings.Repeat("y", 70_000)}}},
	{"5.2 frames as a payload",
		AppendMaskedFrame(nil, ws.OpBinary, join(masked(ws.OpText, true, "x"), masked(ws.OpPing, true, "y")),
			[4]byte{}),
		[]event{{ws.OpBinary, string(join(masked(ws.OpText, true, "x"), masked(ws.OpPing, true, "y")))}}},
	{"5.2 shortest lengths of 16 and 64 bits",
		join(masked(ws.OpBinary, true, strings.Repeat("z", 126)),
			masked(ws.OpBinary, true, strings.Repeat("z", 65536))),
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
	for _, s := range streams[:8] {
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
		{"5.2 64 bits for a length of 65535", join([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0},
			make([]byte, 65535)), 1002},
		{"5.4 continuation of nothing", masked(ws.OpContinuation, true, "x"), 1002},
		{"5.4 new message inside another", join(masked(ws.OpText, false, "x"), masked(ws.OpText, true, "y")), 1002},
		{"5.5 fragmented ping", masked(ws.OpPing, false, "x"), 1002},
		{"5.5 ping of 126 bytes", masked(ws.OpPing, true, strings.Repeat("x", 126)), 1002},
		{"too big", masked(ws.OpText, true, strings.Repeat("x", 1<<20+1))[:14], 1009},
		{"2^62 bytes", []byte{0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1009},
		{"too big in fragments", join(masked(ws.OpText, false, strings.Repeat("x", 1<<20)),
			masked(ws.OpContinuation, true, "y")), 1009},
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

// A header can declare 2^62 bytes or a legal mebibyte: memory follows what has come.
func TestMessageReaderKeepsOnlyWhatArrived(t *testing.T) {
	t.Parallel()
	const size = 1<<20 - 1000 // no power of two, so that doubling would exceed it
	for name, stream := range map[string][]byte{
		"frame": masked(ws.OpBinary, true, strings.Repeat("x", size)),
		"fragments": join(masked(ws.OpBinary, false, strings.Repeat("x", size/2)), masked(ws.OpPing, true, "?"),
			masked(ws.OpContinuation, true, strings.Repeat("x", size/2))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newServerReader()
			for at := 0; at < len(stream)-1; at += 100 {
				if _, err := readAll(r, stream[at:min(at+100, len(stream)-1)]); err != nil {
					t.Fatal(err)
				}
				if n := r.Buffered(); n > 2*(at+100) || n > size+ws.MaxControlFramePayloadSize {
					t.Fatalf("%d bytes of memory after %d", n, at+100)
				}
			}
			if ping := masked(ws.OpPing, true, "1234567890"); name == "fragments" {
				r := newServerReader()
				if _, err := readAll(r, ping[:10]); err != nil || r.Buffered() < 4 {
					t.Fatalf("%v, %d bytes counted of a ping", err, r.Buffered())
				}
			}
			if r.Buffered() < size/2 {
				t.Fatalf("only %d bytes are counted", r.Buffered())
			}
			if _, _, _, err := r.Next(bytes.Clone(stream[len(stream)-1:])); err != nil {
				t.Fatal(err)
			}
			if r.Release(); r.Buffered() > keepBytesMax {
				t.Fatalf("%d bytes are kept after the message", r.Buffered())
			}
		})
	}
}

// A large buffer goes back with the next call even when Release is not called; one whose message has only begun stays.
func TestMessageReaderReleases(t *testing.T) {
	t.Parallel()
	r := newServerReader()
	text := strings.Repeat("x", 5000)
	frame := masked(ws.OpText, true, text)
	for _, cut := range []int{1, 8, 10, 2000} {
		if _, err := readAll(r, frame[:cut]); err != nil {
			t.Fatal(err)
		}
		r.Release()
		got, err := readAll(r, frame[cut:])
		if err != nil || !slices.Equal(got, []event{{ws.OpText, text}}) {
			t.Fatalf("cut at %d: %v, %v", cut, short(got), err)
		}
		if r.Buffered() > keepBytesMax {
			t.Fatalf("cut at %d: %d bytes are kept", cut, r.Buffered())
		}
	}
}

// Autobahn 6.4: text is refused with the first byte that no character can have in its place, whatever else was to come,
// and not one byte earlier.
func TestMessageReaderFailsFast(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		at         int // index of the first bad byte
	}{
		{"6.4.1 surrogate", "\u03ba\u1f79\u03c3\u03bc\u03b5\xed\xa0\x80edited", 12},
		{"6.4.1 beyond U+10FFFF", "\u03ba\u1f79\u03c3\u03bc\u03b5\xf4\x90\x80\x80edited", 12},
		{"never in UTF-8", "ab\xff", 2},
		{"a continuation first", "ab\x80", 2},
		{"overlong in two", "\xc0\x80", 0},
		{"overlong in three", "\xe0\x80\x80", 1},
		{"overlong in four", "\xf0\x80\x80\x80", 1},
		{"third byte", "\xe2\x82x", 2},
		{"fourth byte", "\xf0\x9f\x8ex", 3},
		{"far behind", strings.Repeat("\u20ac", 1000) + "\xc3(", 3001},
	} {
		for _, role := range []ws.State{ws.StateServerSide, ws.StateClientSide} {
			t.Run(fmt.Sprint(tt.name, role), func(t *testing.T) {
				t.Parallel()
				for name, stream := range failingStreams(role, tt.text) {
					r := &MessageReader{Role: role, BytesMax: 1 << 20}
					for i := range tt.at {
						if _, err := readAll(r, stream(i)); err != nil {
							t.Fatalf("%s: byte %d is refused: %v", name, i, err)
						}
					}
					if _, err := readAll(r, stream(tt.at)); err != errNotUTF8 {
						t.Fatalf("%s: got %v for byte %d", name, err, tt.at)
					}
				}
			})
		}
	}
}

// failingStreams returns, for each way in which a text may come a byte at a time, what brings byte i of it.
func failingStreams(role ws.State, text string) map[string]func(i int) []byte {
	frame := func(op ws.OpCode, payload string) []byte {
		if role == ws.StateServerSide {
			return masked(op, false, payload)
		}
		p := AppendFrame(nil, op, []byte(payload))
		p[0] &^= 0x80
		return p
	}
	longer := frame(ws.OpText, text+strings.Repeat(" ", 200))
	longer[0] |= 0x80
	header := len(longer) - len(text) - 200
	return map[string]func(i int) []byte{
		"one frame": func(i int) []byte {
			if i == 0 {
				return longer[:header+1]
			}
			return longer[header+i : header+i+1]
		},
		"fragments": func(i int) []byte {
			if i == 0 {
				return frame(ws.OpText, text[:1])
			}
			return frame(ws.OpContinuation, text[i:i+1])
		},
	}
}

// A text that ends inside a character is refused at its end.
func TestMessageReaderRefusesHalfACharacter(t *testing.T) {
	t.Parallel()
	for _, stream := range [][]byte{
		masked(ws.OpText, true, "ab\xe2\x82"),
		join(masked(ws.OpText, false, "ab\xe2"), masked(ws.OpContinuation, true, "\x82")),
		join(masked(ws.OpText, false, "ab\xe2"), masked(ws.OpContinuation, true, "")),
	} {
		for cut := 7; cut < len(stream); cut++ {
			r := newServerReader()
			if got, err := readAll(r, stream[:cut]); err != nil || len(got) > 0 {
				t.Fatalf("cut at %d: %v, %v", cut, got, err)
			}
			if _, _, _, err := r.Next(bytes.Clone(stream[cut:])); err != errNotUTF8 {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
	}
}

func TestUTF8Prefix(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		p  string
		n  int
		ok bool
	}{
		{"", 0, true}, {"a", 1, true}, {"\u20ac", 3, true}, {"a\xe2\x82", 1, true}, {"a\xf0\x9f\x8e", 1, true},
		{"a\xf0", 1, true},
		{"a\xff", 0, false}, {"\x80\x80\x80\x80", 0, false}, {"\xed\xa0", 0, false}, {"\xffa\xe2", 0, false},
	} {
		if n, ok := utf8Prefix([]byte(tt.p)); ok != tt.ok || ok && n != tt.n {
			t.Errorf("%q: %d %v, want %d %v", tt.p, n, ok, tt.n, tt.ok)
		}
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

// Memory for a message that comes in many pieces is doubled: its bytes are copied a few times, not once a piece.
func TestMessageReaderGrowsByDoubling(t *testing.T) {
	const pieces = 100_000
	fragments := masked(ws.OpBinary, false, "x")
	for range pieces {
		fragments = append(fragments, masked(ws.OpContinuation, false, "x")...)
	}
	frame := masked(ws.OpBinary, true, strings.Repeat("x", pieces))
	for name, feed := range map[string]func(r *MessageReader) error{
		"fragments": func(r *MessageReader) error {
			_, _, _, err := r.Next(bytes.Clone(fragments))
			return err
		},
		"bytes of a frame": func(r *MessageReader) (err error) {
			for i := range frame[1:] {
				_, _, _, err = r.Next(frame[i : i+1])
			}
			return err
		},
	} {
		n := testing.AllocsPerRun(1, func() {
			r := newServerReader()
			if err := feed(r); err != ErrIncomplete || r.Buffered() < pieces-1 {
				t.Error(err, r.Buffered())
			}
		})
		if n > 25 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzMessageReader(f *testing.F) {
	for _, s := range streams[:8] {
		f.Add(s.stream, uint16(1), uint16(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, a, b uint16) {
		whole, wholeErr := readAll(&MessageReader{Role: ws.StateServerSide, BytesMax: 4096}, stream)
		cuts := []int{int(a) % (len(stream) + 1), int(b) % (len(stream) + 1)}
		slices.Sort(cuts)
		cut, cutErr := readAll(&MessageReader{Role: ws.StateServerSide, BytesMax: 4096}, stream, cuts...)
		if !slices.Equal(whole, cut) || fmt.Sprint(wholeErr) != fmt.Sprint(cutErr) {
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

// A frame that lies whole in the data is handed out as a part of it.
func TestMessageReaderBorrows(t *testing.T) {
	t.Parallel()
	for _, behind := range []string{"", "\x81"} {
		data := append(masked(ws.OpText, true, "hello"), behind...)
		r := newServerReader()
		op, payload, rest, err := r.Next(data)
		if err != nil || op != ws.OpText || string(payload) != "hello" || string(rest) != behind {
			t.Fatalf("%v %q, rest %q, %v", op, payload, rest, err)
		}
		if &payload[0] != &data[6] || r.Buffered() != 0 {
			t.Errorf("a copy, %d bytes are kept", r.Buffered())
		}
	}
}

func TestMessageReaderTakesTheLargestMessage(t *testing.T) {
	t.Parallel()
	const size = 1000
	text := strings.Repeat("x", size)
	for name, stream := range map[string][]byte{
		"frame":     masked(ws.OpText, true, text),
		"fragments": join(masked(ws.OpText, false, text[:400]), masked(ws.OpContinuation, true, text[400:])),
	} {
		for _, cut := range []int{0, 500} {
			r := &MessageReader{Role: ws.StateServerSide, BytesMax: size}
			if got, err := readAll(r, stream, cut); err != nil || !slices.Equal(got, []event{{ws.OpText, text}}) {
				t.Errorf("%s cut at %d: %s, %v", name, cut, short(got), err)
			}
			r.BytesMax--
			var illegal *CloseError
			if _, err := readAll(r, stream, cut); !errors.As(err, &illegal) || illegal.Code != 1009 {
				t.Errorf("%s cut at %d, a byte more than is allowed: %v", name, cut, err)
			}
		}
	}
}

// A buffer of keepBytesMax is kept, so that the usual message in pieces costs no allocation.
func TestMessageReaderKeepsASmallBuffer(t *testing.T) {
	t.Parallel()
	frame := masked(ws.OpText, true, strings.Repeat("x", keepBytesMax))
	r := newServerReader()
	got, err := readAll(r, frame, len(frame)-keepBytesMax/2)
	if r.Release(); err != nil || len(got) != 1 || r.Buffered() != keepBytesMax {
		t.Errorf("%d messages, %v, %d bytes are kept", len(got), err, r.Buffered())
	}
}

// Lengths at the borders of their forms, in headers that nothing follows.
func TestHeadersOfFrames(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{0: 2, 125: 2, 126: 4, 65535: 4, 65536: 10, 1 << 40: 10} {
		p := AppendHeader(nil, ws.OpBinary, n)
		h, size, err := ParseHeader(p)
		if err != nil || len(p) != want || size != want || h.Length != int64(n) || !h.Fin || h.Masked {
			t.Errorf("%d: % x reads as %+v, %d bytes, %v", n, p, h, size, err)
		}
		for cut := range p {
			if _, size, err := ParseHeader(p[:cut]); size != 0 || err != nil {
				t.Errorf("%d, %d bytes of its header: %d, %v", n, cut, size, err)
			}
		}
	}
	if _, _, err := ParseHeader([]byte{0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0}); err != errLengthSign {
		t.Errorf("the highest bit: %v", err)
	}
}
