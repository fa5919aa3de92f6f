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

// joinSocketIO opens a WebSocket to a Socket.IO server of version 3 or 4 and connects to its main namespace.
func (t Target) joinSocketIO(rw io.ReadWriter) ([]byte, error) {
	rest, err := t.handshake(rw, t.Path+"/?EIO=4&transport=websocket")
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

// joinSocketIO08 does the same with a server of 2011: the session comes from a request of its own.
func (t Target) joinSocketIO08(rw io.ReadWriter) ([]byte, error) {
	client := http.Client{Timeout: dialTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + t.Addr + t.Path + "/1/")
	if err != nil {
		return nil, fmt.Errorf("%w: %s: asking for a session: %w", errTarget, t, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, headBytesMax))
	session, transports, ok := strings.Cut(string(body), ":")
	if err != nil || resp.StatusCode != http.StatusOK || !ok || !strings.Contains(transports, "websocket") {
		return nil, fmt.Errorf("%w: %s answers %s %.100q instead of a session: wrong path, or wrong protocol?", errTarget, t, resp.Status, body)
	}
	rest, err := t.handshake(rw, t.Path+"/1/websocket/"+session)
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

// converse answers the server's first packets until the client has joined, and returns what came behind them.
func (t Target) converse(rw io.ReadWriter, rest []byte, reply func(text string) (answer string, joined bool, err error)) ([]byte, error) {
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
			if _, err := rw.Write(codec.AppendMaskedFrame(nil, ws.OpText, []byte(answer), maskKey)); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", errTarget, t, err)
			}
		}
		rest = more
	}
}
