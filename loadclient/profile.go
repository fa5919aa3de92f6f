package loadclient

import (
	"fmt"
	"time"
)

// Profile is a way to find out what a server can do at each of some levels.
type Profile struct {
	Name   string
	Levels []int // numbers of connections

	// of a trial; an overloaded queue's mean round trip grows with it, so the threshold is for this window
	Window        time.Duration
	SaturationRTT float64 // ms, mean: the saturation point is where it is crossed
	OverloadRTT   float64 // ms, mean: no higher rate is tried

	Ramp *Ramp // rates one after the other, as in 2011; nil is a search

	// Of a search.
	Precision float64   // the bracket's width in the end, as a share
	Repeats   int       // trials at both of its ends, of which most decide
	Curve     []float64 // rates that are tried in the end, as shares of the saturation rate, ascending

	// Of a search and of a ramp that is scaled.
	Confirm  time.Duration // of the trials that show that a rate can be sustained
	Confirms int           // of which most decide; 0 is not to look for it
}

// Ramp tries rates in a row until one is too high. Rates are messages sent a second.
type Ramp struct {
	// steps up to a capacity that is probed first; 0 is the ramp of 2011: from 1 by max(1, 1000/connections)
	Scale      int
	Pause      time.Duration // after a step
	LevelPause time.Duration // after a level, when its connections are closed
	NominalMax float64       // received messages a second from which no higher rate is tried; 0 is none
}

// The window and the thresholds of 2011, and of everything that wants to be compared with it.
const (
	windowOf2011 = 3 * time.Second
	overloadRTT  = 1500.0
	sustainTime  = 10 * time.Second
)

func profileOf2011(name string, levels []int) Profile {
	return Profile{Name: name, Levels: levels, Window: windowOf2011, SaturationRTT: saturationRTT,
		OverloadRTT: overloadRTT}
}

// Profiles are the profiles that have names.
func Profiles() []Profile {
	exact := profileOf2011("classic-2011", LevelsOf2011)
	exact.Ramp = &Ramp{Pause: time.Second, LevelPause: 5 * time.Second, NominalMax: 500_000}
	classic := profileOf2011("classic", LevelsOf2011)
	classic.Ramp = &Ramp{Scale: 20, Pause: time.Second}
	classic.Confirm, classic.Confirms = sustainTime, 1
	search := profileOf2011("search", LevelsOf2011)
	search.Precision, search.Repeats = 0.02, 3
	search.Confirm, search.Confirms = sustainTime, 3
	search.Curve = []float64{0.1, 0.25, 0.5, 0.75, 0.9, 1.1, 1.25, 1.5, 2, 3}
	quick := profileOf2011("quick", QuickLevels)
	quick.Precision, quick.Repeats = 0.05, 3
	quick.Confirm, quick.Confirms = sustainTime, 1
	quick.Curve = []float64{0.5, 1.3, 2}
	return []Profile{quick, search, classic, exact}
}

// ProfileNames are their names.
func ProfileNames() (names []string) {
	for _, p := range Profiles() {
		names = append(names, p.Name)
	}
	return names
}

// FindProfile is the profile with a name.
func FindProfile(name string) (Profile, error) {
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("profile %q: want one of %v", name, ProfileNames())
}

// exact tells whether everything is as it was in 2011.
func (p *Profile) exact() bool { return p.Ramp != nil && p.Ramp.Scale == 0 }

// probe is the window of a trial that only looks for the order of magnitude.
func (p *Profile) probe() time.Duration { return min(time.Second, p.Window) }

// probesUsual is how many probes a server of some hundred million messages a second takes.
const probesUsual = 13

// Expected is how long a level will take, more or less.
func (p *Profile) Expected(connections int) time.Duration {
	const drains = 1500 * time.Millisecond // an overloaded trial takes longer than its window
	confirm := time.Duration(6*(p.Confirms+1)/2) * (p.Confirm + drains)
	trials := func(n int) time.Duration { return time.Duration(n) * (p.Window + drains) }
	switch {
	case p.exact():
		steps := p.Ramp.NominalMax / float64(connections) / stepOf2011(connections)
		return time.Duration(steps)*(p.Window+p.Ramp.Pause) + p.Ramp.LevelPause
	case p.Ramp != nil:
		return probesUsual*p.probe() + 2*trials(p.Ramp.Scale) + confirm
	}
	return probesUsual*p.probe() + trials(6*(p.Repeats+1)/2+len(p.Curve)) + confirm
}
