package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// requestTest is a request and what is answered.
type requestTest struct {
	name, request string
	status        int
	body          string            // a part of it
	header        map[string]string // "" is absent
	ends          bool              // the connection
}

var requestTests = []requestTest{
	{"greeting", "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 200, "Welcome to SockJS!\n",
		map[string]string{"Content-Type": "text/plain; charset=UTF-8", "Content-Length": "19"}, false},
	{"greeting with a slash", "GET /echo/ HTTP/1.1\r\nHost: x\r\n\r\n", 200, "Welcome to SockJS!\n", nil, false},
	{"HEAD has no body", "HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n", 200, "",
		map[string]string{"Content-Length": "19"}, false},
	{"HTTP/1.0 ends", "GET /echo HTTP/1.0\r\n\r\n", 200, "Welcome", map[string]string{"Connection": "close"}, true},
	{"HTTP/1.0 kept alive", "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "Welcome",
		map[string]string{"Connection": "keep-alive"}, false},
	{"asked to close", "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, "Welcome", nil, true},
	{"info", "GET /echo/info HTTP/1.1\r\nHost: x\r\n\r\n", 200, `"websocket":true`, map[string]string{
		"Cache-Control":               "no-store, no-cache, no-transform, must-revalidate, max-age=0",
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "",
		"Content-Type": "application/json; charset=UTF-8"}, false},
	{"info with an origin", "GET /echo/info HTTP/1.1\r\nHost: x\r\nOrigin: null\r\n\r\n", 200, "entropy",
		map[string]string{
			"Access-Control-Allow-Origin": "null", "Access-Control-Allow-Credentials": "true"}, false},
	{"info, method", "POST /echo/info HTTP/1.1\r\nHost: x\r\n\r\n", 405, "",
		map[string]string{"Allow": "GET, OPTIONS"}, false},
	{"preflight", "OPTIONS /echo/info HTTP/1.1\r\nHost: x\r\nAccess-Control-Request-Headers: a, b\r\n\r\n", 204, "",
		map[string]string{
			"Access-Control-Allow-Methods": "OPTIONS, GET", "Access-Control-Allow-Headers": "a, b",
			"Access-Control-Max-Age": "31536000", "Content-Length": ""}, false},
	{"unknown prefix", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, "Not Found", nil, false},
	{"prefix is no prefix of a word", "GET /echoes HTTP/1.1\r\nHost: x\r\n\r\n", 404, "", nil, false},
	{"6 two slashes", "GET /echo// HTTP/1.1\r\nHost: x\r\n\r\n", 404, "", nil, false},
	{"6 unknown page", "GET /echo/a.html HTTP/1.1\r\nHost: x\r\n\r\n", 404, "", nil, false},
	{"7 no session", "GET /echo/000//websocket HTTP/1.1\r\nHost: x\r\n\r\n", 404, "", nil, false},
	{"7 a dot in the session", "GET /echo/000/a.b/websocket HTTP/1.1\r\nHost: x\r\n\r\n", 404, "", nil, false},
	{"7 a dot in the server", "GET /echo/0.0/a/websocket HTTP/1.1\r\nHost: x\r\n\r\n", 404, "", nil, false},
	{"unknown transport", "GET /echo/000/a/telepathy HTTP/1.1\r\nHost: x\r\n\r\n", 404, "", nil, false},
	{"25 plain GET", "GET /echo/000/a/websocket HTTP/1.1\r\nHost: x\r\n\r\n", 400,
		`Can "Upgrade" only to "WebSocket".`, nil, false},
	{"25 Connection: close", "GET /echo/000/a/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\n" +
		"Connection: close\r\n\r\n", 400, `"Connection" must be "Upgrade".`, nil, true},
	{"25 POST", "POST /echo/000/a/websocket HTTP/1.1\r\nHost: x\r\n\r\n", 405, "",
		map[string]string{"Allow": "GET", "Content-Type": ""}, false},
	{"28 wrong version", "GET /echo/websocket HTTP/1.1\r\n" + strings.Replace(handshakeHeaders, "13", "7", 1) +
		"\r\n", 426, "13 and 8", map[string]string{"Sec-WebSocket-Version": "13, 8"}, false},
	{"short key", "GET /echo/websocket HTTP/1.1\r\n" +
		strings.Replace(handshakeHeaders, "dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 1) + "\r\n", 400,
		"16 bytes", nil, false},
	{"WebSocket on HTTP/1.0", "GET /echo/websocket HTTP/1.0\r\n" + handshakeHeaders + "\r\n", 400, "Upgrade", nil,
		true},
	{"not HTTP", "\x16\x03\x01 hello\r\n\r\n", 400, "control characters", nil, true},
	{"not HTTP, but text", "hello\r\n\r\n", 400, "malformed", nil, true},
	{"no Host", "GET /echo HTTP/1.1\r\n\r\n", 400, "malformed", nil, true},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", 505, "only major version", nil, true},
	{"CL and TE", "POST /echo/info HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		400, "not both", nil, true},
	{"two lengths", "GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400,
		"not several", nil, true},
	{"a body nobody wants", "GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 200, "Welcome", nil,
		false},
	{"head too large", "GET /echo HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n", 431,
		"too large", nil, true},
	{"endless head", "GET /" + strings.Repeat("x", 9000), 431, "too large", nil, true},
	{"too many headers", "GET /echo HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a: b\r\n", 65) + "\r\n", 431,
		"too many", nil, true},
}

func TestRequests(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	for _, tt := range requestTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, cut := range []int{0, 1, len(tt.request) / 2, len(tt.request) - 1} {
				tt.check(t, s, cut)
			}
		})
	}
}

// check sends the request in two parts, looks at the response, and whether another may follow.
func (tt *requestTest) check(t *testing.T, s *running, cut int) {
	t.Helper()
	c := s.dial(t)
	c.say(tt.request[:cut])
	c.say(tt.request[cut:])
	resp, err := http.ReadResponse(c.r, &http.Request{Method: strings.SplitN(tt.request, " ", 2)[0]})
	if err != nil {
		t.Fatalf("cut at %d: %v", cut, err)
	}
	body := make([]byte, 4096)
	n, _ := resp.Body.Read(body)
	if resp.StatusCode != tt.status || !strings.Contains(string(body[:n]), tt.body) {
		t.Fatalf("cut at %d: %s %q, want %d %q", cut, resp.Status, body[:n], tt.status, tt.body)
	}
	for name, want := range tt.header {
		got := strings.Join(resp.Header.Values(name), "|")
		// net/http takes it out; in HTTP/1.1 nothing else sets Close
		if name == "Connection" && resp.Close {
			got = "close"
		}
		if got != want || !resp.ProtoAtLeast(1, 1) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if tt.ends {
		if c.expectEnd(); !resp.Close && tt.status < 400 {
			t.Error("the response does not say that the connection ends")
		}
		return
	}
	c.say("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, _ := c.response(); resp.StatusCode != 200 {
		t.Errorf("the next request on the connection: %s", resp.Status)
	}
}

func TestPipelinedRequests(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c := s.dial(t)
	c.say(strings.Repeat("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 3) + "GET /echo/websocket HTTP/1.1\r\n" +
		handshakeHeaders + "\r\n" + frame(1, "first frame in the same segment"))
	for range 3 {
		if resp, body := c.response(); resp.StatusCode != 200 || body != "Welcome to SockJS!\n" {
			t.Fatalf("%s %q", resp.Status, body)
		}
	}
	if resp, _ := c.response(); resp.StatusCode != 101 ||
		resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
		resp.Header.Get("Content-Length") != "" {
		t.Fatalf("%v", resp)
	}
	c.expect("first frame in the same segment")
}

func TestEntropyDiffers(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c := s.dial(t)
	seen := map[string]bool{}
	for range 5 {
		c.say("GET /echo/info HTTP/1.1\r\nHost: x\r\n\r\n")
		_, body := c.response()
		seen[body] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d different answers of 5", len(seen))
	}
}

func TestSilenceInTheHeadEndsTheConnection(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{HandshakeTimeout: 50 * time.Millisecond})
	for _, part := range []string{"", "GET /ec"} {
		c := s.dial(t)
		c.say(part)
		if n, err := io.Copy(io.Discard, c); n != 0 || isTimeout(err) {
			t.Errorf("%q: %d bytes, %v", part, n, err)
		}
	}
	s.eventually(t, "two timeouts", func(st server.Stats) bool {
		return st.HandshakeTimeouts == 2 && st.Connections == 0
	})
}

// A head that trickles in byte by byte must not prolong its time.
func TestTrickledHeadTimesOut(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{HandshakeTimeout: 100 * time.Millisecond})
	c := s.dial(t)
	for {
		if _, err := c.Write([]byte("G")); err != nil {
			break
		}
		if s.stats(t).HandshakeTimeouts == 1 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.eventually(t, "the end", func(st server.Stats) bool { return st.Connections == 0 })
}

// A refused connection whose request has come already is ended, and not reset: that could take the answer along.
func TestRefusedConnectionsAreNotReset(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{ConnectionsMax: 1})
	s.join(t, "/broadcast")
	goOn := make(chan struct{})
	if err := s.Post(func() { <-goOn }); err != nil {
		t.Fatal(err)
	}
	c := s.dial(t)
	c.say("POST /broadcast/0/0/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("x", 10_000))
	close(goOn)
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
		t.Errorf("%.40q, %v", answer, err)
	}
}

func TestConnectionsBeyondTheCapAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{ConnectionsMax: 3})
	var in []*client
	for range 3 {
		in = append(in, s.join(t, "/broadcast"))
	}
	for range 5 {
		c := s.dial(t)
		if resp, _ := c.response(); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("%s", resp.Status)
		}
		c.expectEnd()
	}
	in[0].send(`["still here"]`)
	for _, c := range in {
		c.expect(`a["still here"]`)
	}
	if st := s.stats(t); st.ConnectionsRefused != 5 || st.Connections != 3 {
		t.Errorf("%+v", st)
	}
	_ = in[0].Close()
	s.eventually(t, "a free place", func(st server.Stats) bool { return st.Connections == 2 })
	s.join(t, "/broadcast")
}

func TestHandleRefuses(t *testing.T) {
	t.Parallel()
	s, err := server.New(server.Config{ConnectionsMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"", "/", "echo", "/a?b", "/a b"} {
		if err := s.Handle(prefix, server.Echo()); err == nil {
			t.Errorf("%q was taken", prefix)
		}
	}
	if err := s.Handle("/echo/", server.Echo()); err != nil {
		t.Error(err)
	}
	if err := s.Handle("/echo", server.Echo()); err == nil {
		t.Error("one prefix, two services")
	}
}

func FuzzRequests(f *testing.F) {
	f.Add("GET /echo/info HTTP/1.1\r\nHost: x\r\n\r\n", uint16(10))
	f.Add("GET /echo/%20/a/websocket HTTP/1.1\r\n"+handshakeHeaders+"\r\n\x81\x80\x00\x00\x00\x00", uint16(3))
	f.Add("POST /echo/0/0/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", uint16(40))
	f.Add("POST /echo/0/0/xhr HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\nT: v\r\n\r\n"+
		"GET /echo/0/0/jsonp?c=x HTTP/1.1\r\nHost: x\r\n\r\n", uint16(70))
	f.Add("POST /echo/0/0/xhr_streaming HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"+
		"GET /echo/0/0/eventsource HTTP/1.1\r\n\r\n", uint16(9))
	f.Add("\r\n\r\nGET * HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", uint16(2))
	s, cancel, err := startForFuzz()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(cancel)
	f.Fuzz(func(t *testing.T, request string, cut uint16) {
		n := int(cut) % (len(request) + 1)
		c := s.dial(t)
		c.say(request[:n])
		c.say(request[n:])
		c.hangUp()
		if st := s.stats(t); st.HandlerPanics != 0 {
			t.Fatalf("%q: %d panics", request, st.HandlerPanics)
		}
	})
}
