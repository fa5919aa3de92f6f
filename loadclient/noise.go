package loadclient

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/tuning"
)

// noiseProbe listens to the machine's noise. It hears nothing on CPUs that nobody is pinned to, where other processes
// may run as they like.
type noiseProbe struct {
	cpus  tuning.CPUs
	probe *ServerProbe
	alone bool // nobody but client and server has business on the CPUs
}

func newNoiseProbe(client tuning.CPUs, probe *ServerProbe) *noiseProbe {
	server := probe.pinned()
	e := &noiseProbe{probe: probe, alone: len(client) > 0 && (probe == nil || len(server) > 0)}
	e.cpus = slices.Concat(client, server)
	slices.Sort(e.cpus)
	e.cpus = slices.Compact(e.cpus) // sets may overlap
	return e
}

type noiseSample struct {
	at   time.Time
	cpus tuning.CPUTime
	ours time.Duration
	ok   bool
}

func (e *noiseProbe) sample() (s noiseSample) {
	if len(e.cpus) == 0 {
		return s
	}
	var err error
	if s.cpus, err = e.cpus.Time(); err != nil {
		return s
	}
	var self unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &self) != nil {
		return s
	}
	s.at, s.ok = time.Now(), true
	s.ours = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	if e.probe != nil && e.probe.pid != os.Getpid() {
		cpu, err := e.probe.cpu()
		s.ours, s.ok = s.ours+cpu, err == nil
	}
	return s
}

// since is the noise since a sample; nil when nothing could be heard.
func (e *noiseProbe) since(s noiseSample) *Noise {
	now := e.sample()
	if !s.ok || !now.ok {
		return nil
	}
	total := now.at.Sub(s.at).Seconds() * float64(len(e.cpus))
	n := &Noise{Stolen: (now.cpus.Stolen - s.cpus.Stolen).Seconds() / total}
	if e.alone {
		n.Others = max(0, ((now.cpus.Busy-s.cpus.Busy)-(now.ours-s.ours)).Seconds()/total)
	}
	return n
}
