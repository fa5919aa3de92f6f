package codec

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/bytedance/sonic"
)

// ErrBrokenJSON refuses a payload that is not a JSON array of strings. Nothing of such a payload is delivered.
var ErrBrokenJSON = errors.New("codec: broken JSON, want an array of strings")

// stringsJSON decodes what is not plain ASCII. sonic's default would take invalid UTF-8 and raw control characters, and
// its strings would point into the caller's buffer.
var stringsJSON = sonic.Config{CopyString: true, ValidateString: true}.Froze()

// messagesKept is how many messages an Array keeps room for between two payloads.
const messagesKept = 1 << 12

// Array decodes the payloads that a SockJS client sends: ["m1","m2",…]. It is reused from payload to payload.
type Array struct {
	messages []Message
}

// Decode returns the messages of the borrowed payload p: an array of strings or, as sockjs-node takes it, one string
// alone. An empty payload and [] hold no message. The messages are scratch, and the plain ones among them (printable
// ASCII without quote and backslash) are slices of p; the others went through sonic and the escaper.
//
// Anything but strings in the array is ErrBrokenJSON (sockjs-node would make strings of them), and so is invalid UTF-8.
func (a *Array) Decode(p []byte) ([]Message, error) {
	if cap(a.messages) > messagesKept {
		a.messages = nil
	}
	a.messages = a.messages[:0]
	p = skipSpace(p)
	if len(p) == 0 {
		return a.messages, nil
	}
	var err error
	if p[0] == '[' {
		p, err = a.list(skipSpace(p[1:]))
	} else {
		p, err = a.element(p)
	}
	if err == nil && len(skipSpace(p)) != 0 {
		err = ErrBrokenJSON
	}
	if err != nil {
		return nil, err
	}
	return a.messages, nil
}

// list reads what follows the opening bracket and returns what follows the closing one.
func (a *Array) list(p []byte) ([]byte, error) {
	if len(p) > 0 && p[0] == ']' {
		return p[1:], nil
	}
	for {
		rest, err := a.element(p)
		if err != nil {
			return nil, err
		}
		rest = skipSpace(rest)
		if len(rest) == 0 {
			return nil, ErrBrokenJSON
		}
		switch rest[0] {
		case ']':
			return rest[1:], nil
		case ',':
			p = skipSpace(rest[1:])
		default:
			return nil, ErrBrokenJSON
		}
	}
}

// element reads one string at the front of p and returns what follows it.
func (a *Array) element(p []byte) ([]byte, error) {
	if len(p) < 2 || p[0] != '"' {
		return nil, ErrBrokenJSON
	}
	end := 1 + plainLen(p[1:])
	if end < len(p) && p[end] == '"' {
		a.messages = append(a.messages, Message{json: p[: end+1 : end+1], text: p[1:end:end]})
		return p[end+1:], nil
	}
	end = closingQuote(p, end)
	if end < 0 {
		return nil, ErrBrokenJSON
	}
	text, err := unquote(p[:end+1])
	if err != nil {
		return nil, err
	}
	a.messages = append(a.messages, Message{json: appendRequoted(nil, text, p[:end+1]), text: text})
	return p[end+1:], nil
}

// closingQuote is the index of the quote that ends the string in p, looking from the index at on; -1 if there is none.
func closingQuote(p []byte, at int) int {
	for at < len(p) {
		switch p[at] {
		case '"':
			return at
		case '\\':
			at += 2
		default:
			at++
		}
	}
	return -1
}

// appendRequoted appends the JSON form of the string that came as quoted and reads as text. A text has no place for a
// lone surrogate, which a string of JavaScript may hold; its escape has, so that goes on as it came.
func appendRequoted(dst, text, quoted []byte) []byte {
	rest := quoted[1 : len(quoted)-1]
	at, size := loneSurrogate(rest)
	if size == 0 { // nearly always
		return AppendQuoted(dst, text)
	}
	dst = append(dst, '"')
	for ; size > 0; at, size = loneSurrogate(rest) {
		dst = appendEscaped(dst, unescape(rest[:at]))
		dst = append(dst, bytes.ToLower(rest[at:at+size])...)
		rest = rest[at+size:]
	}
	dst = appendEscaped(dst, unescape(rest))
	return append(dst, '"')
}

// unescape decodes a part of a JSON string that has been decoded once and was cut beside an escape.
func unescape(part []byte) []byte {
	text, err := unquote(slices.Concat([]byte{'"'}, part, []byte{'"'}))
	if err != nil {
		panic("codec: half of a legal JSON string is not one: " + err.Error())
	}
	return text
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
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// unquote decodes a JSON string with its quotes. p is borrowed, the text owned by the caller.
func unquote(p []byte) ([]byte, error) {
	if !utf8.Valid(p) {
		return nil, ErrBrokenJSON
	}
	var s string
	if err := stringsJSON.UnmarshalFromString(unsafe.String(unsafe.SliceData(p), len(p)), &s); err != nil {
		return nil, ErrBrokenJSON
	}
	return []byte(s), nil
}

func skipSpace(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t' || p[0] == '\n' || p[0] == '\r') {
		p = p[1:]
	}
	return p
}
