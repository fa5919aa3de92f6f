package nats

import "strings"

// subjectBytesMax bounds a subject: a server ends the connection over a line of more than 4 KiB.
const subjectBytesMax = 1 << 10

// subject is the subject of a topic; false if its name is too long for one. What may stand in a subject stays as it is:
// printable ASCII, with dots between words. Everything else, and the percent sign, is a byte as %XX, so no two names
// have the same subject, and url.PathUnescape leads back. The empty name is %.
func subject(prefix, topic string) (string, bool) {
	const hex = "0123456789ABCDEF"
	var s strings.Builder
	s.WriteString(prefix)
	if topic == "" {
		s.WriteByte('%')
	}
	for i := range len(topic) {
		if c := topic[i]; mayStand(topic, i) {
			s.WriteByte(c)
		} else {
			s.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return s.String(), s.Len() <= subjectBytesMax
}

// mayStand tells whether the byte at i may stand in a subject.
func mayStand(topic string, i int) bool {
	switch c := topic[i]; c {
	case '.': // a word has to be on both sides
		return i > 0 && i < len(topic)-1 && topic[i-1] != '.'
	case '*', '>', '%':
		return false
	default:
		return c > ' ' && c < 0x7f
	}
}

// legalPrefix tells whether topics can stand behind a prefix.
func legalPrefix(prefix string) bool {
	words, ok := strings.CutSuffix(prefix, ".")
	if !ok {
		return prefix == ""
	}
	s, _ := subject("", words)
	return s == words && len(prefix) <= subjectBytesMax/2
}
