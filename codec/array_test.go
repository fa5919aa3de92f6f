package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestArrayDecode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, payload string
		texts         []string
		json          string // the messages in JSON form, joined by commas
	}{
		{"empty payload", ``, nil, ``},
		{"empty array", `[]`, nil, ``},
		{"one plain", `["17:1700000000000"]`, []string{"17:1700000000000"}, `"17:1700000000000"`},
		{"empty string", `[""]`, []string{""}, `""`},
		{"several and spaces", " [ \"a\" ,\t\"b\"\r\n,\"c\" ] ", []string{"a", "b", "c"}, `"a","b","c"`},
		{"a string alone, as sockjs-node takes it", `"x"`, []string{"x"}, `"x"`},
		{"escapes", `["\"\\\/\b\f\n\r\tA"]`, []string{"\"\\/\b\f\n\r\tA"}, `"\"\\/\b\f\n\r\tA"`},
		{"UTF-8 stays", `["grüße 🎉"]`, []string{"grüße 🎉"}, `"grüße 🎉"`},
		{"surrogate pair", `["\ud83c\udf89"]`, []string{"🎉"}, `"🎉"`},
		{"29 escaped on output", `["` + "\u200c\u2028\u2060\ufff0" + `"]`, []string{"\u200c\u2028\u2060\ufff0"},
			`"\u200c\u2028\u2060\ufff0"`},
		{"29 lone surrogates stay, escaped",
			`["a\uD800b","\uDC00\u2028\ud83c\udf89\ud83c","\ud800\ud83c\udf89","\\ud800"]`,
			[]string{"a\ufffdb", "\ufffd\u2028🎉\ufffd", "\ufffd🎉", `\ud800`},
			`"a\ud800b","\udc00\u2028🎉\ud83c","\ud800🎉","\\ud800"`},
		{"delete is plain", "[\"\x7f\"]", []string{"\x7f"}, "\"\x7f\""},
		{"plain behind not plain", `["é","b"]`, []string{"é", "b"}, `"é","b"`},
		{"eight-byte borders", `["0123456","01234567","012345678"]`, []string{"0123456", "01234567", "012345678"},
			`"0123456","01234567","012345678"`},
		{"digits behind a short escape", `["\nd800","\\ud800"]`, []string{"\nd800", `\ud800`}, `"\nd800","\\ud800"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for moved := range len(tt.texts) + 1 {
				texts, b, err := readArray(tt.payload, moved)
				if err != nil || !slices.Equal(texts, tt.texts) || string(b.JSON) != tt.json {
					t.Errorf("moved before message %d: %q, %s, %v; want %q, %s", moved, texts, b.JSON, err, tt.texts,
						tt.json)
				}
			}
			checkBeginnings(t, tt.payload)
		})
	}
}

// readArray returns the messages of a payload as texts and as a batch. Before the given message it moves the rest of
// the payload elsewhere, and overwrites where it was.
func readArray(payload string, moved int) (texts []string, b Batch, err error) {
	var a Array
	p := []byte(payload)
	if err := a.Begin(p); err != nil {
		return nil, b, err
	}
	for i := 0; ; i++ {
		if i == moved {
			rest := bytes.Clone(a.Rest())
			for i := range p {
				p[i] = 'X'
			}
			a = Array{}
			a.Resume(rest)
		}
		left := len(a.Rest()) > 0
		m := a.Next()
		if left != (m != nil) {
			return nil, b, errors.New("Rest and Next differ about whether a message is left")
		}
		if m == nil {
			if a.message.text != nil {
				err = errors.New("the payload is kept")
			}
			return texts, b, err
		}
		texts = append(texts, string(m.Text()))
		b.Append(m)
	}
}

// checkBeginnings checks that a payload without its end is legal only where encoding/json or sockjs-node finds it so.
func checkBeginnings(t *testing.T, payload string) {
	t.Helper()
	for n := range payload {
		_, _, err := readArray(payload[:n], -1)
		begun := strings.Trim(payload[:n], " ")
		if legal := begun == "" || json.Valid([]byte(begun)); legal != (err == nil) {
			t.Errorf("%q: %v", payload[:n], err)
		}
	}
}

func TestArrayRefuses(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		`[`, `["a"`, `["a`, `["a",]`, `[,"a"]`, `["a" "b"]`, `["a"]]`, `["a"]x`, `[]x`, `[] []`, `[1]`, `[null]`,
		`["a",null]`, `["a",`, `["a";"b"]`,
		`[true]`, `[["a"]]`, `[{}]`, `{}`, `1`, `null`, `]`, `"a`, `"a"x`, `"a","b"`, `"a"]`, "\"\xff\"", `"\`, `["\`,
		`["\"`, `["\u1`, `["\u123"]`, `["\u12G4"]`,
		`["\x"]`, `["\u12"]`, `["` + "\x01" + `"]`, `["` + "\n" + `"]`, `["` + "\xff" + `"]`, `["` + "é\xff" + `"]`,
		`["\"]`, `['a']`, "[\"\xed\xa0\x80\"]",
		"\v[]", "[\"a\"\v]", `["a","b` + "\xc3" + `"]`, `["a","\q"]`,
	} {
		var a Array
		if err := a.Begin([]byte(`["before","that"]`)); err != nil || a.Next() == nil {
			t.Fatal(err)
		}
		if err := a.Begin([]byte(payload)); err != ErrBrokenJSON || a.Next() != nil || len(a.Rest()) > 0 {
			t.Errorf("%q: %v, and %q is left", payload, err, a.Rest())
		}
	}
}

// Each byte at each place of a string and of an escape: the same verdict as encoding/json's.
func TestArrayBytes(t *testing.T) {
	t.Parallel()
	for _, around := range []string{
		`["~"]`, `["abcdefghij~"]`, `["é~"]`, `["\~"]`, `["\~d800"]`, `["\u~000"]`,
		`["\u0~00"]`, `["\u00~0"]`, `["\u000~"]`,
		`~["a"]`, `["a"~]`, `["a"~"b"]`, `["a"]~`,
	} {
		for c := range 256 {
			payload := strings.Replace(around, "~", string([]byte{byte(c)}), 1)
			compareArray(t, []byte(payload))
		}
	}
}

// compareArray compares with encoding/json, which takes what is not UTF-8 and the null.
func compareArray(t *testing.T, payload []byte) {
	t.Helper()
	if trimmed := bytes.TrimLeft(payload, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '[' {
		return // sockjs-node's string alone: the tables have it
	}
	var want []*string
	wantErr := json.Unmarshal(payload, &want)
	legal := wantErr == nil && utf8.Valid(payload) && !slices.Contains(want, nil)
	var a Array
	if err := a.Begin(payload); legal != (err == nil) {
		t.Fatalf("%q: %v, but encoding/json: %v", payload, err, wantErr)
	}
	if !legal {
		return
	}
	for i, text := range want {
		m := a.Next()
		if m == nil || string(m.Text()) != *text {
			t.Fatalf("%q: message %d is %v, want %q", payload, i, m, *text)
		}
		checkEscaped(t, m.JSON(), *text)
	}
	if m := a.Next(); m != nil {
		t.Fatalf("%q: %q is one message too many", payload, m.Text())
	}
}

// What Begin has found out about the usual payload is not looked for again.
func TestArrayRemembersThePlain(t *testing.T) {
	t.Parallel()
	var a Array
	if err := a.Begin([]byte(`[ "plain"]`)); err != nil || a.plain != len(`"plain"`) {
		t.Errorf("%v, %d bytes", err, a.plain)
	}
	a.Resume([]byte(`"é"]`))
	if m := a.Next(); string(m.Text()) != "é" {
		t.Errorf("resumed at %q", m.Text())
	}
}

func TestArrayKnowsItsLongest(t *testing.T) {
	t.Parallel()
	var a Array
	for payload, want := range map[string]int{
		`["1234"]`: 6, `["1","12345","12"]`: 7, `["1234567","\u0000"]`: 9, `["","\u0000\u0000"]`: 14, `"12"`: 4,
		`[]`: 0, ``: 0,
	} {
		if err := a.Begin([]byte(payload)); err != nil || a.Longest() != want {
			t.Errorf("%s: %d %v, want %d", payload, a.Longest(), err, want)
		}
	}
}

func TestArrayGivesScratchBack(t *testing.T) {
	t.Parallel()
	var a Array
	for _, n := range []int{10, 20_000, 100_000} {
		if err := a.Begin([]byte(`["` + strings.Repeat(`\n`, n) + `"]`)); err != nil || a.Next() == nil {
			t.Fatal(err)
		}
		if cap(a.text) < n || cap(a.json) < n {
			t.Fatalf("%d and %d bytes of scratch for %d", cap(a.text), cap(a.json), n)
		}
		if err := a.Begin(nil); err != nil || cap(a.text)+cap(a.json) > arrayScratchBytesMax {
			t.Fatalf("%d bytes are kept", cap(a.text)+cap(a.json))
		}
		if kept := cap(a.json) > 0; kept != (n == 10) {
			t.Fatalf("%d bytes of scratch are kept after %d", cap(a.json), n)
		}
	}
}

// 1 MiB of messages without a byte took 100 MB of memory when they were decoded at once.
func TestArrayOfManyDoesNotAllocate(t *testing.T) {
	payload := []byte("[" + strings.Repeat(`"",`, 340_000) + `"é","\n\ud83c\udf89"]`)
	var a Array
	n := testing.AllocsPerRun(3, func() {
		if err := a.Begin(payload); err != nil {
			t.Fatal(err)
		}
		count := 0
		for a.Next() != nil {
			count++
		}
		if count != 340_002 {
			t.Fatalf("%d messages", count)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPlainPathDoesNotAllocate(t *testing.T) {
	payload := []byte(`["17:1700000000000","18:1700000000000"]`)
	var a Array
	var b Batch
	var frame []byte
	run := func() {
		if err := a.Begin(payload); err != nil {
			t.Fatal(err)
		}
		b.Reset()
		for m := a.Next(); m != nil; m = a.Next() {
			b.Append(m)
		}
		frame = frame[:0]
		for _, encode := range []func([]byte, Batch) []byte{
			AppendWebSocketArray, AppendWebSocketTexts, AppendElements, AppendScriptElements, AppendEventElements,
		} {
			b.Split(64<<10, func(part Batch) { frame = encode(frame, part) })
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzArray(f *testing.F) {
	for _, s := range []string{
		`["a"]`, `["é","\u2028"]`, `[ "a" , "b" ]`, `["\ud83c\udf89"]`, `["\ud800"]`, `[null]`, `[1]`, "[\"\xff\"]",
		`["a",]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) { compareArray(t, payload) })
}

func FuzzEscaper(f *testing.F) {
	for _, s := range []string{
		"plain", "\"\\\x00\x1f\x7f",
		"\u200b\u200c\u200f\u2010\u2027\u2028\u202f\u2030\u205f\u2060\u206f\u2070\uffef\ufff0\uffff",
		"🎉\xff\xed\xa0\x80",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		checkEscaped(t, AppendQuoted(nil, text), strings.ToValidUTF8(string(text), "\ufffd"))
	})
}

// checkEscaped checks that quoted is a JSON string of the text in which nothing is raw that must not be.
func checkEscaped(t *testing.T, quoted []byte, text string) {
	t.Helper()
	var back string
	if err := json.Unmarshal(quoted, &back); err != nil {
		t.Fatalf("%q is no JSON: %v", quoted, err)
	}
	// A run of broken bytes may be replaced byte by byte.
	if squeeze(back) != squeeze(text) {
		t.Fatalf("%q reads as %q, want %q", quoted, back, text)
	}
	for _, r := range string(quoted) {
		if r < 0x20 || r >= 0x200c && r <= 0x200f || r >= 0x2028 && r <= 0x202f || r >= 0x2060 && r <= 0x206f ||
			r >= 0xfff0 && r <= 0xffff {
			t.Fatalf("%q has %U raw", quoted, r)
		}
	}
	if i := bytes.Index(quoted, []byte(`\u`)); i >= 0 && i+6 <= len(quoted) &&
		!bytes.Equal(quoted[i:i+6], bytes.ToLower(quoted[i:i+6])) {
		t.Fatalf("%q has an escape in upper case", quoted)
	}
}

func squeeze(s string) string {
	for strings.Contains(s, "\ufffd\ufffd") {
		s = strings.ReplaceAll(s, "\ufffd\ufffd", "\ufffd")
	}
	return s
}

func TestPlainLen(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		plain := c >= 0x20 && c < 0x80 && c != '"' && c != '\\'
		for at := range 20 {
			p := bytes.Repeat([]byte{'a'}, 20)
			p[at] = byte(c)
			want := at
			if plain {
				want = 20
			}
			if got := plainLen(p); got != want {
				t.Fatalf("byte %#x at %d: got %d", c, at, got)
			}
		}
	}
}

func BenchmarkPlainLen(b *testing.B) {
	p := []byte("17:1700000000000\"")
	b.Run("words", func(b *testing.B) {
		for b.Loop() {
			plainLen(p)
		}
	})
	b.Run("bytes", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for n < len(p) && p[n] >= 0x20 && p[n] < 0x80 && p[n] != '"' && p[n] != '\\' {
				n++
			}
			if n != 16 {
				b.Fatal(n)
			}
		}
	})
}

func BenchmarkArray(b *testing.B) {
	for _, tt := range []struct{ name, payload string }{
		{"plain", `["17:1700000000000"]`},
		{"ten plain", "[" + strings.Repeat(`"17:1700000000000",`, 9) + `"17:1700000000000"]`},
		{"unicode", `["grüße 17:1700000000000"]`}, {"escapes", `["say \"hello\" to\nall"]`},
		{"64 KiB plain", `["` + strings.Repeat("x", 64<<10) + `"]`},
		{"64 KiB Cyrillic", `["` + strings.Repeat("я", 32<<10) + `"]`},
		{"1 MiB of empty", "[" + strings.Repeat(`"",`, 1<<20/3) + `""]`},
	} {
		b.Run(tt.name, func(b *testing.B) {
			payload := []byte(tt.payload)
			var a Array
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				if err := a.Begin(payload); err != nil {
					b.Fatal(err)
				}
				for m := a.Next(); m != nil; m = a.Next() {
					if len(m.JSON()) < 2 {
						b.Fatal("no quotes")
					}
				}
			}
		})
	}
}

func BenchmarkEncoders(b *testing.B) {
	var batch Batch
	for range 1000 {
		m := Text([]byte("17:1700000000000"))
		batch.Append(&m)
	}
	for _, tt := range []struct {
		name   string
		encode func([]byte, Batch) []byte
	}{
		{"WebSocketArray", AppendWebSocketArray}, {"WebSocketTexts", AppendWebSocketTexts},
		{"Elements", AppendElements}, {"ScriptElements", AppendScriptElements}, {"EventElements", AppendEventElements},
	} {
		b.Run(tt.name, func(b *testing.B) {
			dst := tt.encode(nil, batch)
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				dst = tt.encode(dst[:0], batch)
			}
		})
	}
}

// Who appends to a message does not write to the next one.
func TestArrayMessagesEndWhereTheyEnd(t *testing.T) {
	t.Parallel()
	payload := []byte(`["a","b"]`)
	var a Array
	if err := a.Begin(payload); err != nil {
		t.Fatal(err)
	}
	m := a.Next()
	_, _ = append(m.Text(), "XX"...), append(m.JSON(), "XX"...)
	if string(payload) != `["a","b"]` {
		t.Errorf("the payload is %s", payload)
	}
}

// What SockJS wants escaped, and its neighbours, which stay as they are.
func TestEscapedRanges(t *testing.T) {
	t.Parallel()
	for _, r := range []struct{ first, last rune }{
		{0x200c, 0x200f}, {0x2028, 0x202f}, {0x2060, 0x206f}, {0xfff0, 0xffff},
	} {
		for _, c := range []struct {
			r       rune
			escaped bool
		}{{r.first - 1, false}, {r.first, true}, {r.last, true}, {r.last + 1, false}} {
			want := `"` + string(c.r) + `"`
			if c.escaped {
				want = fmt.Sprintf(`"\u%04x"`, c.r)
			}
			if got := string(AppendQuoted(nil, []byte(string(c.r)))); got != want {
				t.Errorf("%U is %s, want %s", c.r, got, want)
			}
		}
	}
}
