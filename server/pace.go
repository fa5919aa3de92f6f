package server

import (
	"time"

	"golang.org/x/sys/unix"
)

// rate is what a session may still publish: two buckets that fill with time, of one second's worth each. What overdraws
// them is delivered; what comes next waits until they are filled again.
type rate struct {
	messages, bytes       float64
	messagesMax, bytesMax float64 // a second; 0 is no limit
	at                    int64
}

func (r *rate) begin(now int64, cfg *Config) {
	r.messagesMax, r.bytesMax, r.at = float64(cfg.PublishRate), float64(cfg.PublishBytes), now
	r.messages, r.bytes = r.messagesMax, r.bytesMax
}

// spend takes a message of so many bytes, and tells whether another may follow.
func (r *rate) spend(bytes int, now int64) bool {
	if r.messagesMax == 0 && r.bytesMax == 0 {
		return true
	}
	r.fill(now)
	r.messages--
	r.bytes -= float64(bytes)
	return r.has()
}

func (r *rate) fill(now int64) {
	seconds := float64(now-r.at) / float64(time.Second/time.Millisecond)
	r.at = now
	r.messages = min(r.messages+seconds*r.messagesMax, r.messagesMax)
	r.bytes = min(r.bytes+seconds*r.bytesMax, r.bytesMax)
}

func (r *rate) has() bool {
	return (r.messagesMax == 0 || r.messages > 0) && (r.bytesMax == 0 || r.bytes > 0)
}

// pacerInterval is how often those who wait for their rate, or for room in a log, are looked at.
const pacerInterval = 10 * time.Millisecond

// publisher is a connection that waits until its session may publish again.
type publisher struct {
	c    *conn
	rate *rate
}

// holdBack lets a connection wait whose session published too fast: for its own rate, or for the readers of a topic. It
// is not read meanwhile, so TCP slows its peer, and nothing is lost.
func (l *loop) holdBack(c *conn) {
	if l.departure.begun { // everybody is to finish
		l.heldBy = nil
		return
	}
	l.stats.PublishersHeld++
	c.wait(holdPublisher)
	if t := l.heldBy; t != nil {
		l.heldBy = nil
		t.waiting = append(t.waiting, c)
		if !t.awaited {
			t.awaited = true
			l.fullTopics = append(l.fullTopics, t)
		}
	} else {
		l.paced = append(l.paced, publisher{c, l.overRate})
	}
	l.startPacer()
}

// startPacer starts the timer that looks at those who wait.
func (l *loop) startPacer() {
	if l.pacing {
		return
	}
	l.pacing = true
	setTimer(l.pacer, pacerInterval)
}

// pacerTick is that look; the timer stops when nobody waits any more.
func (l *loop) pacerTick() {
	var count [8]byte
	_, _ = unix.Read(l.pacer, count[:])
	l.readClock(time.Since(l.start))
	l.resumePaced()
	l.makeRoom()
	l.departSome()
	if len(l.paced) == 0 && len(l.fullTopics) == 0 && !l.departure.underWay() {
		l.pacing = false
		setTimer(l.pacer, 0)
	}
}

// resumePaced releases the publishers whose rate allows them to go on.
func (l *loop) resumePaced() {
	waiting := l.paced[:0]
	for _, p := range l.paced {
		if p.rate.fill(l.now); p.rate.has() || p.c.dead {
			p.c.release(holdPublisher)
		} else {
			waiting = append(waiting, p)
		}
	}
	clear(l.paced[len(waiting):])
	l.paced = waiting
}

// makeRoom releases the publishers of topics whose readers have caught up, or were too slow to be waited for.
func (l *loop) makeRoom() {
	waiting := l.fullTopics[:0]
	for _, t := range l.fullTopics {
		if t.log.Full() {
			waiting = append(waiting, t)
		} else {
			t.release()
		}
	}
	clear(l.fullTopics[len(waiting):])
	l.fullTopics = waiting
}

// releaseHeld lets all publishers go on.
func (l *loop) releaseHeld() {
	for _, p := range l.paced {
		p.c.release(holdPublisher)
	}
	for _, t := range l.fullTopics {
		t.release()
	}
	l.paced, l.fullTopics = nil, nil
}

// release lets a topic's publishers go on.
func (t *Topic) release() {
	t.awaited = false
	for _, c := range t.waiting {
		c.release(holdPublisher)
	}
	t.waiting = nil
}

// setTimer sets a timerfd to an interval; 0 stops it.
func setTimer(fd int, every time.Duration) {
	interval := unix.NsecToTimespec(every.Nanoseconds())
	_ = unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: interval, Value: interval}, nil)
}
