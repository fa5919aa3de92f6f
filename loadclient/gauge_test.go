package loadclient

import (
	"runtime"
	"testing"
	"time"

	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

func TestGauge(t *testing.T) {
	t.Parallel()
	cpus, err := tuning.Online()
	if err != nil {
		t.Fatal(err)
	}
	took := newGauge(append(cpus[:1:1], 1<<20), time.Hour).stop() // the second is none
	if len(took) != 2 || took[0] < time.Microsecond || took[0] > time.Second || took[1] != 0 {
		t.Errorf("a piece of work took %v", took)
	}
}

// What interrupts some of the pieces of work is not the CPU's speed.
func TestGaugeIsNotInterrupted(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // its clock is read
	defer runtime.UnlockOSThread()
	const long = 20 * time.Millisecond
	pieces := 0
	took := undisturbed(func() uint64 {
		if pieces++; pieces != gaugePieces-1 {
			for begin := threadTime(); threadTime() < begin+long; {
			}
		}
		return 0
	})
	if pieces != gaugePieces || took >= long {
		t.Errorf("the least of %d pieces took %v, where one took less than %v", pieces, took, long)
	}
}

// The mean is of speeds: as much at half of the speed as at the whole is three quarters of it.
func TestGaugeMeansSpeeds(t *testing.T) {
	t.Parallel()
	g := &gauge{done: make(chan struct{}), took: [][]time.Duration{{20000, 0, 40000}, {30000}, nil}} // one took no time
	if got := g.stop(); len(got) != 3 || got[0] != 26666 || got[1] != 30000 || got[2] != 0 {
		t.Errorf("%v", got)
	}
}

// What a CPU has lost is told from its best speed of late, and not from another's, nor from one of long ago.
func TestSlowedCPU(t *testing.T) {
	t.Parallel()
	var s speeds
	begin := time.Now()
	for _, tt := range []struct {
		after time.Duration
		cpu   int
		took  time.Duration
		want  float64
	}{
		{0, 0, 30, 0},
		{1 * time.Second, 0, 40, 0.25},
		{2 * time.Second, 0, 20, 0},
		{3 * time.Second, 0, 40, 0.5},
		{4 * time.Second, 1, 40, 0},
		{2*time.Second + speedMemory, 0, 40, 0.5},
		{3*time.Second + speedMemory, 0, 50, 0.2},
	} {
		_ = s.slowed(tt.cpu, speed{begin.Add(tt.after), 1}, results.GaugedMin-1, 0) // too short to be compared with
		got := s.slowed(tt.cpu, speed{begin.Add(tt.after), tt.took}, results.GaugedMin, 0)
		if got < tt.want-1e-9 || got > tt.want+1e-9 {
			t.Errorf("CPU %d after %v: it has lost %v, want %v", tt.cpu, tt.after, got, tt.want)
		}
	}
}

// Whoever runs many processes tells each how fast the CPUs were in the others.
func TestSpeedBeforeTheProcess(t *testing.T) {
	t.Parallel()
	var s speeds
	for _, tt := range []struct {
		took, least time.Duration
		want        float64
	}{{40, 0, 0}, {40, 20, 0.5}, {40, 50, 0}, {20, 30, 0}, {40, 30, 0.5}} {
		if got := s.slowed(0, speed{time.Now(), tt.took}, results.GaugedMin, tt.least); got != tt.want {
			t.Errorf("%v where it was %v before: it has lost %v, want %v", tt.took, tt.least, got, tt.want)
		}
	}
}

// What a CPU has lost is noise, if it was busy: an idle one is slower than it is at work.
func TestSlowedCPUIsNoise(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		idle []time.Duration // of a second, each CPU, in ms
		want Noise
	}{
		{[]time.Duration{0, 100}, Noise{Slowed: 0.75, Work: 80}},
		{[]time.Duration{100, 101}, Noise{Slowed: 0.5}}, // and what it takes on the slowest is not known
		{[]time.Duration{101, 1000}, Noise{}},
	} {
		p := newLocal(LevelConfig{Work: 20 * time.Microsecond}).probe
		p.cpus, p.gauged, p.found = tuning.CPUs{0, 1}, tuning.CPUs{0, 1}, &speeds{}
		before := noiseSample{at: time.Now(), idle: []time.Duration{0, time.Hour}}
		now := noiseSample{
			at:   before.at.Add(time.Second),
			idle: []time.Duration{tt.idle[0] * time.Millisecond, time.Hour + tt.idle[1]*time.Millisecond},
		}
		got := p.between(before, now, []time.Duration{40 * time.Microsecond, 80 * time.Microsecond})
		if *got != tt.want {
			t.Errorf("idle for %v ms: %+v, want %+v", tt.idle, *got, tt.want)
		}
	}
}

// Without a rest pieces of work follow one another.
func TestGaugeWithoutRest(t *testing.T) {
	t.Parallel()
	cpus, err := tuning.Online()
	if err != nil {
		t.Fatal(err)
	}
	g := newGauge(cpus[:1], 0)
	time.Sleep(10 * gaugeTime)
	if g.stop(); len(g.took[0]) < 100 {
		t.Errorf("%d pieces of some 20 µs in %v", len(g.took[0]), 10*gaugeTime)
	}
}

// Who waits for a CPU to be as fast as in a trial keeps it busy.
func TestWaitingKeepsCPUsBusy(t *testing.T) {
	t.Parallel()
	cpus, err := tuning.Online()
	if err != nil {
		t.Fatal(err)
	}
	l := newLocal(LevelConfig{CPUs: cpus[:1], Work: 1})
	l.probe.gauged = cpus[:1]
	n, err := l.noise(t.Context(), 300*time.Millisecond)
	if err != nil || n == nil || n.Work <= 0 || n.Slowed < 0.99 {
		t.Errorf("%+v, %v, where the CPU had been a thousand times as fast", n, err)
	}
}

func TestNoisier(t *testing.T) {
	t.Parallel()
	a, b := &Noise{Stolen: 1, Waited: 3, Work: 5}, &Noise{Others: 2, Slowed: 4, Work: 6}
	if got := noisier(a, b); *got != (Noise{Stolen: 1, Others: 2, Waited: 3, Slowed: 4, Work: 6}) {
		t.Errorf("%+v", got)
	}
	if noisier(nil, b) != b || noisier(a, nil) != a {
		t.Error("one that is not known changes the other")
	}
}

// A trial on CPUs of its own tells how fast they were.
func TestTrialGaugesItsCPUs(t *testing.T) {
	t.Parallel()
	cpus, err := tuning.Online()
	if err != nil {
		t.Fatal(err)
	}
	url, steady := newRoom(t, room.Faults{}), len(cpus[:1].SteadyClocks()) == 1
	got := once(t, url, LevelConfig{Connections: 2, CPUs: cpus[:1]}, 100)
	if got.Noise == nil || got.Noise.Work > 0 != steady {
		t.Errorf("%+v, with a steady clock: %v", got.Noise, steady)
	}
	if got := once(t, url, LevelConfig{Connections: 2}, 100); got.Noise != nil {
		t.Errorf("%+v of CPUs that are not known", got.Noise)
	}
}
