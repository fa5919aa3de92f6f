package server

import "time"

// departure is how everybody leaves when the server drains: one after the other over a window, so that those who come
// back at once do not all come at once.
type departure struct {
	begun bool
	at    int64 // loop time at which it began
	to    []*conn
	told  int           // of them
	done  chan struct{} // closed when nobody is left
	ended bool
}

// underWay tells that there are some who have not been told yet.
func (d *departure) underWay() bool { return d.told < len(d.to) }

// drain begins the end: no new connections, and a goodbye for everybody.
func (l *loop) drain() {
	if l.departure.begun {
		return
	}
	l.departure.begun, l.departure.at = true, l.now
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
	if l.departure.begun && len(l.conns) == 0 && !l.departure.ended {
		l.departure.ended = true
		close(l.departure.done)
	}
}
