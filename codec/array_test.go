package codec

import (
	"bytes"
	"encoding/json"
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
		{"29 escaped on output", `["` + "\u200c\u2028\u2060\ufff0" + `"]`, []string{"\u200c\u2028\u2060\ufff0"}, `"\u200c\u2028\u2060\ufff0"`},
		{"29 lone surrogates stay, escaped", `["a\uD800b","\uDC00\u2028\ud83c\udf89\ud83c","\ud800\ud83c\udf89","\\ud800"]`,
			[]string{"a\ufffdb", "\ufffd\u2028🎉\ufffd", "\ufffd🎉", `\ud800`}, `"a\ud800b","\udc00\u2028🎉\ud83c","\ud800🎉","\\ud800"`},
		{"delete is plain", "[\"\x7f\"]", []string{"\x7f"}, "\"\x7f\""},
		{"plain behind not plain", `["é","b"]`, []string{"é", "b"}, `"é","b"`},
		{"eight-byte borders", `["0123456","01234567","012345678"]`, []string{"0123456", "01234567", "012345678"}, `"0123456","01234567","012345678"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var a Array
			messages, err := a.Decode([]byte(tt.payload))
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			var b Batch
			for i := range messages {
				texts = append(texts, string(messages[i].Text()))
				b.Append(&messages[i])
			}
			if !slices.Equal(texts, tt.texts) || string(b.JSON) != tt.json {
				t.Errorf("got %q, %s; want %q, %s", texts, b.JSON, tt.texts, tt.json)
			}
		})
	}
}

func TestArrayRefuses(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		`[`, `["a"`, `["a`, `["a",]`, `[,"a"]`, `["a" "b"]`, `["a"]]`, `["a"]x`, `[1]`, `[null]`, `["a",null]`, `[true]`, `[["a"]]`, `[{}]`, `{}`, `1`, `null`,
		`["\x"]`, `["\u12"]`, `["` + "\x01" + `"]`, `["` + "\n" + `"]`, `["` + "\xff" + `"]`, `["` + "é\xff" + `"]`, `["\"]`, `['a']`, "[\"\xed\xa0\x80\"]",
	} {
		var a Array
		if messages, err := a.Decode([]byte(payload)); err == nil {
			t.Errorf("%q: %d messages, want an error", payload, len(messages))
		}
	}
}

// Messages that are not plain may not point into the payload, which is the loop's read buffer.
func TestArrayDecodedTextIsACopy(t *testing.T) {
	t.Parallel()
	payload := []byte(`["é","\n"]`)
	var a Array
	messages, err := a.Decode(payload)
	if err != nil {
		t.Fatal(err)
	}
	for i := range payload {
		payload[i] = 'X'
	}
	if got := string(messages[0].Text()) + string(messages[1].Text()); got != "é\n" {
		t.Errorf("got %q after the payload was overwritten", got)
	}
}

func TestPlainPathDoesNotAllocate(t *testing.T) {
	payload := []byte(`["17:1700000000000","18:1700000000000"]`)
	var a Array
	var b Batch
	var frame []byte
	run := func() {
		messages, err := a.Decode(payload)
		if err != nil {
			t.Fatal(err)
		}
		b.Reset()
		for i := range messages {
			b.Append(&messages[i])
		}
		frame = frame[:0]
		for _, encode := range []func([]byte, Batch) []byte{AppendWebSocketArray, AppendWebSocketTexts, AppendElements, AppendScriptElements, AppendEventElements} {
			b.Split(64<<10, func(part Batch) { frame = encode(frame, part) })
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzArray(f *testing.F) {
	for _, s := range []string{`["a"]`, `["é","\u2028"]`, `[ "a" , "b" ]`, `["\ud83c\udf89"]`, `["\ud800"]`, `[null]`, `[1]`, "[\"\xff\"]", `["a",]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var a Array
		messages, err := a.Decode(bytes.Clone(payload))
		var want []*string
		wantErr := json.Unmarshal(payload, &want)
		if len(bytes.TrimLeft(payload, " \t\r\n")) == 0 || bytes.TrimLeft(payload, " \t\r\n")[0] != '[' {
			return // sockjs-node's string alone: the table has it
		}
		legal := wantErr == nil && utf8.Valid(payload) && !slices.Contains(want, nil)
		if legal != (err == nil) {
			t.Fatalf("%q: %v, but encoding/json: %v", payload, err, wantErr)
		}
		for i := range messages {
			if string(messages[i].Text()) != *want[i] {
				t.Fatalf("message %d is %q, want %q", i, messages[i].Text(), *want[i])
			}
			checkEscaped(t, messages[i].JSON(), *want[i])
		}
	})
}

func FuzzEscaper(f *testing.F) {
	for _, s := range []string{"plain", "\"\\\x00\x1f\x7f", "\u200b\u200c\u200f\u2010\u2027\u2028\u202f\u2030\u205f\u2060\u206f\u2070\uffef\ufff0\uffff", "🎉\xff\xed\xa0\x80"} {
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
		if r < 0x20 || r >= 0x200c && r <= 0x200f || r >= 0x2028 && r <= 0x202f || r >= 0x2060 && r <= 0x206f || r >= 0xfff0 && r <= 0xffff {
			t.Fatalf("%q has %U raw", quoted, r)
		}
	}
	if i := bytes.Index(quoted, []byte(`\u`)); i >= 0 && i+6 <= len(quoted) && !bytes.Equal(quoted[i:i+6], bytes.ToLower(quoted[i:i+6])) {
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
		{"plain", `["17:1700000000000"]`}, {"unicode", `["grüße 17:1700000000000"]`},
	} {
		b.Run(tt.name, func(b *testing.B) {
			payload := []byte(tt.payload)
			var a Array
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Decode(payload); err != nil {
					b.Fatal(err)
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
