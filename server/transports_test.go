package server_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// carrier is a client's side of a transport, for messages.
type carrier interface {
	// say sends a message.
	say(text string) error
	// hear waits for messages.
	hear() ([]string, error)
	// leave ends the session, politely or not.
	leave(politely bool)
}

// opener opens a session; small gives it a receive buffer that is soon full.
type opener func(t *testing.T, r *running, prefix, session string, small bool) (carrier, error)

// carriers open a session by each transport.
var carriers = []struct {
	name string
	open opener
}{
	{"websocket", openWebSocket("/0/SESSION/websocket")},
	{"websocket-raw", openWebSocket("/websocket")},
	{"xhr-streaming", openHTTP("POST", "/xhr_streaming", "", "\n", strings.Clone)},
	{"xhr-polling", openHTTP("POST", "/xhr", "", "\n", strings.Clone)},
	{"eventsource", openHTTP("GET", "/eventsource", "data: ", "\r\n\r\n", unpercent)},
	{"htmlfile", openHTTP("GET", "/htmlfile?c=x", "<script>\np(\"", "\");\n</script>\r\n", unscript)},
	{"jsonp-polling", openHTTP("GET", "/jsonp?c=x", `/**/x("`, "\");\r\n", unscript)},
}

// unpercent reads what an event stream has.
func unpercent(s string) string {
	text, err := url.PathUnescape(s)
	if err != nil {
		return err.Error()
	}
	return text
}

// dialMaybe connects with a receive buffer of the usual size or a small one.
func (r *running) dialMaybe(t *testing.T, small bool) *client {
	if small {
		return r.dialSmall(t)
	}
	return r.dial(t)
}

// errOver is what hear returns when the session has ended.
var errOver = errors.New("the session is over")

// frameMessages are the messages of a SockJS frame.
func frameMessages(frame string) (all []string, err error) {
	switch {
	case frame == "h" || frame == "o":
	case strings.HasPrefix(frame, "c["):
		return nil, fmt.Errorf("%w: %s", errOver, frame)
	case !strings.HasPrefix(frame, "a["):
		err = fmt.Errorf("a frame %.200q", frame)
	default:
		if err = json.Unmarshal([]byte(frame[1:]), &all); err != nil {
			err = fmt.Errorf("a frame %.200q: %w", frame, err)
		}
	}
	return all, err
}

// overWebSocket carries messages on a WebSocket.
type overWebSocket struct {
	*client
	raw bool
}

func openWebSocket(path string) opener {
	return func(t *testing.T, r *running, prefix, session string, small bool) (carrier, error) {
		raw := !strings.Contains(path, "SESSION")
		return dialWebSocket(t, r, prefix+strings.Replace(path, "SESSION", session, 1), small, raw)
	}
}

func dialWebSocket(t *testing.T, r *running, path string, small, raw bool) (carrier, error) {
	c := r.dialMaybe(t, small)
	c.say("GET " + path + " HTTP/1.1\r\n" + handshakeHeaders + "\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(resp.Status)
	}
	return &overWebSocket{c, raw}, err
}

func (w *overWebSocket) say(text string) error {
	if !w.raw {
		p, err := json.Marshal([]string{text})
		if err != nil {
			return err
		}
		text = string(p)
	}
	_, err := w.Write([]byte(frame(ws.OpText, text)))
	return err
}

func (w *overWebSocket) hear() ([]string, error) {
	op, p, err := w.next()
	switch {
	case err != nil:
		if errors.Is(err, errEnd) {
			err = fmt.Errorf("%w: %w", errOver, err)
		}
		return nil, err
	case op == ws.OpClose:
		return nil, fmt.Errorf("%w: close frame % x", errOver, p)
	case op != ws.OpText:
		return nil, nil
	case w.raw:
		return []string{p}, nil
	}
	return frameMessages(p)
}

func (w *overWebSocket) leave(politely bool) {
	if politely {
		w.client.say(frame(ws.OpClose, "\x03\xe8"))
		for {
			if _, _, err := w.next(); err != nil {
				break
			}
		}
	}
	_ = w.Close()
}

// overHTTP carries messages on one response after the other, and sends them on a connection of its own.
type overHTTP struct {
	method, path, before, after string
	read                        func(string) string // what stands between before and after

	session    string // its URL
	in, out    *client
	body       *bufio.Reader // nil between two responses
	openFrames int
}

func openHTTP(method, path, before, after string, read func(string) string) opener {
	return func(t *testing.T, r *running, prefix, session string, small bool) (carrier, error) {
		h := overHTTP{method: method, path: path, before: before, after: after, read: read}
		h.session, h.in, h.out = prefix+"/0/"+session, r.dialMaybe(t, small), r.dial(t)
		for h.openFrames == 0 {
			if _, err := h.hear(); err != nil {
				return &h, err
			}
		}
		return &h, nil
	}
}

func (h *overHTTP) say(text string) error {
	p, err := json.Marshal([]string{text})
	if err != nil {
		return err
	}
	path, body, kind := "/xhr_send", string(p), "text/plain"
	if strings.HasPrefix(h.path, "/jsonp") {
		path, body, kind = "/jsonp_send", url.Values{"d": {body}}.Encode(), "application/x-www-form-urlencoded"
	}
	const head = "POST %s%s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
	h.out.say(fmt.Sprintf(head, h.session, path, kind, len(body)) + body)
	resp, err := http.ReadResponse(h.out.r, nil)
	if err != nil {
		return err
	}
	var answer [100]byte
	n, _ := resp.Body.Read(answer[:])
	if resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s %s", errOver, resp.Status, answer[:n])
	}
	return nil
}

func (h *overHTTP) hear() ([]string, error) {
	if h.body == nil {
		h.in.say(fmt.Sprintf("%s %s%s HTTP/1.1\r\nHost: x\r\n\r\n", h.method, h.session, h.path))
		resp, err := http.ReadResponse(h.in.r, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errOver, err)
		}
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%w: %s", errOver, resp.Status)
		}
		h.body = bufio.NewReader(resp.Body)
	}
	var b strings.Builder
	for {
		line, err := h.body.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			h.body = nil
			if err.Error() != "EOF" {
				return nil, fmt.Errorf("%w: %w", errOver, err)
			}
			return nil, nil
		}
		text := b.String()
		at := strings.Index(text, h.before)
		if at < 0 || !strings.HasSuffix(text, h.after) {
			continue
		}
		text = h.read(text[at+len(h.before) : len(text)-len(h.after)])
		if strings.Trim(text, "h") == "" && text != "h" { // the prelude of xhr_streaming
			return nil, nil
		}
		if text == "o" {
			if h.openFrames++; h.openFrames > 1 {
				return nil, fmt.Errorf("%w: the server does not know it any more", errOver)
			}
		}
		return frameMessages(text)
	}
}

func (h *overHTTP) leave(bool) {
	_, _ = h.in.Close(), h.out.Close()
}
