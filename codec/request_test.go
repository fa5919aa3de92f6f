package codec

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func newRequestReader() *RequestReader {
	return &RequestReader{HeadBytesMax: 200, HeadersMax: 5, BodyBytesMax: 64}
}

// readRequests feeds a stream cut at the given places, and overwrites each piece after its calls, as gnet's buffer
// would be. The requests are looked at when all has come: what a reader hands out for keeps must be copied.
func readRequests(r *RequestReader, stream []byte, cuts ...int) (requests []string, err error) {
	type got struct {
		q        *Request
		borrowed string
	}
	var all []got
	from := 0
	for _, to := range append(slices.Clone(cuts), len(stream)) {
		piece := bytes.Clone(stream[from:to])
		from = to
		for rest := piece; ; {
			var q *Request
			if q, rest, err = r.Next(rest); err != nil {
				break
			}
			all = append(all, got{q, string(q.Body)})
		}
		for i := range piece {
			piece[i] = 0xAA
		}
		if err != ErrIncomplete {
			break
		}
	}
	for _, g := range all {
		body := g.borrowed
		if g.q.Owned {
			body = string(g.q.Body)
		}
		requests = append(requests, describe(g.q.Request, body))
	}
	return requests, err
}

func describe(q *http.Request, body string) string {
	return fmt.Sprintf("%s %s %s %q %v %q", q.Method, q.RequestURI, q.Proto, q.Host, q.Header, body)
}

// bytewise is the cuts that make pieces of one byte of a stream.
func bytewise(n int) []int {
	cuts := make([]int, n)
	for i := range cuts {
		cuts[i] = i
	}
	return cuts
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n"
const post = "POST /p HTTP/1.1\r\nHost: x\r\n"
const chunked = post + "Transfer-Encoding: chunked\r\n\r\n"

func TestRequests(t *testing.T) {
	t.Parallel()
	body64 := strings.Repeat("b", 64)
	for _, tt := range []struct {
		name, stream string
		want         []string
	}{
		{"GET", get + "\r\n", []string{`GET / HTTP/1.1 "x" map[] ""`}},
		{"HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", []string{`GET / HTTP/1.0 "" map[] ""`}},
		{"HTTP/1.0 with an empty Host", "GET / HTTP/1.0\r\nHost:\r\n\r\n", []string{`GET / HTTP/1.0 "" map[] ""`}},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", []string{`GET / HTTP/1.2 "x" map[] ""`}},
		{"2.2 empty lines before", "\r\n\r\n" + get + "\r\n", []string{`GET / HTTP/1.1 "x" map[] ""`}},
		{"headers", "GET / HTTP/1.1\r\nhOST:\t x \r\nA:\r\nb: c\td\xff\r\n\r\n",
			[]string{"GET / HTTP/1.1 \"x\" map[A:[] B:[c\td\xff]] \"\""}},
		{"declared body", post + "Content-Length: 5\r\n\r\nhello",
			[]string{`POST /p HTTP/1.1 "x" map[Content-Length:[5]] "hello"`}},
		{"declared empty body", post + "Content-Length: 0\r\n\r\n",
			[]string{`POST /p HTTP/1.1 "x" map[Content-Length:[0]] ""`}},
		{"chunks", chunked + "5\r\nhello\r\n1;x\r\n!\r\n0\r\nT: v\r\n\r\n",
			[]string{`POST /p HTTP/1.1 "x" map[] "hello!"`}},
		{"no chunks", chunked + "0\r\n\r\n", []string{`POST /p HTTP/1.1 "x" map[] ""`}},
		{"coding in any case", post + "transfer-encoding: \tChunked \r\n\r\n1\r\na\r\n0\r\n\r\n",
			[]string{`POST /p HTTP/1.1 "x" map[] "a"`}},
		{"pipelined",
			get + "\r\n" + post + "Content-Length: 5\r\n\r\nhello\r\n" + chunked + "1\r\na\r\n0\r\n\r\n" + get + "\r\n",
			[]string{
				`GET / HTTP/1.1 "x" map[] ""`, `POST /p HTTP/1.1 "x" map[Content-Length:[5]] "hello"`,
				`POST /p HTTP/1.1 "x" map[] "a"`, `GET / HTTP/1.1 "x" map[] ""`}},
		{"100-continue", post + "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\na",
			[]string{`POST /p HTTP/1.1 "x" map[Content-Length:[1] Expect:[100-Continue]] "a"`}},
		{"no expectation", get + "Expect:\r\n\r\n", []string{`GET / HTTP/1.1 "x" map[Expect:[]] ""`}},
		{"HTTP/1.0 expects nothing", "GET / HTTP/1.0\r\nExpect: all\r\n\r\n",
			[]string{`GET / HTTP/1.0 "" map[Expect:[all]] ""`}},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", []string{`HEAD / HTTP/1.1 "x" map[] ""`}},
		{"3.2.2 absolute form", "GET http://y/p HTTP/1.1\r\nHost: x\r\n\r\n",
			[]string{`GET http://y/p HTTP/1.1 "y" map[] ""`}},
		{"3.2 empty Host where the target has none", "GET urn:x HTTP/1.1\r\nHost:\r\n\r\n",
			[]string{`GET urn:x HTTP/1.1 "" map[] ""`}},
		{"3.2.3 authority form", "CONNECT y:1 HTTP/1.1\r\nHost: x\r\n\r\n",
			[]string{`CONNECT y:1 HTTP/1.1 "y:1" map[] ""`}},
		{"3.2.4 asterisk form", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", []string{`OPTIONS * HTTP/1.1 "x" map[] ""`}},
		{"largest head", get + "A: " + strings.Repeat("a", 200-len(get)-len("A: \r\n\r\n")) + "\r\n\r\n",
			[]string{`GET / HTTP/1.1 "x" map[A:[` + strings.Repeat("a", 168) + `]] ""`}},
		{"most headers", get + strings.Repeat("a: b\r\n", 4) + "\r\n",
			[]string{`GET / HTTP/1.1 "x" map[A:[b b b b]] ""`}},
		{"largest body", post + "Content-Length: 64\r\n\r\n" + body64,
			[]string{`POST /p HTTP/1.1 "x" map[Content-Length:[64]] "` + body64 + `"`}},
		{"largest chunks", chunked + "3f\r\n" + body64[1:] + "\r\n1\r\nb\r\n0\r\n\r\n",
			[]string{`POST /p HTTP/1.1 "x" map[] "` + body64 + `"`}},
		{"one key, one version", get + "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n",
			[]string{`GET / HTTP/1.1 "x" map[Sec-Websocket-Key:[k] Sec-Websocket-Version:[13]] ""`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stream := []byte(tt.stream)
			for _, cuts := range everyCut(stream) {
				r := newRequestReader()
				got, err := readRequests(r, stream, cuts...)
				if err != ErrIncomplete || !slices.Equal(got, tt.want) {
					t.Fatalf("cut at %v: %q, %v; want %q", cuts, got, err, tt.want)
				}
				if r.Partial() || r.Buffered() != 0 {
					t.Fatalf("cut at %v: partial %v, %d bytes kept", cuts, r.Partial(), r.Buffered())
				}
			}
		})
	}
}

// everyCut is all ways in which the tests cut a stream: at every place, and at all of them.
func everyCut(stream []byte) [][]int {
	all := [][]int{bytewise(len(stream))}
	for cut := range stream {
		all = append(all, []int{cut})
	}
	return all
}

var refusals = []struct {
	name, stream string
	want         *RequestError
}{
	{"not HTTP", "hello\r\n\r\n", errMalformed},
	{"3.2 no Host", "GET / HTTP/1.1\r\n\r\n", errMalformed},
	{"3.2 no Host in HTTP/1.2", "GET / HTTP/1.2\r\n\r\n", errMalformed},
	{"3.2 no Host, but in the target", "GET http://x/ HTTP/1.1\r\n\r\n", errMalformed},
	{"3.2 two hosts", get + "Host: x\r\n\r\n", errHosts},
	{"3.2 empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", errMalformed},
	{"3.2 empty Host and an http target without one", "GET http:///p HTTP/1.1\r\nHost:\r\n\r\n", errMalformed},
	{"3.2 empty Host and an https target without one", "GET https:///p HTTP/1.1\r\nHost:\r\n\r\n", errMalformed},
	{"3.2 illegal Host", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n", errHost},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", errVersion},
	{"HTTP/9.9", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", errVersion},
	{"HTTP/0.9", "GET / HTTP/0.9\r\n\r\n", errVersion},
	{"malformed version", "GET / HTTP/1\r\nHost: x\r\n\r\n", errMalformed},
	{"malformed major version", "GET / HTTP/20.0\r\nHost: x\r\n\r\n", errMalformed},
	{"version in lower case", "GET / http/1.1\r\nHost: x\r\n\r\n", errMalformed},
	{"malformed method", "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", errMalformed},
	{"malformed target", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", errMalformed},
	{"head too large", get + "A: " + strings.Repeat("a", 169) + "\r\n\r\n", errHeadTooLarge},
	{"head without an end", get + "A: " + strings.Repeat("a", 200), errHeadTooLarge},
	{"too many headers", get + strings.Repeat("a: b\r\n", 5) + "\r\n", errTooManyHeaders},
	{"bare line feed", get + "A: b\nTransfer-Encoding: chunked\r\n\r\n", errLineEnds},
	{"bare carriage return", get + "A: b\rTransfer-Encoding: chunked\r\n\r\n", errLineEnds},
	{"zero byte", get + "A: \x00\r\n\r\n", errControls},
	{"delete", get + "A: \x7f\r\n\r\n", errControls},
	{"vertical tab before a coding", post + "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n", errControls},
	{"5.2 folded header", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", errCoding},
	{"5.2 folded header, a tab", get + "A: b\r\n\tc\r\n\r\n", errFolded},
	{"space before a colon", get + "A : b\r\n\r\n", errHeaderLine},
	{"no name", get + ": b\r\n\r\n", errHeaderLine},
	{"no colon", get + "A b\r\n\r\n", errHeaderLine},
	{"quoted name", get + "\"A\": b\r\n\r\n", errHeaderLine},
	{"6.3 length and coding", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		errLengths},
	{"6.3 coding and length", post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
		errLengths},
	{"two codings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", errLengths},
	{"two lengths", post + "Content-Length: 0\r\nContent-Length: 34\r\n\r\n", errLengths},
	{"same length twice", post + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", errLengths},
	{"list of lengths", post + "Content-Length: 0, 0\r\n\r\n", errMalformed},
	{"signed length", post + "Content-Length: +0\r\n\r\n", errMalformed},
	{"negative length", post + "Content-Length: -1\r\n\r\n", errMalformed},
	{"hexadecimal length", post + "Content-Length: 0x0\r\n\r\n", errMalformed},
	{"overflowing length", post + "Content-Length: 18446744073709551616\r\n\r\n", errMalformed},
	{"unknown coding", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", errCoding},
	{"chunked not at the end", post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", errCoding},
	{"chunked and a space of Unicode", post + "Transfer-Encoding: chunked\u00a0\r\n\r\n0\r\n\r\n", errCoding},
	{"6.1 coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", errCodingIn10},
	{"RFC 6455 11.3.1 two keys", get + "Sec-WebSocket-Key: a\r\nsec-websocket-key: a\r\n\r\n", errWebSocketHeaders},
	{"RFC 6455 11.3.5 two versions", get + "Sec-WebSocket-Version: 13\r\nsec-websocket-version: 8\r\n\r\n",
		errWebSocketHeaders},
	{"unmet expectation", post + "Expect: the-best\r\nContent-Length: 0\r\n\r\n", errExpectation},
	{"one met, one not", post + "Expect: 100-continue\r\nExpect: more\r\n\r\n", errExpectation},
	{"body too large", post + "Content-Length: 65\r\n\r\n", errBodyTooLarge},
	{"chunk too large, and not there", chunked + "41\r\n", errBodyTooLarge},
	{"chunks too large", chunked + "1\r\na\r\n40\r\nb", errBodyTooLarge},
	{"broken chunk", chunked + "0 \r\n\r\n", errBodyChunks},
	{"broken chunk behind a legal one", chunked + "1\r\naa\r\n0\r\n\r\n", errBodyChunks},
	{"broken trailer", chunked + "0\r\nno colon\r\n\r\n", errBodyChunks},
	{"chunk too large, and all there", chunked + "41\r\n" + strings.Repeat("b", 65) + "\r\n0\r\n\r\n", errBodyTooLarge},
}

func TestRequestsRefused(t *testing.T) {
	t.Parallel()
	const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, stream := range []string{tt.stream, tt.stream + hidden, get + "\r\n\r\n" + tt.stream + hidden} {
				checkRefused(t, []byte(stream), tt.want)
			}
		})
	}
}

// checkRefused checks that a stream is refused, whatever the cuts, and that nothing of what is behind is handed out.
func checkRefused(t *testing.T, stream []byte, want *RequestError) {
	t.Helper()
	before := bytes.Count(stream, []byte(get+"\r\n\r\n"))
	for _, cuts := range everyCut(stream) {
		r := newRequestReader()
		got, err := readRequests(r, stream, cuts...)
		if err != want || len(got) != before {
			t.Fatalf("cut at %v: %q, %v; want %v", cuts, got, err, want)
		}
		if _, _, err := r.Next([]byte(get + "\r\n")); err != want || r.Partial() || r.Buffered() > 0 || r.Continue() {
			t.Fatalf("cut at %v: a refused reader goes on: %v, partial %v, %d bytes kept", cuts, err, r.Partial(),
				r.Buffered())
		}
	}
}

func TestRequestErrors(t *testing.T) {
	t.Parallel()
	for err, want := range map[*RequestError]int{
		errHeadTooLarge: 431, errTooManyHeaders: 431,
		errLineEnds: 400, errControls: 400, errFolded: 400, errHeaderLine: 400, errLengths: 400, errCodingIn10: 400,
		errHosts: 400, errHost: 400, errWebSocketHeaders: 400, errCoding: 501, errVersion: 505,
		errMalformed: 400, errExpectation: 417, errBodyTooLarge: 413, errBodyChunks: 400,
	} {
		if err.Status != want || !strings.HasSuffix(err.Reason, ".\n") || strings.HasSuffix(err.Error(), "\n") {
			t.Errorf("%+v, want status %d", err, want)
		}
	}
	if got := errHosts.Error(); got != "400 Bad Request: A request has one Host." {
		t.Error(got)
	}
}

// RFC 3986 section 3.2.2, and an optional port.
func TestHosts(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"", "x", "example.com", "example.com:", "example.com:8080", "EXAMPLE", "127.0.0.1:1", "a_b~c-d!$&'()*+,;=",
		"%C3%A9.example",
		"[::1]", "[::1]:", "[2001:db8::1]:8080", "[::ffff:1.2.3.4]", "[v7.a:b]", "[VfF.1]:2",
		"x:9", "[::1]:90", "a%30", "%0f", "[v10.a]",
	} {
		if !isHost([]byte(host)) {
			t.Errorf("%q is refused", host)
		}
	}
	for _, host := range []string{
		"a b", "a@b/c", "a@b", "a/b", "a?b", "a#b", "a\\b", "é", "a\"b", "<a>", ":80", "x:y", "x:1:2", "x:-1", "%",
		"%1", "%zz", "%1z", "x,y z",
		"[", "[]", "[::1", "::1", "[::1]x", "[::1]80", "[::1]:x", "[::1%25eth0]", "[::1%eth0]", "[1.2.3.4]", "[x]",
		"[:::1]", "a[::1]",
		"[v]", "[v7]", "[v7.]", "[v.a]", "[vg.a]", "[v7.a/b]", "[v7.%41]", "x]", "a\tb",
	} {
		if isHost([]byte(host)) || isHost([]byte(host + "00")[:len(host)]) { // whatever stands behind it
			t.Errorf("%q is taken", host)
		}
	}
}

func TestRequestBodiesThatAreBorrowed(t *testing.T) {
	t.Parallel()
	data := []byte(post + "Content-Length: 5\r\n\r\nhello" + get)
	r := newRequestReader()
	q, rest, err := r.Next(data)
	if err != nil || q.Owned || &q.Body[0] != &data[len(data)-len("hello"+get)] || string(rest) != get {
		t.Fatalf("%+v, rest %q, %v: want a part of data", q, rest, err)
	}
	if q.Body = append(q.Body, 'X'); string(rest) != get {
		t.Fatal("who appends to a body writes to what is behind it")
	}
	if n, err := io.ReadAll(q.Request.Body); len(n) > 0 || err != nil {
		t.Fatalf("the head has a body: %q, %v", n, err)
	}
}

func TestRequestsBegin(t *testing.T) {
	t.Parallel()
	r := newRequestReader()
	for _, step := range []struct {
		data    string
		partial bool
	}{
		{"", false}, {"\r\n\r\n", false}, {"\r", false}, {"\nG", true}, {"ET / HTTP/1.1\r\nHost: x\r\n", true},
		{"\r\n", false},
		{post + "Content-Length: 2\r\n\r\n", true}, {"a", true}, {"b", false}, {"\r\n", false},
		{chunked, true}, {"0\r\n", true}, {"\r\n", false},
	} {
		if _, err := readRequests(r, []byte(step.data)); err != ErrIncomplete || r.Partial() != step.partial {
			t.Fatalf("%q: partial %v, %v", step.data, r.Partial(), err)
		}
	}
}

func TestContinue(t *testing.T) {
	t.Parallel()
	const expect = "Expect: 100-continue\r\n"
	for _, tt := range []struct {
		name, data string
		want       bool
	}{
		{"declared", post + expect + "Content-Length: 5\r\n\r\n", true},
		{"chunked", post + expect + "Transfer-Encoding: chunked\r\n\r\n", true},
		{"something has come", post + expect + "Content-Length: 5\r\n\r\nh", false},
		{"something of the chunks has come", post + expect + "Transfer-Encoding: chunked\r\n\r\n5", false},
		{"no body", post + expect + "Content-Length: 0\r\n\r\n", false},
		{"no length", post + expect + "\r\n", false},
		{"not expected", post + "Content-Length: 5\r\n\r\n", false},
		{"HTTP/1.0", "POST / HTTP/1.0\r\n" + expect + "Content-Length: 5\r\n\r\n", false},
		{"the head has not ended", post + expect + "Content-Length: 5\r\n\r", false},
	} {
		r := newRequestReader()
		if _, err := readRequests(r, []byte(tt.data)); err != ErrIncomplete {
			t.Fatal(err)
		}
		if got := r.Continue(); got != tt.want || r.Continue() {
			t.Errorf("%s: %v, or more than once", tt.name, got)
		}
	}
	r := newRequestReader()
	for _, data := range []string{post + expect + "Content-Length: 5\r\n\r\n", "h", "ello"} {
		if _, err := readRequests(r, []byte(data)); err != ErrIncomplete {
			t.Fatal(err)
		}
	}
	if r.Continue() {
		t.Error("told when the body had come")
	}
}

// Memory follows what has come, and not what a head declares; and it is given back with the request.
func TestRequestsBuffered(t *testing.T) {
	t.Parallel()
	const size = 100_000
	for name, stream := range map[string]string{
		"head":     get + "A: " + strings.Repeat("a", size) + "\r\n\r\n",
		"declared": fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", post, size, strings.Repeat("b", size)),
		"chunked":  fmt.Sprintf("%s%x\r\n%s\r\n0\r\n\r\n", chunked, size, strings.Repeat("b", size)),
	} {
		r := &RequestReader{HeadBytesMax: size + 100, HeadersMax: 2, BodyBytesMax: size}
		for i := range len(stream) - 1 {
			if _, _, err := r.Next([]byte{stream[i]}); err != ErrIncomplete {
				t.Fatal(name, err)
			}
			if n := r.Buffered(); n < i+1-len("chunk's size line end") || n > 2*i+100+2*headerBytes+requestBytes ||
				n > size+250+2*headerBytes+requestBytes {
				t.Fatalf("%s: %d bytes of memory after %d", name, n, i+1)
			}
		}
		if q, _, err := r.Next([]byte{stream[len(stream)-1]}); err != nil || r.Buffered() > 0 {
			t.Fatalf("%s: %v, %d bytes are kept", name, err, r.Buffered())
		} else if name != "head" && (!q.Owned || len(q.Body) != size || cap(q.Body) > size) {
			t.Fatalf("%s: %d bytes in %d", name, len(q.Body), cap(q.Body))
		}
	}
}

func TestRequestsBufferedChunkLine(t *testing.T) {
	t.Parallel()
	r := newRequestReader()
	line := "1;" + strings.Repeat("x", 200)
	if _, err := readRequests(r, []byte(chunked+line)); err != ErrIncomplete || r.Buffered() < len(chunked+line) {
		t.Errorf("%v, %d bytes are counted", err, r.Buffered())
	}
}

func TestRequestsGrowByDoubling(t *testing.T) {
	const size = 100_000
	for name, stream := range map[string]string{
		"head":     get + "A: " + strings.Repeat("a", size),
		"declared": post + "Content-Length: 200000\r\n\r\n" + strings.Repeat("b", size),
	} {
		n := testing.AllocsPerRun(1, func() {
			r := &RequestReader{HeadBytesMax: 1 << 20, HeadersMax: 3, BodyBytesMax: 1 << 20}
			piece := make([]byte, 1)
			for i := range len(stream) {
				piece[0] = stream[i]
				if _, _, err := r.Next(piece); err != ErrIncomplete {
					t.Fatal(err)
				}
			}
		})
		if n > 60 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// However a stream is cut, it reads the same; and what this reader and net/http both take, they read the same.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{
		get + "\r\n", "\r\n" + post + "Content-Length: 5\r\n\r\nhello" + get + "\r\n",
		chunked + "5\r\nhello\r\n0\r\nT: v\r\n\r\n" + get,
		"PRI * HTTP/2.0\r\n\r\n", get + "Host: a b\r\n\r\n",
		post + "Expect: 100-continue\r\nContent-Length: 65\r\n\r\n", chunked + "41\r\n",
	} {
		f.Add([]byte(s), uint16(1), uint16(20))
	}
	f.Fuzz(func(t *testing.T, stream []byte, a, b uint16) {
		whole, wholeErr := readRequests(newRequestReader(), stream)
		cuts := []int{int(a) % (len(stream) + 1), int(b) % (len(stream) + 1)}
		slices.Sort(cuts)
		for _, cuts := range [][]int{cuts, bytewise(len(stream))} {
			cut, cutErr := readRequests(newRequestReader(), stream, cuts...)
			if !slices.Equal(whole, cut) || wholeErr != cutErr {
				t.Fatalf("cut at %v: %q, %v; whole: %q, %v", cuts, cut, cutErr, whole, wholeErr)
			}
		}
		compareRequests(t, stream)
	})
}

// compareRequests reads the stream with net/http as far as this reader takes it.
func compareRequests(t *testing.T, stream []byte) {
	t.Helper()
	r := newRequestReader()
	for data := stream; ; {
		q, rest, err := r.Next(data)
		if err != nil {
			return
		}
		reader := bufio.NewReader(bytes.NewReader(bytes.TrimLeft(data, "\r\n")))
		want, err := http.ReadRequest(reader)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", data, err)
		}
		body, err := io.ReadAll(want.Body)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("net/http wants more of %q", data)
		}
		left, _ := io.ReadAll(reader)
		if err != nil || describe(want, string(body)) != describe(q.Request, string(q.Body)) ||
			!bytes.Equal(left, rest) {
			t.Fatalf("%q: net/http reads %q and leaves %q, %v; we %q and %q", data, describe(want, string(body)), left,
				err, describe(q.Request, string(q.Body)), rest)
		}
		data = rest
	}
}

func BenchmarkRequestReader(b *testing.B) {
	data := []byte("POST /echo/000/abc/xhr_send HTTP/1.1\r\nHost: example.com\r\nContent-Length: 20\r\n\r\n" +
		"[\"17:1700000000000\"]")
	r := &RequestReader{HeadBytesMax: 8 << 10, HeadersMax: 64, BodyBytesMax: 1 << 20}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Next(data); err != nil {
			b.Fatal(err)
		}
	}
}

// A request that waits for its body counts with its headers.
func TestRequestsBufferedHeaders(t *testing.T) {
	t.Parallel()
	head := post + "A: a\r\nB: b\r\nContent-Length: 1\r\n\r\n"
	r := newRequestReader()
	want := len(head) + len(head)/8 + 3*headerBytes + requestBytes
	if _, err := readRequests(r, []byte(head)); err != ErrIncomplete || r.Buffered() != want {
		t.Errorf("%v, %d bytes are counted", err, r.Buffered())
	}
}
