package server

import "container/list"

// route is a service, where it is, and its sessions over HTTP.
type route struct {
	prefix     string // "/echo"; no slash at the end
	service    Service
	options    Options
	ownOrigins bool // Handle gave it other origins than the configuration has: a reload leaves them
	iframe     page
	sessions   map[string]*fallback
	detached   list.List // sessions without a receiver (*fallback), the longest first
}

// timeOut ends the sessions that have been without a receiver for too long, the longest first, as many as the turn
// allows. True tells that there are more.
func (r *route) timeOut(l *loop) (more bool) {
	delay := r.options.DisconnectDelay.Milliseconds()
	for first := r.detached.Front(); first != nil; first = r.detached.Front() {
		f := first.Value.(*fallback)
		switch {
		case l.now-f.detachedAt < delay:
			return false
		case l.share.turn <= 0:
			return true
		}
		l.share.turn -= endCost
		if !f.told {
			f.loop.stats.SessionsTimedOut++
		}
		f.loop.guarded(f.breakOff)
	}
	return false
}

// endDetached ends the sessions without a receiver.
func (r *route) endDetached(reason CloseReason) {
	for _, f := range r.sessions {
		if f.receiver == nil {
			f.loop.guarded(func() { f.end(reason) })
		}
	}
}

// breakOff ends all sessions at once.
func (r *route) breakOff() {
	for _, f := range r.sessions {
		f.loop.guarded(f.breakOff)
	}
}
