package loadclient

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

// gauge measures how fast CPUs are while a trial runs. A virtual machine's CPU may be one of the two threads of a core,
// and the other somebody else's: then it has down to half of its speed, for milliseconds to minutes, and nothing is
// counted as stolen.
type gauge struct {
	cpus    tuning.CPUs
	every   time.Duration
	done    chan struct{}
	running sync.WaitGroup
	took    [][]time.Duration // on each of them, what pieces of work took
}

const (
	// gaugeTime is how often pieces of work are done. Each takes 15 to 40 µs, which is a 250th of the time at most.
	gaugeTime   = 30 * time.Millisecond
	gaugePieces = 3 // in a row, of which the least counts
	gaugeRounds = 20_000
)

// newGauge does pieces of work on each CPU every so often; 0 is without a rest.
func newGauge(cpus tuning.CPUs, every time.Duration) *gauge {
	g := &gauge{cpus: cpus, every: every, done: make(chan struct{}), took: make([][]time.Duration, len(cpus))}
	for i, cpu := range cpus {
		g.running.Go(func() { g.took[i] = g.measure(cpu) })
	}
	return g
}

func (g *gauge) measure(cpu int) (took []time.Duration) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and its affinity with it
	if tuning.PinThread(tuning.CPUs{cpu}) != nil {
		return nil
	}
	now := make(chan time.Time) // closed it is always ready: no rest
	close(now)
	next := (<-chan time.Time)(now)
	if g.every > 0 {
		t := time.NewTicker(g.every)
		defer t.Stop()
		next = t.C
	}
	for {
		select {
		case <-g.done:
			if len(took) == 0 { // it was short
				took = append(took, undisturbed(work))
			}
			return took
		case <-next:
			took = append(took, undisturbed(work))
		}
	}
}

// stop ends the measuring, and tells what a piece of work took, on each CPU; 0 if it cannot be measured. It is the
// harmonic mean, so that twice as long is half of the speed: a neighbour comes and goes within milliseconds. Pieces
// that took less than half of the median are left out: a thread's clock may jump, and one would outweigh all others.
func (g *gauge) stop() (means []time.Duration) {
	close(g.done)
	g.running.Wait()
	for _, took := range g.took {
		if len(took) == 0 {
			means = append(means, 0)
			continue
		}
		slices.Sort(took)
		jumped := took[len(took)/2] / 2
		took = slices.DeleteFunc(took, func(t time.Duration) bool { return t < jumped })
		speed := 0.
		for _, t := range took {
			speed += 1 / float64(max(t, 1))
		}
		means = append(means, time.Duration(float64(len(took))/speed))
	}
	return means
}

// undisturbed is the least time of a few pieces in a row. The first has cold caches, and the kernel counts interrupts
// as time of the thread that they interrupt, which would look like a slow CPU where a server wakes the client often.
// What a neighbour takes in bursts shorter than all pieces together is hidden with them.
func undisturbed(do func() uint64) time.Duration {
	least := timed(do)
	for range gaugePieces - 1 {
		least = min(least, timed(do))
	}
	return least
}

// timed is the CPU time that a thread takes for something: what other threads do on its CPU meanwhile is not in it.
func timed(do func() uint64) time.Duration {
	before := threadTime()
	do()
	return threadTime() - before
}

func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // it has no errors with this clock
	return time.Duration(t.Nano())
}

// work is always the same, and keeps several of a core's units busy, which two threads of the core share.
//
//go:noinline
func work() (sum uint64) {
	a, b, c, d := uint64(1), uint64(2), uint64(3), uint64(4)
	for i := range uint64(gaugeRounds) {
		a, b = a+(b^i), b+(a>>3)
		c, d = c+(d^i), d+(c>>3)
	}
	return a ^ b ^ c ^ d
}

// speeds are how fast this process has found CPUs lately.
type speeds struct {
	mu   sync.Mutex
	seen map[int][]speed // by CPU, in the order of time
}

type speed struct {
	at   time.Time
	took time.Duration
}

// speedMemory is for how long a CPU's best speed is what it can be expected to have: longer than a neighbour's burst,
// shorter than it takes to wait for a processor that has become warm.
const speedMemory = 2 * time.Minute

// slowed is the share of its best speed that a CPU has lost: of that lately, or of an earlier one at which a piece of
// work took the least; 0 is none. The window is for how long its speed now was measured.
func (s *speeds) slowed(cpu int, now speed, window, least time.Duration) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[int][]speed{}
	}
	s.seen[cpu] = slices.DeleteFunc(s.seen[cpu], func(x speed) bool { return now.at.Sub(x.at) > speedMemory })
	best := now.took
	if least > 0 {
		best = min(best, least)
	}
	for _, x := range s.seen[cpu] {
		best = min(best, x.took)
	}
	if window >= results.GaugedMin {
		s.seen[cpu] = append(s.seen[cpu], now)
	}
	return 1 - float64(best)/float64(now.took)
}
