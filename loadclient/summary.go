package loadclient

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Results are all records of a measurement: of several servers, perhaps several times in turn.
type Results struct {
	Manifest Manifest
	Servers  []ServerResults
	Ceilings []Ceiling
	Controls *Results // of the folder's subfolder with that name, which check the instrument; nil without
}

// ServerResults are the records of one server.
type ServerResults struct {
	ManifestServer
	Trials   []Trial
	Searches []Saturation // in the order in which they were made
	ceilings []Ceiling
}

// ReadResults reads result files, and folders of them with their manifest. The name of a file is its server's.
func ReadResults(paths ...string) (*Results, error) {
	r := &Results{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			if err := r.readFile(path); err != nil {
				return nil, err
			}
			continue
		}
		if err := r.readFolder(path); err != nil {
			return nil, err
		}
	}
	r.finish()
	return r, nil
}

func (r *Results) readFolder(dir string) error {
	m, err := ReadManifest(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if err == nil {
		r.Manifest = m
		for _, s := range m.Servers {
			r.Servers = append(r.Servers, ServerResults{ManifestServer: s})
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no result files (*.jsonl)", dir)
	}
	for _, file := range files {
		if err := r.readFile(file); err != nil {
			return err
		}
	}
	controls := filepath.Join(dir, "controls")
	if _, err := os.Stat(controls); err != nil {
		return nil
	}
	r.Controls, err = ReadResults(controls)
	return err
}

func (r *Results) readFile(path string) error {
	records, err := ReadFile(path)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(path), ".jsonl")
	i := slices.IndexFunc(r.Servers, func(s ServerResults) bool { return s.Name == name })
	if i < 0 {
		i = len(r.Servers)
		r.Servers = append(r.Servers, ServerResults{ManifestServer: ManifestServer{Name: name}})
	}
	s := &r.Servers[i]
	for _, x := range records {
		switch {
		case x.Machine != nil && r.Manifest.Machine.Time.IsZero():
			r.Manifest.Machine = *x.Machine
		case x.Trial != nil:
			s.Trials = append(s.Trials, *x.Trial)
		case x.Ceiling != nil:
			r.Ceilings = append(r.Ceilings, *x.Ceiling)
		}
	}
	for _, f := range Searches(records) {
		s.Searches = append(s.Searches, f)
		s.Protocol = f.Protocol
	}
	return nil
}

// finish drops what has no results, and lets servers know the ceilings.
func (r *Results) finish() {
	r.Servers = slices.DeleteFunc(r.Servers, func(s ServerResults) bool { return len(s.Trials)+len(s.Searches) == 0 })
	for i := range r.Servers {
		r.Servers[i].ceilings = r.Ceilings
	}
	if r.Manifest.Started.IsZero() {
		r.Manifest.Started = r.Manifest.Machine.Time
	}
	if r.Manifest.Base == "" && len(r.Servers) > 0 {
		r.Manifest.Base = r.Servers[0].Name
	}
}

// Levels are all numbers of connections that were searched.
func (r *Results) Levels() []int {
	var levels []int
	for _, s := range r.Servers {
		for _, x := range s.Searches {
			levels = append(levels, x.Connections)
		}
	}
	slices.Sort(levels)
	return slices.Compact(levels)
}

// Server is the one with a name, nil if there is none.
func (r *Results) Server(name string) *ServerResults {
	for i := range r.Servers {
		if r.Servers[i].Name == name {
			return &r.Servers[i]
		}
	}
	return nil
}

// Ratio compares a server with the base at a level.
func (r *Results) Ratio(s *ServerResults, level int) (Comparison, bool) {
	base := r.Server(r.Manifest.Base)
	if base == nil {
		return Comparison{}, false
	}
	as, bs := base.At(level).Searches, slices.Clone(s.At(level).Searches)
	if len(as) == 0 || len(bs) == 0 {
		return Comparison{}, false
	}
	for i := range bs {
		bs[i].Protocol = as[0].Protocol // that they differ is the point
	}
	c, err := CompareLevel(as, bs)
	return c, err == nil
}

// LevelSummary is what was found of a server at a level. Rates are received messages a second, over all connections;
// where there are several searches, their medians. What was not measured is 0.
type LevelSummary struct {
	Connections int
	Searches    []Saturation

	Rate         float64 // where it saturates
	Low, High    float64 // of the searches
	From, To     float64 // interval of 95 % of the mean, 0 with fewer than two searches
	Spread       float64 // standard deviation of their logarithms: relative
	Sustained    float64
	MaxDelivered float64
	Overload     float64
	Capacity     float64 // by the overloaded trials
	CeilingShare float64 // of what the client can receive, at what was delivered at most

	P99Half     float64 // ms, at half the saturation
	CPUPerMicro float64 // µs of the server's CPU for a delivery, at what it sustains
	LightRTT    float64 // ms, mean

	MemoryIdle, MemoryHalf, MemoryFull float64 // bytes: idle, at half its saturation, at what it sustains
	MemoryLight, MemoryRecovered       float64
	LowerBound                         bool // a search ended at something else than the server, which may do more
}

// half is the share of the saturation rate that counts as half load, more or less.
const (
	halfLow  = 0.4
	halfHigh = 0.6
)

// At summarizes a level.
func (s *ServerResults) At(level int) LevelSummary {
	x := LevelSummary{Connections: level}
	pick := func(of func(Saturation) float64) float64 {
		var all []float64
		for _, f := range x.Searches {
			if v := of(f); v > 0 {
				all = append(all, v)
			}
		}
		return medianOrZero(all)
	}
	for _, f := range s.Searches {
		if f.Connections == level && f.Rate > 0 {
			x.Searches = append(x.Searches, f)
			x.LowerBound = x.LowerBound || f.Limit != Overloaded && f.Limit != TargetFailed
		}
	}
	if len(x.Searches) == 0 {
		return x
	}
	x.Rate = pick(func(f Saturation) float64 { return f.Rate })
	x.Sustained = pick(func(f Saturation) float64 { return f.Sustained })
	x.MaxDelivered = pick(func(f Saturation) float64 { return f.MaxDelivered })
	x.Overload = pick(func(f Saturation) float64 { return f.Overload })
	x.Capacity = x.MaxDelivered
	x.spread()
	x.CeilingShare = pick(func(f Saturation) float64 {
		if c := s.ceiling(f); c > 0 {
			return f.MaxDelivered / c
		}
		return 0
	})
	x.MemoryFull = pick(func(f Saturation) float64 { return f.Best.memory() })
	x.CPUPerMicro = pick(func(f Saturation) float64 {
		if f.Best == nil || f.Best.Server == nil || f.Best.Delivered == 0 {
			return 0
		}
		return 1e6 * f.Best.Server.CPU / f.Best.Delivered
	})
	s.trials(&x)
	return x
}

func (x *LevelSummary) spread() {
	var rates []float64
	for _, f := range x.Searches {
		rates = append(rates, f.Rate)
	}
	x.Low, x.High = slices.Min(rates), slices.Max(rates)
	_, x.From, x.To = interval(rates)
	x.Spread = logDeviation(rates)
}

// trials adds what trials of certain phases say.
func (s *ServerResults) trials(x *LevelSummary) {
	figures := map[*float64][]float64{}
	add := func(to *float64, v float64) {
		if v > 0 {
			figures[to] = append(figures[to], v)
		}
	}
	for i := range s.Trials {
		t := &s.Trials[i]
		if t.Connections != x.Connections {
			continue
		}
		switch share := t.Nominal / x.Rate; {
		case t.Phase == PhaseIdle:
			add(&x.MemoryIdle, t.memory())
		case t.Phase == PhaseLight:
			add(&x.MemoryLight, t.memory())
			add(&x.LightRTT, t.RTT.Mean)
		case t.Phase == PhaseRecovered:
			add(&x.MemoryRecovered, t.memory())
		case (t.Phase == PhaseCurve || t.Phase == PhaseRamp) && t.Verdict == OK && share > halfLow && share < halfHigh:
			add(&x.MemoryHalf, t.memory())
			add(&x.P99Half, t.RTT.P99)
		}
	}
	for to, all := range figures {
		*to = medianOrZero(all)
	}
}

func (t *Trial) memory() float64 {
	if t == nil || t.Server == nil {
		return 0
	}
	return float64(t.Server.RSS)
}

// ceiling is what the client can receive at a search's level, in the shape in which the server sends: measured with it,
// or by calibrate; 0 when it is not known.
func (s *ServerResults) ceiling(f Saturation) float64 {
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

func median(x ...float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	if n := len(x); n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[len(x)/2]
}

func medianOrZero(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	return median(x...)
}
