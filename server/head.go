package server

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
)

// checkHead refuses heads that a proxy in front of us might have read differently (RFC 9112 sections 2.2, 5 and 6.3): what
// one of the two takes for a body and the other for a request is how requests are smuggled. net/http is more lenient.
func checkHead(head []byte) (status int, why string) {
	var lengths, codings, hosts int
	for i, c := range head {
		switch {
		case c == '\n' && (i == 0 || head[i-1] != '\r'), c == '\r' && (i+1 == len(head) || head[i+1] != '\n'):
			return http.StatusBadRequest, "The lines of a request head end in CR LF, and have neither inside.\n"
		case c < ' ' && c != '\r' && c != '\n' && c != '\t', c == 0x7f:
			return http.StatusBadRequest, "A request head has no control characters.\n"
		}
	}
	request, lines, _ := bytes.Cut(head, []byte("\r\n"))
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		if len(line) == 0 { // the end
			break
		}
		name, value, colon := bytes.Cut(line, []byte{':'})
		switch {
		case line[0] == ' ' || line[0] == '\t':
			return http.StatusBadRequest, "A header goes on in the next line; write it in one.\n"
		case !colon || !isToken(name):
			return http.StatusBadRequest, "A header line is a name, a colon right behind it, and a value.\n"
		case bytes.EqualFold(name, []byte("Content-Length")):
			lengths++
		case bytes.EqualFold(name, []byte("Host")):
			hosts++
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			if codings++; !strings.EqualFold(strings.TrimSpace(string(value)), "chunked") {
				return http.StatusNotImplemented, "The only transfer coding that is understood is chunked.\n"
			}
		}
	}
	switch {
	case lengths+codings > 1:
		return http.StatusBadRequest, "A request has one Content-Length or one Transfer-Encoding, not several, and not both.\n"
	case codings > 0 && bytes.HasSuffix(request, []byte("HTTP/1.0")):
		return http.StatusBadRequest, "HTTP/1.0 has no Transfer-Encoding.\n"
	case hosts > 1:
		return http.StatusBadRequest, "A request has one Host.\n"
	}
	return 0, ""
}

// isToken tells whether name is a token (RFC 9110 section 5.6.2).
func isToken(name []byte) bool {
	return len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// parseHead leaves the parsing of requests to net/http. Everything in r is a copy.
func parseHead(reader *bufio.Reader, head []byte) (*http.Request, error) {
	reader.Reset(bytes.NewReader(head))
	defer reader.Reset(nil)
	r, err := http.ReadRequest(reader)
	if err != nil {
		return nil, err
	}
	if r.ProtoMajor != 1 || r.ProtoAtLeast(1, 1) && r.Host == "" {
		return nil, http.ErrNotSupported
	}
	return r, nil
}
