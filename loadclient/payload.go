package loadclient

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
)

// stampDigits is the length of a time of this century in milliseconds since 1970.
const stampDigits = 13

// template makes the frames of one connection. The payload is that of 2011, <id>:<milliseconds since 1970>; only the
// time changes, so a frame is a copy with thirteen bytes written over, masked as the rest.
type template struct {
	frame []byte
	at    int // of the time in frame
	mask  [stampDigits]byte
	stamp int64 // time in frame
}

func newTemplate(t Target, id int) template {
	d := dialects[t.Protocol]
	text, at := t.payload(id)
	payload := []byte(d.sendBefore + text + d.sendAfter)
	at += len(d.sendBefore)
	key := rand.Uint32()
	mask := [4]byte{byte(key), byte(key >> 8), byte(key >> 16), byte(key >> 24)}
	tpl := template{frame: codec.AppendMaskedFrame(nil, ws.OpText, payload, mask)}
	tpl.at = len(tpl.frame) - len(payload) + at
	for i := range tpl.mask {
		tpl.mask[i] = mask[(at+i)%4]
	}
	return tpl
}

// payload is a message of connection id without its time, and where that belongs: <id>:<time>, and dots up to the size
// that the target's messages have at least.
func (t Target) payload(id int) (text string, at int) {
	text = strconv.Itoa(id) + ":"
	at = len(text)
	text += strings.Repeat("0", stampDigits)
	return text + strings.Repeat(padding, max(0, t.PayloadBytes-len(text))), at
}

const padding = "."

// append appends n frames that bear the given time.
func (t *template) append(dst []byte, stamp int64, n int) []byte {
	if stamp != t.stamp {
		t.stamp = stamp
		var digits [20]byte
		s := strconv.AppendInt(digits[:0], stamp, 10)
		for i := range t.mask {
			t.frame[t.at+i] = s[i] ^ t.mask[i]
		}
	}
	for range n {
		dst = append(dst, t.frame...)
	}
	return dst
}

// parsed is one received message.
type parsed struct {
	sender int   // index of the connection that sent it; -1 if it is none of ours
	stamp  int64 // the time it bears
}

// parsePayload reads <id>:<time>, and dots behind it.
func parsePayload(p []byte, idBase, connections int) parsed {
	colon := bytes.IndexByte(p, ':')
	if colon < 1 || colon > 9 || len(p)-colon-1 < stampDigits || len(bytes.TrimLeft(p[colon+1+stampDigits:], padding)) > 0 {
		return parsed{sender: -1}
	}
	p = p[:colon+1+stampDigits]
	id, ok := digits(p[:colon])
	stamp, ok2 := digits(p[colon+1:])
	if sender := int(id) - idBase; ok && ok2 && sender >= 0 && sender < connections {
		return parsed{sender, stamp}
	}
	return parsed{sender: -1}
}

func digits(p []byte) (n int64, ok bool) {
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
