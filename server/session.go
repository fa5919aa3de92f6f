package server

import (
	"errors"
	"math"
	"net"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// Message is a message of a session, see codec.Message.
type Message = codec.Message

// Text makes a message of UTF-8 text, which is borrowed.
func Text(text []byte) Message { return codec.Text(text) }

// Binary makes a message of bytes, which are borrowed. Only raw WebSockets carry them as such.
func Binary(data []byte) Message { return codec.Binary(data) }

// Service answers for a prefix. All of its methods are called on the loop, one at a time: they must not block, and need
// no locks. A panic closes the connection that caused it, and is counted and logged.
type Service interface {
	// OnOpen tells that a session has opened.
	OnOpen(s *Session)
	// OnMessage hands over a message in the order of arrival. m is borrowed: what is kept of it must be copied.
	OnMessage(s *Session, m *Message)
	// OnClose tells that a session has ended, once, after every message of it. s can be sent nothing any more.
	OnClose(s *Session, reason CloseReason)
}

// CloseReason is how a session ended: a WebSocket close code (RFC 6455 section 7.4) and its reason. 1006 stands for a
// connection that broke, or that the server ended because the peer was silent or did not read; 1008 for a session over
// HTTP whose client did not ask in time for what it was sent; 1002, 1003, 1007 and 1009 for a peer that broke the
// protocol.
type CloseReason struct {
	Code   int
	Reason string
}

// The codes with which SockJS sessions end.
const (
	CodeNormal   = 1000
	CodeGoAway   = 3000
	codeBroken   = 1006
	reasonGoAway = "Go away!"
)

// Session is one client, whatever carries it. Its methods may be called on the loop only: from a Service, or from a
// function posted with Server.Post.
type Session struct {
	loop      *loop
	route     *route
	id        uint64
	openedAt  int64 // loop time
	countedAs int   // the transport, in Stats.SessionsOf
	transport transport
	outflow   broadcast.Outflow
	owing     bool // among the loop's owing
	state     sessionState
	published *Topic // the last that it published to, if its last message did
	rate      rate

	// Data is for the service to use.
	Data any
}

type sessionState uint8

const (
	opening sessionState = iota
	open
	closing // somebody has ended it; what was sent before and the goodbye are still on their way
	closed
)

// transport carries a session: a WebSocket, or one HTTP response after the other.
type transport interface {
	name() string
	// blocked tells that nothing can be sent at the moment.
	blocked() bool
	remoteAddr() net.Addr
	// wire is the encoding in which the session receives broadcasts.
	wire() broadcast.Wire
	// appendMessage appends a message for this session alone to the outbox.
	appendMessage(dst []byte, m *Message) []byte
	// goodbye sends the reason behind everything else.
	goodbye(reason CloseReason)
	// pump sends what is due until there is no more, or the socket is full.
	pump()
	// slow ends a session that does not read.
	slow()
}

// carried is what a transport tells the session that it carries.
type carried interface {
	// opened begins the session's life.
	opened()
	// wait says what the next message has to wait for.
	wait() backpressure
	// message hands over a message, and says what the next has to wait for.
	message(m *Message) backpressure
	// post queues what the transport itself has to say, behind what the session was sent before.
	post(frame []byte)
	// Close ends the session.
	Close(code int, reason string)
	// sealTopics closes the open batches of the session's topics.
	sealTopics()
	// beginClosing tells that the transport ends the session: nothing can be sent any more.
	beginClosing()
	// moved tells that another transport carries it from now on.
	moved()
	// ended tells that the session is over: the connection is gone, or no use any more.
	ended(reason CloseReason)
}

// ErrClosed is what Session.Send returns when the session is closing or closed.
var ErrClosed = errors.New("server: the session is closed")

func newSession(l *loop, r *route, t transport) *Session {
	l.sessionID++
	s := &Session{loop: l, route: r, id: l.sessionID, transport: t}
	s.outflow.Init(&l.outflows, (*subscriber)(s))
	return s
}

// refusesSessions tells, and counts, that no session may be opened now; tooMany is a reason of the caller's.
func (l *loop) refusesSessions(tooMany bool) bool {
	switch {
	case l.memory.nearlyFull():
		l.stats.RefusedForMemory++
	case l.overloaded():
		l.stats.RefusedForLoad++
	case !tooMany && !l.departure.draining:
		return false
	}
	l.stats.SessionsRefused++
	return true
}

// Send queues a message for this session alone. It leaves at the end of the turn, behind whatever the session was sent
// before, broadcasts included. m is borrowed. The error is ErrClosed, also when the message was too much for the
// session's outbox, which ends it as a slow consumer; nothing of the message is sent then.
func (s *Session) Send(m *Message) error {
	if s.state != open {
		return ErrClosed
	}
	s.sealTopics()
	if !s.posted(s.transport.appendMessage(s.outflow.Outbox(), m)) {
		return ErrClosed
	}
	s.loop.stats.MessagesSent++
	s.loop.stats.MessagesDelivered++
	return nil
}

// Close ends the session with a code and a reason, behind what it was sent before. SockJS clients are told
// c[code,reason], raw ones a close frame with both. A code that may not stand in one (RFC 6455 section 7.4), such as 0,
// becomes CodeNormal; of the reason what fits a close frame is sent, 123 bytes.
func (s *Session) Close(code int, reason string) {
	if s.state != open {
		return
	}
	if code < 0 || code > math.MaxUint16 || !codec.MayBeSent(ws.StatusCode(code)) {
		code = CodeNormal
	}
	s.state = closing
	s.sealTopics()
	s.transport.goodbye(CloseReason{code, reason})
	s.loop.owes(s)
}

// Subscribe lets the session receive what is published to the topic from now on.
func (s *Session) Subscribe(t *Topic) {
	if s.state != open || t.closed {
		return
	}
	t.seal() // what is open was published before, and not to this session
	w := s.transport.wire()
	if t.options.NoCompression {
		w = plain(w)
	}
	if s.outflow.Subscribe(t.log, w, s.loop.nextSeq()) && s.outflow.Len() == 2 {
		s.loop.multiTopic++
	}
}

// Unsubscribe ends a subscription. What was published before and has not left yet is not sent any more, except for the
// rest of a frame of which a part has left.
func (s *Session) Unsubscribe(t *Topic) {
	topics := s.outflow.Len()
	if s.outflow.Unsubscribe(t.log); topics == 2 && s.outflow.Len() == 1 {
		s.loop.multiTopic--
	}
}

// ID is the session's number: from 1 on, in the order in which the sessions of this process began.
func (s *Session) ID() uint64 { return s.id }

// Transport is the name of the transport, one of Transports; of a session over HTTP, that of the receiver it has or
// last had.
func (s *Session) Transport() string { return s.transport.name() }

// RemoteAddr is the client's address: the peer's, or, if that is a trusted proxy, what it said of whom it speaks for;
// the port is 0 then if it named none. A session over HTTP keeps that of its last receiver.
func (s *Session) RemoteAddr() net.Addr { return s.transport.remoteAddr() }

// sealTopics closes the open batches of the session's topics: their messages were published before what comes now.
func (s *Session) sealTopics() {
	for t := range s.outflow.Topics() {
		t.Data.(*Topic).seal()
	}
}

// post queues a frame of the transport's own.
func (s *Session) post(frame []byte) {
	if s.state != closed {
		s.sealTopics()
		s.posted(append(s.outflow.Outbox(), frame...))
	}
}

// posted follows what was appended to the outbox. False tells that it was too much, and the session ends.
func (s *Session) posted(outbox []byte) bool {
	if err := s.outflow.Post(outbox, s.loop.nextSeq()); err != nil {
		s.beginClosing()
		s.transport.slow()
		return false
	}
	s.loop.owes(s)
	return true
}

// subscriber is a session as its topics see it.
type subscriber Session

// Ready tells whether the transport could send something.
func (s *subscriber) Ready() bool { return !s.transport.blocked() }

// Deliver is how a topic says that it has something new.
func (s *subscriber) Deliver() { s.transport.pump() }

// Evicted is how a log says that the session fell off it: it has to be ended, or skips messages.
func (s *subscriber) Evicted() {
	if s.outflow.Lost() {
		s.loop.evicted = append(s.loop.evicted, (*Session)(s))
		s.loop.arm()
		return
	}
	s.loop.stats.SlowConsumersSkipped++
	s.loop.owes((*Session)(s))
}

func (s *Session) opened() {
	s.state = open
	s.rate.begin(s.loop.now, &s.loop.cfg)
	s.openedAt = s.loop.now
	s.countedAs = transportIndex(s.transport.name())
	s.loop.stats.Sessions++
	s.loop.stats.SessionsOf[s.countedAs]++
	s.loop.stats.SessionsOpened++
	s.route.service.OnOpen(s)
}

func (s *Session) moved() {
	if s.state == opening || s.state == closed {
		return
	}
	s.loop.stats.SessionsOf[s.countedAs]--
	s.countedAs = transportIndex(s.transport.name())
	s.loop.stats.SessionsOf[s.countedAs]++
}

// wait looks at the topic that the session published to last: it publishes nothing more as long as that topic's log is
// full, however many others have published to it since, or as its own client is behind with it.
func (s *Session) wait() backpressure {
	switch t := s.published; {
	case t == nil:
	case t.awaited:
		return backpressure{full: t}
	case t.deep && s.isBehind(t, behindShare):
		return backpressure{unread: t, behind: s}
	}
	return backpressure{}
}

func (s *Session) message(m *Message) backpressure {
	l := s.loop
	l.stats.MessagesReceived++
	l.share.handed = true
	l.foundFull, l.published = nil, nil
	size := m.Len()
	s.route.service.OnMessage(s, m)
	s.published = l.published
	within := s.rate.spend(size, l.now)
	switch {
	case l.foundFull != nil:
		return backpressure{full: l.foundFull}
	case !within:
		return backpressure{rate: &s.rate}
	}
	return s.wait()
}

func (s *Session) beginClosing() {
	if s.state == open {
		s.state = closing
	}
}

func (s *Session) ended(reason CloseReason) {
	if s.state == closed {
		return
	}
	s.state = closed
	if s.outflow.Len() > 1 {
		s.loop.multiTopic--
	}
	s.outflow.Close()
	s.loop.stats.Sessions--
	s.loop.stats.SessionsOf[s.countedAs]--
	if reason.Code == 0 {
		reason.Code = codeBroken
	}
	s.route.service.OnClose(s, reason)
}
