package loadclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// SearchConfig is how the capacity of a server is searched at one level.
type SearchConfig struct {
	Level   LevelConfig
	Profile Profile
	// StartRate is the first nominal rate, received messages a second over all connections; 0 is 50,000.
	StartRate float64
	// CoolDown is how long a server is left alone at least after a trial that it could not finish; 0 is 1 s.
	CoolDown time.Duration
	// Patience is how long a search waits in all for the machine to be quiet; 0 is a minute.
	Patience time.Duration
}

const (
	startRate = 50_000
	coolDown  = time.Second
	patience  = time.Minute
	// reopenings is how often a server is tried that lets nobody in.
	reopenings = 3
)

// trier runs a trial at a nominal rate: a Level, or in tests a server in virtual time.
type trier interface {
	try(nominal float64, window time.Duration) (Trial, error)
	// quiet waits until nothing else uses the CPUs, for so long at most, and tells how long it has waited.
	quiet(most time.Duration) (waited time.Duration)
}

// Search finds what a server can do at a level. each is called after every trial, watch before. A target that fails
// under a rate that is too high for it has fallen like one that gets slow; one that fails at the first rate is an
// error.
func Search(ctx context.Context, c SearchConfig, each func(Trial), watch func(*Level, float64)) (Saturation, error) {
	c.StartRate = cmp.Or(c.StartRate, startRate)
	c.CoolDown = cmp.Or(c.CoolDown, coolDown)
	c.Patience = cmp.Or(c.Patience, patience)
	c.Level.Threshold = c.Profile.SaturationRTT
	if c.Profile.exact() {
		c.Level.Restart, c.Level.Target.Origin = true, "x"
	}
	l := &levelKeeper{ctx: ctx, config: c.Level, watch: watch, coolDown: c.CoolDown}
	defer l.close()
	if err := l.open(); err != nil {
		return Saturation{}, err
	}
	s := searcher{SearchConfig: c, trier: l, each: each, ctx: ctx}
	result, err := s.search()
	l.close()
	if err == nil && c.Profile.Ramp != nil {
		err = wait(ctx, c.Profile.Ramp.LevelPause)
	}
	result.Time = time.Now().UTC()
	result.Target, result.Protocol = c.Level.Target.String(), c.Level.Target.Protocol
	result.Connections, result.Publishers, result.Room = c.Level.Connections, c.Level.Publishers, c.Level.Room
	result.Verify = c.Level.Verify
	return result, err
}

type searcher struct {
	SearchConfig
	trier
	ctx     context.Context
	each    func(Trial)
	phase   Phase
	trials  int
	invalid int
	failed  int // target failures in a row
	silent  int // trials in a row in which nothing came back

	counted  []Trial // the trials of a whole window or more that say something of the server
	held     []Trial // all that held
	unknown  float64 // the rate that ended the search because nothing could be said of it, 0 if the server ended it
	waited   time.Duration
	everHeld bool
	warnings []string
}

func (s *searcher) search() (Saturation, error) {
	if s.Profile.Ramp != nil {
		return s.ramp()
	}
	lo, hi, err := s.probe()
	if err != nil {
		return Saturation{}, err
	}
	b, err := s.bracket(lo, hi)
	if err != nil {
		return Saturation{}, err
	}
	result := b.result(s.Profile.SaturationRTT)
	if result.LowerBound() {
		s.unknown = b.unknown.Nominal
	}
	if result.Limit == Noisy && s.waited >= s.Patience { // what else could be tried would say as little
		result.SustainedUnmeasured = s.unknown
		s.summarize(&result)
		return result, nil
	}
	if s.Profile.Confirms > 0 && result.Held > 0 {
		if err := s.sustain(&result); err != nil {
			return Saturation{}, err
		}
	}
	if err := s.curve(&result, b); err != nil {
		return Saturation{}, err
	}
	s.summarize(&result)
	return result, nil
}

const (
	// failuresMax is how many trials in a row a target may break before it is broken for good, whatever the rate.
	failuresMax = 12
	// silencesMax is how many trials in a row it may answer nothing.
	silencesMax = 3
	// attempts is how often a trial is made that says nothing of the server.
	attempts = 3
)

// run runs a trial. One in which the client or the machine was at fault says nothing: it is made again when the machine
// is quiet, as long as there is patience; if none was valid the last is returned.
func (s *searcher) run(nominal float64, window time.Duration) (t Trial, err error) {
	for try := 1; ; try++ {
		if err := s.ctx.Err(); err != nil {
			return t, err
		}
		t, err = s.try(nominal, window)
		if err != nil {
			if !errors.Is(err, errTarget) || s.ctx.Err() != nil || !s.everHeld {
				return t, err
			}
			t = Trial{Time: time.Now().UTC(), Connections: s.Level.Connections, Window: window.Seconds(),
				SendRate: nominal / float64(s.Level.Hearers()), Nominal: nominal, Verdict: TargetFailed,
				Reason: err.Error()}
		}
		s.note(&t)
		if err := s.giveUp(t); err != nil {
			return t, err
		}
		if s.votes(t) || try == attempts {
			return t, nil
		}
		if t.Verdict == Noisy {
			left := s.Patience - s.waited
			if left <= 0 {
				return t, nil
			}
			s.waited += s.quiet(left)
		}
	}
}

// giveUp is an error when the target is broken, and not only too slow.
func (s *searcher) giveUp(t Trial) error {
	if t.Verdict != TargetFailed {
		s.failed, s.silent = 0, 0
		return nil
	}
	s.failed++
	if t.Sent > 0 && t.Received == 0 {
		s.silent++
	}
	if !s.everHeld || s.failed > failuresMax || s.silent > silencesMax {
		return TargetFailure(&t)
	}
	return nil
}

// TargetFailure is the reason of a trial that the target failed as an error, of which IsTargetFailure is true.
func TargetFailure(t *Trial) error {
	return fmt.Errorf("%w: %s", errTarget, strings.TrimPrefix(t.Reason, errTarget.Error()+": "))
}

var errNothingHeld = errors.New("the target does not hold even the lowest rate")

func nothingHeld(nominal float64) error {
	return fmt.Errorf("%w: %w (%.0f messages a second)", errTarget, errNothingHeld, nominal)
}

// note takes a trial down.
func (s *searcher) note(t *Trial) {
	t.Phase = s.phase
	s.trials++
	if !s.votes(*t) {
		s.invalid++
	}
	if s.votes(*t) && t.Window >= s.Profile.Window.Seconds() {
		s.counted = append(s.counted, *t)
	}
	if s.holds(*t) {
		s.held = append(s.held, *t)
	}
	s.each(*t)
}

// holds tells whether a trial's rate is below the saturation point. The threshold is for a whole window: an overloaded
// queue's mean round trip grows with it, from what a round trip takes that waits for nothing.
func (s *searcher) holds(t Trial) bool {
	return (t.Verdict == OK || t.InSpite()) &&
		t.RTT.Mean-t.RTT.Min < (s.Profile.SaturationRTT-t.RTT.Min)*min(1, t.Window/s.Profile.Window.Seconds())
}

// votes tells whether a trial has a vote on its rate: it is conclusive, or held in spite of a disturbance.
func (s *searcher) votes(t Trial) bool { return t.Conclusive() || s.holds(t) }

// inDoubt tells whether a short trial was beyond its share of the threshold and within the whole one: the queue of a
// server that is overloaded, or one that takes so long at any rate. A whole window tells them apart.
func (s *searcher) inDoubt(t Trial) bool {
	return t.Valid() && !s.holds(t) && t.Window < s.Profile.Window.Seconds() && t.RTT.Mean < s.Profile.SaturationRTT
}

// probe doubles the rate with short trials until it does not hold; or halves it, if not even the first does. hi is 0 if
// the client or the machine ended it.
func (s *searcher) probe() (lo, hi float64, err error) {
	s.phase = PhaseProbe
	for rate := s.StartRate; ; {
		if rate > rateMax {
			return 0, 0, fmt.Errorf("the target holds whatever it is sent, up to %.3g messages a second", lo)
		}
		t, err := s.run(rate, s.Profile.probe())
		if err == nil && s.inDoubt(t) {
			var whole Trial
			if whole, err = s.run(rate, s.Profile.Window); s.votes(whole) {
				t = whole
			}
		}
		if err != nil {
			return 0, 0, err
		}
		switch {
		case s.holds(t):
			s.everHeld = true
			if lo = rate; hi > 0 {
				return lo, hi, nil
			}
			rate *= 2
		case !t.Conclusive():
			return lo, 0, nil
		case lo > 0:
			return lo, rate, nil
		default:
			hi = rate
			if rate /= 2; rate*s.Profile.probe().Seconds() < float64(s.Level.Hearers()) {
				return 0, 0, nothingHeld(hi)
			}
		}
	}
}

// curve tries shares of the saturation rate, up to the first that must be given up. One that held where the bracket
// says that it falls is voted on, and the bracket follows.
func (s *searcher) curve(result *Saturation, b bracket) error {
	saturation := result.Rate
	if saturation == 0 {
		return nil
	}
	for _, share := range s.Profile.Curve {
		s.phase = PhaseCurve
		t, err := s.run(share*saturation, s.Profile.Window)
		if err != nil {
			return err
		}
		if s.holds(t) && t.Nominal > b.held.rate {
			if err := s.correct(result, &b, t.Nominal); err != nil {
				return err
			}
		}
		if share > 1 && (s.hardStop(t) || !s.votes(t)) {
			return nil
		}
	}
	return nil
}

// correct asks again at a rate above the bracket that held once. If most of its trials hold, the search goes on there.
func (s *searcher) correct(result *Saturation, b *bracket, rate float64) error {
	s.phase = PhaseBracket
	above := bracket{}
	if err := s.decide(rate, &above); err != nil || above.held.rate != rate {
		return err
	}
	again, err := s.bracket(rate, 0)
	if err != nil {
		return err
	}
	*b = again
	found := again.result(s.Profile.SaturationRTT)
	found.Best, found.Sustained, found.SustainedUnmeasured = result.Best, result.Sustained, result.SustainedUnmeasured
	*result = found
	return nil
}

// hardStop tells whether no higher rate would be tried, by the rules of 2011.
func (s *searcher) hardStop(t Trial) bool {
	return t.Verdict == TargetFailed || t.OwnMissing > 0 || t.Valid() && t.RTT.Mean >= s.Profile.OverloadRTT
}

// summarize adds what all trials say together. A lower bound is what any trial has carried, below every rate at which
// one fell.
func (s *searcher) summarize(r *Saturation) {
	r.Profile, r.Trials, r.Invalid = s.Profile.Name, s.trials, s.invalid
	for _, t := range s.counted {
		if t.Verdict != TargetFailed {
			r.MaxDelivered = max(r.MaxDelivered, t.Delivered)
		}
		if s.hardStop(t) && (r.Overload == 0 || t.Nominal < r.Overload) {
			r.Overload = t.Nominal
		}
	}
	if best := s.highestHeld(); r.LowerBound() && best.Nominal > r.Rate {
		r.Rate, r.Held = best.Nominal, best.Nominal
		r.Best = cmp.Or(r.Best, &best)
		r.MaxDelivered = max(r.MaxDelivered, best.Delivered)
	}
	r.Warnings = s.warnings
}

// highestHeld is the trial at the highest rate that held, of those below every rate at which one of a whole window
// fell.
func (s *searcher) highestHeld() (best Trial) {
	fell := math.Inf(1)
	for _, t := range s.counted {
		if !s.holds(t) {
			fell = min(fell, t.Nominal)
		}
	}
	for _, t := range s.held {
		if t.Nominal < fell && t.Nominal > best.Nominal {
			best = t
		}
	}
	return best
}

func (s *searcher) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}
