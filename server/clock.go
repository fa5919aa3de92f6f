package server

import "time"

const (
	// stallMax is how much of the time between two readings of the clock is loop time, by which all timeouts go. The
	// tick comes more often, so what is beyond it the process did not run: the machine was suspended, or somebody
	// stopped it. What clients have said meanwhile is still to be read.
	stallMax = time.Second
	// stepMax is how much of it counts against readers, in milliseconds.
	stepMax = 250
)

// readClock takes the time. Nobody is silent or slow because the loop was: what a turn took beyond stepMax does not
// count against readers, who could be sent nothing meanwhile, and what it took beyond stallMax against nobody.
func (l *loop) readClock(sinceStart time.Duration) {
	l.time += min(sinceStart-l.elapsed, stallMax)
	l.elapsed = sinceStart
	now := l.time.Milliseconds()
	l.readerClock += min(now-l.now, stepMax)
	l.now = now
}

// tickInterval is an eighth of the shortest timeout: no timeout is late by more.
func (l *loop) tickInterval() time.Duration {
	shortest := min(l.cfg.HandshakeTimeout, l.cfg.KeepAliveTimeout, l.cfg.PongTimeout, l.cfg.CloseTimeout)
	for _, r := range l.routes {
		shortest = min(shortest, r.options.HeartbeatDelay, r.options.DisconnectDelay)
	}
	return min(max(shortest/8, time.Millisecond), tickMax)
}

const tickMax = 500 * time.Millisecond

// timeOut ends the sessions over HTTP that nobody asks for any more, and goes on with it in the next turn if they are
// many.
func (l *loop) timeOut() {
	l.timingOut = false
	for _, r := range l.routes {
		if r.timeOut(l) {
			l.timingOut = true
			l.arm()
		}
	}
}

// tick looks at every timeout.
func (l *loop) tick() {
	l.timer.clear()
	l.readClock(time.Since(l.start))
	for _, c := range l.conns {
		if !c.dead {
			c.protocol.tick()
		}
	}
	l.timeOut()
	l.lookAtSaturation()
	l.listenAgain()
	l.brokerSide.tick()
	l.giveBack()
	l.arm()
}
