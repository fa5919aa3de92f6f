package loadclient

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
)

// openSocketIO opens a WebSocket to a Socket.IO server of version 3 or 4 and connects to its main namespace.
func (t Target) openSocketIO(rw io.ReadWriter, d opening) ([]byte, error) {
	rest, err := t.handshake(rw, t.Path+"/?EIO=4&transport=websocket", d.index)
	if err != nil {
		return nil, err
	}
	return t.converse(rw, rest, func(text string) (answer string, joined bool, err error) {
		switch {
		case strings.HasPrefix(text, "0{"):
			return "40", false, nil
		case strings.HasPrefix(text, "40"):
			return "", true, nil
		}
		answer, err = socketIOPacket(text)
		return answer, false, err
	})
}

// openSocketIO08 does the same with a server of 2011: the session comes from a request of its own.
func (t Target) openSocketIO08(rw io.ReadWriter, d opening) ([]byte, error) {
	session, err := t.sessionOf2011(d.index)
	if err != nil {
		return nil, err
	}
	rest, err := t.handshake(rw, t.Path+"/1/websocket/"+session, d.index)
	if err != nil {
		return nil, err
	}
	return t.converse(rw, rest, func(text string) (answer string, joined bool, err error) {
		if strings.HasPrefix(text, "1::") {
			return "", true, nil
		}
		answer, err = socketIO08Packet(text)
		return answer, false, err
	})
}

// sessionOf2011 asks a server of 2011 for a session.
func (t Target) sessionOf2011(index int) (string, error) {
	scheme := "http://"
	if t.TLS != nil {
		scheme = "https://"
	}
	req, err := http.NewRequest(http.MethodGet, scheme+t.Addr+t.request(t.Path+"/1/"), nil)
	if err != nil {
		return "", fmt.Errorf("%s: %w", t, err)
	}
	req.Header, req.Host = t.header(index), t.host()
	client := http.Client{
		Timeout:   dialTimeout,
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: t.TLS},
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("%w: %s: asking for a session: %w", errTarget, t, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, headBytesMax))
	session, transports, ok := strings.Cut(string(body), ":")
	if err != nil || resp.StatusCode != http.StatusOK || !ok || !strings.Contains(transports, "websocket") {
		return "", fmt.Errorf("%w: %s answers %s %.100q instead of a session: wrong path, or wrong protocol?",
			errTarget, t, resp.Status, body)
	}
	return session, nil
}

// reply says what to answer to a packet, and whether it is the one that lets the client in.
type reply func(text string) (answer string, joined bool, err error)

// converse answers the server's first packets until the client has joined, and returns what came behind them.
func (t Target) converse(rw io.ReadWriter, rest []byte, reply reply) ([]byte, error) {
	r := codec.MessageReader{Role: ws.StateClientSide, BytesMax: headBytesMax}
	buffer := make([]byte, 4096)
	for {
		op, payload, more, err := r.Next(rest)
		if errors.Is(err, codec.ErrIncomplete) {
			n, err := rw.Read(buffer)
			if err != nil {
				return nil, fmt.Errorf("%w: %s does not let us in: %w", errTarget, t, err)
			}
			rest = buffer[:n]
			continue
		}
		if err == nil && op != ws.OpText {
			err = fmt.Errorf("a frame of kind %#x", op)
		}
		var answer string
		var joined bool
		if err == nil {
			answer, joined, err = reply(string(payload))
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %s does not let us in: %w", errTarget, t, err)
		case joined:
			return append([]byte(nil), more...), nil
		case answer != "":
			frame := codec.AppendMaskedFrame(nil, ws.OpText, []byte(answer), maskKey)
			if _, err := rw.Write(frame); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", errTarget, t, err)
			}
		}
		rest = more
	}
}
