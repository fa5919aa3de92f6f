package codec

import (
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

func TestWebSocketArraysSplitAtMessages(t *testing.T) {
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
		{"one longer than a frame may be", []string{"a", "long one", "c"}, 7, []string{`a["a"]`, `a["long one"]`, `a["c"]`}},
		{"only a long one", []string{"long one"}, 1, []string{`a["long one"]`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := frames(t, AppendWebSocketArrays(nil, batchOf(tt.texts...), tt.max)); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWebSocketTextsUndoTheEscapes(t *testing.T) {
	t.Parallel()
	texts := []string{"plain", "", `"quoted"`, "é\u2028", "line\nline"}
	if got := frames(t, AppendWebSocketTexts(nil, batchOf(texts...))); !slices.Equal(got, texts) {
		t.Errorf("got %q, want %q", got, texts)
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
		{"7.4.1 reserved 1005", "\x03\xed", 1002},
		{"7.4.2 below 1000", "\x03\xe7", 1002},
		{"5.5.1 reason not UTF-8", "\x03\xe8\xff", 1007},
	} {
		var illegal *CloseError
		if _, _, err := ParseClose([]byte(tt.payload)); !errors.As(err, &illegal) || illegal.Code != tt.code {
			t.Errorf("%s: %v, want close code %d", tt.name, err, tt.code)
		}
	}
}

func TestMessageForms(t *testing.T) {
	t.Parallel()
	m := Text([]byte("a\"b"))
	if string(m.JSON()) != `"a\"b"` || string(m.AppendJSON(nil)) != `"a\"b"` || string(m.Text()) != "a\"b" || m.IsBinary() {
		t.Errorf("%s %s", m.JSON(), m.Text())
	}
	if b := Binary([]byte{1}); !b.IsBinary() {
		t.Error("binary is not")
	}
}
