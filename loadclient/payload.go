package loadclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// stampDigits is the length of a time of this century in milliseconds since 1970.
	stampDigits = 13
	// seqDigits is the length of a sequence number. It counts from seqFirst on, so that it keeps its length without
	// zeros in front, which JSON does not allow.
	seqDigits = 10
	seqFirst  = 1_000_000_000
	// payloadBytesMax is what servers take in one message, ours by default too.
	payloadBytesMax = 60 << 10

	padding = "."
)

// Payload is what a message looks like and how large it is. The zero value is that of 2011: {id}:{time}.
type Payload struct {
	pieces []piece // nil for those of 2011
	sizes  []int   // bytes at least, of which each message has the next in a random order; nil for as few as possible
}

// piece is a part of a template: text, or what changes.
type piece struct {
	kind pieceKind
	text string // of a literal
}

type pieceKind string

const (
	literal  pieceKind = ""
	idPiece  pieceKind = "{id}"   // of the connection that sends
	timeOf   pieceKind = "{time}" // in milliseconds since 1970
	seqPiece pieceKind = "{seq}"  // counts a connection's messages
	padPiece pieceKind = "{pad}"  // dots up to the size
)

var placeholder = regexp.MustCompile(`\{[A-Za-z_0-9]+\}`)

// ParsePayload reads a template, of 2011 when it is empty, and its sizes as ParseSizes has them.
func ParsePayload(template, sizes string) (p Payload, err error) {
	if p.sizes, err = ParseSizes(sizes); err != nil {
		return p, err
	}
	if template == "" || template == "{id}:{time}" {
		return p, nil
	}
	if p.pieces, err = parseTemplate(template); err != nil {
		return p, fmt.Errorf("--payload %.100q: %w", template, err)
	}
	if p.sizes != nil && !strings.Contains(template, string(padPiece)) {
		return p, fmt.Errorf("--payload %.100q: with --payload-bytes it needs a {pad}, where dots fill it up", template)
	}
	return p, nil
}

// parseTemplate cuts a template into pieces, and sees to it that a message can be read in one way only.
func parseTemplate(template string) ([]piece, error) {
	if !utf8.ValidString(template) || len(template) > payloadBytesMax {
		return nil, fmt.Errorf("want at most %d bytes in UTF-8", payloadBytesMax)
	}
	var all []piece
	count := map[pieceKind]int{}
	for rest := template; rest != ""; {
		at := placeholder.FindStringIndex(rest)
		if at == nil {
			at = []int{len(rest), len(rest)}
		}
		if at[0] > 0 {
			all = append(all, piece{literal, rest[:at[0]]})
		}
		kind := pieceKind(rest[at[0]:at[1]])
		switch kind {
		case literal:
		case idPiece, timeOf, seqPiece, padPiece:
			count[kind]++
			all = append(all, piece{kind: kind})
		default:
			return nil, fmt.Errorf("%s is no placeholder: there are {id}, {time}, {seq} and {pad}", kind)
		}
		rest = rest[at[1]:]
	}
	switch {
	case count[idPiece] != 1 || count[timeOf] != 1:
		return nil, errors.New(
			`want {id} and {time}, each once, such as {"from":{id},"at":{time}}: by them messages are told apart`)
	case count[seqPiece] > 1 || count[padPiece] > 1:
		return nil, errors.New("want {seq} and {pad} once at most")
	}
	for i, p := range all {
		if i+1 == len(all) {
			break
		}
		next := all[i+1]
		digit := next.kind != literal || next.text[0] >= '0' && next.text[0] <= '9'
		switch {
		case p.kind == idPiece && digit && (next.kind != padPiece || i+2 < len(all)):
			return nil, errors.New("behind {id}, put something that is no digit and no placeholder")
		case p.kind == padPiece && strings.HasPrefix(next.text, padding):
			return nil, errors.New("behind {pad}, put something that is no dot: dots are what fills it")
		}
	}
	return all, nil
}

// layout is the payload's pieces.
func (p Payload) layout() []piece {
	if p.pieces != nil {
		return p.pieces
	}
	return []piece{{kind: idPiece}, {literal, ":"}, {kind: timeOf}, {kind: padPiece}}
}

// quote is a text as it stands in a JSON string, without the quotes.
func quote(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string can be encoded, and a buffer takes everything
	return b.String()[1 : b.Len()-len("\"\n")]
}

// form is how messages are read: the pieces of a template as they come back, and what else is expected. A nil form
// reads those of 2011.
type form struct {
	pieces   []piece // nil for those of 2011
	quoted   bool
	plain    []piece // the same before they are quoted
	commas   int     // in a message
	greeting *regexp.Regexp
}

func newForm(t Target) *form {
	f := &form{quoted: quoted(t.Protocol), greeting: t.Greeting, plain: t.Payload.pieces}
	for _, p := range t.Payload.pieces {
		if f.quoted {
			p.text = quote(p.text)
		}
		f.pieces = append(f.pieces, p)
		f.commas += strings.Count(p.text, ",")
	}
	return f
}

// parsed is one received message.
type parsed struct {
	sender int   // index of the connection that sent it; -1 if it is none of ours
	stamp  int64 // the time it bears
}

// parse reads a message as it was received.
func (f *form) parse(p []byte, idBase, connections int) parsed {
	if f == nil || f.pieces == nil {
		return parsePayload(p, idBase, connections)
	}
	id, stamp, ok := match(f.pieces, p)
	if !ok && f.quoted { // servers may write a JSON string in another way than we do
		id, stamp, ok = match(f.plain, unquote(p))
	}
	if sender := int(id) - idBase; ok && sender >= 0 && sender < connections {
		return parsed{sender, stamp}
	}
	return parsed{sender: -1}
}

// expects tells whether a message that is none of ours is a greeting.
func (f *form) expects(p []byte) bool {
	if f == nil || f.greeting == nil {
		return false
	}
	if f.quoted {
		p = unquote(p)
	}
	return f.greeting.Match(p)
}

// unquote is the text of a JSON string that stands without its quotes; nil if it is none.
func unquote(p []byte) []byte {
	if bytes.IndexByte(p, '\\') < 0 {
		return p
	}
	var text string
	if json.Unmarshal([]byte(`"`+string(p)+`"`), &text) != nil {
		return nil
	}
	return []byte(text)
}

// match reads a message along the pieces of its template.
func match(pieces []piece, p []byte) (id, stamp int64, ok bool) {
	for _, x := range pieces {
		n := 0
		switch x.kind {
		case literal:
			if n = len(x.text); len(p) < n || string(p[:n]) != x.text {
				return 0, 0, false
			}
		case idPiece:
			for n < len(p) && p[n] >= '0' && p[n] <= '9' {
				n++
			}
			if n == 0 || n > 9 {
				return 0, 0, false
			}
			id, _ = digits(p[:n])
		case timeOf, seqPiece:
			n = x.width()
			if len(p) < n {
				return 0, 0, false
			}
			value, all := digits(p[:n])
			if !all {
				return 0, 0, false
			}
			if x.kind == timeOf {
				stamp = value
			}
		case padPiece:
			for n < len(p) && p[n] == padding[0] {
				n++
			}
		}
		p = p[n:]
	}
	return id, stamp, len(p) == 0
}

// width is how many digits a piece has that always has the same.
func (x piece) width() int {
	switch x.kind {
	case timeOf:
		return stampDigits
	case seqPiece:
		return seqDigits
	}
	return 0
}

// parsePayload reads <id>:<time>, and dots behind it.
func parsePayload(p []byte, idBase, connections int) parsed {
	colon := bytes.IndexByte(p, ':')
	end := colon + 1 + stampDigits
	if colon < 1 || colon > 9 || len(p) < end || len(bytes.TrimLeft(p[end:], padding)) > 0 {
		return parsed{sender: -1}
	}
	id, ok := digits(p[:colon])
	stamp, ok2 := digits(p[colon+1 : end])
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
