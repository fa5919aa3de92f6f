package loadclient

import (
	"cmp"
	"math"
	"slices"
)

const (
	// sustainPrecision is the width of the bracket around what is sustained, as a share.
	sustainPrecision = 0.1
	// sustainDepth is the least share of what held that is tried, and unmeasuredDepth that below rates that could not
	// be measured.
	sustainDepth, unmeasuredDepth = 1. / 32, 1. / 4
	// sustainStep is the first step down from what held. It is squared with each that is not enough: most servers
	// sustain nearly what they hold, and a trial is long.
	sustainStep = 1.19
)

// sustains tells whether a server carries a trial's rate with short round trips.
func (s *searcher) sustains(t Trial) bool {
	return t.Carried() && t.RTT.P99 <= s.Profile.SaturationRTT
}

// sustain looks for the highest rate that is carried for the profile's longer trials, between nothing and what held.
func (s *searcher) sustain(result *Saturation) error {
	s.phase = PhaseConfirm
	lo, hi, step := 0.0, 0.0, sustainStep
	for {
		rate := result.Held
		switch {
		case lo > 0 && (hi == 0 || hi/lo <= 1+sustainPrecision):
			if result.Sustained = lo; hi == 0 {
				result.SustainedUnmeasured = s.unknown
			}
			return nil
		case lo > 0:
			rate = math.Sqrt(lo * hi)
		case hi > 0:
			rate = hi / step
			step *= step
		}
		if result.SustainedUnmeasured > 0 && rate < unmeasuredDepth*result.Held {
			return nil
		}
		if rate < sustainDepth*result.Held {
			s.warn("no rate could be sustained for %v, down to %.3g messages a second", s.Profile.Confirm, hi)
			return nil
		}
		best, is, err := s.decideSustained(rate)
		if err != nil {
			return err
		}
		switch is {
		case unmeasured: // something lower may not be
			hi, result.SustainedUnmeasured = rate, rate
		case sustained:
			lo, result.Best = rate, best
		case notSustained:
			hi, result.SustainedUnmeasured = rate, 0
		}
	}
}

// decision is what the longer trials at a rate came to.
type decision int

const (
	unmeasured decision = iota // they say nothing of the server
	sustained
	notSustained
)

// decideSustained tries a rate until most of the profile's longer trials agree. best is the one in the middle of those
// that held.
func (s *searcher) decideSustained(rate float64) (best *Trial, is decision, err error) {
	good, bad := []Trial{}, 0
	for 2*len(good) <= s.Profile.Confirms && 2*bad <= s.Profile.Confirms {
		t, err := s.run(rate, s.Profile.Confirm)
		switch {
		case err != nil:
			return nil, unmeasured, err
		case !s.votes(t):
			s.warn("what is sustained could not be measured at %.3g messages a second: %s", rate, t.Reason)
			return nil, unmeasured, nil
		case s.sustains(t):
			good = append(good, t)
		default:
			bad++
		}
	}
	if len(good) <= bad {
		return nil, notSustained, nil
	}
	slices.SortFunc(good, func(a, b Trial) int { return cmp.Compare(a.Delivered, b.Delivered) })
	return &good[len(good)/2], sustained, nil
}
