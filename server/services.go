package server

import "github.com/gobwas/ws"

// Broadcast is a service in which everybody hears everybody, themselves included: each message goes to all sessions of
// the prefix. Messages are text; a binary one ends its session with close code 1003.
func (s *Server) Broadcast() Service { return &broadcastService{s.NewTopic("broadcast")} }

type broadcastService struct{ topic *Topic }

func (b *broadcastService) OnOpen(s *Session)             { s.Subscribe(b.topic) }
func (b *broadcastService) OnClose(*Session, CloseReason) {}
func (b *broadcastService) OnMessage(s *Session, m *Message) {
	if m.IsBinary() {
		s.Close(int(ws.StatusUnsupportedData), "this room carries text")
		return
	}
	b.topic.Publish(m)
}

// Echo is a service that sends every message back to its session.
func Echo() Service { return echoService{} }

type echoService struct{}

func (echoService) OnOpen(*Session)                  {}
func (echoService) OnClose(*Session, CloseReason)    {}
func (echoService) OnMessage(s *Session, m *Message) { _ = s.Send(m) } // a closing session hears no more
