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

// gather keeps the topics that have sent something a short while ago from doing so again in this turn.
func (l *loop) gather() {
	now := time.Since(l.start)
	due := l.dirty[:0]
	for _, t := range l.dirty {
		if t.options.Gather > 0 && now < t.notBefore && !l.departure.begun {
			t.gathering = true
			l.gathering.topics = append(l.gathering.topics, t)
		} else {
			due = append(due, t)
		}
	}
	if waiting := len(l.dirty) - len(due); waiting > 0 {
		l.wakeGathered(now)
	}
	clear(l.dirty[len(due):])
	l.dirty = due
}

// sent notes that a topic's messages leave now.
func (t *Topic) sent() {
	if t.options.Gather > 0 {
		t.notBefore = time.Since(t.loop.start) + t.options.Gather
	}
}

// wakeGathered sets the timer to the first topic whose time comes.
func (l *loop) wakeGathered(now time.Duration) {
	first := time.Duration(0)
	for i, t := range l.gathering.topics {
		if i == 0 || t.notBefore < first {
			first = t.notBefore
		}
	}
	after := time.Duration(0) // stops it
	if len(l.gathering.topics) > 0 {
		after = max(first-now, time.Microsecond)
	}
	setTimer(l.gathering.timer, after)
}

// gathered has the topics whose time has come send at the end of the turn; all tells that everybody's has.
func (l *loop) gathered(all bool) {
	var count [8]byte
	_, _ = unix.Read(l.gathering.timer, count[:])
	now := time.Since(l.start)
	waiting := l.gathering.topics[:0]
	for _, t := range l.gathering.topics {
		if all || now >= t.notBefore {
			t.gathering = false
			l.dirty = append(l.dirty, t)
			l.arm()
		} else {
			waiting = append(waiting, t)
		}
	}
	clear(l.gathering.topics[len(waiting):])
	l.gathering.topics = waiting
	l.wakeGathered(now)
}

// hurry has a topic send in this turn, whatever it has to wait for.
func (t *Topic) hurry() {
	if t.gathering {
		t.notBefore = 0
		t.loop.gathered(false)
	}
}
