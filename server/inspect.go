package server

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
	"unicode/utf8"
)

// Errors of Server.Publish and Server.EndSession.
var (
	ErrNoTopic         = errors.New("server: there is no topic of that name")
	ErrTopicFull       = errors.New("server: the topic's log is full: its readers must catch up first")
	ErrMessageTooLarge = errors.New("server: a message is larger than MessageBytesMax")
	ErrNotText         = errors.New("server: a message is not UTF-8")
	ErrNoSession       = errors.New("server: there is no session of that id")
)

// TopicInfo is what a topic is at a moment.
type TopicInfo struct {
	Name        string
	Subscribers int
	Published   uint64 // messages since it was made
	LogBytes    int    // memory that it keeps
	Full        bool   // publishers wait for its readers
}

// SessionInfo is what a session is at a moment.
type SessionInfo struct {
	ID          uint64 // from 1 on, in the order in which they were opened in this process
	RemoteAddr  netip.AddrPort
	Transport   string
	Prefix      string // of its service
	Age         time.Duration
	Topics      int    // that it subscribes to
	Lag         uint64 // messages of its topics that are published and have not left for it; merged ones count together
	OutboxBytes int    // memory of what is meant for it alone
	Blocked     bool   // its socket is full, or it is over HTTP and nobody asks
}

// ask runs f on the loop and returns what it returns: at once if the caller is there. The error is ErrNotRunning,
// ErrMailboxFull or ctx's; f may run all the same in the last case.
func ask[T any](ctx context.Context, s *Server, f func(l *loop) T) (T, error) {
	if s.loop.isHere() {
		return f(s.loop), nil
	}
	var none T
	answer := make(chan T, 1)
	if err := s.Post(func() { answer <- f(s.loop) }); err != nil {
		return none, err
	}
	select {
	case v := <-answer:
		return v, nil
	case <-s.stopped:
		return none, ErrNotRunning
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Topics lists the topics, in the order in which they were made. It may be called from anywhere.
func (s *Server) Topics(ctx context.Context) ([]TopicInfo, error) {
	return ask(ctx, s, func(l *loop) []TopicInfo {
		all := make([]TopicInfo, 0, len(l.topics))
		for _, t := range l.topics {
			all = append(all, TopicInfo{t.name, t.Len(), t.log.Published(), t.log.LogBytes(), t.awaited})
		}
		return all
	})
}

// Publish sends messages, which are text and borrowed, to every subscriber of the topics with that name, all or none of
// them, and reports how many subscribers that were. It may be called from anywhere.
func (s *Server) Publish(ctx context.Context, topic string, messages [][]byte) (subscribers int, err error) {
	owned, bytesMax := make([][]byte, len(messages)), s.inForce.Load().MessageBytesMax
	for i, p := range messages {
		switch {
		case len(p) > bytesMax:
			return 0, ErrMessageTooLarge
		case !utf8.Valid(p):
			return 0, ErrNotText
		}
		owned[i] = bytes.Clone(p)
	}
	type result struct {
		subscribers int
		err         error
	}
	r, err := ask(ctx, s, func(l *loop) result {
		n, err := l.publish(topic, owned)
		return result{n, err}
	})
	return r.subscribers, errors.Join(err, r.err)
}

func (l *loop) publish(name string, messages [][]byte) (subscribers int, err error) {
	var to []*Topic
	for _, t := range l.topics {
		if t.name == name {
			to = append(to, t)
		}
		if t.name == name && t.log.Full() {
			return 0, ErrTopicFull
		}
	}
	if len(to) == 0 {
		return 0, ErrNoTopic
	}
	for _, t := range to {
		subscribers += t.Len()
		for _, p := range messages {
			m := Text(p)
			t.Publish(&m)
		}
	}
	return subscribers, nil
}

// Sessions lists the sessions that are open, in no order. It may be called from anywhere, and costs the loop some 50 ns
// for each.
func (s *Server) Sessions(ctx context.Context) ([]SessionInfo, error) {
	return ask(ctx, s, func(l *loop) []SessionInfo {
		all := make([]SessionInfo, 0, l.stats.Sessions)
		l.eachSession(func(s *Session) {
			if s.state == open {
				all = append(all, s.info())
			}
		})
		return all
	})
}

// EndSession closes a session, as Session.Close does. It may be called from anywhere.
func (s *Server) EndSession(ctx context.Context, id uint64, code int, reason string) error {
	found, err := ask(ctx, s, func(l *loop) (found bool) {
		l.eachSession(func(s *Session) {
			if s.id == id && s.state == open {
				found = true
				s.Close(code, reason)
			}
		})
		return found
	})
	if err == nil && !found {
		err = ErrNoSession
	}
	return err
}

// eachSession calls f with every session: those on WebSockets, and those over HTTP. f must not end any at once.
func (l *loop) eachSession(f func(*Session)) {
	for _, c := range l.conns {
		if w, ok := c.protocol.(*webSocket); ok && !c.dead {
			f(w.session.(*Session))
		}
	}
	for _, r := range l.routes {
		for _, s := range r.sessions {
			f(s.session.(*Session))
		}
	}
}

func (s *Session) info() SessionInfo {
	return SessionInfo{
		ID: s.id, RemoteAddr: addrPortOf(s.RemoteAddr()), Transport: s.Transport(), Prefix: s.route.prefix,
		Age:    time.Duration(s.loop.now-s.openedAt) * time.Millisecond,
		Topics: s.outflow.Len(), Lag: s.outflow.Lag(), OutboxBytes: s.outflow.Memory(), Blocked: s.transport.blocked(),
	}
}

func addrPortOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}

// Readiness tells whether newcomers should be sent here, and why not.
type Readiness struct {
	Ready   bool
	Reasons []string // in words, one a line; empty if ready
}

// Readiness asks the loop whether it takes newcomers: it does not before it listens, while it drains, while it is
// overloaded, or when memory is nearly spent; and it may be too busy to answer before ctx is done.
func (s *Server) Readiness(ctx context.Context) Readiness {
	reasons, err := ask(ctx, s, func(l *loop) (why []string) {
		if l.departure.begun {
			why = append(why, "draining")
		}
		if l.overloaded() {
			why = append(why, "overloaded: more is published than the loop can send in time")
		}
		if l.memory.nearlyFull() {
			why = append(why, "memory is nearly spent")
		}
		return why
	})
	switch {
	case errors.Is(err, ErrNotRunning):
		reasons = []string{"not running"}
	case err != nil:
		reasons = []string{"the loop does not answer: " + err.Error()}
	}
	return Readiness{len(reasons) == 0, reasons}
}
