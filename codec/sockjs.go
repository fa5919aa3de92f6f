package codec

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/gobwas/ws"
)

// The SockJS frames without a body: a session opens, a connection is alive.
const (
	OpenFrame      = "o"
	HeartbeatFrame = "h"
)

// AppendArrayFrame appends a[elements], elements being JSON strings joined by commas.
func AppendArrayFrame(dst, elements []byte) []byte {
	dst = append(dst, 'a', '[')
	dst = append(dst, elements...)
	return append(dst, ']')
}

// AppendCloseArray appends c[code,"reason"]: the SockJS frame that ends a session.
func AppendCloseArray(dst []byte, code int, reason string) []byte {
	dst = append(dst, 'c', '[')
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, ',')
	dst = AppendQuoted(dst, []byte(reason))
	return append(dst, ']')
}

// Batch is some messages in their JSON form, joined by commas: "m1","m2". Ends holds the offset behind each message's
// closing quote; the next message begins one byte, the comma, later.
type Batch struct {
	JSON []byte
	Ends []int
	from int // where the first message begins; not 0 in a part of a batch, which shares its memory
}

// Append adds a message to the batch, in its JSON form: the one copy that a broadcast makes of it.
func (b *Batch) Append(m *Message) {
	if len(b.JSON) > 0 {
		b.JSON = append(b.JSON, ',')
	}
	b.JSON = m.AppendJSON(b.JSON)
	b.Ends = append(b.Ends, len(b.JSON))
}

// AppendBatch adds the messages of another batch, which is borrowed and no part of one.
func (b *Batch) AppendBatch(other *Batch) {
	if len(b.JSON) > 0 && other.Len() > 0 {
		b.JSON = append(b.JSON, ',')
	}
	at := len(b.JSON)
	b.JSON = append(b.JSON, other.JSON...)
	for _, end := range other.Ends {
		b.Ends = append(b.Ends, at+end)
	}
}

// Clone is a copy of the batch, owned by the caller.
func (b *Batch) Clone() Batch {
	return Batch{JSON: bytes.Clone(b.JSON), Ends: slices.Clone(b.Ends), from: b.from}
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.JSON, b.Ends = b.JSON[:0], b.Ends[:0] }

// Len is the number of messages.
func (b *Batch) Len() int { return len(b.Ends) }

// Elements is the messages in their JSON form, joined by commas.
func (b Batch) Elements() []byte { return b.JSON[b.from:] }

// Split cuts the batch into parts of whole messages, of at most bytesMax bytes of elements unless a message alone is
// longer, and calls each with them. A part is borrowed and shares the batch's memory.
func (b *Batch) Split(bytesMax int, each func(part Batch)) {
	part := Batch{from: b.from}
	first, end := 0, b.from
	for i, next := range b.Ends {
		if next-part.from > bytesMax && i > first {
			part.JSON, part.Ends = b.JSON[:end], b.Ends[first:i]
			each(part)
			first, part.from = i, end+1
		}
		end = next
	}
	if first < len(b.Ends) {
		part.JSON, part.Ends = b.JSON[:end], b.Ends[first:]
		each(part)
	}
}

// AppendJSONArray appends the batch as a JSON array of strings: what Array reads.
func AppendJSONArray(dst []byte, b Batch) []byte {
	return append(append(append(slices.Grow(dst, len(b.Elements())+len("[]")), '['), b.Elements()...), ']')
}

// AppendWebSocketArray appends the batch as SockJS sends it on a WebSocket: a text frame a[…].
func AppendWebSocketArray(dst []byte, b Batch) []byte {
	dst = AppendHeader(dst, ws.OpText, len(b.Elements())+len("a[]"))
	return AppendArrayFrame(dst, b.Elements())
}

// AppendWebSocketTexts appends the batch as a raw WebSocket carries it: a text frame a message.
func AppendWebSocketTexts(dst []byte, b Batch) []byte { return appendTexts(dst, b, AppendFrame) }

// appendTexts appends each message of the batch as a frame of its own.
func appendTexts(dst []byte, b Batch, frame func(dst []byte, op ws.OpCode, payload []byte) []byte) []byte {
	from := b.from
	for _, end := range b.Ends {
		dst = frame(dst, ws.OpText, plainText(b.JSON[from:end]))
		from = end + 1
	}
	return dst
}

// AppendElements appends the batch as the inside of an array that goes on: "m1","m2", with the last comma. What the
// transports over HTTP have in common; the rest of a frame is a few bytes around it.
func AppendElements(dst []byte, b Batch) []byte {
	return append(append(dst, b.Elements()...), ',')
}

// AppendScriptElements appends the batch as AppendElements does, quoted once more for the transports whose frames are
// JavaScript: \"m1\",\"m2\",
func AppendScriptElements(dst []byte, b Batch) []byte {
	return append(AppendScript(dst, b.Elements()), ',')
}

// AppendEventElements appends the batch as AppendElements does, in the form that event streams have: see AppendEvent.
func AppendEventElements(dst []byte, b Batch) []byte {
	return append(AppendEvent(dst, b.Elements()), ',')
}

// plainText is the text of a message in its JSON form, which is ours and legal.
func plainText(json []byte) []byte {
	inside := json[1 : len(json)-1]
	if bytes.IndexByte(inside, '\\') < 0 {
		return inside
	}
	return appendUnescaped(nil, inside)
}
