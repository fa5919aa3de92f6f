package server

import (
	"time"

	"golang.org/x/sys/unix"
)

// gathering are the topics whose messages wait for their time: see TopicOptions.Gather.
type gathering struct {
	topics []*Topic
	timer  int // timerfd of the first whose time comes
}

// gather keeps the topics that have sent something a short while ago from doing so again now.
func (l *loop) gather() {
	due := l.dirty[:0]
	for _, t := range l.dirty {
		if l.elapsed < t.notBefore && !l.departure.begun {
			t.gathering = true
			l.gathering.topics = append(l.gathering.topics, t)
		} else {
			due = append(due, t)
		}
	}
	if len(due) < len(l.dirty) {
		clear(l.dirty[len(due):])
		l.dirty = due
		l.wakeGathered()
	}
}

// sent notes that a topic's messages leave now, and has the broker take its own too.
func (t *Topic) sent() {
	t.notBefore = t.loop.elapsed + t.options.Gather
	if t.remote != nil {
		t.remote.handOn()
	}
}

// wakeGathered sets the timer to the first topic whose time comes.
func (l *loop) wakeGathered() {
	first := time.Duration(0)
	for i, t := range l.gathering.topics {
		if i == 0 || t.notBefore < first {
			first = t.notBefore
		}
	}
	after := time.Duration(0) // stops it
	if len(l.gathering.topics) > 0 {
		after = max(first-l.elapsed, time.Microsecond)
	}
	setTimer(l.gathering.timer, after)
}

// gatherTick looks who need not wait any more.
func (l *loop) gatherTick() {
	var count [8]byte
	_, _ = unix.Read(l.gathering.timer, count[:])
	l.readClock(time.Since(l.start))
	l.gathered(false)
}

// gathered has the topics whose time has come send at the end of the turn; all tells that everybody's has.
func (l *loop) gathered(all bool) {
	waiting := l.gathering.topics[:0]
	for _, t := range l.gathering.topics {
		if all || l.elapsed >= t.notBefore {
			t.gathering = false
			l.dirty = append(l.dirty, t)
			l.arm()
		} else {
			waiting = append(waiting, t)
		}
	}
	clear(l.gathering.topics[len(waiting):])
	l.gathering.topics = waiting
	l.wakeGathered()
}

// hurry has a topic send now, whatever it has to wait for.
func (t *Topic) hurry() {
	if t.notBefore = 0; t.gathering {
		t.loop.gathered(false)
	}
}
