package codec

// Message is one message of a session: its text, which a raw WebSocket sends, and its JSON form, which a SockJS
// broadcast splices; if it did not arrive in that, JSON makes it when first asked for. Its slices are borrowed from
// whatever it was made of.
type Message struct {
	json   []byte
	text   []byte
	binary bool
}

// Text is a message of the given UTF-8 text, which is borrowed.
func Text(text []byte) Message { return Message{text: text} }

// Binary is a message of bytes as only a raw WebSocket carries it. Its JSON form takes the bytes for UTF-8.
func Binary(p []byte) Message { return Message{text: p, binary: true} }

// JSON is the message as a JSON string, quotes included, escaped as SockJS wants it.
func (m *Message) JSON() []byte {
	if m.json == nil {
		m.json = AppendQuoted(make([]byte, 0, len(m.text)+2), m.text)
	}
	return m.json
}

// AppendJSON appends the JSON form to dst: what a caller with a buffer of its own uses instead of JSON.
func (m *Message) AppendJSON(dst []byte) []byte {
	if m.json == nil {
		return AppendQuoted(dst, m.text)
	}
	return append(dst, m.json...)
}

// Len is the size of the message in bytes, in the form in which it arrived: quoted from SockJS, else as it is.
func (m *Message) Len() int {
	if m.json != nil {
		return len(m.json)
	}
	return len(m.text)
}

// Text is the message without quotes and escapes.
func (m *Message) Text() []byte { return m.text }

// IsBinary tells whether the message came in a binary frame.
func (m *Message) IsBinary() bool { return m.binary }
