package server

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// saturation is how near the loop is to what it can do, looked at every saturationInterval.
type saturation struct {
	turnBegan time.Duration // loop time of the event that the open turn began with
	squares   float64       // of the lengths of the turns since the last look, in seconds
	lookedAt  time.Duration
	turns     Histogram // Stats.TurnSeconds as of the last look

	busy  float64       // share of the time between the last two looks in which the loop was not waiting
	wait  time.Duration // how long messages waited for their turn, between the last two looks
	since int64         // loop time since which that was always too long; 0 is that it is not

	schedstat int           // descriptor of the thread's; negative where there is none
	ran       time.Duration // time that the thread has run or wanted to, as of the last look
}

const (
	saturationInterval = time.Second
	// recovered is the part of Config.TurnTarget below which a loop that was saturated is so no more.
	recovered = 0.8
)

// open begins to look after the calling thread, the loop's.
func (s *saturation) open(now time.Duration) {
	path := fmt.Sprintf("/proc/self/task/%d/schedstat", unix.Gettid())
	s.schedstat, _ = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	s.lookedAt, s.ran = now, s.runTime()
}

func (s *saturation) close() {
	if s.schedstat >= 0 {
		_ = unix.Close(s.schedstat)
	}
}

// runTime is how long the loop's thread has run, or waited for a CPU while it had something to do.
func (s *saturation) runTime() time.Duration {
	var buf [128]byte
	if n, err := unix.Pread(s.schedstat, buf[:], 0); err == nil {
		if f := bytes.Fields(buf[:n]); len(f) >= 2 {
			ran, _ := strconv.ParseInt(string(f[0]), 10, 64)
			waited, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return time.Duration(ran + waited)
		}
	}
	var ts unix.Timespec // a kernel without statistics of its scheduler
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}

// turnMayBegin takes the time of an event that may be the one to arm a flush: nothing runs by a clock that is older
// than its turn.
func (l *loop) turnMayBegin() {
	if !l.armed {
		l.saturation.turnBegan = time.Since(l.start)
		l.readClock(l.saturation.turnBegan)
	}
}

// turnEnded counts a turn from the event that armed its flush to the moment at which everything had been sent.
func (l *loop) turnEnded() {
	s, now := &l.saturation, time.Since(l.start)
	seconds := (now - s.turnBegan).Seconds()
	l.stats.TurnSeconds.observe(seconds)
	s.squares += seconds * seconds
	s.turnBegan = now // what is on its way already began here
}

// lookAtSaturation takes stock, on the loop's tick. A message that comes at any moment finds a turn of length d with a
// probability of d in the time between two looks: so the mean turn that it finds is the sum of the squares, over that
// time, and nothing where the loop waited.
func (l *loop) lookAtSaturation() {
	s := &l.saturation
	elapsed := l.elapsed - s.lookedAt
	if elapsed < saturationInterval {
		return
	}
	ran := s.runTime()
	s.busy = min(float64(ran-s.ran)/float64(elapsed), 1)
	s.wait = time.Duration(s.squares / elapsed.Seconds() * float64(time.Second))
	l.adaptGather(&s.turns)
	s.ran, s.squares, s.lookedAt, s.turns = ran, 0, l.elapsed, l.stats.TurnSeconds
	switch level := l.saturationLevel(); {
	case level >= 1 && s.since == 0:
		s.since = max(l.now, 1)
	case level < recovered:
		s.since = 0
	}
}

// saturationLevel is how long messages wait for their turn, as a part of what they may.
func (l *loop) saturationLevel() float64 {
	return float64(l.saturation.wait) / float64(l.cfg.TurnTarget)
}

// overloaded tells that the loop is beyond its saturation: for OverloadAfter there have always been publishers that
// waited for the next turn, or turns have been longer than TurnTarget.
func (l *loop) overloaded() bool {
	for _, since := range []int64{l.share.spentSince, l.saturation.since} {
		if since > 0 && l.now-since >= l.cfg.OverloadAfter.Milliseconds() {
			return true
		}
	}
	return false
}

func (l *loop) reportSaturation(st *Stats) {
	st.Busy, st.TurnWait, st.Saturation = l.saturation.busy, l.saturation.wait, l.saturationLevel()
	st.Gather = l.gathering.longest
	st.Overloaded, st.Draining = l.overloaded(), l.departure.draining
}
