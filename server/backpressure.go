package server

import (
	"slices"
	"time"
)

// pacerInterval is how often those who wait for their rate, for room in a log, or for their own client are looked at.
const pacerInterval = 10 * time.Millisecond

// backpressure is what a session's next message has to wait for: its rate, room in a log, or its own client; zero is
// nothing.
type backpressure struct {
	rate   *rate    // that must allow it
	full   *Topic   // whose log must have room
	unread *Topic   // that the client of behind must take
	behind *Session // nil if unread is
}

func (b backpressure) none() bool { return b == backpressure{} }

// over tells that the wait for a rate, or for the session's own client, has ended.
func (b backpressure) over(now int64) bool {
	if b.rate != nil {
		b.rate.fill(now)
		return b.rate.has()
	}
	return !b.behind.isBehind(b.unread, caughtUpShare)
}

// publisher is a connection that waits until its session may publish again.
type publisher struct {
	c     *conn
	until backpressure
}

func (p *publisher) release() {
	p.c.release(holdPublisher)
	p.c.release(holdReader)
}

// A session that publishes may be behind with its own reading by a part of a log, and goes on when it is behind by a
// smaller one. Readers are judged when a log is full: nobody is to fall off one that he fills himself, with a client
// that sends before it reads.
const (
	behindShare   = 2
	caughtUpShare = 4
)

// isBehind tells whether the client of a session that is open has more than that part of a topic's log left to take.
func (s *Session) isBehind(t *Topic, share int) bool {
	return s.state == open && s.outflow.Unread(t.log) > s.loop.cfg.LogBytesMax/share
}

// holdBack lets a connection wait whose session published too fast. It is not read meanwhile, so TCP slows its peer,
// and nothing is lost.
func (l *loop) holdBack(c *conn, b backpressure) {
	if l.departure.draining { // everybody is to finish
		return
	}
	l.stats.PublishersHeld++
	why := holdPublisher
	if b.behind != nil {
		why = holdReader
	}
	if c.wait(why); b.full != nil {
		l.awaitRoom(b.full, c)
		return
	}
	l.heldPublishers = append(l.heldPublishers, publisher{c, b})
	l.startPacer()
}

// awaitRoom has somebody wait for room in the log of a topic.
func (l *loop) awaitRoom(t *Topic, w waiter) {
	t.waiting = append(t.waiting, w)
	if !t.awaited {
		t.awaited = true
		l.fullTopics = append(l.fullTopics, t)
	}
	l.startPacer()
}

// roomMade lets a connection go on that waited for the readers of a topic.
func (c *conn) roomMade() { c.release(holdPublisher) }

// gone tells that the connection has died.
func (c *conn) gone() bool { return c.dead }

// startPacer starts the timer that looks at those who wait.
func (l *loop) startPacer() {
	if l.pacing {
		return
	}
	l.pacing = true
	l.pacer.set(pacerInterval)
}

// pacerTick is that look; the timer stops when nobody waits any more.
func (l *loop) pacerTick() {
	l.pacer.clear()
	l.releasePaced()
	l.makeRoom()
	l.departSome()
	if len(l.heldPublishers) == 0 && len(l.fullTopics) == 0 && !l.departure.underWay() {
		l.pacing = false
		l.pacer.set(0)
	}
}

// releasePaced releases the publishers whose rate allows them to go on, or whose clients have taken what was published.
func (l *loop) releasePaced() {
	waiting := l.heldPublishers[:0]
	for _, p := range l.heldPublishers {
		if p.c.dead || p.until.over(l.now) {
			p.release()
		} else {
			waiting = append(waiting, p)
		}
	}
	clear(l.heldPublishers[len(waiting):])
	l.heldPublishers = waiting
}

// makeRoom releases the publishers of topics whose readers have caught up, or were too slow to be waited for.
func (l *loop) makeRoom() {
	waiting := l.fullTopics[:0]
	for _, t := range l.fullTopics {
		if t.log.Full() {
			t.forgetGone()
			waiting = append(waiting, t)
		} else {
			t.release()
		}
	}
	clear(l.fullTopics[len(waiting):])
	l.fullTopics = waiting
}

// forgetGone lets go of those who have died waiting, and of what they keep.
func (t *Topic) forgetGone() {
	t.waiting = slices.DeleteFunc(t.waiting, func(w waiter) bool { return w.gone() })
}

// releaseHeld lets all publishers go on.
func (l *loop) releaseHeld() {
	for i := range l.heldPublishers {
		l.heldPublishers[i].release()
	}
	for _, t := range l.fullTopics {
		t.release()
	}
	l.heldPublishers, l.fullTopics = nil, nil
}

// release lets a topic's publishers go on.
func (t *Topic) release() {
	t.awaited = false
	for _, w := range t.waiting {
		w.roomMade()
	}
	t.waiting = nil
}
