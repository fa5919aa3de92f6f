package conformance

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestPoint25Handshake(t *testing.T) {
	t.Parallel()
	path := echo + "/0/0/websocket"
	if r, body := get(t, path); r.status != 400 || !strings.Contains(body, `Can "Upgrade" only to "WebSocket".`) {
		t.Errorf("a plain GET: %s %q", r.line, body)
	}
	if r, _ := get(t, path, "Upgrade", "WebSocket", "Connection", "close"); r.status != 400 {
		t.Errorf("Connection: close: %s", r.line)
	}
	for _, h := range []header{nil, {"Upgrade", "WebSocket", "Connection", "Upgrade"}} {
		if r, body := post(t, path, "", h...); r.status != 405 || r.get("Allow") == "" || r.has("Content-Type") ||
			body != "" {
			t.Errorf("POST: %s %q %v", r.line, body, r.names)
		}
	}
	for _, name := range []string{"websocket", "WebSocket", "WEBSOCKET"} {
		r := dial(t).ask("GET", session(t, echo)+"/websocket", header{
			"Upgrade", name, "Connection", "keep-alive, upgrade", upgrade, "x3JJHMbDL1EzLkh9GBhXDw==",
			"Sec-WebSocket-Version", "13",
		}, "")
		if r.status != 101 || r.get("Sec-WebSocket-Accept") != "HSmrc0sMlYUkAGmm5OPpG2HaGWk=" ||
			!strings.EqualFold(r.get("Upgrade"), "websocket") ||
			!strings.EqualFold(r.get("Connection"), "upgrade") || r.has("Content-Length") {
			t.Errorf("%s: %s %v", name, r.line, r.names)
		}
	}
	if r, _ := get(t, noWebSocket+"/0/0/websocket", handshake()...); r.status != 404 {
		t.Errorf("WebSocket is off: %s", r.line)
	}
}

func TestPoint26WebSocket(t *testing.T) {
	t.Parallel()
	path := session(t, echo) + "/websocket"
	s, same := openSocket(t, path), openSocket(t, path)
	s.want("o")
	same.want("o")
	s.say(ws.OpText, "")
	s.say(ws.OpText, "[]")
	s.say(ws.OpText, `["a"]`)
	s.want(`a["a"]`)
	same.say(ws.OpText, `["b"]`)
	same.want(`a["b"]`)
	s.say(ws.OpText, `["a`)
	s.wantClose()
	same.say(ws.OpText, `["alive"]`)
	same.want(`a["alive"]`)
	closed := openSocket(t, session(t, closing)+"/websocket")
	closed.want("o")
	closed.want(goAway)
	closed.wantClose()
}

func TestPoint27RawWebSocket(t *testing.T) {
	t.Parallel()
	s := openSocket(t, echo+"/websocket")
	for _, text := range []string{"Hello world!\uffff", "", `["not", "an array"]`, strings.Repeat("x", 1<<20)} {
		s.say(ws.OpText, text)
		s.want(text)
	}
	s.say(ws.OpBinary, "\x00\xff")
	if op, p, err := s.next(); op != ws.OpBinary || p != "\x00\xff" {
		t.Errorf("binary came back as %v %q %v", op, p, err)
	}
	if code, reason := openSocket(t, closing+"/websocket").wantClose(); code != 3000 || reason != "Go away!" {
		t.Errorf("closed with %d %q", code, reason)
	}
}

func TestPoint28Versions(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]int{"13": 101, "8": 101, "7": 426, "14": 426, "x": 426} {
		h := header{
			"Upgrade", "websocket", "Connection", "Upgrade", upgrade, "x3JJHMbDL1EzLkh9GBhXDw==",
			"Sec-WebSocket-Version", version, "Origin", "x",
		}
		r := dial(t).ask("GET", session(t, echo)+"/websocket", h, "")
		if r.status != want {
			t.Errorf("version %s: %s", version, r.line)
		}
		if want == 426 && !strings.Contains(r.get("Sec-WebSocket-Version"), "13") {
			t.Errorf("version %s: the versions are %q", version, r.get("Sec-WebSocket-Version"))
		}
	}
}
