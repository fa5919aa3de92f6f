package loadclient

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/sockloop/sockloop/loadclient/results"
)

// errTarget marks a failure that is the target's: it was not there, or is not what it was said to be.
var errTarget = errors.New("the target failed")

// IsTargetFailure tells whether an error is the target's fault: nothing listens there, it speaks something else, or it
// broke the connection.
func IsTargetFailure(err error) bool { return errors.Is(err, errTarget) }

// openWebSocket opens a WebSocket at the target's path.
func (t Target) openWebSocket(rw io.ReadWriter, d opening) ([]byte, error) {
	return t.handshake(rw, t.Path, d.index)
}

// handshake opens a WebSocket on a connection (RFC 6455 section 4.1) and returns what the server sent behind its
// answer.
func (t Target) handshake(rw io.ReadWriter, path string, index int) ([]byte, error) {
	u, err := url.ParseRequestURI("ws://" + t.Addr + t.request(path))
	if err != nil {
		return nil, fmt.Errorf("%s: the path %q cannot be asked for: %w", t, path, err)
	}
	answer := &hearing{ReadWriter: rw}
	var refusal error
	dialer := ws.Dialer{
		ReadBufferSize: headBytesMax, Protocols: t.Subprotocols, Host: t.host(),
		Header: ws.HandshakeHeaderHTTP(t.header(index)),
		OnStatusError: func(_ int, _ []byte, r io.Reader) {
			refusal = t.refused(rw, bufio.NewReader(r), "opening a WebSocket")
		},
	}
	if t.Compress {
		offer := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
		dialer.Extensions = []httphead.Option{offer.Option()}
	}
	br, chosen, err := dialer.Upgrade(answer, u)
	switch {
	case refusal != nil:
		return nil, refusal
	case err != nil:
		return nil, t.notOpened(answer, err)
	case len(t.Subprotocols) > 0 && chosen.Protocol == "":
		err = fmt.Errorf("%w: %s chooses none of the subprotocols %s: give with --subprotocol what it speaks",
			errTarget, t, strings.Join(t.Subprotocols, ", "))
	}
	if err == nil && t.Compress {
		err = t.compresses(chosen.Extensions)
	}
	if br == nil {
		return nil, err
	}
	defer ws.PutReader(br)
	rest, _ := br.Peek(br.Buffered())
	return bytes.Clone(rest), err
}

// compresses is an error unless a server has taken the offer of permessage-deflate as it was made.
func (t Target) compresses(accepted []httphead.Option) error {
	for _, o := range accepted {
		var p wsflate.Parameters
		if string(o.Name) != wsflate.ExtensionName {
			continue
		}
		if err := p.Parse(o); err != nil || !p.ServerNoContextTakeover {
			return fmt.Errorf("%w: %s answers the offer of permessage-deflate without server_no_context_takeover, "+
				"which was asked for: RFC 7692 section 7.1.1.1", errTarget, t)
		}
		return nil
	}
	return fmt.Errorf("%w: %s does not take the offer of permessage-deflate: switch it on there "+
		"(sockloop --compress), or leave out --compress", errTarget, t)
}

// notOpened says why an answer opens no WebSocket.
func (t Target) notOpened(answer *hearing, err error) error {
	const alert = 0x15 // a TLS record's first byte, with which a server answers that wanted another one
	switch {
	case bytes.HasPrefix(answer.head, []byte{alert}):
		return fmt.Errorf("%w: %s speaks TLS: give it as wss:// or https://", errTarget, t)
	case !bytes.HasPrefix(answer.head, []byte("HTTP/")):
		if len(answer.head) > 0 {
			err = fmt.Errorf("%.100q", answer.head)
		}
		return fmt.Errorf("%w: %s does not answer in HTTP: %w", errTarget, t, err)
	case errors.Is(err, ws.ErrHandshakeBadProtocol): // of HTTP: what a server says to a client that it does not get
		return t.refused(nil, bufio.NewReader(bytes.NewReader(answer.head)), "opening a WebSocket")
	case errors.Is(err, ws.ErrHandshakeBadSecAccept):
		return fmt.Errorf("%w: %s answers with a Sec-WebSocket-Accept that is not made of our key: "+
			"it does not speak WebSocket as RFC 6455 has it, or a proxy answers in its place", errTarget, t)
	case errors.Is(err, ws.ErrHandshakeBadSubProtocol):
		name := ""
		head := bufio.NewReader(bytes.NewReader(answer.head))
		if resp, err := http.ReadResponse(head, nil); err == nil {
			name = resp.Header.Get("Sec-WebSocket-Protocol")
		}
		return fmt.Errorf("%w: %s chooses the subprotocol %q, which was not offered: offer it with --subprotocol %s",
			errTarget, t, name, name)
	}
	line, _, _ := bytes.Cut(answer.head, []byte("\r\n"))
	return fmt.Errorf("%w: %s answers %q but opens no WebSocket: %w", errTarget, t, line, err)
}

const (
	// refusalBytesMax is how much of a refusal's body is shown, refusalTime how long it is waited for.
	refusalBytesMax = 200
	refusalTime     = time.Second
)

// refused says what a server answers that does not do as it was asked to, and what may be the matter.
func (t Target) refused(conn io.ReadWriter, answer *bufio.Reader, instead string) error {
	if c, ok := conn.(net.Conn); ok {
		_ = c.SetReadDeadline(time.Now().Add(refusalTime))
	}
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		return fmt.Errorf("%w: %s does not answer in HTTP: %w", errTarget, t, err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, refusalBytesMax))
	said := ""
	if body = bytes.TrimSpace(body); len(body) > 0 {
		said = fmt.Sprintf(" (%q)", body)
	}
	hint := "wrong path, or wrong protocol?"
	switch {
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		hint = "it wants to know who asks: --bearer-file, --cookie, --header (Origin, too), or user:password@?"
	case resp.StatusCode == http.StatusServiceUnavailable:
		hint = "it takes no more clients: is it full, or going down?"
	case resp.StatusCode/100 == 3:
		hint = fmt.Sprintf("it is at %q now: give that as the target", resp.Header.Get("Location"))
	case bytes.Contains(body, []byte("SockJS")) && t.Protocol == results.WebSocket:
		hint = "that is a SockJS service: --protocol sockjs, or behind it /websocket"
	case t.TLS == nil && bytes.Contains(body, []byte("HTTPS")):
		hint = "it speaks TLS: give it as wss:// or https://"
	}
	return fmt.Errorf("%w: %s answers %s instead of %s%s: %s", errTarget, t, resp.Status, instead, said, hint)
}

// hearing remembers the beginning of what it reads.
type hearing struct {
	io.ReadWriter
	head []byte
}

func (h *hearing) Read(p []byte) (int, error) {
	n, err := h.ReadWriter.Read(p)
	h.head = append(h.head, p[:min(n, headBytesMax-len(h.head))]...)
	return n, err
}

// openStream opens a SockJS session over HTTP on a connection and returns what the server sent behind the response's
// head.
func (t Target) openStream(rw io.ReadWriter, d opening) ([]byte, error) {
	if _, err := rw.Write(t.streamRequest(d)); err != nil {
		return nil, fmt.Errorf("%w: %s: asking for a stream: %w", errTarget, t, err)
	}
	answer := &hearing{ReadWriter: rw}
	br := bufio.NewReaderSize(answer, headBytesMax)
	resp, err := http.ReadResponse(br, nil)
	switch {
	case err != nil:
		return nil, t.notOpened(answer, err)
	case resp.StatusCode != http.StatusOK || len(resp.TransferEncoding) == 0:
		again := io.MultiReader(bytes.NewReader(bytes.Clone(answer.head)), rw)
		return nil, t.refused(rw, bufio.NewReader(again), "a stream")
	}
	rest, _ := br.Peek(br.Buffered())
	return bytes.Clone(rest), nil
}
