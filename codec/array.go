package codec

import (
	"bytes"
	"errors"
	"slices"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/bytedance/sonic/unquote"
)

// ErrBrokenJSON refuses a payload that is not a JSON array of strings. Nothing of such a payload is delivered.
var ErrBrokenJSON = errors.New("codec: broken JSON, want an array of strings")

// arrayScratchBytesMax is how much memory, in bytes, an Array keeps from one payload to the next.
const arrayScratchBytesMax = 64 << 10

// Array iterates over the messages of a payload that a SockJS client sends: ["m1","m2",…]. It is reused from payload to
// payload. The zero value is an array without messages.
//
// The payload is checked first and taken apart message by message, so that many short messages take no memory: 1 MiB of
// them took 100 MB as a slice of Messages.
type Array struct {
	rest    []byte // of the payload: what begins with the next message's opening quote, or nothing
	plain   int    // bytes of that message with its quotes if Begin has found it to be plain; else 0
	longest int    // bytes of the longest message of the payload, with its quotes, as it came
	message Message
	text    []byte // scratch: of a message that is not plain
	json    []byte // scratch: of a message that is not plain
}

// Begin checks the payload p and goes to its first message. p is borrowed until the last message has been used. It is
// an array of strings or, as sockjs-node takes it, one string alone; an empty payload and [] hold no message. For
// anything else the error is ErrBrokenJSON, and the Array holds no message: for other values in the array (sockjs-node
// would make strings of them), and for strings that break RFC 8259 section 7 or are not UTF-8.
func (a *Array) Begin(p []byte) error {
	if cap(a.text)+cap(a.json) > arrayScratchBytesMax {
		a.text, a.json = nil, nil
	}
	a.rest, a.plain, a.longest = nil, 0, 0
	if p = skipSpace(p); len(p) == 0 {
		return nil
	}
	list := p[0] == '['
	if list {
		if p = skipSpace(p[1:]); len(p) > 0 && p[0] == ']' {
			if len(skipSpace(p[1:])) > 0 {
				return ErrBrokenJSON
			}
			return nil
		}
	}
	size, plain := stringSize(p)
	if size == 0 {
		return ErrBrokenJSON
	}
	a.longest = size
	rest := skipSpace(p[size:])
	if list && len(rest) > 0 && rest[0] == ',' {
		rest = a.skipRest(rest)
	} else {
		p = p[:size] // so that Next need not look for more
	}
	if list {
		if len(rest) == 0 || rest[0] != ']' {
			return ErrBrokenJSON
		}
		rest = rest[1:]
	}
	if len(skipSpace(rest)) > 0 {
		return ErrBrokenJSON
	}
	if a.rest = p; plain {
		a.plain = size
	}
	return nil
}

// Next returns the next message, nil when there is none left. It is scratch, valid until the next call of any method.
// What is plain in it (printable ASCII without quote and backslash) is a part of the payload.
func (a *Array) Next() *Message {
	p := a.rest
	if len(p) == 0 {
		a.message = Message{} // or it keeps the payload's memory
		return nil
	}
	size := a.plain
	if a.plain = 0; size == 0 {
		if size = 1 + plainLen(p[1:]); p[size] != '"' {
			return a.decode(p, size)
		}
		size++
	}
	a.message.json, a.message.text = p[:size:size], p[1:size-1:size-1]
	a.skip(size)
	return &a.message
}

// skip goes to the message behind the next one, which has so many bytes.
func (a *Array) skip(size int) {
	if a.rest = a.rest[size:]; len(a.rest) == 0 {
		return // at once: it is the usual end
	}
	if a.rest = skipSpace(a.rest); len(a.rest) > 0 {
		a.rest = skipSpace(a.rest[1:]) // the comma, or the bracket behind the last message
	}
}

// Longest is the size of the payload's longest message in bytes: its quotes and escapes, as they came, included.
func (a *Array) Longest() int { return a.longest }

// Rest is the part of the payload that Next has not handed out yet, empty when there is no message left.
func (a *Array) Rest() []byte { return a.rest }

// Resume goes on with what Rest of any Array returned, or with a copy of that. It is borrowed like Begin's payload, and
// not checked again.
func (a *Array) Resume(rest []byte) {
	a.rest, a.plain = rest, 0
}

// skipRest checks what follows the first string of an array and returns what is left behind the last legal one.
func (a *Array) skipRest(p []byte) []byte {
	for len(p) > 0 && p[0] == ',' {
		next := skipSpace(p[1:])
		size, _ := stringSize(next)
		if size == 0 {
			return p
		}
		a.longest = max(a.longest, size)
		p = skipSpace(next[size:])
	}
	return p
}

// stringSize checks the JSON string (RFC 8259 section 7) at the front of p and returns its size in bytes, quotes
// included; 0 when there is none, or when it is not UTF-8. A lone surrogate is legal as an escape.
func stringSize(p []byte) (size int, plain bool) {
	if len(p) == 0 || p[0] != '"' {
		return 0, false
	}
	size = 1 + plainLen(p[1:])
	if size < len(p) && p[size] == '"' {
		return size + 1, true
	}
	for size < len(p) {
		n := 0
		switch c := p[size]; {
		case c == '"':
			return size + 1, false
		case c == '\\':
			n = escapeSize(p[size:])
		case c >= utf8.RuneSelf:
			n = beyondASCII(p[size:])
		default:
			n = plainLen(p[size:])
		}
		if n == 0 {
			return 0, false
		}
		size += n
	}
	return 0, false
}

// beyondASCII is the size in bytes of the characters beyond ASCII that p begins with; 0 when they are not UTF-8.
func beyondASCII(p []byte) int {
	n := 0
	for n < len(p) && p[n] >= utf8.RuneSelf {
		n++
	}
	if !utf8.Valid(p[:n]) {
		return 0
	}
	return n
}

// escapeSize is the size in bytes of the escape that p begins with; 0 when it is illegal or cut.
func escapeSize(p []byte) int {
	switch {
	case escapedUnit(p) >= 0:
		return len(`\u0000`)
	case len(p) >= 2 && bytes.IndexByte([]byte(`"\/bfnrt`), p[1]) >= 0:
		return len(`\n`)
	}
	return 0
}

// closingQuote is the index of the quote that ends a legal string, looking from the index at on.
func closingQuote(p []byte, at int) int {
	end := at + bytes.IndexByte(p[at:], '"')
	if bytes.IndexByte(p[at:end], '\\') < 0 {
		return end
	}
	for p[at] != '"' {
		if p[at] == '\\' {
			at++
		}
		at++
	}
	return at
}

func skipSpace(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t' || p[0] == '\n' || p[0] == '\r') {
		p = p[1:]
	}
	return p
}

// decode makes the next message out of the string at the front of p, in which the bytes before the index at are plain.
func (a *Array) decode(p []byte, at int) *Message {
	end := closingQuote(p, at)
	inside := p[1:end:end]
	text := inside
	if bytes.IndexByte(inside, '\\') >= 0 {
		a.text = appendUnescaped(a.text[:0], inside)
		text = a.text
	}
	a.json = appendRequoted(slices.Grow(a.json[:0], len(inside)+2), text, inside)
	a.message.json, a.message.text = a.json, text
	a.skip(end + 1)
	return &a.message
}

// appendRequoted appends the JSON form of the string whose inside came as given and reads as text. A text has no place
// for a lone surrogate, which a string of JavaScript may hold. Its escape has, so it is appended as it came, in lower
// case.
func appendRequoted(dst, text, inside []byte) []byte {
	at, size := loneSurrogate(inside)
	if size == 0 { // nearly always
		return AppendQuoted(dst, text)
	}
	dst = append(dst, '"')
	for ; size > 0; at, size = loneSurrogate(inside) {
		dst = appendEscaped(dst, appendUnescaped(nil, inside[:at]))
		dst = append(dst, bytes.ToLower(inside[at:at+size])...)
		inside = inside[at+size:]
	}
	dst = appendEscaped(dst, appendUnescaped(nil, inside))
	return append(dst, '"')
}

// appendUnescaped appends what the inside of a legal JSON string reads as, or a part of one that is cut beside an
// escape. A lone surrogate reads as U+FFFD.
func appendUnescaped(dst, inside []byte) []byte {
	dst = slices.Grow(dst, len(inside))
	text := dst[len(dst):len(dst):cap(dst)]
	if code := unquote.IntoBytes(unsafe.String(unsafe.SliceData(inside), len(inside)), &text); code != 0 {
		panic("codec: a JSON string was checked and is broken: " + code.Error())
	}
	return dst[:len(dst)+len(text)]
}

// loneSurrogate finds the first escape \ud800 to \udfff in the inside of a JSON string that is not one of a pair; its
// size is 0 when there is none.
func loneSurrogate(s []byte) (at, size int) {
	for at < len(s) {
		i := bytes.IndexByte(s[at:], '\\')
		if i < 0 {
			break
		}
		at += i
		r := escapedUnit(s[at:])
		switch {
		case r < 0:
			at += len(`\n`)
		case !utf16.IsSurrogate(r):
			at += len(`\u0000`)
		case utf16.DecodeRune(r, escapedUnit(s[at+len(`\u0000`):])) != unicode.ReplacementChar:
			at += 2 * len(`\u0000`)
		default:
			return at, len(`\u0000`)
		}
	}
	return 0, 0
}

// escapedUnit is the UTF-16 unit whose escape \uxxxx s begins with, -1 if it begins with anything else.
func escapedUnit(s []byte) rune {
	if len(s) < len(`\u0000`) || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	var unit rune
	for _, c := range s[2:6] {
		d := hexDigit(c)
		if d < 0 {
			return -1
		}
		unit = unit<<4 | rune(d)
	}
	return unit
}
