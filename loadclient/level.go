package loadclient

import (
	"context"
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
	usage *Usage
	noise *Noise
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
}

// ReadPolicy is when the client reads what has arrived. It changes what sending costs the server on the same machine,
// so results are comparable only with the same policy.
type ReadPolicy string

const (
	Prompt  ReadPolicy = "prompt"  // as soon as there is something
	Relaxed ReadPolicy = "relaxed" // what has gathered, at most every millisecond
)

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
	conns, err := dialAll(ctx, l.Target, l.Connections)
	for i, d := range conns { // all of them, so that they are closed with their workers
		if adoptErr := l.workers[i%len(l.workers)].adopt(d, i); err == nil { // one line says enough
			err = adoptErr
		}
	}
	if err != nil {
		return err
	}
	return l.settle(ctx)
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
	return l.trial(newSchedule(rate, l.Connections, window, l.Restart), window, func() {})
}

// Idle is a trial in which nothing is sent: what the server's connections cost by themselves.
func (l *Level) Idle(window time.Duration) (Trial, error) { return l.listen(window, func() {}) }

// listen is a trial in which nothing is sent. begun is called when all workers count.
func (l *Level) listen(window time.Duration, begun func()) (Trial, error) {
	return l.trial(schedule{connections: l.Connections, block: 1}, window, begun)
}

func (l *Level) trial(s schedule, window time.Duration, begun func()) (Trial, error) {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no collection while it runs
	plan := trialPlan{schedule: s, start: time.Now().Add(settleTime), window: window, drain: l.Drain, spin: len(l.CPUs) > 0, relaxed: l.Read == Relaxed}
	for _, p := range l.plans {
		p <- plan
	}
	begun()
	observed := make(chan observation, 1)
	go func() {
		time.Sleep(time.Until(plan.start))
		before, quiet := l.Probe.sample(), l.ear.sample()
		time.Sleep(time.Until(plan.start.Add(window)))
		observed <- observation{l.Probe.since(before), l.ear.since(quiet)}
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
