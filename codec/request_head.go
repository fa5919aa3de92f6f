package codec

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"sync"
)

var (
	errHeadTooLarge = &RequestError{
		http.StatusRequestHeaderFieldsTooLarge, "The request head is too large.\n"}
	errTooManyHeaders = &RequestError{
		http.StatusRequestHeaderFieldsTooLarge, "The request has too many headers.\n"}
	errLineEnds = &RequestError{
		http.StatusBadRequest, "The lines of a request head end in CR LF, and have neither inside.\n"}
	errControls = &RequestError{
		http.StatusBadRequest, "A request head has no control characters.\n"}
	errFolded = &RequestError{
		http.StatusBadRequest, "A header goes on in the next line; write it in one.\n"}
	errHeaderLine = &RequestError{
		http.StatusBadRequest, "A header line is a name, a colon right behind it, and a value.\n"}
	errCoding = &RequestError{
		http.StatusNotImplemented, "The only transfer coding that is understood is chunked.\n"}
	errLengths = &RequestError{http.StatusBadRequest,
		"A request has one Content-Length or one Transfer-Encoding, not several, and not both.\n"}
	errCodingIn10 = &RequestError{
		http.StatusBadRequest, "HTTP/1.0 has no Transfer-Encoding.\n"}
	errHosts = &RequestError{
		http.StatusBadRequest, "A request has one Host.\n"}
	errHost = &RequestError{
		http.StatusBadRequest, "A Host is a name or an address, and perhaps a colon and a port.\n"}
	errWebSocketHeaders = &RequestError{
		http.StatusBadRequest, "A handshake has one Sec-WebSocket-Key and one Sec-WebSocket-Version.\n"}
	errVersion = &RequestError{
		http.StatusHTTPVersionNotSupported, "The only major version of HTTP that is understood is 1.\n"}
	errMalformed = &RequestError{
		http.StatusBadRequest, "The request is malformed.\n"}
	errExpectation = &RequestError{
		http.StatusExpectationFailed, "The only expectation that is met is 100-continue.\n"}
)

var (
	endOfLine = []byte("\r\n")
	endOfHead = []byte("\r\n\r\n")
)

// takeHead cuts a request head, with the empty line at its end, off the front of data, or keeps data as a part of one
// and reports ErrIncomplete. The head is a part of data, or the caller's.
func (r *RequestReader) takeHead(data []byte) (head, rest []byte, err error) {
	if len(r.head) == 0 {
		data = bytes.TrimLeft(data, "\r\n") // RFC 9112 section 2.2
		if end := bytes.Index(data[:min(len(data), r.HeadBytesMax)], endOfHead); end >= 0 {
			end += len(endOfHead)
			return data[:end], data[end:], nil
		}
	}
	kept := len(r.head)
	r.head = appendGrowing(r.head, data[:min(len(data), r.HeadBytesMax+1-kept)], r.HeadBytesMax+1)
	from := max(kept-len(endOfHead)+1, 0) // its end may have begun in what was kept
	end := bytes.Index(r.head[from:min(len(r.head), r.HeadBytesMax)], endOfHead)
	switch {
	case end >= 0:
		end += from + len(endOfHead)
		head, r.head = r.head[:end], nil
		return head, data[end-kept:], nil
	case len(r.head) > r.HeadBytesMax:
		return nil, nil, errHeadTooLarge
	}
	return nil, nil, ErrIncomplete
}

// begin begins the request with the given head, or refuses it.
func (r *RequestReader) begin(head []byte) error {
	if bytes.Count(head, []byte{'\n'})-2 > r.HeadersMax { // the first line and the empty one are none
		return errTooManyHeaders
	}
	if err := checkHead(head); err != nil {
		return err
	}
	q, err := parseHead(head)
	if err != nil {
		return err
	}
	if r.body, err = newBodyReader(q, r.BodyBytesMax); err != nil {
		return err
	}
	if r.expects, err = expectsContinue(q); err != nil {
		return err
	}
	r.request, r.headLen = q, len(head)
	return nil
}

// checkHead refuses heads that a proxy in front of us might have read differently (RFC 9112 sections 2.2, 5 and 6.3):
// requests are smuggled in what one of the two takes for a body and the other for a request. net/http is more lenient.
// And it refuses what net/http leaves to its callers: other versions, the Host, and headers that must be there once.
func checkHead(head []byte) error {
	if err := checkCharacters(head); err != nil {
		return err
	}
	request, lines, _ := bytes.Cut(head, endOfLine)
	_, target, _ := bytes.Cut(request, []byte{' '})
	_, version, _ := bytes.Cut(target, []byte{' '})
	major, minor, ok := http.ParseHTTPVersion(string(version))
	if ok && major != 1 { // 1.2 and more are to be taken as 1.1 (RFC 9110 section 2.5)
		return errVersion
	}
	var seen headers
	for line := range bytes.SplitSeq(lines, endOfLine) {
		if len(line) == 0 { // the end
			break
		}
		if err := seen.add(line); err != nil {
			return err
		}
	}
	return seen.check(minor)
}

// checkCharacters refuses line ends but CR LF, and control characters but the tab (RFC 9112 section 2.2, RFC 9110
// section 5.5).
func checkCharacters(head []byte) error {
	for i, c := range head {
		switch {
		case c == '\n' && (i == 0 || head[i-1] != '\r'), c == '\r' && (i+1 == len(head) || head[i+1] != '\n'):
			return errLineEnds
		case c < ' ' && c != '\r' && c != '\n' && c != '\t', c == 0x7f:
			return errControls
		}
	}
	return nil
}

// headers counts those headers of a head that may be there once only.
type headers struct {
	lengths, codings, hosts, keys, versions int
}

// add counts a header line and refuses it when it is illegal.
func (h *headers) add(line []byte) error {
	name, value, ok := fieldLine(line)
	switch {
	case line[0] == ' ' || line[0] == '\t':
		return errFolded
	case !ok:
		return errHeaderLine
	}
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		h.lengths++
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		if h.codings++; !bytes.EqualFold(value, []byte("chunked")) {
			return errCoding
		}
	case bytes.EqualFold(name, []byte("Host")):
		if h.hosts++; !isHost(value) {
			return errHost
		}
	case bytes.EqualFold(name, []byte("Sec-WebSocket-Key")):
		h.keys++
	case bytes.EqualFold(name, []byte("Sec-WebSocket-Version")):
		h.versions++
	}
	return nil
}

// check refuses what is there twice, or may not be there together, in a request of HTTP/1.minor (RFC 9112 sections 3.2
// and 6.3, RFC 6455 sections 11.3.1 and 11.3.5). No Host is legal in HTTP/1.0.
func (h *headers) check(minor int) error {
	switch {
	case h.lengths+h.codings > 1:
		return errLengths
	case h.codings > 0 && minor == 0:
		return errCodingIn10
	case h.hosts > 1:
		return errHosts
	case h.hosts == 0 && minor > 0:
		return errMalformed
	case h.keys > 1 || h.versions > 1:
		return errWebSocketHeaders
	}
	return nil
}

// headReaders are readers for parseHead: it would allocate 4 KiB for each request.
var headReaders = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// parseHead leaves the parsing to net/http. Everything in q is a copy.
func parseHead(head []byte) (q *http.Request, err error) {
	reader := headReaders.Get().(*bufio.Reader)
	reader.Reset(bytes.NewReader(head))
	q, err = http.ReadRequest(reader)
	reader.Reset(nil)
	headReaders.Put(reader)
	if err != nil || q.ProtoAtLeast(1, 1) && q.Host == "" && needsHost(q.URL.Scheme) {
		return nil, errMalformed
	}
	q.Body = http.NoBody // or it keeps the reader
	return q, nil
}

// needsHost tells whether a request target with this scheme needs a host: an empty Host is for schemes without one (RFC
// 9112 section 3.2). A target without a scheme means http.
func needsHost(scheme string) bool { return scheme == "" || scheme == "http" || scheme == "https" }

// expectsContinue reads the Expect header (RFC 9110 section 10.1.1), which HTTP/1.0 does not have.
func expectsContinue(q *http.Request) (expects bool, err error) {
	if !q.ProtoAtLeast(1, 1) {
		return false, nil
	}
	for _, expect := range q.Header["Expect"] {
		switch {
		case strings.EqualFold(expect, "100-continue"):
			expects = true
		case expect != "":
			return false, errExpectation
		}
	}
	return expects, nil
}
