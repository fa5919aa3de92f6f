package server

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// webSocketEndpoint is the transport that everything else is a fallback of. Its session ids mean nothing: a session lives
// as long as its connection.
var webSocketEndpoint = endpoint{method: http.MethodGet, transports: []string{TransportWebSocket}, serve: serveWebSocket, noCORS: true}

func serveWebSocket(x *exchange, r *route, _ string) { handshake(x, r, false) }

// handshake answers an opening handshake (RFC 6455 section 4.2) or says what is wrong with it.
func handshake(x *exchange, r *route, raw bool) {
	h := x.r.Header
	key := h.Get("Sec-WebSocket-Key")
	switch {
	case !hasToken(h, "Upgrade", "websocket"):
		x.text(http.StatusBadRequest, "Can \"Upgrade\" only to \"WebSocket\".\n")
	case !hasToken(h, "Connection", "upgrade") || !x.r.ProtoAtLeast(1, 1):
		x.text(http.StatusBadRequest, "\"Connection\" must be \"Upgrade\".\n")
	case h.Get("Sec-WebSocket-Version") != "13" && h.Get("Sec-WebSocket-Version") != "8":
		// Version 8 is what clients of 2011 speak; its frames are those of 13.
		x.set("Sec-WebSocket-Version", "13, 8")
		x.text(http.StatusUpgradeRequired, "This server speaks WebSocket versions 13 and 8.\n")
	case !validKey(key):
		x.text(http.StatusBadRequest, "\"Sec-WebSocket-Key\" must be 16 bytes in base64.\n")
	default:
		upgrade(x, r, raw, key)
	}
}

func validKey(key string) bool {
	nonce, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(nonce) == 16
}

// acceptKey is the answer to Sec-WebSocket-Key (RFC 6455 section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// upgrade turns the connection into a WebSocket and opens its session.
func upgrade(x *exchange, r *route, raw bool, key string) {
	c := x.out.c
	x.upgraded = true
	x.set("Upgrade", "websocket")
	x.set("Connection", "Upgrade")
	x.set("Sec-WebSocket-Accept", acceptKey(key))
	c.loop.scratch = x.out.appendHead(c.loop.scratch[:0], http.StatusSwitchingProtocols, noLength)
	c.send(c.loop.scratch)
	if c.dead {
		return
	}
	w := &webSocket{
		c: c, raw: raw, heardAt: c.loop.now, heartbeatDelay: r.options.HeartbeatDelay.Milliseconds(),
		reader: codec.MessageReader{Role: ws.StateServerSide, BytesMax: int64(c.loop.cfg.MessageBytesMax)},
	}
	if raw {
		w.reader.BytesMax = int64(c.loop.cfg.RawMessageBytesMax)
	}
	w.session = &Session{loop: c.loop, service: r.service, transport: w}
	c.protocol = w
	if !raw {
		w.control(codec.AppendFrame(nil, ws.OpText, []byte(codec.OpenFrame)))
	}
	w.session.opened()
}

// webSocket is the transport of a session on a WebSocket: SockJS frames, or on the raw endpoint the messages themselves.
type webSocket struct {
	c       *conn
	session *Session
	reader  codec.MessageReader
	raw     bool

	heartbeatDelay int64 // ms

	heardAt  int64 // loop time of the last byte from the peer, or of our ping since
	pinged   bool  // and no sign of life since
	ending   bool  // our close frame is queued
	endingAt int64 // loop time of that
	finished bool  // the peer's close frame has come: nothing is read any more
}

func (w *webSocket) remoteAddr() net.Addr { return w.c.remoteAddr() }
func (w *webSocket) drained()             { w.pump() }

func (w *webSocket) name() string {
	if w.raw {
		return TransportRawWebSocket
	}
	return TransportWebSocket
}

func (w *webSocket) wire() broadcast.Wire {
	if w.raw {
		return wireRawWebSocket
	}
	return wireWebSocket
}

// receive takes frames off data.
func (w *webSocket) receive(data []byte) []byte {
	w.heardAt, w.pinged = w.c.loop.now, false
	for !w.c.dead && !w.finished {
		op, payload, rest, err := w.reader.Next(data)
		if err != nil {
			w.broken(err)
			return nil
		}
		switch data = rest; op {
		case ws.OpText, ws.OpBinary:
			if w.session.state == open { // a closing session has stopped listening, RFC 6455 section 1.4
				w.message(op, payload)
			}
		case ws.OpPing:
			w.control(codec.AppendFrame(w.c.loop.scratch[:0], ws.OpPong, payload))
		case ws.OpClose:
			w.closeReceived(payload)
		}
	}
	return nil
}

// message hands the messages of one frame to the session.
func (w *webSocket) message(op ws.OpCode, payload []byte) {
	if w.raw {
		w.rawMessage(op, payload)
		return
	}
	if op == ws.OpBinary {
		w.fail(ws.StatusUnsupportedData, "SockJS frames are text")
		return
	}
	messages, err := w.c.loop.array.Decode(payload)
	if err != nil {
		if !utf8.Valid(payload) {
			w.fail(ws.StatusInvalidFramePayloadData, "invalid UTF-8")
		} else {
			w.fail(ws.StatusProtocolError, "Broken framing.")
		}
		return
	}
	for i := range messages {
		if w.session.state == open {
			w.session.message(&messages[i])
		}
	}
}

func (w *webSocket) rawMessage(op ws.OpCode, payload []byte) {
	if op == ws.OpText && !utf8.Valid(payload) {
		w.fail(ws.StatusInvalidFramePayloadData, "invalid UTF-8")
		return
	}
	m := &w.c.loop.message
	if *m = codec.Text(payload); op == ws.OpBinary {
		*m = codec.Binary(payload)
	}
	w.session.message(m)
}

// control queues a frame that is no message.
func (w *webSocket) control(frame []byte) {
	s := w.session
	if w.ending || s.state == closed {
		return
	}
	s.sealTopics()
	s.out.outbox = append(s.out.outbox, frame...)
	s.posted()
}

// broken answers a peer that broke the protocol with the close code for it.
func (w *webSocket) broken(err error) {
	var illegal *codec.CloseError
	if errors.As(err, &illegal) {
		w.fail(illegal.Code, illegal.Reason)
	}
}

// fail ends the connection from our side.
func (w *webSocket) fail(code ws.StatusCode, reason string) {
	w.c.loop.stats.ProtocolErrors++
	w.finished = true
	if w.ending {
		return
	}
	w.control(codec.AppendCloseFrame(nil, code, reason))
	w.end(CloseReason{int(code), reason})
}

// end notes that our close frame is on its way.
func (w *webSocket) end(reason CloseReason) {
	w.ending, w.endingAt = true, w.c.loop.now
	w.session.end(reason)
}

// closeReceived answers the peer's close frame, or finds in it the answer to ours.
func (w *webSocket) closeReceived(payload []byte) {
	code, reason, err := codec.ParseClose(payload)
	if err != nil {
		w.broken(err)
		return
	}
	w.finished = true
	if w.ending {
		if w.session.state == flushed {
			w.c.linger()
		}
		return
	}
	echo := code
	if code == ws.StatusNoStatusRcvd {
		echo = 0
	}
	w.control(codec.AppendCloseFrame(nil, echo, ""))
	w.end(CloseReason{int(code), string(reason)})
}

func (w *webSocket) appendMessage(dst []byte, m *Message) []byte {
	switch {
	case !w.raw:
		w.c.loop.scratch = m.AppendJSON(w.c.loop.scratch[:0])
		dst = codec.AppendHeader(dst, ws.OpText, len(w.c.loop.scratch)+3)
		return codec.AppendArrayFrame(dst, w.c.loop.scratch)
	case m.IsBinary():
		return codec.AppendFrame(dst, ws.OpBinary, m.Text())
	default:
		return codec.AppendFrame(dst, ws.OpText, m.Text())
	}
}

// goodbye is, on SockJS, the frame c[…] and a normal closure; on the raw endpoint a close frame with code and reason.
func (w *webSocket) goodbye(r CloseReason) {
	w.end(r)
	out := &w.session.out
	if w.raw {
		out.outbox = codec.AppendCloseFrame(out.outbox, ws.StatusCode(r.Code), r.Reason)
	} else {
		out.outbox = codec.AppendFrame(out.outbox, ws.OpText, codec.AppendCloseArray(nil, r.Code, r.Reason))
		out.outbox = codec.AppendCloseFrame(out.outbox, ws.StatusNormalClosure, "")
	}
	w.session.posted()
}

// pump writes shared bytes as they lie in the log.
func (w *webSocket) pump() {
	s := w.session
	if w.c.dead || s.state >= flushed {
		return
	}
	for s.keepsUp() && !w.c.blocked() {
		if s.state == closing && s.out.waiting() == 0 { // the close frame was the last thing in the outbox
			w.flushed()
			return
		}
		p := s.out.next()
		if len(p) == 0 {
			return
		}
		n := w.c.write(p)
		if w.c.dead {
			return
		}
		s.out.advance(n)
	}
}

// flushed follows the close frame: when the peer has sent its own, or has broken the protocol, the connection ends; else
// the peer has until CloseTimeout.
func (w *webSocket) flushed() {
	w.session.state = flushed
	if w.finished {
		w.c.linger()
	}
}

// begun is what is left of a frame of the subscription that has begun to leave.
func (w *webSocket) begun(sub *subscription) int { return len(sub.RestOfFrame()) }

func (w *webSocket) slow() {
	if !w.c.dead {
		w.c.loop.stats.SlowConsumersClosed++
		w.c.abort()
	}
}

func (w *webSocket) goAway() {
	code := CodeGoAway
	if w.raw {
		code = int(ws.StatusGoingAway)
	}
	w.session.Close(code, reasonGoAway)
}

func (w *webSocket) closed() {
	if w.c.interrupted {
		w.c.loop.stats.ConnectionsInterrupted++
	}
	w.session.ended()
}

// tick sends heartbeats and gives up on the silent.
func (w *webSocket) tick() {
	l := w.c.loop
	silence := l.now - w.heardAt
	switch {
	case w.ending:
		if l.now-w.endingAt > l.cfg.CloseTimeout.Milliseconds() {
			w.c.abort()
		}
		return
	case w.pinged && silence > l.cfg.PongTimeout.Milliseconds():
		l.stats.PongTimeouts++
		w.c.abort()
		return
	case !w.pinged && silence >= w.heartbeatDelay:
		w.pinged, w.heardAt = true, l.now
		w.control(codec.AppendHeader(nil, ws.OpPing, 0))
	}
	if !w.raw && l.now-w.c.wroteAt >= w.heartbeatDelay {
		w.control(codec.AppendFrame(nil, ws.OpText, []byte(codec.HeartbeatFrame)))
	}
}
