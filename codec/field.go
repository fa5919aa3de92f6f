package codec

import "bytes"

// fieldLine splits a header or trailer line (RFC 9112 section 5) into its name and its value without the spaces and
// tabs around it. ok is false when there is no colon or the name is no token: then two readers might take it
// differently. A line that begins with a space, and goes on with the one before it, is of that kind. The results are
// parts of line.
func fieldLine(line []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(line, []byte{':'})
	return name, bytes.Trim(value, " \t"), ok && isToken(name)
}

// isToken tells whether p is a token (RFC 9110 section 5.6.2): what the names of methods and headers are made of.
func isToken(p []byte) bool {
	for _, c := range p {
		if !isAlphanumeric(c) && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) < 0 {
			return false
		}
	}
	return len(p) > 0
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
