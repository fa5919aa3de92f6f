package loadclient

import (
	"context"
	"errors"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockloop/sockloop/tuning"
)

// Share is what a process opens of a level's connections. They are dealt one by one: of so many processes, the one with
// a number, from 0 on, has every connection whose index modulo so many is that. The zero value is all.
type Share struct{ Number, Of int }

// indexes are the share's of n connections.
func (s Share) indexes(n int) []int {
	var all []int
	for i := s.Number; i < n; i += max(1, s.Of) {
		all = append(all, i)
	}
	return all
}

// has tells whether a connection is in the share.
func (s Share) has(index int) bool { return index%max(1, s.Of) == s.Number }

// local is the part of a level that is in this process.
type local struct {
	LevelConfig
	probe   *noiseProbe
	workers []*worker
	running sync.WaitGroup
	calls
	ended atomic.Bool // the workers are to leave whatever they do

	plan      trialPlan // of the present trial
	start     time.Time
	ends      []windowEnd
	observed  chan observation
	collector int // GC percentage when there is no trial
}

// calls are what a part and its workers have to say to each other in a trial. The first three are each worker's own.
type calls struct {
	plans    []chan trialPlan
	starts   []chan time.Time
	ready    chan struct{} // a worker counts from here on
	outcomes chan outcome
	resume   chan struct{} // what it measured has been read
	done     chan struct{} // closed when the workers are to leave
}

type outcome struct {
	worker int
	end    windowEnd
	err    error
}

// observation is what was seen of the machine during a window.
type observation struct {
	noise  *Noise
	queues Queues
}

// errEnded is what a worker's trial ends with when its level does.
var errEnded = errors.New("the level has ended")

func newLocal(c LevelConfig) *local {
	return &local{LevelConfig: c, probe: newNoiseProbe(c.CPUs, c.Probe, c.Work), collector: collectorOn, calls: calls{
		ready: make(chan struct{}), outcomes: make(chan outcome),
		resume: make(chan struct{}), done: make(chan struct{}),
	}}
}

// collectorOn says that the collector runs.
const collectorOn = math.MinInt

// open makes the workers, and deals the connections to them.
func (l *local) open(ctx context.Context) error {
	cpus := l.CPUs
	if len(cpus) == 0 {
		cpus = tuning.CPUs{-1}
	}
	indexes := l.Share.indexes(l.Connections)
	l.Target.receiveBuffer = tuning.ReceiveBuffer(len(indexes) * Sockets(l.Target.Protocol)) // opened again later, too
	for _, cpu := range cpus[:min(len(cpus), len(indexes))] {
		w, err := newWorker(l.Target, cpu, l.IDBase)
		if err != nil {
			return err
		}
		w.share, w.ended = l.Share, &l.ended
		l.workers = append(l.workers, w)
	}
	blockBytes := max(blockBytesMin, min(blockBytesMax, blockBytesMax*l.Hearers()/l.Connections))
	conns, err := dialAll(ctx, l.Target, indexes, l.Hearers(), l.Restart)
	for i, d := range conns { // all of them, so that they are closed with their workers
		if adoptErr := l.adopt(d, l.workers[i%len(l.workers)], blockBytes); err == nil { // one line says enough
			err = adoptErr
		}
	}
	return err
}

// adopt gives a connection to a worker.
func (l *local) adopt(d dialed, w *worker, blockBytes int) error {
	m := audience{d.index / l.Hearers() * l.Hearers(), l.Hearers()}
	return w.adopt(d, d.index, w.reference(m, blockBytes))
}

// settle hears the server out, and starts the workers.
func (l *local) settle(ctx context.Context) error {
	if err := l.hearOut(ctx); err != nil {
		return err
	}
	for range l.workers {
		l.plans = append(l.plans, make(chan trialPlan))
		l.starts = append(l.starts, make(chan time.Time, 1))
	}
	for i, w := range l.workers {
		l.running.Go(func() { w.serve(i, l.calls) })
	}
	return nil
}

// close ends the workers and their connections.
func (l *local) close() {
	l.ended.Store(true)
	close(l.done)
	l.running.Wait()
	for _, w := range l.workers {
		w.close()
	}
	l.collect()
}

// collect lets the collector run again, which rests while there is a trial.
func (l *local) collect() {
	if l.collector != collectorOn {
		debug.SetGCPercent(l.collector)
		l.collector = collectorOn
	}
}

// prepare has the workers count from here on.
func (l *local) prepare(_ context.Context, p trialPlan) error {
	runtime.GC()
	l.collector = debug.SetGCPercent(-1)
	p.spin, p.relaxed, p.sample = len(l.CPUs) > 0, l.Read == Relaxed, l.Verify == VerifySample
	l.plan = p
	for _, plans := range l.plans {
		plans <- p
	}
	for range l.workers {
		<-l.ready
	}
	return nil
}

// begin gives the workers the word.
func (l *local) begin(context.Context) error {
	l.start = time.Now().Add(settleTime)
	for _, starts := range l.starts {
		starts <- l.start
	}
	observed := make(chan observation, 1)
	l.observed = observed
	start, window := l.start, l.plan.window
	l.running.Go(func() {
		l.sleep(start)
		var o observation
		o.noise = l.probe.during(func() { o.queues = l.watchQueues(start, window) })
		observed <- o
	})
	return nil
}

// sleep sleeps until a time, or until the level ends.
func (l *local) sleep(until time.Time) {
	select {
	case <-time.After(time.Until(until)):
	case <-l.done:
	}
}

// measure waits for the end of the trial. When the context ends it does at once.
func (l *local) measure(ctx context.Context) (m measurement, err error) {
	stop := context.AfterFunc(ctx, func() { l.ended.Store(true) })
	defer stop()
	l.ends = make([]windowEnd, len(l.workers))
	for range l.workers {
		o := <-l.outcomes
		if err == nil { // one line says enough
			err = o.err
		}
		l.ends[o.worker] = o.end
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return m, err
	}
	return l.measured(<-l.observed), nil
}

// check compares what each connection received with what was sent. One that has not finished is not compared: what it
// misses may still come.
func (l *local) check(_ context.Context, a account) (integrity, error) {
	result := l.integrity(a)
	for range l.workers {
		l.resume <- struct{}{}
	}
	l.collect()
	return result, nil
}

func (l *local) noise(ctx context.Context, d time.Duration) (n *Noise, err error) {
	n = l.probe.atWork(func() { err = wait(ctx, d) })
	return n, err
}

func (l *local) live() Live {
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
