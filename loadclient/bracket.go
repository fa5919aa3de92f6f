package loadclient

import "math"

// point is a rate, and the valid trials of a whole window that were made there.
type point struct {
	rate       float64
	held, fell int
	rtt        [2]float64 // sums of the mean round trips of those that fell, and that held
	last       Trial
}

func (p *point) vote(t Trial, held bool) {
	if held {
		p.held++
		p.rtt[1] += t.RTT.Mean
	} else {
		p.fell++
		p.rtt[0] += t.RTT.Mean
	}
	p.last = t
}

// bracket is what a search knows of the saturation point: the highest rate that held, the lowest above it that did not,
// and the lowest of which no trial said anything.
type bracket struct {
	held, fell point
	unknown    Trial // CLIENT-LIMITED or NOISY; its rate is 0 when there is none
}

// rateMax is more than any machine can receive, in messages a second.
const rateMax = 1e13

// trialsMax is how many trials a bracket may take: a server that holds a rate now and then does not hold it.
const trialsMax = 60

// bracket narrows the gap between what held and what fell by bisection in the logarithm. lo and hi come from probes:
// they lead, and are tried themselves if the search ends at them.
func (s *searcher) bracket(lo, hi float64) (b bracket, err error) {
	s.phase = PhaseBracket
	least := float64(s.Level.Hearers()) / s.Profile.Window.Seconds()
	for {
		if top := b.top(); lo <= b.held.rate || top > 0 && lo >= top {
			lo = b.held.rate
		}
		if top := b.top(); top > 0 && hi >= top || hi <= b.held.rate {
			hi = top
		}
		var rate float64
		switch {
		case lo == 0 && hi == 0:
			rate = s.StartRate
		case lo == 0:
			rate = hi / 2
		case hi == 0:
			rate = 2 * lo
		case hi/lo > 1+s.Profile.Precision && s.trials < trialsMax:
			rate = math.Sqrt(hi * lo)
		case lo > b.held.rate:
			rate = lo
		case hi != b.top():
			rate = hi
		default:
			return b, nil
		}
		if rate < least {
			if b.fell.rate == 0 && b.unknown.Nominal > 0 {
				return b, nil // nothing could be measured
			}
			return b, nothingHeld(max(b.fell.rate, rate))
		}
		if err := s.decide(rate, &b); err != nil {
			return b, err
		}
		if b.unknown.Verdict == Noisy && s.waited >= s.Patience {
			return b, nil
		}
	}
}

// top is the lowest rate that is known not to hold, or of which nothing is known; 0 if there is none.
func (b *bracket) top() float64 {
	if b.fell.rate == 0 || b.unknown.Nominal > 0 && b.unknown.Nominal < b.fell.rate {
		return b.unknown.Nominal
	}
	return b.fell.rate
}

// decide tries a rate until most of the profile's repeats agree, and moves the bracket. Trials that say nothing have no
// vote; if there is no majority without them the rate is unknown, and the bracket's lower end stays where it is.
func (s *searcher) decide(rate float64, b *bracket) error {
	p := point{rate: rate}
	for 2*p.held <= s.Profile.Repeats && 2*p.fell <= s.Profile.Repeats {
		t, err := s.run(rate, s.Profile.Window)
		if err != nil {
			return err
		}
		if !s.votes(t) {
			b.unknown = t
			return nil
		}
		p.vote(t, s.holds(t))
	}
	switch {
	case p.held > p.fell:
		s.everHeld = true
		if rate > b.held.rate {
			b.held = p
		}
		if b.unknown.Nominal <= rate {
			b.unknown = Trial{}
		}
	case b.fell.rate == 0 || rate < b.fell.rate:
		b.fell = p
	}
	return nil
}

// result is what the bracket says.
func (b *bracket) result(threshold float64) Saturation {
	r := Saturation{Rate: b.held.rate, Held: b.held.rate, Fell: b.fell.rate}
	if b.held.rate > 0 {
		r.Best = &b.held.last
	}
	if u := b.unknown; u.Nominal > 0 && u.Nominal == b.top() {
		r.Limit, r.Reason = u.Verdict, u.Reason
		if u.Verdict == Noisy {
			r.Reason = "the machine is busy: " + u.Reason
		}
		return r
	}
	last := b.fell.last
	if r.Limit, r.Reason = last.Verdict, last.Reason; r.Limit != TargetFailed {
		r.Limit = Overloaded
		r.Rate = crossing(b.held.rate, b.held.rtt[1]/float64(max(1, b.held.held)),
			b.fell.rate, b.fell.rtt[0]/float64(max(1, b.fell.fell)), threshold)
	}
	return r
}

// crossing is where the mean round trip crosses the threshold, linear between two trials, as the figures of 2011 were
// read. A trial that fell for another reason has no crossing; then it is the rate that held.
func crossing(held, heldRTT, fell, fellRTT, threshold float64) float64 {
	if fellRTT <= threshold || fellRTT <= heldRTT {
		return held
	}
	return held + (fell-held)*(threshold-heldRTT)/(fellRTT-heldRTT)
}
