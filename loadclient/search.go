package loadclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
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
}

const (
	startRate = 50_000
	coolDown  = time.Second
	// retries is how often a trial that was not the server's fault is tried, and a server that lets nobody in.
	retries = 3
)

// trier runs a trial at a nominal rate: a Level, or in tests a queue whose capacity is known.
type trier interface {
	try(nominal float64, window time.Duration) (Trial, error)
}

// Search finds what a server can do at a level. each is called after every trial, watch before. A target that fails
// under a rate that is too high for it has fallen like one that gets slow; one that fails at the first rate is an
// error.
func Search(ctx context.Context, c SearchConfig, each func(Trial), watch func(*Level, float64)) (Saturation, error) {
	if c.StartRate == 0 {
		c.StartRate = startRate
	}
	if c.CoolDown == 0 {
		c.CoolDown = coolDown
	}
	c.Level.Threshold = c.Profile.SaturationRTT
	if c.Profile.exact() {
		c.Level.Restart, c.Level.Target.Origin = true, "x"
	}
	l := &reopening{ctx: ctx, config: c.Level, watch: watch, coolDown: c.CoolDown}
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
	result.Target, result.Protocol, result.Connections = c.Level.Target.String(), c.Level.Target.Protocol, c.Level.Connections
	return result, err
}

// point is a rate, and the trials that were made there.
type point struct {
	rate       float64
	held, fell int
	rtt        [2]float64 // sums of the mean round trips of those that fell, and that held
	last       Trial
	probed     bool // by short trials only, which do not count when there are others
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

// settled tells whether most of a number of trials are decided.
func (p *point) settled(repeats int) bool { return max(p.held, p.fell) > repeats/2 && p.held != p.fell }

type searcher struct {
	SearchConfig
	trier
	ctx    context.Context
	each   func(Trial)
	phase  Phase
	trials int
	failed int // target failures in a row
	silent int // trials in a row in which nothing came back

	points   []point // by rate
	counted  []Trial // the trials of a whole window or more
	estimate float64 // of the saturation rate, by the last trial that was overloaded
	noisy    int
	everHeld bool
	warnings []string
}

func (s *searcher) search() (Saturation, error) {
	if s.Profile.Ramp != nil {
		return s.ramp()
	}
	if err := s.probe(); err != nil {
		return Saturation{}, err
	}
	held, fell, err := s.bracket()
	if err != nil {
		return Saturation{}, err
	}
	result := Saturation{
		Rate: s.crossing(held, fell), Held: held.rate, Fell: fell.rate, Best: &held.last,
		Limit: fell.last.Verdict, Reason: fell.last.Reason,
	}
	if result.Limit == OK || result.Limit == Noisy { // another of its trials was slow
		result.Limit = Overloaded
	}
	if s.Profile.Confirms > 0 {
		if err := s.confirm(&result, held.rate); err != nil {
			return Saturation{}, err
		}
	}
	if err := s.curve(result.Rate); err != nil {
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
)

// run runs one trial. When the client or the machine was at fault, it is tried again: noise does that.
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
				SendRate: nominal / float64(s.Level.Connections), Nominal: nominal, Verdict: TargetFailed, Reason: err.Error()}
		}
		s.note(&t)
		if err := s.giveUp(t); err != nil {
			return t, err
		}
		// slower is not noise
		again := t.Verdict == Noisy || t.Verdict == ClientLimited && t.RTT.Mean < 2*s.Profile.SaturationRTT
		if !again || try == retries {
			return t, nil
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
		return failure(&t)
	}
	return nil
}

// failure is a trial's reason as an error: the target failed.
func failure(t *Trial) error {
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
	if t.Verdict == Noisy {
		s.noisy++
	}
	if t.Window >= s.Profile.Window.Seconds() {
		s.counted = append(s.counted, *t)
	}
	s.learn(*t)
	s.each(*t)
}

// learn estimates the saturation rate from a trial that was too fast.
func (s *searcher) learn(t Trial) {
	capacity := 0.0
	switch c := t.Capacity; {
	case c != nil && t.Verdict == Overloaded:
		capacity = c.Middle()
	case t.Verdict == OK && !s.holds(t):
		capacity = t.Nominal / (1 + max(t.Slope, 0))
	default:
		return
	}
	s.estimate = capacity * s.Profile.saturationShare()
}

// holds tells whether a trial's rate is below the saturation point. The threshold is for a whole window: an overloaded
// queue's mean round trip grows with it. A noisy trial that was tried again and again is taken as it is.
func (s *searcher) holds(t Trial) bool {
	ok := t.Verdict == OK || t.Verdict == Noisy && t.NotCompleted == 0
	return ok && t.RTT.Mean < s.Profile.SaturationRTT*min(1, t.Window/s.Profile.Window.Seconds())
}

// look runs a trial and takes down on which side of the saturation point it was.
func (s *searcher) look(rate float64, window time.Duration) (held bool, err error) {
	t, err := s.run(rate, window)
	if err != nil {
		return false, err
	}
	held = s.holds(t)
	s.everHeld = s.everHeld || held
	p := s.at(rate)
	if full := window >= s.Profile.Window; full && p.probed || p.held+p.fell == 0 {
		*p = point{rate: rate, probed: !full}
	}
	p.vote(t, held)
	return held, nil
}

// at is the point with a rate.
func (s *searcher) at(rate float64) *point {
	i, found := slices.BinarySearchFunc(s.points, rate, func(p point, rate float64) int {
		switch {
		case p.rate < rate:
			return -1
		case p.rate > rate:
			return 1
		}
		return 0
	})
	if !found {
		s.points = slices.Insert(s.points, i, point{rate: rate})
	}
	return &s.points[i]
}

// probe multiplies the rate by four until it does not hold; or divides it, if not even the first does.
func (s *searcher) probe() error {
	s.phase = PhaseProbe
	rate := s.StartRate
	held, err := s.look(rate, s.Profile.probe())
	if err != nil {
		return err
	}
	for first := held; held == first; {
		if rate *= 4; !first {
			rate /= 16
		}
		if rate*s.Profile.probe().Seconds() < float64(s.Level.Connections) {
			return nothingHeld(rate)
		}
		if held, err = s.look(rate, s.Profile.probe()); err != nil {
			return err
		}
	}
	return nil
}

// guess is the best guess of the saturation rate so far.
func (s *searcher) guess() float64 {
	held, fell, _ := s.ends()
	if held == nil || fell == nil {
		return s.estimate
	}
	if s.estimate > held.rate && s.estimate < fell.rate {
		return s.estimate
	}
	return math.Sqrt(held.rate * fell.rate)
}

// ends are the lowest rate that fell, and the highest below it that held: when a higher rate held where a lower one
// fell, the lower counts (RFC 9971). undecided is a rate below the one that fell of which as many trials held as did
// not.
func (s *searcher) ends() (held, fell, undecided *point) {
	for i := range s.points {
		p := &s.points[i]
		switch {
		case p.held < p.fell:
			return held, p, undecided
		case p.held > p.fell:
			held = p
		default:
			undecided = p
		}
	}
	return held, nil, undecided
}

// trialsMax is how many trials a bracket may take: a server that holds a rate now and then does not hold it.
const trialsMax = 40

// bracket narrows the gap between what held and what fell, with trials that count.
func (s *searcher) bracket() (held, fell point, err error) {
	s.phase = PhaseBracket
	for aimed := 0; ; {
		lo, hi, undecided := s.ends()
		if s.trials >= trialsMax && lo != nil && hi != nil {
			s.warn("the bracket is wider than asked for: after %d trials it is still undecided", s.trials)
			return *lo, *hi, nil
		}
		var rate float64
		switch {
		case undecided != nil:
			rate = undecided.rate
		case lo == nil:
			if rate = hi.rate / growth; rate*s.Profile.Window.Seconds() < float64(s.Level.Connections) {
				return held, fell, nothingHeld(hi.rate)
			}
		case hi == nil:
			rate = lo.rate * growth
		case hi.rate/lo.rate > 1+s.Profile.Precision:
			rate = s.aim(lo.rate, hi.rate, aimed)
			aimed++
		case lo.probed || !lo.settled(s.Profile.Repeats):
			rate = lo.rate
		case hi.probed || !hi.settled(s.Profile.Repeats):
			rate = hi.rate
		default:
			return *lo, *hi, nil
		}
		if _, err := s.look(rate, s.Profile.Window); err != nil {
			return held, fell, err
		}
	}
}

// growth is how far the search goes when it knows one side only.
const growth = 1.3

// aimsMax is how often the estimate may lead; a server that is no queue is bisected then.
const aimsMax = 4

// aim is the rate to try next: just below what the last overloaded trial says the saturation rate is, just above it,
// else the middle.
func (s *searcher) aim(lo, hi float64, aimed int) float64 {
	side, least := 1+0.45*s.Profile.Precision, 1+s.Profile.Precision/8
	if aimed < aimsMax {
		for _, rate := range []float64{s.estimate / side, s.estimate * side} {
			if rate > lo*least && rate < hi/least {
				return rate
			}
		}
	}
	return math.Sqrt(lo * hi)
}

// crossing is where the mean round trip crosses the threshold between two points.
func (s *searcher) crossing(held, fell point) float64 {
	if fell.last.Verdict == TargetFailed || fell.last.Verdict == ClientLimited {
		return held.rate
	}
	return crossing(held.rate, held.rtt[1]/float64(max(1, held.held)), fell.rate, fell.rtt[0]/float64(max(1, fell.fell)), s.Profile.SaturationRTT)
}

// crossing is where the mean round trip crosses the threshold, linear between two trials, as the figures of 2011 were
// read. A trial that fell for another reason has no crossing; then it is the rate that held.
func crossing(held, heldRTT, fell, fellRTT, threshold float64) float64 {
	if fellRTT <= threshold || fellRTT <= heldRTT {
		return held
	}
	return held + (fell-held)*(threshold-heldRTT)/(fellRTT-heldRTT)
}

const (
	deliveredMin = 0.995 // share of what is due that a server must deliver to sustain a rate
	slopeMax     = 0.005 // growth of the round trip a second; of the overloads, all but half a percent is above that
	// confirmsTried is how many rates are tried in search of one that can be sustained.
	confirmsTried = 6
)

// sustains tells whether a server carries a trial's rate without falling behind. What was due within the last round
// trip may still be on its way.
func (s *searcher) sustains(t Trial) bool {
	due := t.Nominal * (1 - t.RTT.Mean/1000/t.Window)
	return (t.Verdict == OK || t.Verdict == Noisy) && t.NotCompleted == 0 && t.Delivered >= deliveredMin*due && t.Slope < slopeMax && t.RTT.P99 <= s.Profile.SaturationRTT
}

// confirm looks for a rate that can be sustained, from just below the capacity downwards.
func (s *searcher) confirm(result *Saturation, held float64) error {
	s.phase = PhaseConfirm
	capacity := held / s.Profile.saturationShare()
	if c := s.capacity(); c != nil {
		capacity = min(held, c.Middle())
	}
	rate := 0.98 * capacity
	var last Trial
	for step := range confirmsTried {
		held, fell := []Trial{}, 0
		for 2*len(held) <= s.Profile.Confirms && 2*fell <= s.Profile.Confirms {
			t, err := s.run(rate, s.Profile.Confirm)
			if err != nil {
				return err
			}
			last = t
			if s.sustains(t) {
				held = append(held, t)
			} else {
				fell++
			}
		}
		if 2*len(held) > s.Profile.Confirms {
			slices.SortFunc(held, func(a, b Trial) int { return int(a.Delivered - b.Delivered) })
			result.Sustained, result.Best = rate, &held[len(held)/2]
			return nil
		}
		rate *= 1 - 0.03*float64(int(1)<<step)
	}
	if last.Verdict == TargetFailed { // far below what it held before
		return failure(&last)
	}
	s.warn("no rate could be sustained for %v, down to %.3g messages a second", s.Profile.Confirm, rate)
	return nil
}

// curve tries shares of the saturation rate, up to the first that must be given up.
func (s *searcher) curve(saturation float64) error {
	s.phase = PhaseCurve
	for _, share := range s.Profile.Curve {
		t, err := s.run(share*saturation, s.Profile.Window)
		if err != nil {
			return err
		}
		if share > 1 && (s.hardStop(t) || t.Verdict == ClientLimited) {
			return nil
		}
	}
	return nil
}

// hardStop tells whether no higher rate would be tried, by the rules of 2011.
func (s *searcher) hardStop(t Trial) bool {
	return t.Verdict == TargetFailed || t.OwnMissing > 0 || t.Valid() && t.RTT.Mean >= s.Profile.OverloadRTT
}

// summarize adds what all trials say together.
func (s *searcher) summarize(r *Saturation) {
	r.Profile, r.Trials = s.Profile.Name, s.trials
	for _, t := range s.counted {
		if t.Valid() {
			r.MaxDelivered = max(r.MaxDelivered, t.Delivered)
		}
		if s.hardStop(t) && (r.Overload == 0 || t.Nominal < r.Overload) {
			r.Overload = t.Nominal
		}
	}
	r.Capacity = s.capacity()
	if c := r.Capacity; c != nil && c.Spread() > spreadMax {
		s.warn("the estimates of the capacity are %.0f %% apart: it is no constant", 100*c.Spread())
	}
	if 2*s.noisy > s.trials {
		s.warn("%d of %d trials were noisy: the machine was busy with something else", s.noisy, s.trials)
	}
	r.Warnings = s.warnings
}

// spreadMax is how far the estimates of the capacity may be apart before that is worth a warning.
const spreadMax = 0.05

// capacity has the medians of what the overloaded trials say; nil when there were none.
func (s *searcher) capacity() *Capacity {
	var d, sl, b []float64
	for _, t := range s.counted {
		if c := t.Capacity; c != nil && t.Verdict == Overloaded {
			d, sl, b = append(d, c.Delivered), append(sl, c.Slope), append(b, c.Backlog)
		}
	}
	if len(d) == 0 {
		return nil
	}
	return &Capacity{Delivered: median(d...), Slope: median(sl...), Backlog: median(b...)}
}

func median(x ...float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	if n := len(x); n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[len(x)/2]
}

func (s *searcher) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}
