package admin

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// sockets are the open connections of the admin plane. One that is idle, or has not sent the whole head of a request,
// keeps nobody out: beyond the bound it is closed.
type sockets struct {
	max int

	mu    sync.Mutex
	clock uint64 // counts changes
	open  map[net.Conn]socket
}

// socket is whether a connection's request is with the handler, and since when that is so.
type socket struct {
	busy  bool
	since uint64
}

type socketKey struct{}

func newSockets(most int) *sockets { return &sockets{max: most, open: map[net.Conn]socket{}} }

// withSocket is http.Server's ConnContext: it lets the handler know the connection.
func withSocket(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, socketKey{}, c)
}

// changed is http.Server's ConnState.
func (s *sockets) changed(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		if len(s.open) >= s.max {
			s.closeOne()
		}
		s.set(c, false)
	case http.StateClosed, http.StateHijacked:
		delete(s.open, c)
	case http.StateActive: // perhaps of a body that does not come
	case http.StateIdle: // since the handler returned, which was before the client had its answer
	}
}

func (s *sockets) set(c net.Conn, busy bool) {
	s.clock++
	s.open[c] = socket{busy, s.clock}
}

// handler is next, whose connection is busy meanwhile. It is not while a body comes that no handler waits for.
func (s *sockets) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(socketKey{}).(net.Conn)
		s.isBusy(c, true)
		defer s.isBusy(c, false)
		next.ServeHTTP(w, r)
	})
}

func (s *sockets) isBusy(c net.Conn, busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[c]; ok { // else it has just been closed
		s.set(c, busy)
	}
}

// closeOne closes the connection that has been idle for longest; where all are busy, the one that is so for longest, so
// that those who do not read their answers keep nobody out either.
func (s *sockets) closeOne() {
	var chosen net.Conn
	var least socket
	for c, x := range s.open {
		if chosen == nil || x.before(least) {
			chosen, least = c, x
		}
	}
	delete(s.open, chosen)
	_ = chosen.Close() // there is nobody to tell
}

// before tells that a connection is closed rather than another.
func (x socket) before(y socket) bool {
	if x.busy != y.busy {
		return y.busy
	}
	return x.since < y.since
}
