package conformance

import (
	"fmt"
	"strings"
	"testing"
)

// Every response says where it ends.
func TestPoint01ResponsesHaveALength(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, path string }{
		{"GET", echo}, {"GET", echo + "/nothing"}, {"GET", "/nowhere"}, {"GET", echo + "/info"},
		{"GET", echo + "/iframe.html"},
		{"GET", echo + "/0/0/xhr"}, {"POST", echo + "/0/0/websocket"}, {"POST", echo + "/0/nobody/xhr_send"},
		{"GET", echo + "/0/0/websocket"},
		{"GET", echo + "/0/0/jsonp"}, {"POST", session(t, echo) + "/xhr"},
	} {
		r := dial(t).ask(tt.method, tt.path, nil, "")
		if !r.has("Content-Length") && !r.chunked() && !strings.EqualFold(r.get("Connection"), "close") {
			t.Errorf("%s %s: %s, and no length", tt.method, tt.path, r.line)
		}
		if r.has("Content-Length") && r.chunked() {
			t.Errorf("%s %s has a length and chunks", tt.method, tt.path)
		}
	}
}

// HTTP/1.0 knows no chunks: a stream is bytes, and ends with its connection.
func TestPoint02HTTP10(t *testing.T) {
	t.Parallel()
	t.Run("greeting", func(t *testing.T) {
		t.Parallel()
		c := dial(t)
		for range 2 {
			c.send("GET", echo, "1.0", header{"Connection", "Keep-Alive"}, "")
			r := c.head()
			if r.chunked() || r.body() != "Welcome to SockJS!\n" {
				t.Fatalf("%s %v", r.line, r.names)
			}
			if !strings.EqualFold(r.get("Connection"), "keep-alive") {
				c.wantEnd()
				return
			}
		}
	})
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "/xhr_streaming", strings.Repeat("h", 2048) + "\n" + "o\n" + `c[3000,"Go away!"]` + "\n"},
		{"GET", "/eventsource", "\r\ndata: o\r\n\r\ndata: c[3000,\"Go away!\"]\r\n\r\n"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			c := dial(t)
			c.send(tt.method, session(t, closing)+tt.path, "1.0", header{"Connection", "Keep-Alive"}, "")
			r := c.head()
			if r.status != 200 || r.chunked() || r.has("Content-Length") {
				t.Fatalf("%s %v", r.line, r.names)
			}
			if got := c.read(len(tt.body)); got != tt.body {
				t.Errorf("got %.100q", strings.TrimLeft(got, "h"))
			}
			c.wantEnd()
		})
	}
}

// HTTP/1.1 keeps the connection. On a stream each frame is a chunk, and the last chunk ends it.
func TestPoint03KeepAliveAndChunks(t *testing.T) {
	t.Parallel()
	c := dial(t)
	for range 3 {
		if r := c.ask("GET", echo, nil, ""); r.status != 200 || r.body() != "Welcome to SockJS!\n" ||
			strings.EqualFold(r.get("Connection"), "close") {
			t.Fatalf("%s %v", r.line, r.names)
		}
	}
	r := c.ask("POST", session(t, closing)+"/xhr_streaming", nil, "")
	if !r.chunked() || r.has("Content-Length") {
		t.Fatalf("%v", r.names)
	}
	r.wantChunk(strings.Repeat("h", 2048) + "\n")
	r.wantChunk("o\n")
	r.wantChunk(`c[3000,"Go away!"]` + "\n")
	r.wantChunk("")
	if r := c.ask("GET", echo, nil, ""); r.status != 200 {
		t.Errorf("after the stream, on its connection: %s", r.line)
	}
	s := session(t, echo)
	st := stream(t, s)
	for _, m := range []string{`"a"`, `"b"`} {
		send(t, s, "["+m+"]")
		st.wantChunk("a[" + m + "]\n")
	}
}

func TestPoint04Bodies(t *testing.T) {
	t.Parallel()
	t.Run("no length is an empty body", func(t *testing.T) {
		t.Parallel()
		c := dial(t)
		c.send("POST", session(t, echo)+"/xhr", "1.1", nil, "")
		if r := c.head(); r.status != 200 || r.body() != "o\n" {
			t.Errorf("%s", r.line)
		}
	})
	t.Run("chunked", func(t *testing.T) {
		t.Parallel()
		s := session(t, echo)
		wantPoll(t, s, "o\n")
		c := dial(t)
		c.send("POST", s+"/xhr_send", "1.1", header{"Transfer-Encoding", "chunked"},
			"3\r\n[\"a\r\n4;x=y\r\n b\"]\r\n0\r\nTrailer: x\r\n\r\n")
		if r := c.head(); r.status != 204 {
			t.Fatalf("%s", r.line)
		}
		wantPoll(t, s, "a[\"a b\"]\n")
		if r := c.ask("GET", echo, nil, ""); r.status != 200 {
			t.Errorf("the next request on the connection: %s", r.line)
		}
	})
	t.Run("pipelined", func(t *testing.T) {
		t.Parallel()
		s := session(t, echo)
		c := dial(t)
		request := func(path, body string) string {
			return fmt.Sprintf("POST %s%s%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", base, s, path, addr,
				len(body), body)
		}
		// The second poll waits for a message that comes from another connection; what is behind it waits too.
		c.raw(request("/xhr", "") + request("/xhr", "") + request("/xhr_send", `["second"]`) + request("/xhr", ""))
		for i, want := range []string{"o\n", "a[\"first\"]\n", "", "a[\"second\"]\n"} {
			if i == 1 {
				send(t, s, `["first"]`)
			}
			if r := c.head(); r.body() != want {
				t.Fatalf("response %d: %s, want %q", i, r.line, want)
			}
		}
	})
	t.Run("Expect", func(t *testing.T) {
		t.Parallel()
		s := session(t, echo)
		wantPoll(t, s, "o\n")
		c := dial(t)
		c.send("POST", s+"/xhr_send", "1.1", header{"Content-Length", "5", "Expect", "100-continue"}, "")
		if r := c.head(); r.status != 100 {
			t.Fatalf("%s", r.line)
		}
		c.raw(`["a"]`)
		if r := c.head(); r.status != 204 {
			t.Fatalf("%s", r.line)
		}
		wantPoll(t, s, "a[\"a\"]\n")
	})
}

// The status line has its space after the code: head checks it of every response of the suite, here of each kind.
func TestPoint05StatusLine(t *testing.T) {
	t.Parallel()
	for _, path := range []string{echo, echo + "/nothing", echo + "/0/0/jsonp", echo + "/0/0/websocket"} {
		if r, _ := get(t, path); len(strings.SplitN(r.line, " ", 3)) != 3 {
			t.Errorf("%s: %q", path, r.line)
		}
	}
}
