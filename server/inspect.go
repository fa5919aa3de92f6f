package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
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
		if l.departure.draining {
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
