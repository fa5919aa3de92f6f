package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// mustEscape are the characters beyond ASCII that leave as \uxxxx, and no others.
func mustEscape(r rune) bool {
	return r >= 0x200c && r <= 0x200f || r >= 0x2028 && r <= 0x202f || r >= 0x2060 && r <= 0x206f || r >= 0xfff0
}

func TestPoint29Escaping(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	wantPoll(t, s, "o\n")
	// Every character of the basic plane, raw as far as JSON lets it be: what comes back is escaped where it must be,
	// and nowhere else.
	var sent, want strings.Builder
	for r := rune(0x20); r <= 0xffff; r++ {
		switch {
		case r >= 0xd800 && r <= 0xdfff:
			continue
		case r == '"' || r == '\\':
			fmt.Fprintf(&sent, `\%c`, r)
			fmt.Fprintf(&want, `\%c`, r)
		case mustEscape(r):
			sent.WriteRune(r)
			fmt.Fprintf(&want, `\u%04x`, r)
		default:
			sent.WriteRune(r)
			want.WriteRune(r)
		}
	}
	send(t, s, `["`+sent.String()+`🎉"]`)
	got := poll(t, s)
	if wanted := `a["` + want.String() + `🎉"]` + "\n"; got != wanted {
		for i := range min(len(got), len(wanted)) {
			if got[i] != wanted[i] {
				t.Fatalf("at byte %d: %.60q, want %.60q", i, got[i:], wanted[i:])
			}
		}
		t.Fatalf("%d bytes, want %d", len(got), len(wanted))
	}
}

// Escapes of every unit are read, lone surrogates come back as they went, and none is ever raw.
func TestPoint29Surrogates(t *testing.T) {
	t.Parallel()
	s := session(t, echo)
	wantPoll(t, s, "o\n")
	send(t, s, `["\ud83c\udf89","\ud800","\uDFFFx\ud800\ud800\udc00","\u0000\u001f\u007f\ufffe"]`)
	got := poll(t, s)
	want := `a["🎉","\ud800","\udfffx\ud800` + "\U00010000" + `","\u0000\u001f` + "\x7f" + `\ufffe"]` + "\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var back []string
	if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "a")), &back); err != nil || len(back) != 4 {
		t.Errorf("%v %q", err, back)
	}
}
