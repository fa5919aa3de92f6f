package results

import (
	"slices"
	"time"
)

// LevelSummary is what was found of a server at a level. Rates are messages a second, over all connections, nominal
// unless they are called delivered; where there are several searches, their medians, in which a search that found
// nothing counts as 0. What was not measured is 0.
type LevelSummary struct {
	Connections int
	Searches    []Saturation

	Rate       Figure  // where it saturates
	Low, High  float64 // the lowest and the highest of the blocks
	Spread     float64 // standard deviation of their logarithms: relative
	LowerBound bool    // a search ended at something else than the server, which may do more
	NotReached int     // searches that the server ended by failing, before its round trips reached the threshold
	Strays     []int   // the places in Searches of those that are far from the median

	Sustained          Figure
	SustainedLeast     bool // a search ended above it at the client or the machine
	SustainedDelivered float64
	MaxDelivered       float64
	In, Out            float64 // messages and bytes a second that came in and went out then
	PerWrite           float64 // messages that the client sent with a write then
	PerFrame           float64 // messages of a frame that it received then
	Overload           float64
	CeilingShare       float64 // of what the client can receive, at what was delivered at most
	Work               float64 // µs that a piece of work took on the CPUs, which tells their speed (Noise)

	P99Half     float64 // ms, at half the saturation
	CPUPerMicro float64 // µs of the server's CPU for a delivery, at what it sustains
	LightRTT    float64 // ms, mean

	Idle, Half, Full Memory // without messages, at half the saturation, at what it sustains
	Light, Recovered Memory // under a light load, and under the same a minute after the overloads
}

// Figure is a median over searches, some of which may have failed.
type Figure struct {
	Median float64
	Of     int // searches
	Failed int // of them, those that found nothing, which count as 0
}

// Memory is what a server occupies, in bytes. What was not measured is 0.
type Memory struct {
	RSS, Anon, File float64
	KernelSockets   float64 // of both ends, when client and server share the machine
}

// A rate between these shares of the saturation rate is half load, more or less.
const (
	halfLow  = 0.4
	halfHigh = 0.6
)

func (s *Server) searchesAt(level int) []Saturation {
	var all []Saturation
	for _, f := range s.Searches {
		if f.Connections == level {
			all = append(all, f)
		}
	}
	return all
}

// At summarizes a level.
func (s *Server) At(level int) LevelSummary {
	x := LevelSummary{Connections: level, Searches: s.searchesAt(level)}
	if len(x.Searches) == 0 {
		return x
	}
	x.Rate = x.figure(func(f *Saturation) (float64, bool) { return f.Rate, true })
	x.blocks()
	x.Sustained = x.figure(func(f *Saturation) (float64, bool) { return f.Sustained, f.SustainSought() })
	x.SustainedLeast = slices.ContainsFunc(x.Searches, func(s Saturation) bool {
		return s.Sustained > 0 && s.SustainedUnmeasured > 0
	})
	x.SustainedDelivered = x.median(func(f *Saturation) (float64, bool) {
		if f.Sustained == 0 || f.Best == nil {
			return 0, f.SustainSought()
		}
		return f.Best.Delivered, true
	})
	x.MaxDelivered = x.median(func(f *Saturation) (float64, bool) { return f.MaxDelivered, true })
	x.Overload = x.median(func(f *Saturation) (float64, bool) { return f.Overload, f.Overload > 0 })
	x.CeilingShare = x.median(func(f *Saturation) (float64, bool) {
		c := s.ceiling(f)
		return f.MaxDelivered / max(c, 1), c > 0
	})
	x.CPUPerMicro = x.median(func(f *Saturation) (float64, bool) {
		if f.Best == nil || f.Best.Server == nil || f.Best.Delivered == 0 {
			return 0, false
		}
		return 1e6 * f.Best.Server.CPU / f.Best.Delivered, true
	})
	var full memories
	for _, f := range x.Searches {
		full.add(f.Best)
	}
	x.Full = full.median()
	s.trials(&x)
	s.through(&x)
	return x
}

// figure is the median of what searches have found; ok is false where it was not looked for.
func (x *LevelSummary) figure(of func(*Saturation) (v float64, ok bool)) Figure {
	var f Figure
	var all []float64
	for i := range x.Searches {
		v, ok := of(&x.Searches[i])
		if !ok {
			continue
		}
		f.Of++
		if v == 0 {
			f.Failed++
		}
		all = append(all, v)
	}
	f.Median = Median(all...)
	return f
}

func (x *LevelSummary) median(of func(*Saturation) (float64, bool)) float64 {
	return x.figure(of).Median
}

// blocks looks at what the searches have found one by one.
func (x *LevelSummary) blocks() {
	var rates, found []float64
	for i := range x.Searches {
		f := &x.Searches[i]
		x.LowerBound = x.LowerBound || f.LowerBound()
		if f.Limit == TargetFailed {
			x.NotReached++
		}
		rates = append(rates, f.Rate)
		if f.Rate > 0 {
			found = append(found, f.Rate)
		}
	}
	x.Low, x.High, x.Spread = slices.Min(rates), slices.Max(rates), logDeviation(found)
	x.Strays = strays(rates)
}

// trials adds what trials of certain phases say.
func (s *Server) trials(x *LevelSummary) {
	var idle, half, light, recovered memories
	var p99Half, lightRTT, work []float64
	halves := map[int]*halfLoad{} // by block
	for i := range s.Trials {
		t := &s.Trials[i]
		if t.Connections != x.Connections {
			continue
		}
		if w := t.GaugedWork(); w > 0 {
			work = append(work, w)
		}
		switch {
		case t.Phase == PhaseIdle:
			idle.add(t)
		case t.Phase == PhaseLight:
			light.add(t)
			lightRTT = append(lightRTT, t.RTT.Mean)
		case t.Phase == PhaseRecovered:
			recovered.add(t)
		case (t.Phase == PhaseCurve || t.Phase == PhaseRamp) && t.Verdict == OK && x.isHalf(t):
			h := halves[t.Block]
			if h == nil {
				h = &halfLoad{}
				halves[t.Block] = h
			}
			h.add(t)
			h.p99 = append(h.p99, t.RTT.P99)
		}
	}
	for _, h := range halves {
		half.append(h.median())
		p99Half = append(p99Half, Median(h.p99...))
	}
	x.Idle, x.Half, x.Light, x.Recovered = idle.median(), half.median(), light.median(), recovered.median()
	x.P99Half, x.LightRTT, x.Work = Median(p99Half...), Median(lightRTT...), Median(work...)
}

// halfLoad is what a block's trials at half its saturation say: a block counts once, however many it has.
type halfLoad struct {
	memories
	p99 []float64
}

// isHalf tells whether a trial is at half of what was found in its block, more or less.
func (x *LevelSummary) isHalf(t *Trial) bool {
	for i := range x.Searches {
		if f := &x.Searches[i]; f.Block == t.Block {
			return t.Nominal > halfLow*f.Rate && t.Nominal < halfHigh*f.Rate
		}
	}
	return false
}

// SlowCPU is the share of the best speed of a run's CPUs below which figures are not to be compared with others.
const SlowCPU = 0.85

// Speed is what the CPUs had at a level, of the best that they had in a trial of the run; 0 when it is not known.
func (m *Measurement) Speed(x *LevelSummary) float64 {
	if x.Work == 0 {
		return 0
	}
	return min(1, m.leastWork()/x.Work)
}

// leastWork is the least that a piece of work took in a trial, 0 when no trial tells.
func (m *Measurement) leastWork() (least float64) {
	for i := range m.Servers {
		for j := range m.Servers[i].Trials {
			least = m.Servers[i].Trials[j].LessWork(least)
		}
	}
	return least
}

// GaugedMin is the shortest time of which the mean speed is one to compare others with: a neighbour on the same core
// comes and goes within milliseconds, and the best of many short times would be better than any long one can be.
const GaugedMin = time.Second

// LessWork is the lesser of what a piece of work took so far and in the trial; 0 is not known.
func (t *Trial) LessWork(least float64) float64 {
	if work := t.GaugedWork(); work > 0 && (least == 0 || work < least) {
		return work
	}
	return least
}

// GaugedWork is what a piece of work took in a trial that is long enough to tell, and valid; 0 for others.
func (t *Trial) GaugedWork() float64 {
	if t.Noise == nil || !t.Valid() || t.Window < GaugedMin.Seconds() {
		return 0
	}
	return t.Noise.Work
}

// memories are those of several trials.
type memories struct{ rss, anon, file, sockets []float64 }

func (m *memories) add(t *Trial) {
	if t != nil && t.Server != nil {
		u := t.Server
		m.append(Memory{float64(u.RSS), float64(u.Anon), float64(u.File), float64(u.KernelSockets)})
	}
}

func (m *memories) append(x Memory) {
	if x.RSS == 0 {
		return
	}
	m.rss = append(m.rss, x.RSS)
	if x.Anon > 0 { // measured: not even an idle process has none
		m.anon, m.file, m.sockets = append(m.anon, x.Anon), append(m.file, x.File), append(m.sockets, x.KernelSockets)
	}
}

func (m *memories) median() Memory {
	return Memory{Median(m.rss...), Median(m.anon...), Median(m.file...), Median(m.sockets...)}
}

// ceiling is what the client can receive at a search's level, in the shape in which the server sends: measured with it,
// or by calibrate; 0 when it is not known.
func (s *Server) ceiling(f *Saturation) float64 {
	switch {
	case f.Ceiling != nil:
		return f.Ceiling.Rate()
	case f.Best == nil:
		return 0
	}
	shape, best := f.Best.Shape(), 0.0
	for _, c := range s.ceilings {
		if c.Connections == f.Connections && c.Shape == shape {
			best = max(best, c.Rate())
		}
	}
	return best
}

// LevelsOf2011 are the numbers of connections of the benchmark of 2011.
var LevelsOf2011 = []int{25, 50, 75, 100, 200, 300, 400, 500, 750, 1000, 1250, 1500, 2000}

// QuickLevels are four of them.
var QuickLevels = []int{25, 100, 500, 2000}
