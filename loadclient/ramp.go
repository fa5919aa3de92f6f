package loadclient

import (
	"context"
	"fmt"
	"time"
)

// stepOf2011 is by how much the ramp of 2011 rises, in messages sent a second that so many connections hear.
func stepOf2011(hearers int) float64 { return float64(max(1, 1000/hearers)) }

// ramp tries one rate after the other until a stop rule of 2011 holds, and reads off where the mean round trip crosses
// the threshold.
func (s *searcher) ramp() (Saturation, error) {
	first, step := 1.0, stepOf2011(s.Level.Hearers())
	if r := s.Profile.Ramp; r.Scale > 0 {
		lo, hi, err := s.probe()
		if err != nil {
			return Saturation{}, err
		}
		step = max(lo, hi) / float64(r.Scale) / float64(s.Level.Hearers())
		first = step
	}
	var result Saturation
	err := s.climb(&result, first, step)
	if err != nil {
		return Saturation{}, err
	}
	if s.Profile.Confirms > 0 && result.Rate > 0 {
		if err := s.sustain(&result); err != nil {
			return Saturation{}, err
		}
	}
	s.summarize(&result)
	return result, nil
}

func (s *searcher) climb(result *Saturation, first, step float64) error {
	hearers := float64(s.Level.Hearers())
	var before Trial
	for rate := first; ; rate += step {
		t, err := s.step(rate * hearers)
		switch {
		case err != nil && s.ctx.Err() == nil && IsTargetFailure(err) && before.Sent > 0: // a connection was lost
			return s.ended(result, before, TargetFailed, err.Error())
		case err != nil:
			return err
		case t.OwnMissing > 0: // the point is dropped
			return s.ended(result, before, Overloaded,
				fmt.Sprintf("%d own messages did not come back, of those sent at %.0f a second",
					t.OwnMissing, t.Nominal))
		}
		rtt := rampRTT(&t, s.Profile)
		if result.Rate == 0 && rtt >= s.Profile.SaturationRTT && (t.Valid() || s.Profile.exact()) {
			if before.Sent == 0 {
				return nothingHeld(t.Nominal)
			}
			result.Held, result.Fell = before.Nominal, t.Nominal
			result.Rate = crossing(before.Nominal, rampRTT(&before, s.Profile), t.Nominal, rtt, s.Profile.SaturationRTT)
			best := before
			result.Best, result.Limit, result.Reason = &best, Overloaded, t.Reason
		}
		if t.Verdict == ClientLimited && rtt >= s.Profile.SaturationRTT && !s.Profile.exact() {
			s.unknown = t.Nominal
			return s.ended(result, before, ClientLimited, t.Reason)
		}
		if rtt >= s.Profile.OverloadRTT { // the point is kept
			return nil
		}
		if top := s.Profile.Ramp.NominalMax; top > 0 && t.Nominal >= top {
			return s.ended(result, t, OK, fmt.Sprintf("the ramp ends at %.0f messages a second", top))
		}
		if rtt < s.Profile.SaturationRTT || result.Rate > 0 {
			before = t
		}
		if err := wait(s.ctx, s.Profile.Ramp.Pause); err != nil {
			return err
		}
	}
}

// ended is the end of a ramp that has not crossed the threshold: what held last is a lower bound, and if nothing did,
// that is why.
func (s *searcher) ended(result *Saturation, last Trial, limit Verdict, reason string) error {
	switch {
	case result.Rate > 0:
		return nil
	case last.Sent == 0 && limit != ClientLimited:
		return fmt.Errorf("%w: %w: %s", errTarget, errNothingHeld, reason)
	}
	result.Rate, result.Held, result.Best = last.Nominal, last.Nominal, &last
	result.Limit, result.Reason = limit, reason
	return nil
}

// step is one rate of a ramp. As in 2011 nothing is tried again; the scaled ramp tries again what was not the server's
// fault.
func (s *searcher) step(nominal float64) (Trial, error) {
	s.phase = PhaseRamp
	if s.Profile.exact() {
		if err := s.ctx.Err(); err != nil {
			return Trial{}, err
		}
		t, err := s.try(nominal, s.Profile.Window)
		if err == nil {
			s.note(&t)
		}
		return t, err
	}
	t, err := s.run(nominal, s.Profile.Window)
	if err == nil && t.Sent == 0 && t.Verdict == TargetFailed {
		err = TargetFailure(&t)
	}
	return t, err
}

// rampRTT is the mean round trip that counts: in the ramp of 2011 from the actual send.
func rampRTT(t *Trial, p Profile) float64 {
	if p.exact() {
		return t.RTTActual.Mean
	}
	return t.RTT.Mean
}

// wait waits, unless the context ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
