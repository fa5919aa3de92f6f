package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/server"
)

// With a list of origins, pages of others may use nothing, however they ask; what comes from no browser may.
func TestOrigins(t *testing.T) {
	t.Parallel()
	const allowed, evil = "https://app.example", "https://evil.example"
	s := start(t, server.Config{Options: server.Options{Origins: []string{"https://other.example:8443", allowed}}})
	n := 0
	for _, tt := range []struct {
		method, path string
		byScript     bool // pages can load it without naming their origin
		ok           int
	}{
		{"GET", "/info", false, 200}, {"OPTIONS", "/info", false, 204}, {"OPTIONS", "/0/S/xhr", false, 204},
		{"POST", "/0/S/xhr", false, 200}, {"POST", "/0/S/xhr_streaming", false, 200},
		{"POST", "/0/S/xhr_send", false, 404}, {"POST", "/0/S/jsonp_send", false, 404},
		{"GET", "/0/S/eventsource", true, 200}, {"GET", "/0/S/htmlfile?c=x", true, 200},
		{"GET", "/0/S/jsonp?c=x", true, 200}, {"GET", "/0/S/websocket", false, 101}, {"GET", "/websocket", false, 101},
		{"GET", "/iframe-1.6.1.html", false, 200},
	} {
		for _, from := range []struct {
			name, value string
			ok          bool
		}{
			{"Origin", allowed, true}, {"Origin", "https://other.example:8443", true}, {"Origin", evil, false},
			{"Origin", "null", false}, {"Origin", "https://other.example", false},
			{"Origin", allowed + ".evil.example", false}, {"Referer", allowed + "/page?x=" + evil, true},
			{"Referer", evil + "/" + allowed, false}, {"X-Nothing", "x", !tt.byScript},
		} {
			n++
			path := "/echo" + strings.Replace(tt.path, "S", fmt.Sprint("s", n), 1)
			c := s.dial(t)
			request := fmt.Sprintf("%s %s HTTP/1.1\r\n%s: %s\r\n", tt.method, path, from.name, from.value)
			if strings.HasSuffix(path, "/websocket") {
				c.say(request + handshakeHeaders + "\r\n")
			} else {
				c.say(request + "Host: x\r\n\r\n")
			}
			resp, err := http.ReadResponse(c.r, &http.Request{Method: tt.method})
			if err != nil {
				t.Fatal(err)
			}
			want := tt.ok
			if !from.ok {
				want = http.StatusForbidden
				_, _ = io.Copy(io.Discard, resp.Body)
				if status, _ := c.answer("GET", "/nowhere", ""); status != http.StatusNotFound {
					t.Errorf("%s %s is refused, and answered all the same", tt.method, path)
				}
			}
			if resp.StatusCode != want {
				t.Errorf("%s %s with %s %s: %s, want %d", tt.method, path, from.name, from.value, resp.Status, want)
			}
			if !from.ok && resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s lets a page of %s read the refusal", tt.method, path, from.value)
			}
			if strings.Contains(path, "iframe") && from.ok &&
				(resp.Header.Get("Content-Security-Policy") != "frame-ancestors https://other.example:8443 "+allowed ||
					resp.Header.Get("Vary") != "Origin, Referer") {
				t.Errorf("who may frame the page, and for whom may it be kept? %v", resp.Header)
			}
		}
	}
}

// Requests that a proxy in front might read in another way are refused, and their connections end.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	const post = "POST /echo/0/smuggled/xhr HTTP/1.1\r\nHost: x\r\n"
	const hidden = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, request := range map[string]string{
		"length and coding": post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"coding and length": post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + hidden,
		"two codings": post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" +
			hidden,
		"two lengths":             post + "Content-Length: 0\r\nContent-Length: 34\r\n\r\n" + hidden,
		"the same length twice":   post + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + hidden,
		"a list of lengths":       post + "Content-Length: 0, 0\r\n\r\n" + hidden,
		"a signed length":         post + "Content-Length: +0\r\n\r\n" + hidden,
		"a negative length":       post + "Content-Length: -1\r\n\r\n" + hidden,
		"a hexadecimal length":    post + "Content-Length: 0x0\r\n\r\n" + hidden,
		"an overflowing length":   post + "Content-Length: 18446744073709551616\r\n\r\n" + hidden,
		"a coding nobody knows":   post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunked, not at the end": post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden,
		"chunked behind a tab":    post + "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n" + hidden,
		"a space before a colon":  post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		"no name":                 post + ": chunked\r\n\r\n" + hidden,
		"no colon":                post + "Transfer-Encoding chunked\r\n\r\n" + hidden,
		"a quoted name":           post + "\"Transfer-Encoding\": chunked\r\n\r\n" + hidden,
		"a folded header":         post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + hidden,
		"a bare line feed":        post + "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"a bare carriage return":  post + "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"a zero byte":             post + "X: \x00\r\n\r\n" + hidden,
		"two hosts":               post + "Host: y\r\n\r\n" + hidden,
		"chunks in HTTP/1.0": "POST /echo/0/smuggled/xhr HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
			hidden,
		"a broken chunk":         post + "Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n" + hidden,
		"a chunk that lies":      post + "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n" + hidden,
		"chunks with line feeds": post + "Transfer-Encoding: chunked\r\n\r\n0\n\n" + hidden,
		"an unmet expectation":   post + "Expect: the-best\r\nContent-Length: 0\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := s.dial(t)
			c.say(request)
			resp, body := c.response()
			if resp.StatusCode < 400 || !resp.Close || len(body) == 0 {
				t.Errorf("%s %q", resp.Status, body)
			}
			c.expectNothingMore()
		})
	}
}

// Session ids that no client makes are not found, and leave nothing behind.
func TestSessionIDsThatAttack(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{})
	c := s.dial(t)
	for _, id := range []string{
		strings.Repeat("a", 129), "a.b", "%2e%2e", "a%2eb", "a%2Fb", "%00", "a%0d%0aSet-Cookie:x", "%ff%fe", "%7f",
		"%zz", "%", "..", "%2e",
	} {
		for _, url := range []string{"/echo/000/" + id + "/xhr", "/echo/" + id + "/abc/xhr"} {
			c := s.dial(t) // a broken escape ends the connection
			if status, body := c.answer("POST", url, ""); status != 404 && status != 400 {
				t.Errorf("%s: %d %q", url, status, body)
			}
		}
	}
	for _, id := range []string{strings.Repeat("a", 128), "__proto__", "%20", "%C3%A9"} {
		if status, body := c.answer("POST", "/echo/000/"+id+"/xhr", ""); status != 200 || body != "o\n" {
			t.Errorf("%.20s: %d %q", id, status, body)
		}
	}
	if st := s.stats(t); st.Sessions != 4 {
		t.Errorf("%d sessions", st.Sessions)
	}
}

// A body, or a message in it, that is too large is refused; the session, and everybody else, goes on.
func TestBodiesThatAreTooLarge(t *testing.T) {
	t.Parallel()
	s := start(t, server.Config{MessageBytesMax: 100, BodyBytesMax: 1000})
	bystander := s.stream(t, "/echo/0/bystander")
	bystander.wantLine("o")
	const url = "/echo/0/large"
	s.dial(t).poll(url, "o")
	head := "POST " + url + "/xhr_send HTTP/1.1\r\nHost: x\r\n"
	for name, request := range map[string]string{
		"declared":       head + "Content-Length: 1001\r\n\r\n",
		"declared, 2^62": head + "Content-Length: 4611686018427387904\r\n\r\n[",
		"expected":       head + "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n",
		"in chunks": head + "Transfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat("64\r\n"+strings.Repeat("x", 100)+"\r\n", 11),
		"in one chunk":     head + "Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n" + strings.Repeat("x", 1001),
		"message":          head + "Content-Length: 103\r\n\r\n[\"" + strings.Repeat("x", 99) + "\"]",
		"message, escaped": head + "Content-Length: 604\r\n\r\n[\"" + strings.Repeat(`\u0000`, 100) + "\"]",
	} {
		c := s.dial(t)
		c.say(request)
		if resp, _ := c.response(); resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	c := s.dial(t)
	c.post(url, `["small"]`)
	c.poll(url, `a["small"]`)
	c.post("/echo/0/bystander", `["here"]`)
	bystander.wantLine(`a["here"]`)
}

// sockjs-node's options, each with what it changes.
func TestOptions(t *testing.T) {
	t.Parallel()
	srv, err := server.New(server.Config{
		Addr: "127.0.0.1:0", ConnectionsMax: 100, Prefix: "/rt",
		Options: server.Options{
			BaseURL: "https://cdn.example/rt", SockJSURL: "https://cdn.example/sockjs.js?a=b&c=d", JSessionID: true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Handle("/echo", server.Echo()); err != nil {
		t.Fatal(err)
	}
	if err := srv.Handle("/few", server.Echo(), func(o *server.Options) {
		o.Transports = []string{server.TransportXHRPolling, server.TransportWebSocket}
		o.BaseURL, o.SockJSURL, o.JSessionID = "", "", false
	}); err != nil {
		t.Fatal(err)
	}
	if err := srv.HandlePage("/page.txt", "text/plain", "hello"); err != nil {
		t.Fatal(err)
	}
	if err := srv.HandlePage("/", "text/html", "home"); err != nil {
		t.Fatal(err)
	}
	s := serve(t, srv)
	c := s.dial(t)
	for _, tt := range []struct{ method, path, cookie, name, want string }{
		{"GET", "/rt", "", "Location", "/rt/"},
		{"POST", "/rt/echo/0/one/xhr", "", "Set-Cookie", "JSESSIONID=dummy; path=/"},
		{"POST", "/rt/echo/0/two/xhr", "a=b; JSESSIONID=node-7", "Set-Cookie", "JSESSIONID=node-7; path=/"},
		{"POST", "/rt/few/0/three/xhr", "JSESSIONID=node-7", "Set-Cookie", ""},
	} {
		resp := c.ask(tt.method, tt.path, "", "Cookie", tt.cookie)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Header.Get(tt.name) != tt.want {
			t.Errorf("%s with the cookie %q: %s %s: %q %v, want %q", tt.path, tt.cookie, resp.Status, tt.name,
				resp.Header.Get(tt.name), err, tt.want)
		}
	}
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/echo", 404, ""}, {"GET", "/rt/echo", 200, "Welcome"}, {"GET", "/rt/page.txt", 200, "hello"},
		{"GET", "/rt", 301, ""}, {"GET", "/rt/", 200, "home"},
		{"GET", "/page.txt", 404, ""}, {"POST", "/rt/page.txt", 405, ""},
		{"GET", "/rt/echo/info", 200, `"base_url":"https://cdn.example/rt"`},
		{"GET", "/rt/echo/info", 200, `"cookie_needed":true`},
		{"GET", "/rt/echo/iframe.html", 200, `<script src="https://cdn.example/sockjs.js?a=b&amp;c=d">`},
		{"GET", "/rt/few/iframe.html", 200, `<script src="/rt/few/sockjs.min.js">`},
		{"GET", "/rt/few/sockjs.min.js", 200, "SockJS"}, {"GET", "/rt/few/info", 200, `"cookie_needed":false`},
		{"POST", "/rt/few/0/a/xhr", 200, "o"}, {"POST", "/rt/few/0/a/xhr_send", 500, "Payload expected."},
		{"POST", "/rt/few/0/a/xhr_streaming", 404, "off"},
		{"GET", "/rt/few/0/a/eventsource", 404, "off"}, {"GET", "/rt/few/0/a/htmlfile?c=x", 404, "off"},
		{"GET", "/rt/few/0/a/jsonp?c=x", 404, "off"},
		{"POST", "/rt/few/0/a/jsonp_send", 404, "off"}, {"GET", "/rt/few/websocket", 404, "off"},
		{"GET", "/rt/few/0/0/websocket", 400, "Upgrade"}, {"OPTIONS", "/rt/few/0/a/xhr_streaming", 404, "off"},
	} {
		if status, body := c.answer(tt.method, tt.path, ""); status != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%s %s: %d %.200q, want %d %q", tt.method, tt.path, status, body, tt.status, tt.body)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]server.Options{
		"no transport is called": {Transports: []string{"websocket", "pigeon"}},
		"origin":                 {Origins: []string{"example.com"}},
		"scheme and host":        {Origins: []string{"https://example.com/path"}},
		"lower case":             {Origins: []string{"https://Example.com"}},
		"own port":               {Origins: []string{"https://example.com:443"}},
		"ResponseLimit":          {ResponseLimit: -1}, "DisconnectDelay": {DisconnectDelay: -1},
		"SockJSURL": {SockJSURL: `"><script>`}, "BaseURL": {BaseURL: "nowhere"},
	} {
		_, err := server.New(server.Config{ConnectionsMax: 10, Options: o})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "server: ") {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	if _, err := server.New(server.Config{ConnectionsMax: 10, Prefix: "chat"}); err == nil {
		t.Error("a prefix without a slash")
	}
	s, err := server.New(server.Config{ConnectionsMax: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle("/echo", server.Echo(), func(o *server.Options) { o.ResponseLimit = -1 }); err == nil {
		t.Error("Handle takes an option that New does not")
	}
	if err := s.HandlePage("page", "text/plain", ""); err == nil {
		t.Error("a page without a slash")
	}
}
