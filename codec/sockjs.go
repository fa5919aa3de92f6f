package codec

import (
	"bytes"
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
}

// Append adds a message to the batch, in its JSON form: the one copy that a broadcast makes of it.
func (b *Batch) Append(m *Message) {
	if len(b.JSON) > 0 {
		b.JSON = append(b.JSON, ',')
	}
	b.JSON = m.AppendJSON(b.JSON)
	b.Ends = append(b.Ends, len(b.JSON))
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.JSON, b.Ends = b.JSON[:0], b.Ends[:0] }

// Len is the number of messages.
func (b *Batch) Len() int { return len(b.Ends) }

// split cuts the batch into runs of whole messages of at most bytesMax bytes, a longer message being a run of its own,
// and calls each with its elements.
func (b *Batch) split(bytesMax int, each func(elements []byte)) {
	from, end := 0, 0
	for _, next := range b.Ends {
		if next-from > bytesMax && end > from {
			each(b.JSON[from:end])
			from = end + 1
		}
		end = next
	}
	if end > from {
		each(b.JSON[from:end])
	}
}

// AppendWebSocketArrays appends the batch as SockJS sends it on a WebSocket: text frames a[…] of at most frameBytesMax
// bytes of elements, unless one message alone is longer.
func AppendWebSocketArrays(dst []byte, b *Batch, frameBytesMax int) []byte {
	b.split(frameBytesMax, func(elements []byte) {
		dst = AppendHeader(dst, ws.OpText, len(elements)+3)
		dst = AppendArrayFrame(dst, elements)
	})
	return dst
}

// AppendWebSocketTexts appends the batch as a raw WebSocket carries it: a text frame a message.
func AppendWebSocketTexts(dst []byte, b *Batch) []byte {
	from := 0
	for _, end := range b.Ends {
		dst = AppendFrame(dst, ws.OpText, plainText(b.JSON[from:end]))
		from = end + 1
	}
	return dst
}

// plainText undoes the JSON form of a message. The form is our own, so it cannot be broken.
func plainText(json []byte) []byte {
	if bytes.IndexByte(json, '\\') < 0 {
		return json[1 : len(json)-1]
	}
	text, err := unquote(json)
	if err != nil {
		panic("codec: a batch holds JSON that nothing of ours made: " + err.Error())
	}
	return text
}
