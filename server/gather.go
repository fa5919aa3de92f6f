package server

import "time"

// gathering are the topics whose messages wait for their time: see TopicOptions.Gather.
type gathering struct {
	topics []*Topic
	timer  eventFD // of the first whose time comes

	longest time.Duration // of those that gather as long as Config.GatherP99 allows
}

// GatherAuto has a topic gather as long as Config.GatherP99 allows.
const GatherAuto time.Duration = -1

// What a message waits for, beside the time for which it is gathered: the end of the turn that it comes in, and of the
// one that its time finds, and its own. A tenth is for what is no work of the loop's.
const (
	gatherTurns  = 3
	gatherMargin = 10
)

// adaptGather lets messages be gathered for what is left of Config.GatherP99 beside the turns: those since before, but
// for the longest that make a hundredth of the time. Larger batches make longer turns, so it goes half of the way.
func (l *loop) adaptGather(before *Histogram) {
	if l.cfg.GatherP99 == 0 {
		return
	}
	turn := time.Duration(l.stats.TurnSeconds.longest(before, 0.01) * float64(time.Second))
	allowed := max(l.cfg.GatherP99-l.cfg.GatherP99/gatherMargin-gatherTurns*turn, 0)
	l.gathering.longest += (allowed - l.gathering.longest) / 2
}

// gather keeps the topics that have sent something a short while ago from doing so again now.
func (l *loop) gather() {
	due := l.dirty[:0]
	for _, t := range l.dirty {
		if l.elapsed < t.notBefore && !l.departure.draining {
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
	gather := t.options.Gather
	if gather == GatherAuto {
		gather = t.loop.gathering.longest
	}
	t.notBefore = t.loop.elapsed + gather
	if t.remote != nil {
		t.remote.flush()
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
	l.gathering.timer.set(after)
}

// gatherTick looks who need not wait any more.
func (l *loop) gatherTick() {
	l.gathering.timer.clear()
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
