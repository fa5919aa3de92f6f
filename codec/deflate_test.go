package codec

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func deflater(t testing.TB, bytesMin int) *Deflater {
	t.Helper()
	d, err := NewDeflater(DeflateLevelMin, bytesMin)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// compressed is a frame as a client sends it, of a payload that has been compressed.
func compressed(op ws.OpCode, fin bool, payload string) []byte {
	p := masked(op, fin, payload)
	if op != ws.OpContinuation {
		p[0] |= rsv1
	}
	return p
}

// The examples of RFC 7692 section 7.2.3, cut anywhere. What needs the context of another message cannot be inflated:
// neither side keeps one.
func TestInflateExamplesOfTheRFC(t *testing.T) {
	t.Parallel()
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	for name, stream := range map[string][]byte{
		"7.2.3.1, one frame": compressed(ws.OpText, true, hello),
		"7.2.3.1, two frames": join(compressed(ws.OpText, false, hello[:3]),
			masked(ws.OpContinuation, true, hello[3:])),
		"a ping between them": join(compressed(ws.OpText, false, hello[:3]), masked(ws.OpPing, true, "p"),
			masked(ws.OpContinuation, true, hello[3:])),
		"7.2.3.3, no compression": compressed(ws.OpText, true, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
		"7.2.3.4, BFINAL":         compressed(ws.OpText, true, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
		"7.2.3.5, two blocks":     compressed(ws.OpText, true, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
		"not compressed":          masked(ws.OpText, true, "Hello"),
	} {
		for cut := range len(stream) {
			r := MessageReader{Role: ws.StateServerSide, BytesMax: 100, Inflater: &Inflater{}}
			events, err := readAll(&r, stream, cut)
			if len(events) > 1 && events[0].op == ws.OpPing {
				events = events[1:]
			}
			if len(events) != 1 || events[0] != (event{ws.OpText, "Hello"}) || err != nil {
				t.Fatalf("%s, cut at %d: %q %v", name, cut, events, err)
			}
		}
	}
	r := MessageReader{Role: ws.StateServerSide, BytesMax: 100, Inflater: &Inflater{}}
	second := compressed(ws.OpText, true, "\xf2\x00\x11\x00\x00") // 7.2.3.2
	if events, err := readAll(&r, join(compressed(ws.OpText, true, hello), second)); len(events) != 1 ||
		err != errNotDeflate {
		t.Errorf("with a context: %q %v", events, err)
	}
}

func TestCompressedFramesThatAreIllegal(t *testing.T) {
	t.Parallel()
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	rsv := func(p []byte, bits byte) []byte { p[0] |= bits; return p }
	var bomb bytes.Buffer
	w, err := flate.NewWriter(&bomb, 9)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Flush()
	for name, tt := range map[string]struct {
		stream []byte
		code   ws.StatusCode
		closed bool // permessage-deflate was not negotiated
	}{
		"not negotiated":    {compressed(ws.OpText, true, hello), ws.StatusProtocolError, true},
		"RSV2":              {rsv(masked(ws.OpText, true, hello), 0x20), ws.StatusProtocolError, false},
		"RSV1 and RSV3":     {rsv(masked(ws.OpText, true, hello), 0x50), ws.StatusProtocolError, false},
		"a compressed ping": {rsv(masked(ws.OpPing, true, ""), rsv1), ws.StatusProtocolError, false},
		"RSV1 on the next part": {
			join(compressed(ws.OpText, false, hello), rsv(masked(ws.OpContinuation, true, ""), rsv1)),
			ws.StatusProtocolError, false,
		},
		"no deflate": {compressed(ws.OpText, true, "\xff\xff\xff"), ws.StatusInvalidFramePayloadData, false},
		"half of it": {compressed(ws.OpText, true, "\xf2\x48\xcd"), ws.StatusInvalidFramePayloadData, false},
		"a bomb":     {compressed(ws.OpText, true, bomb.String()), ws.StatusMessageTooBig, false},
	} {
		for cut := range len(tt.stream) {
			r := MessageReader{Role: ws.StateServerSide, BytesMax: 10_000, Inflater: &Inflater{}}
			if tt.closed {
				r.Inflater = nil
			}
			events, err := readAll(&r, tt.stream, cut)
			var illegal *CloseError
			if len(events) > 0 || !errors.As(err, &illegal) || illegal.Code != tt.code {
				t.Fatalf("%s, cut at %d: %d events, %v", name, cut, len(events), err)
			}
			if r.Inflater != nil && cap(r.Inflater.out) > 11_000 {
				t.Fatalf("%s: %d bytes are kept", name, cap(r.Inflater.out))
			}
		}
	}
}

// A message may have as many bytes as are allowed, and no more; those that are large do not stay.
func TestInflateIsBounded(t *testing.T) {
	t.Parallel()
	const bytesMax = 300_000
	var f Inflater
	d := deflater(t, 0)
	for size, want := range map[int]error{bytesMax: nil, bytesMax + 1: errInflatedTooBig} {
		frame := d.AppendFrame(nil, ws.OpText, bytes.Repeat([]byte("ab"), size/2+1)[:size])
		_, header, err := ParseHeader(frame)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := f.Inflate(frame[header:], bytesMax); err != want || err == nil && len(p) != size {
			t.Errorf("of %d bytes: %d, %v", size, len(p), err)
		}
		if cap(f.out) > deflateKept || f.src.payload != nil {
			t.Errorf("of %d bytes: %d are kept, and the payload: %v", size, cap(f.out), f.src.payload != nil)
		}
	}
	if _, err := f.Inflate([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"), bytesMax); err != nil || cap(f.out) > deflateKept {
		t.Errorf("%v, %d bytes are kept", err, cap(f.out))
	}
}

func TestAcceptsDeflate(t *testing.T) {
	t.Parallel()
	for offer, want := range map[string]bool{
		"permessage-deflate":                                                         true,
		"permessage-deflate; client_max_window_bits":                                 true, // every browser's
		"permessage-deflate; client_max_window_bits=10":                              true,
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover": true,
		"permessage-deflate; server_max_window_bits=15":                              true,
		"permessage-deflate; server_max_window_bits=10":                              false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":          true,
		"permessage-deflate; server_max_window_bits":                                 false,
		"permessage-deflate; server_max_window_bits=16":                              false,
		"permessage-deflate; client_max_window_bits=7":                               false,
		"permessage-deflate; server_no_context_takeover=1":                           false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": false,
		"permessage-deflate; unheard_of":                                             false,
		"x-webkit-deflate-frame":                                                     false,
		"x-webkit-deflate-frame, permessage-deflate":                                 true,
		"permessage-deflate;;":                                                       false,
		"":                                                                           false,
		"permessage-deflate; unheard_of, permessage-deflate; server_max_window_bits=8, foo;bar=\"baz\"": false,
	} {
		if got := AcceptsDeflate([]string{offer}); got != want {
			t.Errorf("%q: %v", offer, got)
		}
		if got := AcceptsDeflate([]string{"foo", offer}); got != want {
			t.Errorf("%q on a second line: %v", offer, got)
		}
	}
}

// inflated undoes what a Deflater has made of a stream of frames, with Go's own flate.
func inflated(t *testing.T, stream []byte) (payloads []string, compressed int) {
	t.Helper()
	for len(stream) > 0 {
		h, size, err := ParseHeader(stream)
		if err != nil || size == 0 {
			t.Fatalf("no header: %v", err)
		}
		payload := stream[size : size+int(h.Length)]
		stream = stream[size+int(h.Length):]
		if h.Rsv == 0 {
			payloads = append(payloads, string(payload))
			continue
		}
		if h.Rsv != ws.Rsv(true, false, false) {
			t.Fatalf("RSV %b", h.Rsv)
		}
		compressed++
		whole := append(append(bytes.Clone(payload), deflateTail...), 1, 0, 0, 0xff, 0xff)
		plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(whole)))
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, string(plain))
	}
	return payloads, compressed
}

// Batches are compressed when they are large and when it pays, each by itself, and what they say is the same.
func TestDeflaterAppendsWhatInflatesToTheSame(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 2000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	d := deflater(t, 100)
	for name, tt := range map[string]struct {
		texts      []string
		compressed bool
	}{
		"one short":         {[]string{"hello"}, false},
		"one long":          {[]string{strings.Repeat("hello ", 100)}, true},
		"many":              {strings.Split(strings.Repeat("hello, world.", 50), "."), true},
		"what is all noise": {[]string{fmt.Sprintf("%x", noise[:40])}, false},
	} {
		var b, whole Batch
		for _, text := range tt.texts {
			m := Text([]byte(text))
			b.Append(&m)
			whole.Append(&m)
		}
		var stream []byte
		for range 2 { // no context is kept
			stream = d.AppendArray(stream, b)
		}
		want := string(AppendArrayFrame(nil, b.Elements()))
		got, compressed := inflated(t, stream)
		if len(got) != 2 || got[0] != want || got[1] != want || compressed != 0 != tt.compressed || compressed == 1 {
			t.Errorf("%s: %.200q, %d compressed", name, got, compressed)
		}
		if got, _ := inflated(t, d.AppendTexts(nil, b)); !equalStrings(got, tt.texts) {
			t.Errorf("%s, as texts: %.200q", name, got)
		}
		if string(b.JSON) != string(whole.JSON) {
			t.Errorf("%s: the batch was changed", name)
		}
	}
	if frame := d.AppendFrame(nil, ws.OpBinary, noise); frame[0] != 0x82 || len(frame) != len(noise)+4 {
		t.Errorf("noise is %d bytes, %x", len(frame), frame[0])
	}
	if frame := d.AppendFrame(nil, ws.OpBinary, make([]byte, 2000)); frame[0] != 0xc2 || len(frame) > 100 {
		t.Errorf("zeros are %d bytes, %x", len(frame), frame[0])
	}
	for _, level := range []int{0, 10, -1} {
		if _, err := NewDeflater(level, 0); err == nil {
			t.Errorf("level %d", level)
		}
	}
}

// What a large message needs is not kept, nor is its payload.
func TestDeflaterKeepsNothingLarge(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 200_000)
	for i, random := 0, rand.New(rand.NewPCG(3, 4)); i < len(noise); i++ {
		noise[i] = byte('0' + random.IntN(64)) // compresses to three quarters
	}
	var b Batch
	m := Text(noise)
	b.Append(&m)
	d := deflater(t, 100)
	if frame := d.AppendArray(nil, b); len(frame) < deflateKept {
		t.Fatalf("a frame of %d bytes shows nothing", len(frame))
	}
	if d.out.Cap() > deflateKept || cap(d.plain) > deflateKept {
		t.Errorf("%d and %d bytes are kept", d.out.Cap(), cap(d.plain))
	}
}

func equalStrings(a, b []string) bool { return strings.Join(a, "\x00") == strings.Join(b, "\x00") }

func TestDeflateAllocatesNothing(t *testing.T) {
	d := deflater(t, 100)
	var b Batch
	for i := range 200 {
		m := Text(fmt.Appendf(nil, "message %d", i))
		b.Append(&m)
	}
	dst := d.AppendArray(nil, b)
	if n := testing.AllocsPerRun(100, func() { dst = d.AppendArray(dst[:0], b) }); n > 0 {
		t.Errorf("a batch: %v allocations", n)
	}
	var f Inflater
	_, header, err := ParseHeader(dst)
	if err != nil {
		t.Fatal(err)
	}
	inflate := func() {
		if _, err := f.Inflate(dst[header:], 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	inflate()
	if n := testing.AllocsPerRun(100, inflate); n > 0 {
		t.Errorf("a message: %v allocations", n)
	}
}

// Whatever a peer sends is inflated to at most what is allowed, or refused; and what we compress is what it was.
func FuzzInflate(f *testing.F) {
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"))
	f.Add([]byte("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"))
	f.Add(bytes.Repeat([]byte("hello "), 300))
	d := deflater(f, 0)
	var i Inflater
	f.Fuzz(func(t *testing.T, p []byte) {
		const bytesMax = 4000
		if plain, err := i.Inflate(p, bytesMax); err == nil && len(plain) > bytesMax {
			t.Fatalf("%d bytes", len(plain))
		}
		frame := d.AppendFrame(nil, ws.OpBinary, p)
		got, _ := inflated(t, frame)
		if len(got) != 1 || got[0] != string(p) {
			t.Fatalf("%q", got)
		}
	})
}

// What a batch of messages costs to compress once, and what it shrinks to.
func BenchmarkDeflate(b *testing.B) {
	payloads := map[string]string{
		"2011": "%d:1764000000000",
		"chat": `{"from":"user %d","at":1764000000,"room":"lobby","text":"well, what do you say?"}`,
	}
	for name, format := range payloads {
		for _, n := range []int{1, 10, 100, 2000} {
			b.Run(fmt.Sprintf("%s-%d", name, n), func(b *testing.B) {
				d := deflater(b, 0)
				var batch Batch
				for i := range n {
					m := Text(fmt.Appendf(nil, format, i*7919%2000))
					batch.Append(&m)
				}
				plain := AppendWebSocketArray(nil, batch)
				var dst []byte
				b.SetBytes(int64(len(plain)))
				b.ReportAllocs()
				for b.Loop() {
					dst = d.AppendArray(dst[:0], batch)
				}
				b.ReportMetric(float64(len(plain))/float64(len(dst)), "×smaller")
			})
		}
	}
}

// What is smaller than the bound is not tried, and what does not shrink leaves as it is.
func TestDeflateWhatIsWorthIt(t *testing.T) {
	t.Parallel()
	d := deflater(t, 100)
	noise := make([]byte, 200)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	for name, tt := range map[string]struct {
		payload    []byte
		compressed bool
	}{
		"99 bytes":  {bytes.Repeat([]byte("a"), 99), false},
		"101 bytes": {bytes.Repeat([]byte("a"), 101), true},
		"noise":     {noise, false},
	} {
		if p := d.AppendFrame(nil, ws.OpBinary, tt.payload); p[0]&rsv1 != 0 != tt.compressed {
			t.Errorf("%s: compressed is %v", name, !tt.compressed)
		}
	}
	for _, size := range []int{99, 101} { // of the array, with its five bytes of brackets and quotes
		var b Batch
		m := Text(bytes.Repeat([]byte("a"), size-5))
		b.Append(&m)
		if p := d.AppendArray(nil, b); p[0]&rsv1 != 0 != (size > 100) {
			t.Errorf("an array of %d bytes: compressed is %v", size, size <= 100)
		}
	}
}

func TestDeflateLevels(t *testing.T) {
	t.Parallel()
	for level, legal := range map[int]bool{0: false, 1: true, 6: true, 7: false} {
		if _, err := NewDeflater(level, 0); (err == nil) != legal {
			t.Errorf("level %d: %v", level, err)
		}
	}
}

// A line that cannot be parsed offers nothing, whatever it begins with, and the next one is looked at.
func TestOffersThatCannotBeParsed(t *testing.T) {
	t.Parallel()
	const broken = "permessage-deflate, ="
	if AcceptsDeflate([]string{broken}) {
		t.Error("half a line is an offer")
	}
	if !AcceptsDeflate([]string{broken, "permessage-deflate"}) {
		t.Error("the line behind it is none")
	}
}

// Inflating is paid by the bytes that were compressed, and a result has nothing of the one before.
func TestInflaterCountsItsWork(t *testing.T) {
	t.Parallel()
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	var f Inflater
	for range 2 {
		if p, err := f.Inflate([]byte(hello), 100); string(p) != "Hello" || err != nil {
			t.Errorf("%q %v", p, err)
		}
	}
	if n := f.TakeWork(); n != 2*len(hello) {
		t.Errorf("%d bytes were inflated, want %d", n, 2*len(hello))
	}
	if n := f.TakeWork(); n != 0 {
		t.Errorf("%d bytes were inflated since", n)
	}
}
