package server

import (
	"context"
	"time"
)

// drainGrace is what a drain may take beyond DrainWindow and CloseTimeout.
const drainGrace = 2 * time.Second

// Draining is closed when a drain begins, whoever asked for it: the end of Run's context, Drain or Shutdown.
func (s *Server) Draining() <-chan struct{} { return s.draining }

// Drain ends the server as the end of Run's context does: no new connections, what is queued is sent, every client gets
// its close frame within Config.DrainWindow, and Run returns. The connections that are left after Config.CloseTimeout
// and 2 s more are cut, and the error is context.DeadlineExceeded. It may be called at any moment, as Shutdown: on the
// loop both begin the end and return nil at once.
func (s *Server) Drain() error { return s.end(s.drain) }

// Shutdown ends the server as Drain does, in a time of its own: when ctx is done first, the connections that are left
// are cut, and the error is ctx's. It may be called at any moment: a server whose Run has not been called yet ends as
// soon as it is.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.end(func() error { return s.goodbye(ctx) })
}

// end ends the server after a goodbye, if it has started, and waits for Run.
func (s *Server) end(goodbye func() error) error {
	if s.loop.isHere() { // which it would wait for
		go func() { _ = s.end(goodbye) }() // it ends with Run
		return nil
	}
	s.beginDrain()
	var err error
	if s.started.Load() {
		err = goodbye()
	}
	if !s.stopping.Swap(true) {
		close(s.stop)
	}
	if s.started.Load() {
		<-s.stopped
	}
	return err
}

func (s *Server) beginDrain() { s.leaving.Do(func() { close(s.draining) }) }

// drain says goodbye in the time that the configuration allows.
func (s *Server) drain() error {
	s.beginDrain()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainWindow+s.cfg.CloseTimeout+drainGrace)
	defer cancel()
	err := s.goodbye(ctx)
	if err != nil {
		s.cfg.Logger.Warn("connections were cut", "error", err)
	}
	return err
}

// goodbye sends everybody away and waits until they are gone.
func (s *Server) goodbye(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.loop.mailbox.postUrgent(s.loop.drain) != nil { // it has ended by itself
		return nil
	}
	select {
	case <-s.loop.departure.done:
		return nil
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// departure is how everybody leaves when the server drains: one after the other over a window, so that those who come
// back at once do not all come at once.
type departure struct {
	draining bool
	at       int64 // loop time at which that began
	to       []*conn
	told     int           // of them
	done     chan struct{} // closed when nobody is left
	ended    bool
}

// underWay tells that there are some who have not been told yet.
func (d *departure) underWay() bool { return d.told < len(d.to) }

// drain begins the end: no new connections, and a goodbye for everybody.
func (l *loop) drain() {
	if l.departure.draining {
		return
	}
	l.departure.draining, l.departure.at = true, l.now
	l.stopListening()
	l.releaseHeld()
	l.gathered(true)
	for _, r := range l.routes {
		r.endDetached(CloseReason{CodeGoAway, reasonGoAway}) // there is nobody to tell
	}
	l.departure.to = append(l.departure.to, l.conns...)
	l.departSome()
	l.startPacer()
	l.arm()
}

// departSome says goodbye to as many as the window wants gone by now.
func (l *loop) departSome() {
	d := &l.departure
	window := max(l.cfg.DrainWindow, time.Millisecond).Milliseconds()
	due := int(int64(len(d.to)) * min(l.now-d.at+pacerInterval.Milliseconds(), window) / window)
	for ; d.told < due; d.told++ {
		if c := d.to[d.told]; !c.dead {
			c.protocol.goAway()
		}
		d.to[d.told] = nil
	}
}

func (l *loop) checkDrained() {
	if l.departure.draining && len(l.conns) == 0 && !l.departure.ended {
		l.departure.ended = true
		close(l.departure.done)
	}
}
