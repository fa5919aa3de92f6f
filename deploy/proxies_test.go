package deploy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/sockloop/sockloop/server"
)

// shipped are the configurations that are shipped, and how sockloop must be configured behind them.
var shipped = []struct {
	name   string
	start  func(t *testing.T, route string, servers [2]string) *front
	config server.Config
}{
	{"HAProxy", startHAProxy, server.Config{ProxyProtocol: true}},
	{"nginx", startNginx, server.Config{}},
}

// eachProxy runs a test behind each proxy with each route.
func eachProxy(t *testing.T, test func(t *testing.T, f *front, route string)) {
	t.Parallel()
	for _, proxy := range shipped {
		for _, route := range []string{"server", "cookie"} {
			t.Run(proxy.name+" by "+route, func(t *testing.T) {
				t.Parallel()
				c := proxy.config
				c.JSessionID = route == "cookie"
				test(t, proxy.start(t, route, startServers(t, c)), route)
			})
		}
	}
}

// post sends a request and returns the response's status and body.
func post(t *testing.T, c *http.Client, url, body string) (int, string) {
	t.Helper()
	resp, err := c.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is read to its end
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// messages reads a SockJS frame.
func messages(t *testing.T, frame string) (all []string) {
	t.Helper()
	array, ok := strings.CutPrefix(strings.TrimSpace(frame), "a")
	if err := json.Unmarshal([]byte(array), &all); err != nil || !ok {
		t.Fatalf("%q instead of messages", frame)
	}
	return all
}

// Each request of a session comes to the process that has it, and all processes have some.
func TestSessionsComeBackToTheirProcess(t *testing.T) {
	eachProxy(t, func(t *testing.T, f *front, route string) {
		seen := map[string]bool{}
		for i := range 24 {
			c, part := f.client(1+i%2), fmt.Sprintf("%03d", i)
			if route == "cookie" {
				part = "000"
			}
			session := fmt.Sprintf("session%d", i)
			if status, open := post(t, c, f.url(part, session, "xhr"), ""); open != "o\n" {
				t.Fatalf("%d %q instead of an open frame", status, open)
			}
			_, frame := post(t, c, f.url(part, session, "xhr"), "")
			process, _, _ := strings.Cut(messages(t, frame)[0], " ")
			seen[process] = true
			for range 4 {
				if status, body := post(t, c, f.url(part, session, "xhr_send"), `["hello"]`); status != 204 {
					t.Fatalf("sending: %d %q", status, body)
				}
				_, frame := post(t, c, f.url(part, session, "xhr"), "")
				if got := messages(t, frame); len(got) != 1 || got[0] != process+" hello" {
					t.Fatalf("process %s has the session, and %q comes back", process, got)
				}
			}
		}
		if len(seen) != 2 {
			t.Errorf("all sessions came to the processes %v", seen)
		}
	})
}

// WebSockets need not come back, so they go to all processes, whatever stands in their paths.
func TestWebSocketsGoToAllProcesses(t *testing.T) {
	const most = 32 // a proxy that chooses at random has not found both by then once in a billion times
	eachProxy(t, func(t *testing.T, f *front, _ string) {
		for _, path := range []string{"/who/websocket", "/who/0/0/websocket"} {
			seen := map[string]bool{}
			for i := 0; i < most && len(seen) < 2; i++ {
				o := &websocket.DialOptions{HTTPClient: f.client(1)}
				c, _, err := websocket.Dial(t.Context(), "wss://"+f.addr+path, o)
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow() //nolint:errcheck // it ends with the test
				text := []byte("o")
				for string(text) == "o" {
					if _, text, err = c.Read(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				process, _, _ := strings.Cut(strings.TrimPrefix(string(text), `a["`), " ")
				seen[process] = true
			}
			if len(seen) != 2 {
				t.Errorf("%s: all came to the processes %v", path, seen)
			}
		}
	})
}

// What is sent on a stream arrives while the stream goes on, with HTTP/1.1 and with HTTP/2.
func TestStreamsAreNotBuffered(t *testing.T) {
	eachProxy(t, func(t *testing.T, f *front, _ string) {
		for _, transport := range []struct{ name, method, prefix string }{
			{"xhr_streaming", http.MethodPost, "a"}, {"eventsource", http.MethodGet, "data: a"},
		} {
			for version := 1; version <= 2; version++ {
				c := f.client(version)
				session := fmt.Sprintf("%s%d", transport.name, version)
				request, err := http.NewRequest(transport.method, f.url("0", session, transport.name), nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := c.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close() //nolint:errcheck // the stream has no end
				if resp.ProtoMajor != version {
					t.Fatalf("HTTP/%d instead of %d", resp.ProtoMajor, version)
				}
				r := bufio.NewReader(resp.Body)
				next := func() string {
					for {
						line, err := r.ReadString('\n')
						if err != nil {
							t.Fatalf("%s with HTTP/%d: %v", transport.name, version, err)
						}
						if array, ok := strings.CutPrefix(line, transport.prefix); ok {
							return messages(t, "a"+array)[0][2:]
						}
					}
				}
				next() // the address
				for _, text := range []string{"one", "two"} {
					if status, body := post(t, c, f.url("0", session, "xhr_send"), `["`+text+`"]`); status != 204 {
						t.Fatalf("sending: %d %q", status, body)
					}
					if got := next(); got != text {
						t.Fatalf("%q arrives instead of %q", got, text)
					}
				}
			}
		}
	})
}

// A WebSocket passes, and the session has the client's address and not the proxy's, whatever the client claims.
func TestWebSocketHasTheClientsAddress(t *testing.T) {
	eachProxy(t, func(t *testing.T, f *front, _ string) {
		for _, tt := range []struct {
			from  net.IP
			claim string
		}{
			{clientAddr, ""}, {clientAddr, "198.51.100.1"}, {clientAddr, "127.0.0.1"},
			{proxyAddr.Addr().AsSlice(), "198.51.100.1"}, // a client on a trusted machine
		} {
			o := &websocket.DialOptions{HTTPClient: f.clientFrom(tt.from, 1), HTTPHeader: http.Header{}}
			if tt.claim != "" {
				o.HTTPHeader.Set("X-Forwarded-For", tt.claim)
			}
			c, _, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(f.url("0", "0", "websocket"), "https"), o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow() //nolint:errcheck // the test is over
			read := func() string {
				_, p, err := c.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return string(p)
			}
			if open := read(); open != "o" {
				t.Fatalf("%q instead of an open frame", open)
			}
			host, _, err := net.SplitHostPort(messages(t, read())[0][2:])
			if err != nil || host != tt.from.String() {
				t.Errorf("%v, who claims to be %q, is taken for %s, %v", tt.from, tt.claim, host, err)
			}
			if err := c.Write(t.Context(), websocket.MessageText, []byte(`["hello"]`)); err != nil {
				t.Fatal(err)
			}
			if got := messages(t, read())[0][2:]; got != "hello" {
				t.Errorf("%q comes back", got)
			}
		}
	})
}

// Sessions over HTTP have the client's address too.
func TestPollHasTheClientsAddress(t *testing.T) {
	eachProxy(t, func(t *testing.T, f *front, _ string) {
		c := f.client(2)
		post(t, c, f.url("0", "a", "xhr"), "")
		_, frame := post(t, c, f.url("0", "a", "xhr"), "")
		if host, _, err := net.SplitHostPort(messages(t, frame)[0][2:]); err != nil || host != clientAddr.String() {
			t.Errorf("the client is taken for %s, %v", host, err)
		}
	})
}

// Who comes past the proxies is not believed.
func TestStrangersAreNotBelieved(t *testing.T) {
	t.Parallel()
	const header = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x01\x7f\x00\x00\x01\x00\x07\x01\xbb"
	addr := startServers(t, server.Config{ProxyProtocol: true})[0]
	for _, before := range []string{"", header} {
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: clientAddr}, Timeout: patience}).Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // the test is over
		r := bufio.NewReader(c)
		poll := func() (int, string) {
			_, err := io.WriteString(c, before+"POST /who/0/a/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"+
				"X-Forwarded-For: 198.51.100.1\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(body)
		}
		status, open := poll()
		if before != "" {
			if status != http.StatusBadRequest {
				t.Errorf("a stranger's PROXY header is answered %d %q", status, open)
			}
			continue
		}
		if _, frame := poll(); messages(t, frame)[0] != "0 "+c.LocalAddr().String() {
			t.Errorf("a stranger's X-Forwarded-For makes %s of %v", frame, c.LocalAddr())
		}
	}
}
