package server

import (
	"errors"
	"net"
	"slices"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
)

// Message is a message of a session, see codec.Message.
type Message = codec.Message

// Text makes a message of UTF-8 text, which is borrowed.
func Text(text []byte) Message { return codec.Text(text) }

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
// connection that broke, or that the server ended because the peer was silent, slow, or hostile.
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
	service   Service
	transport transport
	out       outflow
	pending   bool
	state     sessionState
	reason    CloseReason

	// Data is for the service to use.
	Data any
}

type sessionState uint8

const (
	opening sessionState = iota
	open
	closing // somebody has ended it; what was sent before and the goodbye are still on their way
	flushed // and have left
	closed
)

// transport carries a session: a WebSocket, or one HTTP response after the other.
type transport interface {
	name() string
	remoteAddr() net.Addr
	// wire is the encoding in which the session receives broadcasts.
	wire() broadcast.Wire
	// appendMessage appends a message for this session alone to the outbox.
	appendMessage(dst []byte, m *Message) []byte
	// goodbye sends the reason behind everything else.
	goodbye(reason CloseReason)
	// pump sends what is due until there is no more, or the socket is full.
	pump()
	// begun is how many of the next bytes must leave before anything else, a subscription being about to end.
	begun(sub *subscription) int
	// slow ends a session that does not read.
	slow()
}

var errClosed = errors.New("server: the session is closed")

// Send queues a message for this session alone. It leaves at the end of the turn, behind whatever the session was sent
// before, broadcasts included. m is borrowed.
func (s *Session) Send(m *Message) error {
	if s.state != open {
		return errClosed
	}
	s.loop.stats.MessagesSent++
	s.loop.stats.MessagesDelivered++
	s.sealTopics()
	s.out.outbox = s.transport.appendMessage(s.out.outbox, m)
	s.posted()
	return nil
}

// Close ends the session with a code and a reason, behind what it was sent before. SockJS clients are told c[code,reason].
func (s *Session) Close(code int, reason string) {
	if s.state != open {
		return
	}
	s.sealTopics()
	s.transport.goodbye(CloseReason{code, reason})
}

// end begins the end of the session; its goodbye is on its way, or about to be.
func (s *Session) end(reason CloseReason) {
	if s.state == open {
		s.state, s.reason = closing, reason
	}
}

// Subscribe lets the session receive what is published to the topic from now on.
func (s *Session) Subscribe(t *Topic) {
	if s.state != open || s.subscriptionOf(t) >= 0 {
		return
	}
	sub := &subscription{topic: t}
	t.seal() // what is open was published before, and not to this session
	t.log.Subscribe(&sub.Cursor, s.transport.wire(), s, s.loop.nextSeq())
	s.out.subscriptions = append(s.out.subscriptions, sub)
	if len(s.out.subscriptions) == 2 {
		s.loop.mixed++
	}
}

// Unsubscribe ends a subscription. What was published before and has not left yet is not sent any more, except for a
// frame of which a part has left.
func (s *Session) Unsubscribe(t *Topic) {
	i := s.subscriptionOf(t)
	if i < 0 {
		return
	}
	sub := s.out.subscriptions[i]
	if s.state != closed {
		s.out.hold(s.transport.begun(sub), asIs)
	}
	if len(s.out.subscriptions) == 2 {
		s.loop.mixed--
	}
	t.log.Unsubscribe(&sub.Cursor)
	s.out.subscriptions = slices.Delete(s.out.subscriptions, i, i+1)
}

// Transport is the name of the transport, one of Transports; of a session over HTTP, that of the receiver it has or last
// had.
func (s *Session) Transport() string { return s.transport.name() }

// RemoteAddr is the peer's address. A session over HTTP keeps that of its last receiver; on a WebSocket it is nil once the
// connection is gone.
func (s *Session) RemoteAddr() net.Addr { return s.transport.remoteAddr() }

func (s *Session) subscriptionOf(t *Topic) int {
	return slices.IndexFunc(s.out.subscriptions, func(sub *subscription) bool { return sub.topic == t })
}

// sealTopics closes the open batches of the session's topics: their messages were published before what comes now.
func (s *Session) sealTopics() {
	for _, sub := range s.out.subscriptions {
		sub.topic.seal()
	}
}

// posted follows what was appended to the outbox.
func (s *Session) posted() {
	s.out.post(s.loop.nextSeq())
	if s.out.waiting() > s.loop.cfg.OutboxBytesMax {
		s.transport.slow()
		return
	}
	s.loop.sessionPending(s)
}

// Deliver is how a topic says that it has something new.
func (s *Session) Deliver() { s.transport.pump() }

// keepsUp gives the verdict on subscriptions that fell off their logs; false means that it was the end of the session.
func (s *Session) keepsUp() bool {
	for _, sub := range s.out.subscriptions {
		if !sub.Evicted() {
			continue
		}
		if s.loop.cfg.SlowConsumer == SlowConsumerClose {
			s.transport.slow()
			return false
		}
		if len(sub.Unread()) == 0 { // what it had begun is finished
			s.loop.stats.SlowConsumersSkipped++
			s.loop.stats.MessagesSkipped += sub.Skip()
		}
	}
	return true
}

// opened begins the session's life.
func (s *Session) opened() {
	s.state = open
	s.loop.stats.Sessions++
	s.loop.stats.SessionsOpened++
	s.service.OnOpen(s)
}

// message hands a message to the service.
func (s *Session) message(m *Message) {
	s.loop.stats.MessagesReceived++
	s.service.OnMessage(s, m)
}

// ended ends it. The connection is gone, or no use any more.
func (s *Session) ended() {
	if s.state == closed {
		return
	}
	s.state = closed
	for len(s.out.subscriptions) > 0 {
		s.Unsubscribe(s.out.subscriptions[0].topic)
	}
	s.out.reset()
	s.loop.stats.Sessions--
	if s.reason.Code == 0 {
		s.reason.Code = codeBroken
	}
	s.service.OnClose(s, s.reason)
}
