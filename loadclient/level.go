package loadclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sockloop/sockloop/tuning"
)

// Level is a number of connections to a target, open and ready for trials. Its methods belong to one goroutine.
type Level struct {
	LevelConfig // with its defaults

	workers  []*worker
	plans    []chan trialPlan
	outcomes chan outcome
	resume   chan struct{} // lets a worker go on when what it measured has been read
	running  sync.WaitGroup
	ear      *ear
}

type outcome struct {
	end windowEnd
	err error
}

// observation is what was seen of server and machine during a window.
type observation struct {
	usage  *Usage
	noise  *Noise
	queues *Queues
}

// LevelConfig is how a level is opened.
type LevelConfig struct {
	Target      Target
	Connections int
	CPUs        tuning.CPUs   // one worker each, pinned; empty is one worker anywhere
	IDBase      int           // the first connection's id; ids are not reused while a server runs
	Probe       *ServerProbe  // of the server, nil for none
	Drain       time.Duration // how long the last messages may take after the window; 0 is the 5 s of 2011
	Threshold   float64       // mean round trip in ms from which a trial's rate is too high; 0 is the 200 ms of 2011
	Restart     bool          // the turn of the senders begins again each second, as in 2011
	Read        ReadPolicy    // empty is Prompt
	Verify      Verify        // empty is VerifyAll
	Publishers  int           // of the connections, the first so many send; 0 is all
	Room        int           // so many connections hear each other, one room after the other; 0 is all
}

// hearers is how many connections hear a message.
func (c *LevelConfig) hearers() int { return cmp.Or(c.Room, c.Connections) }

// senders is how many connections send.
func (c *LevelConfig) senders() int { return cmp.Or(c.Publishers, c.Connections) }

// Check says what cannot be.
func (c *LevelConfig) Check() error {
	switch {
	case c.Publishers < 0 || c.Publishers > c.Connections:
		return fmt.Errorf("%d publishers of %d connections: want at most as many (--publishers)",
			c.Publishers, c.Connections)
	case c.Room < 0 || c.Room > 0 && c.Connections%c.Room != 0:
		return fmt.Errorf("rooms of %d among %d connections: want a divisor of that (--rooms)", c.Room, c.Connections)
	case c.Room > 0 && c.Room < c.Connections && c.Publishers > 0:
		return errors.New("rooms and publishers: choose one, --rooms or --publishers")
	case c.Verify == VerifySample && c.Target.Protocol != SockJS:
		return fmt.Errorf("a sample can be verified of frames with many messages only, which is protocol %s", SockJS)
	case c.Verify == VerifySample && c.Target.TLS != nil:
		return errors.New("a sample cannot be verified over TLS, which must be decrypted whole: " +
			"use --verify all, or a target without TLS (ws:// or http://)")
	case c.Room == 0 && c.Target.perRoom():
		return fmt.Errorf("%s stands for the number of a room, and there are none: give their size with --rooms",
			roomPlace)
	}
	return nil
}

// OpenLevel opens all connections and starts the workers.
func OpenLevel(ctx context.Context, c LevelConfig) (*Level, error) {
	if c.Drain == 0 {
		c.Drain = drainTime
	}
	if c.Read == "" {
		c.Read = Prompt
	}
	if c.Threshold == 0 {
		c.Threshold = saturationRTT
	}
	c.Verify = cmp.Or(c.Verify, VerifyAll)
	if err := c.Check(); err != nil {
		return nil, err
	}
	l := &Level{LevelConfig: c, outcomes: make(chan outcome), resume: make(chan struct{}), ear: newEar(c.CPUs, c.Probe)}
	if err := l.open(ctx); err != nil {
		l.Close()
		return nil, err
	}
	for _, w := range l.workers {
		plans := make(chan trialPlan)
		l.plans = append(l.plans, plans)
		l.running.Go(func() { w.serve(plans, l.outcomes, l.resume) })
	}
	return l, nil
}

// open makes the workers, and deals the connections to them.
func (l *Level) open(ctx context.Context) error {
	cpus := l.CPUs
	if len(cpus) == 0 {
		cpus = tuning.CPUs{-1}
	}
	for _, cpu := range cpus[:min(len(cpus), l.Connections)] {
		w, err := newWorker(l.Target, cpu, l.IDBase)
		if err != nil {
			return err
		}
		l.workers = append(l.workers, w)
	}
	blockBytes := max(blockBytesMin, min(blockBytesMax, blockBytesMax*l.hearers()/l.Connections))
	conns, err := dialAll(ctx, l.Target, l.Connections, l.hearers())
	for i, d := range conns { // all of them, so that they are closed with their workers
		if adoptErr := l.adopt(d, i, blockBytes); err == nil { // one line says enough
			err = adoptErr
		}
	}
	if err != nil {
		return err
	}
	return l.settle(ctx)
}

// adopt gives a connection to its worker.
func (l *Level) adopt(d dialed, i, blockBytes int) error {
	w := l.workers[i%len(l.workers)]
	m := audience{i / l.hearers() * l.hearers(), l.hearers()}
	return w.adopt(d, i, w.reference(m, blockBytes))
}

// Close ends the workers and their connections.
func (l *Level) Close() {
	for _, p := range l.plans {
		close(p)
	}
	l.running.Wait()
	for _, w := range l.workers {
		w.close()
	}
}

// Trial sends at a rate, in messages a second over all connections, for a time, and reports what came of it. An error
// means that the target failed or the machine refused; whatever the server does otherwise is a result.
func (l *Level) Trial(rate float64, window time.Duration) (Trial, error) {
	return l.trial(l.sends(rate, window), window, func() {})
}

// Idle is a trial in which nothing is sent: what the server's connections cost by themselves.
func (l *Level) Idle(window time.Duration) (Trial, error) { return l.listen(window, func() {}) }

// sends is a schedule at a rate, or one without messages.
func (l *Level) sends(rate float64, window time.Duration) schedule {
	if rate == 0 {
		return schedule{connections: l.senders(), block: 1}
	}
	return newSchedule(rate, l.senders(), window, l.Restart)
}

// listen is a trial in which nothing is sent. begun is called when all workers count.
func (l *Level) listen(window time.Duration, begun func()) (Trial, error) {
	return l.trial(l.sends(0, window), window, begun)
}

func (l *Level) trial(s schedule, window time.Duration, begun func()) (Trial, error) {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no collection while it runs
	plan := trialPlan{schedule: s, start: time.Now().Add(settleTime), window: window, drain: l.Drain,
		spin: len(l.CPUs) > 0, relaxed: l.Read == Relaxed, sample: l.Verify == VerifySample}
	for _, p := range l.plans {
		p <- plan
	}
	begun()
	observed := make(chan observation, 1)
	go func() {
		time.Sleep(time.Until(plan.start))
		before, quiet := l.Probe.sample(), l.ear.sample()
		queues := l.watchQueues(plan.start, window)
		observed <- observation{l.Probe.since(before), l.ear.since(quiet), queues}
	}()
	var ends []windowEnd
	var failure error
	for range l.workers {
		o := <-l.outcomes
		if failure == nil { // one line says enough
			failure = o.err
		}
		ends = append(ends, o.end)
	}
	seen := <-observed
	l.noteLeft(seen.queues)
	defer func() {
		for range l.workers {
			l.resume <- struct{}{}
		}
	}()
	if failure != nil {
		return Trial{}, failure
	}
	return l.gather(plan, ends, seen), nil
}

// Live is what a trial has seen so far, for a display.
type Live struct {
	Bytes    int64
	Returned int64         // own messages
	RTTSum   time.Duration // of their round trips
}

// Live may be called while a trial runs, from any goroutine.
func (l *Level) Live() Live {
	var v Live
	var sum int64
	for _, w := range l.workers {
		v.Bytes += w.live.bytes.Load()
		v.Returned += w.live.returned.Load()
		sum += w.live.rttSum.Load()
	}
	v.RTTSum = time.Duration(sum)
	return v
}
