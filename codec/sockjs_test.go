package codec

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func batchOf(texts ...string) *Batch {
	b := &Batch{}
	for _, s := range texts {
		m := Text([]byte(s))
		b.Append(&m)
	}
	return b
}

// frames takes the frames of a server apart.
func frames(t *testing.T, p []byte) []string {
	t.Helper()
	events, err := readAll(&MessageReader{Role: ws.StateClientSide, BytesMax: 1 << 30}, p)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range events {
		all = append(all, e.payload)
	}
	return all
}

// split is how the batch leaves in frames of at most bytesMax.
func split(b *Batch, bytesMax int, encode func(dst []byte, b Batch) []byte) []byte {
	var all []byte
	b.Split(bytesMax, func(part Batch) { all = encode(all, part) })
	return all
}

func TestBatchesSplitAtMessages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		texts []string
		max   int
		want  []string
	}{
		{"nothing", nil, 10, nil},
		{"one frame", []string{"a", "b", "c"}, 11, []string{`a["a","b","c"]`}},
		{"split", []string{"a", "b", "c"}, 10, []string{`a["a","b"]`, `a["c"]`}},
		{"each its own", []string{"a", "b", "c"}, 3, []string{`a["a"]`, `a["b"]`, `a["c"]`}},
		{"one longer than a frame may be", []string{"a", "long one", "c"}, 7,
			[]string{`a["a"]`, `a["long one"]`, `a["c"]`}},
		{"only a long one", []string{"long one"}, 1, []string{`a["long one"]`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := frames(t, split(batchOf(tt.texts...), tt.max, AppendWebSocketArray))
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWebSocketTextsUndoTheEscapes(t *testing.T) {
	t.Parallel()
	texts := []string{"plain", "", `"quoted"`, "é\u2028", "line\nline"}
	for _, max := range []int{1, 20, 1000} {
		if got := frames(t, split(batchOf(texts...), max, AppendWebSocketTexts)); !slices.Equal(got, texts) {
			t.Errorf("got %q, want %q", got, texts)
		}
	}
}

func TestCloseArray(t *testing.T) {
	t.Parallel()
	if got := string(AppendCloseArray(nil, 3000, "Go away!")); got != `c[3000,"Go away!"]` {
		t.Error(got)
	}
}

func TestCloseFrame(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 100) // 200 bytes; 123 would cut a character
	for _, tt := range []struct {
		code   ws.StatusCode
		reason string
		want   string
	}{
		{1001, "bye", "bye"}, {1000, "", ""}, {1008, long, strings.Repeat("é", 61)},
	} {
		payload := frames(t, AppendCloseFrame(nil, tt.code, tt.reason))[0]
		code, reason, err := ParseClose([]byte(payload))
		if err != nil || code != tt.code || string(reason) != tt.want {
			t.Errorf("got %d %q %v", code, reason, err)
		}
	}
	if got := AppendCloseFrame(nil, 0, "ignored"); !slices.Equal(got, []byte{0x88, 0}) {
		t.Errorf("an empty close is % x", got)
	}
}

func TestParseClose(t *testing.T) {
	t.Parallel()
	if code, _, err := ParseClose(nil); code != 1005 || err != nil {
		t.Errorf("empty: %d, %v", code, err)
	}
	for _, tt := range []struct {
		name, payload string
		code          ws.StatusCode
	}{
		{"5.5.1 one byte", "\x03", 1002},
		{"5.5.1 reason not UTF-8", "\x03\xe8\xff", 1007},
	} {
		var illegal *CloseError
		if _, _, err := ParseClose([]byte(tt.payload)); !errors.As(err, &illegal) || illegal.Code != tt.code {
			t.Errorf("%s: %v, want close code %d", tt.name, err, tt.code)
		}
	}
}

// Which codes may stand in a close frame: RFC 6455 section 7.4, and 1012 to 1014 of IANA's registry.
func TestCloseCodes(t *testing.T) {
	t.Parallel()
	for code := range 1 << 16 {
		legal := code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006 ||
			code >= 3000 && code < 5000
		got, _, err := ParseClose([]byte{byte(code >> 8), byte(code)})
		var illegal *CloseError
		switch {
		case legal && (err != nil || int(got) != code):
			t.Errorf("%d: %d, %v", code, got, err)
		case !legal && (!errors.As(err, &illegal) || illegal.Code != 1002):
			t.Errorf("%d: %d, %v, want close code 1002", code, got, err)
		}
	}
}

func TestMessageForms(t *testing.T) {
	t.Parallel()
	m := Text([]byte("a\"b"))
	if string(m.JSON()) != `"a\"b"` || string(m.AppendJSON(nil)) != `"a\"b"` || string(m.Text()) != "a\"b" ||
		m.IsBinary() {
		t.Errorf("%s %s", m.JSON(), m.Text())
	}
	if b := Binary([]byte{1}); !b.IsBinary() {
		t.Error("binary is not")
	}
}

// The elements of a batch are the same, however it is split.
func TestElements(t *testing.T) {
	t.Parallel()
	b := batchOf("a", `say "</script>"`, "\u2028\\")
	const elements = `"a","say \"</script>\"","\u2028\\",`
	const script = `\"a\",\"say \\\"\u003c/script>\\\"\",\"\\u2028\\\\\",`
	for _, max := range []int{1, 20, 1000} {
		if got := string(split(b, max, AppendElements)); got != elements {
			t.Errorf("got %s, want %s", got, elements)
		}
		got := split(b, max, AppendScriptElements)
		if string(got) != script {
			t.Errorf("got %s, want %s", got, script)
		}
		if back := string(AppendUnscript(nil, got)); back != elements {
			t.Errorf("undone, it is %s, want %s", back, elements)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	b := batchOf("100 %", "%25%41")
	const want = `"100 %25","%2525%2541",`
	if got := string(AppendEventElements(nil, *b)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if back, elements := string(AppendUnevent(nil, []byte(want))), string(AppendElements(nil, *b)); back != elements {
		t.Errorf("undone, it is %s, want %s", back, elements)
	}
}

// A script's inside is what JavaScript reads as the frame; JSON's strings are a part of JavaScript's.
func FuzzScript(f *testing.F) {
	for _, s := range []string{`a["x"]`, `a["\"\\ </script><!--"]`, "o", `c[3000,"Go away!"]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		frame := AppendQuoted(nil, []byte(text))
		script := AppendScript(nil, frame)
		var read string
		if err := json.Unmarshal(slices.Concat([]byte{'"'}, script, []byte{'"'}), &read); err != nil ||
			read != string(frame) {
			t.Fatalf("%s reads as %s (%v), want %s", script, read, err, frame)
		}
		if strings.Contains(string(script), "<") {
			t.Fatalf("%s could end its script", script)
		}
		if back := AppendUnscript(nil, script); string(back) != string(frame) {
			t.Fatalf("undone, %s is %s, want %s", script, back, frame)
		}
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string]string{
		`<"`: `\u003c\"`, `<<`: `\u003c\u003c`, `<\`: `\u003c\\`, `<`: `\u003c`, `u003c`: `u003c`, `\u003c`: `\\u003c`,
	} {
		if got := string(AppendScript(nil, []byte(frame))); got != want {
			t.Errorf("%s is %s, want %s", frame, got, want)
		}
		if back := string(AppendUnscript(nil, []byte(want))); back != frame {
			t.Errorf("undone, %s is %s, want %s", want, back, frame)
		}
	}
}

func TestEventsOfPercentSigns(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string]string{"%": "%25", "%%41": "%25%2541", "a%": "a%25", "": ""} {
		if got := string(AppendEvent(nil, []byte(frame))); got != want {
			t.Errorf("%s is %s, want %s", frame, got, want)
		}
		if back := string(AppendUnevent(nil, []byte(want))); back != frame {
			t.Errorf("undone, %s is %s, want %s", want, back, frame)
		}
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	b := batchOf("a", "b", "c", "d", "e", "f")
	if b.Len() != 6 {
		t.Errorf("%d messages", b.Len())
	}
	var parts []string
	b.Split(len(`"a","b"`), func(part Batch) { parts = append(parts, string(part.Elements())) })
	if want := []string{`"a","b"`, `"c","d"`, `"e","f"`}; !slices.Equal(parts, want) {
		t.Errorf("parts %q, want %q", parts, want)
	}
	if b.Reset(); b.Len() != 0 || len(b.Elements()) != 0 {
		t.Errorf("%d messages after Reset: %s", b.Len(), b.Elements())
	}
	m := Text([]byte("g"))
	if b.Append(&m); string(b.Elements()) != `"g"` {
		t.Errorf("the next batch is %s", b.Elements())
	}
}

func TestTheShortestMessages(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": `""`, "a": `"a"`} {
		if m := Text([]byte(text)); string(m.JSON()) != want {
			t.Errorf("%q is %s", text, m.JSON())
		}
	}
}

func TestCloseReasonsAtTheirBound(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]int{
		strings.Repeat("x", 123): 123, strings.Repeat("x", 124): 123, strings.Repeat("\x80", 200): 0,
	} {
		if payload := frames(t, AppendCloseFrame(nil, 1000, reason))[0]; len(payload) != 2+want {
			t.Errorf("%d bytes of reason become %d, want %d", len(reason), len(payload)-2, want)
		}
	}
	e := &CloseError{1009, "message too big"}
	if e.Error() != "message too big (close code 1009)" {
		t.Error(e)
	}
}

// A batch that was added to another is part of it; a copy shares nothing with what it was made of; Array reads both.
func TestBatchesOfBatches(t *testing.T) {
	t.Parallel()
	b, other := batchOf("a", `"`), batchOf("c")
	b.AppendBatch(&Batch{})
	b.AppendBatch(other)
	var first Batch
	first.AppendBatch(b)
	clone := first.Clone()
	first.JSON[1] = 'x'
	first.Ends[0] = 0
	for name, got := range map[string]Batch{"added to": *b, "a copy": clone} {
		var texts []string
		var a Array
		if err := a.Begin(AppendJSONArray([]byte(nil), got)); err != nil {
			t.Fatal(err)
		}
		for m := a.Next(); m != nil; m = a.Next() {
			texts = append(texts, string(m.Text()))
		}
		parts := split(&got, 1, AppendElements)
		if !slices.Equal(texts, []string{"a", `"`, "c"}) || string(parts) != `"a","\"","c",` {
			t.Errorf("%s: %q, in parts %s", name, texts, parts)
		}
	}
}
