package loadclient

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/tuning"
)

// noiseProbe listens to the machine's noise. It hears nothing on CPUs that nobody is pinned to, where other processes
// may run as they like.
type noiseProbe struct {
	cpus   tuning.CPUs
	gauged tuning.CPUs // of them, those of which the speed is measured
	probe  *ServerProbe
	alone  bool          // nobody but client and server has business on the CPUs
	found  *speeds       // how fast the CPUs were
	least  time.Duration // what a piece of work takes on them at full speed, 0 if nobody has told
}

// found is how fast this process has found the machine's CPUs.
var found speeds

func newNoiseProbe(client tuning.CPUs, probe *ServerProbe, least time.Duration) *noiseProbe {
	server := probe.pinned()
	p := &noiseProbe{found: &found, least: least, probe: probe}
	p.alone = len(client) > 0 && (probe == nil || len(server) > 0)
	p.cpus = slices.Concat(client, server)
	slices.Sort(p.cpus)
	p.cpus = slices.Compact(p.cpus) // sets may overlap
	if p.alone {
		p.gauged = p.cpus.SteadyClocks() // others are slow when they have little to do
	}
	return p
}

type noiseSample struct {
	at   time.Time
	cpus tuning.CPUTime
	idle []time.Duration // of each CPU of which the speed is measured
	ours time.Duration
	ok   bool
}

func (p *noiseProbe) sample() (s noiseSample) {
	if len(p.cpus) == 0 {
		return s
	}
	var err error
	if s.cpus, err = p.cpus.Time(); err != nil {
		return s
	}
	for _, cpu := range p.gauged {
		t, err := tuning.CPUs{cpu}.Time()
		if err != nil {
			return s
		}
		s.idle = append(s.idle, t.Idle)
	}
	var self unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &self) != nil {
		return s
	}
	s.at, s.ok = time.Now(), true
	s.ours = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	if p.probe != nil && p.probe.pid != os.Getpid() {
		cpu, err := p.probe.cpu()
		s.ours, s.ok = s.ours+cpu, err == nil
	}
	return s
}

// during is the noise while something is done; nil when nothing could be heard.
func (p *noiseProbe) during(do func()) *Noise { return p.while(do, gaugeTime) }

// atWork is the noise while nothing is done but to keep the CPUs busy, as a trial does: their speed is another when
// they are idle.
func (p *noiseProbe) atWork(wait func()) *Noise { return p.while(wait, 0) }

func (p *noiseProbe) while(do func(), every time.Duration) *Noise {
	before, g := p.sample(), newGauge(p.gauged, every)
	do()
	took, now := g.stop(), p.sample()
	if !before.ok || !now.ok {
		return nil
	}
	return p.between(before, now, took)
}

// idleMax is the share of the time that a CPU may be idle for its speed to be compared. On one that is idle more the
// same piece of work takes longer, in a virtual machine too, which is told of no governor: 28 to 32 µs, and 25 when
// something of the lowest priority ran beside it.
const idleMax = 0.1

// between is the noise from one sample to the next. took is what a piece of work took meanwhile, on each gauged CPU.
func (p *noiseProbe) between(before, now noiseSample, took []time.Duration) *Noise {
	window := now.at.Sub(before.at)
	total := window.Seconds() * float64(len(p.cpus))
	n := &Noise{Stolen: (now.cpus.Stolen - before.cpus.Stolen).Seconds() / total}
	if p.alone {
		n.Others = max(0, ((now.cpus.Busy-before.cpus.Busy)-(now.ours-before.ours)).Seconds()/total)
	}
	judged := 0
	for i, cpu := range p.gauged {
		idle := now.idle[i] - before.idle[i]
		if took[i] > 0 && idle.Seconds() <= idleMax*window.Seconds() {
			n.Slowed = max(n.Slowed, p.found.slowed(cpu, speed{now.at, took[i]}, window, p.least))
			n.Work = max(n.Work, float64(took[i])/1000)
			judged++
		}
	}
	if judged < len(p.gauged) { // the slowest may be one of the others
		n.Work = 0
	}
	return n
}

// tooMuch says what noise is too much for a measurement; empty is that it is not, or that nothing was heard.
func tooMuch(n *Noise) string {
	switch {
	case n == nil:
	case n.Stolen > stolenMax:
		return fmt.Sprintf("the hypervisor took %.0f %% of the CPUs' time", 100*n.Stolen)
	case n.Others > othersMax:
		return fmt.Sprintf("other processes took %.0f %% of the CPUs' time", 100*n.Others)
	case n.Slowed > slowedMax:
		return fmt.Sprintf("a CPU had %.0f %% of the speed that it had before", 100*(1-n.Slowed))
	case n.Waited > waitedMax:
		return fmt.Sprintf("the client waited for its CPU %.0f %% of the time", 100*n.Waited)
	}
	return ""
}

// threads are this process's, as procfs has processes.
const threads = "/proc/self/task"

// waited is how long a thread of this process was ready to run and did not; 0 if that cannot be read.
func waited(tid int) time.Duration {
	fs, err := procfs.NewFS(threads)
	if err != nil {
		return 0
	}
	thread, err := fs.Proc(tid)
	if err != nil {
		return 0
	}
	s, err := thread.Schedstat()
	if err != nil {
		return 0
	}
	return time.Duration(s.WaitingNanoseconds)
}
