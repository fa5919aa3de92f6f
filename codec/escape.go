package codec

import (
	"bytes"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// hexDigit is the value of a hexadecimal digit in either case, -1 for anything else.
func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// AppendQuoted appends text as a JSON string the way SockJS wants it: what JSON must escape, and the characters that
// browsers of the protocol's time mangled, U+200C-200F, U+2028-202F, U+2060-206F and U+FFF0-FFFF, as \uxxxx in lower
// case. Everything else stays as it is. A byte that is no UTF-8, a lone surrogate's among them, becomes \ufffd: it must
// never reach the wire raw. text is borrowed.
func AppendQuoted(dst, text []byte) []byte {
	return append(appendEscaped(append(dst, '"'), text), '"')
}

// appendEscaped appends the inside of the string.
func appendEscaped(dst, text []byte) []byte {
	for len(text) > 0 {
		n := plainLen(text)
		if n == 0 {
			n = unescapedLen(text)
		}
		if n > 0 {
			dst, text = append(dst, text[:n]...), text[n:]
			continue
		}
		r, size := utf8.DecodeRune(text)
		if r < utf8.RuneSelf {
			dst = appendEscapedASCII(dst, text[0])
		} else {
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		text = text[size:]
	}
	return dst
}

// unescapedLen is the size in bytes of the characters beyond ASCII at the front of text that leave as they are.
func unescapedLen(text []byte) int {
	n := 0
	for n < len(text) && text[n] >= utf8.RuneSelf {
		r, size := utf8.DecodeRune(text[n:])
		if mustEscape(r) { // and what is no UTF-8, which reads as U+FFFD
			break
		}
		n += size
	}
	return n
}

// mustEscape tells which characters beyond ASCII leave as \uxxxx; all are in the basic plane.
func mustEscape(r rune) bool {
	switch {
	case r < 0x200c:
		return false
	case r <= 0x206f:
		return r <= 0x200f || r >= 0x2028 && r <= 0x202f || r >= 0x2060
	default:
		return r >= 0xfff0 && r <= 0xffff
	}
}

func appendEscapedASCII(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// AppendScript appends a SockJS frame, or a part of one, as the inside of a JavaScript string that may stand in an HTML
// page: quotes and backslashes are escaped, and no < is left that could begin </script> or a comment. What else a
// string literal cannot hold is escaped in the frame already. frame is borrowed.
func AppendScript(dst, frame []byte) []byte {
	from := 0
	for i, c := range frame {
		switch c {
		case '"', '\\':
			dst = append(append(dst, frame[from:i]...), '\\', c)
		case '<':
			dst = append(append(dst, frame[from:i]...), `\u003c`...)
		default:
			continue
		}
		from = i + 1
	}
	return append(dst, frame[from:]...)
}

// AppendUnscript undoes AppendScript. It panics on what AppendScript did not make.
func AppendUnscript(dst, script []byte) []byte {
	for {
		i := bytes.IndexByte(script, '\\')
		if i < 0 {
			return append(dst, script...)
		}
		dst = append(dst, script[:i]...)
		if script = script[i+1:]; script[0] == 'u' {
			dst, script = append(dst, '<'), script[len("u003c"):]
			continue
		}
		dst, script = append(dst, script[0]), script[1:]
	}
}

// AppendEvent appends a SockJS frame, or a part of one, as the data of a server-sent event. The client decodes it as a
// URI, so a percent sign must be one that is encoded: sockjs-node does that too, though the protocol's suite does not
// say so. frame is borrowed.
func AppendEvent(dst, frame []byte) []byte { return appendReplaced(dst, frame, "%", "%25") }

// AppendUnevent undoes AppendEvent.
func AppendUnevent(dst, event []byte) []byte { return appendReplaced(dst, event, "%25", "%") }

func appendReplaced(dst, p []byte, from, to string) []byte {
	for {
		i := bytes.Index(p, []byte(from))
		if i < 0 {
			return append(dst, p...)
		}
		dst = append(append(dst, p[:i]...), to...)
		p = p[i+len(from):]
	}
}
