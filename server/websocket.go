package server

import (
	"errors"
	"net"
	"net/http"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// webSocketEndpoint is the transport that everything else is a fallback of. Its session ids mean nothing: a session
// lives as long as its connection.
var webSocketEndpoint = endpoint{
	method: http.MethodGet, transports: []string{TransportWebSocket}, serve: serveWebSocket, noCORS: true,
}

func serveWebSocket(x *exchange, r *route, _ string) { handshake(x, r, false) }

// webSocket is the transport of a session on a WebSocket: SockJS frames, or on the raw endpoint the messages
// themselves.
type webSocket struct {
	c       *conn
	session carried
	outflow *broadcast.Outflow
	reader  codec.MessageReader

	messages messages // of a frame, which have not been handed on
	pong     []byte   // payload of the latest ping, if pongDue

	heartbeatDelay int64 // ms

	heardAt  int64       // loop time of the last byte from the peer, or of our ping since
	endingAt int64       // loop time at which our close frame was queued
	reason   CloseReason // of the end, once it is known

	raw      bool
	deflate  bool // permessage-deflate was negotiated
	pings    bool // the peer answers pings
	pongDue  bool // a ping is to be answered as soon as no frame is on its way
	pinged   bool // there was no sign of life since our last ping
	ending   bool // our close frame is queued
	sent     bool // our close frame has left
	finished bool // the peer's close frame has come, or what is no frame: nothing is read any more
}

func newWebSocket(c *conn, r *route, raw bool) *webSocket {
	w := &webSocket{
		c: c, raw: raw, heardAt: c.loop.now, heartbeatDelay: r.options.HeartbeatDelay.Milliseconds(),
		reader: codec.MessageReader{Role: ws.StateServerSide, BytesMax: int64(c.loop.cfg.MessageBytesMax)},
	}
	if raw {
		w.reader.BytesMax = int64(c.loop.cfg.RawMessageBytesMax)
	}
	s := newSession(c.loop, r, w)
	c.loop.memory.sessions.Charge(webSocketBytes)
	w.session, w.outflow = s, &s.outflow
	return w
}

func (w *webSocket) remoteAddr() net.Addr { return w.c.remoteAddr() }
func (w *webSocket) blocked() bool        { return w.c.blocked }
func (w *webSocket) writable()            { w.pump() }
func (w *webSocket) unfinished() bool     { return w.messages.waiting() }
func (w *webSocket) kept() int            { return w.reader.Buffered() + w.messages.kept() + cap(w.pong) }
func (w *webSocket) outbox() int          { return w.outflow.Memory() }

func (w *webSocket) hears() bool                     { return !w.ending }
func (w *webSocket) wait() backpressure              { return w.session.wait() }
func (w *webSocket) message(m *Message) backpressure { return w.session.message(m) }

func (w *webSocket) name() string {
	if w.raw {
		return TransportRawWebSocket
	}
	return TransportWebSocket
}

func (w *webSocket) wire() broadcast.Wire {
	switch {
	case w.raw && w.deflate:
		return wireRawDeflate
	case w.raw:
		return wireRawWebSocket
	case w.deflate:
		return wireDeflate
	}
	return wireWebSocket
}

// receive takes frames off data.
func (w *webSocket) receive(data []byte) []byte {
	w.heardAt, w.pinged = w.c.loop.now, false
	if w.messages.waiting() {
		if w.messages.resume(w.c, w); w.messages.waiting() {
			return data
		}
	}
	for len(data) > 0 && w.mayTakeFrame() {
		op, payload, rest, err := w.reader.Next(data)
		w.c.loop.share.spend(w.c.loop.inflater.TakeWork()) // a byte takes a unit at worst
		if err != nil {
			w.broken(err)
			return nil
		}
		w.c.loop.share.spend(messageCost)
		if w.deflate { // few bytes may have become many
			w.c.loop.share.spend(len(payload) >> byteShift)
		}
		data = rest
		w.frame(op, payload)
	}
	if w.finished {
		return nil
	}
	return data
}

// mayTakeFrame tells whether another frame may be looked at now.
func (w *webSocket) mayTakeFrame() bool {
	if w.raw && w.c.hold == holdNone {
		w.c.loop.waitFirst(w.c, w)
	}
	return !w.finished && !w.c.dead && w.c.hold == holdNone && w.c.loop.share.visit > 0
}

func (w *webSocket) frame(op ws.OpCode, payload []byte) {
	switch op {
	case ws.OpText, ws.OpBinary:
		if !w.ending { // a closing session has stopped listening, RFC 6455 section 1.4
			w.data(op, payload)
		}
	case ws.OpPing:
		w.answerPing(payload)
	case ws.OpClose:
		w.closeReceived(payload)
	}
}

// data hands on the messages of one frame.
func (w *webSocket) data(op ws.OpCode, payload []byte) {
	if w.raw {
		w.rawMessage(op, payload)
		return
	}
	if op == ws.OpBinary {
		w.fail(ws.StatusUnsupportedData, "SockJS frames are text")
		return
	}
	if err := w.c.loop.array.Begin(payload); err != nil {
		if !utf8.Valid(payload) {
			w.fail(ws.StatusInvalidFramePayloadData, "invalid UTF-8")
		} else {
			w.fail(ws.StatusProtocolError, "Broken framing.")
		}
		return
	}
	w.messages.handOn(w.c, w)
}

func (w *webSocket) rawMessage(op ws.OpCode, payload []byte) {
	if op == ws.OpText && !utf8.Valid(payload) {
		w.fail(ws.StatusInvalidFramePayloadData, "invalid UTF-8")
		return
	}
	l := w.c.loop
	l.share.spend(messageOf(len(payload)))
	m := &l.message
	if *m = codec.Text(payload); op == ws.OpBinary {
		*m = codec.Binary(payload)
	}
	wait := w.session.message(m)
	*m = Message{} // which may hold on to much
	if !wait.none() {
		l.holdBack(w.c, wait)
	}
}

// answerPing sends a pong (RFC 6455 section 5.5.3) if nothing is in its way. Else it waits, and if another ping comes
// before it has left, that one alone is answered: a peer that does not read costs one pong.
func (w *webSocket) answerPing(payload []byte) {
	if w.ending {
		return
	}
	w.c.loop.share.spend(pingCost)
	w.pong, w.pongDue = append(w.pong[:0], payload...), true
	w.sendPong()
}

// sendPong sends the pong that is due, between two frames.
func (w *webSocket) sendPong() {
	if w.pongDue && !w.c.blocked && !w.outflow.Lost() && !w.outflow.Begun() {
		w.c.loop.scratch = codec.AppendFrame(w.c.loop.scratch[:0], ws.OpPong, w.pong)
		w.pong, w.pongDue = nil, false
		w.c.send(w.c.loop.scratch)
	}
}

// control queues a frame that is no message.
func (w *webSocket) control(frame []byte) {
	if !w.ending {
		w.session.post(frame)
	}
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
	w.ending, w.endingAt, w.reason = true, w.c.loop.now, reason
	w.messages = messages{}
	w.session.beginClosing()
	w.outflow.CutOff(w.c.loop.nextSeq())
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
		if w.sent {
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
	var frames []byte
	if w.raw {
		frames = codec.AppendCloseFrame(nil, ws.StatusCode(r.Code), r.Reason)
	} else {
		frames = codec.AppendFrame(nil, ws.OpText, codec.AppendCloseArray(nil, r.Code, r.Reason))
		frames = codec.AppendCloseFrame(frames, ws.StatusNormalClosure, "")
	}
	w.control(frames)
	w.end(r)
}

// pump writes shared bytes as they lie in the log.
func (w *webSocket) pump() {
	for !w.c.dead && !w.c.blocked && !w.sent && !w.outflow.Lost() {
		w.sendPong()
		p, from := w.outflow.Next()
		if len(p) == 0 {
			w.sayGoodbye()
			return
		}
		if w.c.blocked || w.c.dead { // by the pong
			return
		}
		n := w.c.write(p)
		if w.c.dead {
			return
		}
		w.outflow.Advance(from, n)
	}
}

// sayGoodbye follows the close frame, if that was the last thing due: when the peer has sent its own, or has broken the
// protocol, the connection ends; else the peer has until CloseTimeout.
func (w *webSocket) sayGoodbye() {
	if !w.ending {
		return
	}
	if w.sent = true; w.finished {
		w.c.linger()
	}
}

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
	w.c.loop.memory.sessions.Charge(-webSocketBytes)
	w.session.ended(w.reason) // which may panic
}

// tick sends heartbeats and gives up on the silent. Whoever is held back has said something that we have not read.
func (w *webSocket) tick() {
	l := w.c.loop
	switch w.c.hold {
	case holdNone:
	case holdReader: // it is to read, and must be seen to
		if w.c.wroteAt > w.heardAt {
			w.heardAt, w.pinged = w.c.wroteAt, false
		}
	default:
		w.heardAt = l.now
	}
	if w.c.publishing() && w.c.peerGone() { // it is not read, so nobody else would notice
		w.c.lost()
		return
	}
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
	case !w.pinged && w.pings && silence >= w.heartbeatDelay:
		w.pinged, w.heardAt = true, l.now
		w.control(codec.AppendHeader(nil, ws.OpPing, 0))
	}
	if !w.raw && l.now-w.c.wroteAt >= w.heartbeatDelay {
		w.control(codec.AppendFrame(nil, ws.OpText, []byte(codec.HeartbeatFrame)))
	}
}
